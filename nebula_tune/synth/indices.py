"""Which sound indices are used for what: ranges that never meet.

Indices are seeds of the sounds' draws, 32 bits. The first billion belongs to synth1B1, so no study tunes on it.
"""

from __future__ import annotations

from enum import IntEnum

RANGE = 2**28
STEP = 2**20  # sounds between the places of a range where studies of different seeds begin
SEEDS = 255  # such places; after the last comes one step more, so that no request runs on into the next range


class Purpose(IntEnum):
    """Ranges of 2^28 indices, above synth1B1's."""

    TARGET = 4
    TRIALS = 5
    REEVALUATION = 6
    POOL = 7
    VALIDATION = 8
    SCORE_CARD = 9
    LISTENING = 10
    COMPARE = 11
    MATCH = 15


def first_index(purpose: Purpose, seed: int, offset: int = 0) -> int:
    """The first index for a purpose under a study's seed, ``offset`` sounds in."""
    within = (seed % SEEDS) * STEP + offset
    return purpose * RANGE + within % (SEEDS * STEP)
