"""Classes by where they are; embeddings, synths and distances of other packages, by entry points: no need to fork.

A package names its class in its own pyproject.toml, and is installed beside nebula-tune (on every worker)::

    [project.entry-points."nebula_tune.embeddings"]
    mine = "my_package.ear:Mine"

A name that nebula-tune itself has stays its own.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from nebula_tune.errors import UserInputError

GROUPS = {"embedding": "nebula_tune.embeddings", "synth": "nebula_tune.synths", "distance": "nebula_tune.distances"}


def class_at(place: str) -> Any:
    """The class at ``package.module:Name``, imported now."""
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)


def added(kind: str) -> dict[str, EntryPoint]:
    """What other packages add of a kind (a key of GROUPS), by name; nothing of it is imported."""
    return {point.name: point for point in entry_points(group=GROUPS[kind])}


def load_added(kind: str, name: str, interface: type) -> type | None:
    """The class of that name that another package adds; None where there is none.

    Raises UserInputError for one that cannot be imported, or is no subclass of ``interface``.
    """
    point = added(kind).get(name)
    if point is None:
        return None
    package = f"of {point.dist.name}" if point.dist else f"({point.value})"
    try:
        addition = point.load()
    except Exception as error:  # whatever another package's import may raise
        raise UserInputError(f"{kind} {name} {package} cannot be imported: {error!r}") from error
    if not (isinstance(addition, type) and issubclass(addition, interface)):
        raise UserInputError(f"{kind} {name} {package} is no subclass of {interface.__name__}")
    return addition
