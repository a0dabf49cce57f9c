"""Distances between corpora of vectors; distances between sounds by name."""

from __future__ import annotations

from importlib.metadata import EntryPoint
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


def other_distances() -> dict[str, EntryPoint]:
    """Distances of other packages, by name."""
    return added("distance", {*DISTANCES, Joint.name})


def distance_names() -> list[str]:
    """All distances that a study can name, those of other packages last."""
    return [*DISTANCES, *other_distances()]


def make_distance(name: str, **options: Any) -> Distance:
    """The distance of these ``settings``, or of that name. Raises UserInputError for what is unknown."""
    if name == Joint.name:
        parts = [Part(**part | {"distance": make_distance(**part["distance"])}) for part in options["parts"]]
        return Joint(parts, options["frozen"])
    kind: Any = class_at(DISTANCES[name]) if name in DISTANCES else _of_others(name)
    try:
        distance: Distance = kind(**options)
    except TypeError as error:
        raise UserInputError(f"distance {name} does not take these options: {error}") from error
    return distance


def _of_others(name: str) -> type[Distance]:
    """Another package's class of that name. Raises UserInputError where there is none, or it cannot be used."""
    others = other_distances()
    if name not in others:
        raise UserInputError(f"no distance {name!r}; known: {', '.join([*DISTANCES, *others])}")
    another: type[Distance] = load_added("distance", others[name], Distance)
    return another


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
    "other_distances",
]
