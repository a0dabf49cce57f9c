"""Distances between corpora of vectors; distances between sounds by name."""

from __future__ import annotations

from typing import Any

from nebula_tune.distance.energy import L1, Euclidean, SortedCorpus
from nebula_tune.distance.joint import Joint, Part
from nebula_tune.distance.kernel import Gaussian
from nebula_tune.distance.measure import Corpus, Distance
from nebula_tune.distance.mmd import MMD, l1_mmd, mean_within, mmd
from nebula_tune.errors import UserInputError

DISTANCES: dict[str, type[Distance]] = {kind.name: kind for kind in (L1, Euclidean, Gaussian)}


def make_distance(name: str, **options: Any) -> Distance:
    """The distance of these ``settings``, or of that name. Raises UserInputError for what is unknown."""
    if name == Joint.name:
        parts = [Part(**part | {"distance": make_distance(**part["distance"])}) for part in options["parts"]]
        return Joint(parts, options["frozen"])
    if name not in DISTANCES:
        raise UserInputError(f"no distance {name!r}; known: {', '.join(DISTANCES)}")
    try:
        return DISTANCES[name](**options)
    except TypeError as error:
        raise UserInputError(f"distance {name} does not take these options: {error}") from error


__all__ = [
    "DISTANCES",
    "L1",
    "MMD",
    "Corpus",
    "Distance",
    "Euclidean",
    "Gaussian",
    "Joint",
    "Part",
    "SortedCorpus",
    "l1_mmd",
    "make_distance",
    "mean_within",
    "mmd",
]
