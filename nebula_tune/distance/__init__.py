"""Distances between corpora of vectors; distances between sounds by name."""

from __future__ import annotations

from typing import Any

from nebula_tune.additions import added, class_at, load_added
from nebula_tune.distance.energy import L1, Euclidean, SortedCorpus
from nebula_tune.distance.joint import Joint, Part
from nebula_tune.distance.kernel import Gaussian
from nebula_tune.distance.measure import Corpus, Distance
from nebula_tune.distance.mmd import MMD, l1_mmd, mean_within, mmd
from nebula_tune.errors import UserInputError

# name: where its class is.
DISTANCES = {
    "l1": "nebula_tune.distance.energy:L1",
    "euclidean": "nebula_tune.distance.energy:Euclidean",
    "gaussian": "nebula_tune.distance.kernel:Gaussian",
}


def distance_names() -> list[str]:
    """All distances that a study can name, those of other packages last."""
    return [*DISTANCES, *(name for name in added("distance") if name not in DISTANCES)]


def make_distance(name: str, **options: Any) -> Distance:
    """The distance of these ``settings``, or of that name. Raises UserInputError for what is unknown."""
    if name == Joint.name:
        parts = [Part(**part | {"distance": make_distance(**part["distance"])}) for part in options["parts"]]
        return Joint(parts, options["frozen"])
    kind: Any = class_at(DISTANCES[name]) if name in DISTANCES else load_added("distance", name, Distance)
    if kind is None:
        raise UserInputError(f"no distance {name!r}; known: {', '.join(distance_names())}")
    try:
        distance: Distance = kind(**options)
    except TypeError as error:
        raise UserInputError(f"distance {name} does not take these options: {error}") from error
    return distance


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
    "distance_names",
    "l1_mmd",
    "make_distance",
    "mean_within",
    "mmd",
]
