"""Which sounds belong together, and a split that keeps them together.

Sounds of one preset, kit or file are one group: an estimate from pairs within a group, or a split through one,
would flatter.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from nebula_tune.errors import CorpusError, SettingsError

HELD_OUT_SHARE = 0.2
HELD_OUT_LEAST = 8  # sounds
FOLDERS_FOR_AUTO = 30
VALIDATION_PARTS = 4
VALIDATION_ENOUGH = 100  # sounds


class GroupBy(StrEnum):
    """What is held out together."""

    AUTO = "auto"
    FOLDER = "folder"
    FILE = "file"

    @classmethod
    def named(cls, text: str) -> GroupBy:
        """By its name, as options give it. Raises SettingsError."""
        if text not in list(cls):
            raise SettingsError(f"--group-by {text!r}: it is auto, folder or file")
        return cls(text)

    def resolve(self, folders: Sequence[str]) -> GroupBy:
        """AUTO decided: by folder where at least 30 folders hold several sounds, else by file."""
        if self is not GroupBy.AUTO:
            return self
        several = sum(count > 1 for count in Counter(folders).values())
        return GroupBy.FOLDER if several >= FOLDERS_FOR_AUTO else GroupBy.FILE


def hold_out(groups: Sequence[str], seed: int) -> NDArray[np.bool_]:
    """(sounds,) bool: a fifth of the sounds, at least 8, whole groups at a time, the same for the same names and seed.

    Raises CorpusError where that would leave fewer than two groups on a side.
    """
    sizes = Counter(groups)
    order = sorted(sizes, key=lambda group: hashlib.sha256(f"{seed}/{group}".encode()).hexdigest())
    wanted = max(HELD_OUT_LEAST, round(HELD_OUT_SHARE * len(groups)))
    held_groups: set[str] = set()
    held = 0
    # In that order; a group that would overshoot by much waits until it is known that the others do not suffice.
    fitting = [group for group in order if sizes[group] <= wanted]
    for group in [*fitting, *sorted(set(order) - set(fitting), key=lambda group: (sizes[group], group))]:
        if held >= wanted and len(held_groups) >= 2:
            break
        held_groups.add(group)
        held += sizes[group]
    if len(sizes) - len(held_groups) < 2:
        raise CorpusError(
            f"{len(groups)} sounds in {len(sizes)} groups cannot be split into fit and held-out parts; "
            "give more groups, or use --group-by file"
        )
    return np.array([group in held_groups for group in groups])


def folds(groups: Sequence[str], seed: int) -> list[NDArray[np.bool_]]:
    """Parts to validate on, each (sounds,) bool: whole groups, no group in two parts.

    One part of a quarter where that holds enough sounds, else four that cover everything, as far as there are groups.
    """
    sizes = Counter(groups)
    order = sorted(sizes, key=lambda group: hashlib.sha256(f"validation {seed}/{group}".encode()).hexdigest())
    parts = min(VALIDATION_PARTS, len(order))
    loads, owner = [0] * parts, {}
    for group in sorted(order, key=lambda group: -sizes[group]):  # the largest first, to where there is least
        part = loads.index(min(loads))
        owner[group] = part
        loads[part] += sizes[group]
    number = np.array([owner[group] for group in groups])
    count = 1 if loads[0] >= VALIDATION_ENOUGH else parts
    return [number == part for part in range(count)]
