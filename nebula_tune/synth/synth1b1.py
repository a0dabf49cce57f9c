"""Seeding of synth1B1: sound g is a pure function of g, on every machine.

Sound g's numbers come from an MT19937 generator seeded with g alone. The float is the low 24 bits of each
32-bit word, which is what torch's CPU generator gives; it is done here, so no torch version can change the data
set.
"""

from __future__ import annotations

import numpy as np

from nebula_tune.errors import UserInputError
from nebula_tune.synth.limits import MOST_NUMBERS

PERIOD = 10 * 1024  # of each so many sounds the last 1024 are for testing (section 2.2)
SOUNDS_BEFORE_TEST = 9 * 1024
SOUND_INDICES = 2**32
SOUNDS_AT_A_TIME = 64  # drawn together; their generators' states stay in a core's cache


def uniform(seed: int, count: int) -> np.ndarray:
    """``count`` float32 numbers in [0, 1), multiples of 2^-24, from MT19937 seeded with ``seed``."""
    words = np.frombuffer(np.random.RandomState(seed).bytes(4 * count), dtype="<u4")
    return _to_float(words)


def draw(first_index: int, sounds: int, count: int) -> np.ndarray:
    """The first ``count`` numbers of each sound from ``first_index`` on, (sounds, count) float32."""
    check(first_index, sounds)
    return _to_float(_words(first_index, sounds, count))


def check(first_index: int, sounds: int) -> None:
    """Raise UserInputError unless all these sounds are in the data set."""
    if not 0 <= first_index <= SOUND_INDICES - sounds:
        raise UserInputError(f"sound indices run from 0 to {SOUND_INDICES - 1}, not to {first_index + sounds - 1}")


def _words(first_index: int, sounds: int, count: int) -> np.ndarray:
    """The first ``count`` words of each sound's generator, (sounds, count) uint32."""
    from nebula_tune.synth.cpu_draw import first_words

    words = np.empty((sounds, count), dtype=np.uint32)
    if count > MOST_NUMBERS:
        for i in range(sounds):
            words[i] = np.frombuffer(np.random.RandomState(first_index + i).bytes(4 * count), dtype="<u4")
        return words
    states = np.empty((397 + count, min(sounds, SOUNDS_AT_A_TIME)), dtype=np.uint32)
    for begin in range(0, sounds, SOUNDS_AT_A_TIME):
        end = min(begin + SOUNDS_AT_A_TIME, sounds)
        part = np.empty((count, end - begin), dtype=np.uint32)
        first_words(first_index + begin, part, states[:, : end - begin])
        words[begin:end] = part.T
    return words


def _to_float(words: np.ndarray) -> np.ndarray:
    return (words & 0xFFFFFF).astype(np.float32) * np.float32(2.0**-24)


def is_train(first_index: int, sounds: int) -> np.ndarray:
    """True for sounds of the training set, (sounds,) bool."""
    return (first_index + np.arange(sounds)) % PERIOD < SOUNDS_BEFORE_TEST
