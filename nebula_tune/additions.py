"""Classes by where they are; embeddings, synths and distances of other packages, by entry points: no need to fork.

A package names its class in its own pyproject.toml, and is installed beside nebula-tune (on every worker)::

    [project.entry-points."nebula_tune.embeddings"]
    mine = "my_package.ear:Mine"

A name that nebula-tune itself has stays its own, and of two packages with one name the first has it; the other is told
and passed over. Nothing of a package is imported before its name is asked for.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from importlib import import_module
from importlib.metadata import EntryPoint, distributions, entry_points
from typing import Any

from nebula_tune.errors import UserInputError
from nebula_tune.notices import warn_once
from nebula_tune.words import printable

GROUPS = {"embedding": "nebula_tune.embeddings", "synth": "nebula_tune.synths", "distance": "nebula_tune.distances"}


def class_at(place: str) -> Any:
    """The class at ``package.module:Name``, imported now."""
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)


def added(kind: str, taken: Collection[str]) -> dict[str, EntryPoint]:
    """What other packages add of a kind (a key of GROUPS), by name; nothing of it is imported.

    Names that are ``taken`` by nebula-tune, or by an earlier package, are passed over with a warning.
    """
    points: dict[str, EntryPoint] = {}
    for point in _entry_points(GROUPS[kind]):
        if point.name in taken:
            owner = "nebula-tune"
        elif point.name in points and points[point.name] != point:
            owner = package_of(points[point.name])
        else:
            points.setdefault(point.name, point)
            continue
        warn_once(
            f"warning: {kind} {printable(point.name)} of {printable(package_of(point))} is passed over: "
            f"{printable(owner)} has one of that name"
        )
    return points


def package_of(point: EntryPoint) -> str:
    """Name and version of the package that an entry point is of; where nobody knows, its class."""
    return f"{point.dist.name} {point.dist.version}" if point.dist else point.value


def packages_of(points: Iterable[EntryPoint | None]) -> dict[str, str]:
    """Versions of the packages that entry points are of, by name; None, and what is of no package, is left out."""
    return {point.dist.name: point.dist.version for point in points if point is not None and point.dist}


def load_added(kind: str, point: EntryPoint, interface: type) -> Any:
    """The class that another package adds.

    Raises UserInputError for one that cannot be imported, is no subclass of ``interface``, or has another name itself.
    """
    named = f"{kind} {point.name} of {package_of(point)}"
    try:
        addition: Any = point.load()
    except (Exception, SystemExit) as error:  # whatever another package's import may raise
        raise UserInputError(f"{named} cannot be imported: {error!r}") from error
    if not (isinstance(addition, type) and issubclass(addition, interface)):
        raise UserInputError(f"{named} is no subclass of {interface.__name__}")
    name = getattr(addition, "name", point.name)  # a synth's class has none
    if name != point.name:
        raise UserInputError(f"{named} is called {name!r} by its class: give both one name")
    return addition


def _entry_points(group: str) -> Iterator[EntryPoint]:
    """All of a group; of packages whose metadata cannot be read none, with a warning."""
    try:
        yield from entry_points(group=group)
    except Exception:  # one package's metadata is damaged: the others are looked at one by one
        yield from _readable(group)


def _readable(group: str) -> Iterator[EntryPoint]:
    for distribution in distributions():
        try:
            yield from distribution.entry_points.select(group=group)
        except Exception as error:
            place = getattr(distribution, "_path", "a package")
            warn_once(f"warning: {printable(str(place))} is passed over: its entry points cannot be read ({error!r})")
