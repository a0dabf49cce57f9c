"""Seeding of synth1B1: sound g is a pure function of g, on every machine.

Sound g's numbers come from an MT19937 generator seeded with g alone. The float is the low 24 bits of each
32-bit word, which is what torch's CPU generator gives; it is done here in numpy, so no torch version can
change the data set.
"""

from __future__ import annotations

import numpy as np

from nebula_tune.errors import UserInputError

SOUNDS_BEFORE_TEST = 9 * 1024  # of each 10 * 1024 sounds the last 1024 are for testing (section 2.2)
SOUND_INDICES = 2**32


def uniform(seed: int, count: int) -> np.ndarray:
    """``count`` float32 numbers in [0, 1), multiples of 2^-24, from MT19937 seeded with ``seed``."""
    words = np.frombuffer(np.random.RandomState(seed).bytes(4 * count), dtype="<u4")
    return _to_float(words)


def draw(first_index: int, sounds: int, count: int) -> np.ndarray:
    """The first ``count`` numbers of each sound from ``first_index`` on, (sounds, count) float32."""
    if not 0 <= first_index <= SOUND_INDICES - sounds:
        raise UserInputError(f"sound indices run from 0 to {SOUND_INDICES - 1}, not to {first_index + sounds - 1}")
    words = np.empty((sounds, count), dtype="<u4")
    generator = np.random.RandomState(0)
    for i in range(sounds):
        generator.seed(first_index + i)
        words[i] = np.frombuffer(generator.bytes(4 * count), dtype="<u4")
    return _to_float(words)


def _to_float(words: np.ndarray) -> np.ndarray:
    return (words & 0xFFFFFF).astype(np.float32) * np.float32(2.0**-24)


def is_train(first_index: int, sounds: int) -> np.ndarray:
    """True for sounds of the training set, (sounds,) bool."""
    return (first_index + np.arange(sounds)) % (10 * 1024) < SOUNDS_BEFORE_TEST
