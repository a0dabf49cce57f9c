"""A constellation: a nebula whose parameters go together.

A nebula draws its parameters independently, which the paper names as its limit (sections 6.1 and 7). A constellation
keeps the nebula as its base and writes a sound's raw draw u in Gaussian coordinates, q = Phi^-1(u), where the base
nebula is N(0, I). It is a weighted set of atoms (points q_a) and a spread s in [0, 1]:

    pick atom a with probability w_a;   q = center + sqrt(1 - s^2) (q_a - center) + s * scale * eps;   u = Phi(q)

with eps ~ N(0, I). With center 0 and scale 1 spread 1 is the base nebula itself, whatever the atoms; with the atoms'
weighted mean and deviation in their place the spread leaves mean and variance of the atoms as they are. Spread 0 is a
bank of presets.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from nebula_tune.arrays import Floats
from nebula_tune.errors import NebulaError, brief
from nebula_tune.files import constellation_path, write_atomically
from nebula_tune.nebula import Nebula, find_nebula, read_entries, shipped_names

FORMAT, VERSION = "nebula-tune constellation", 1
DECIMALS = 6  # of coordinates in a file; a constellation is rounded when it is made, so that file and memory are one
ARRAYS = ("atoms", "weights", "center", "scale")
ROUNDING = 1e-9  # by which weights may miss 1 and stay as they are in the file
FURTHEST = 8.0  # a raw draw is a multiple of 2^-24: no coordinate is beyond 5.6 but one that was moved


@dataclass(frozen=True, eq=False)
class Constellation:
    """Atoms (atoms, parameters) float64 in Gaussian coordinates, their weights (atoms,), and a spread.

    ``parameters`` names the columns of ``atoms``: all of a synth's, in registration order. ``center`` and ``scale``
    are (parameters,), or one number for all. ``classes`` names each atom's class, or is empty.
    Raises NebulaError for arrays that do not fit together or numbers that cannot be.
    """

    nebula: Nebula
    parameters: tuple[str, ...]
    atoms: Floats
    weights: Floats
    spread: float
    center: Floats | float = 0.0
    scale: Floats | float = 1.0
    classes: tuple[str, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        count = len(self.parameters)
        arrays = {name: np.array(getattr(self, name), dtype=np.float64) for name in ARRAYS}
        for name in ("center", "scale"):
            if arrays[name].ndim == 0:
                arrays[name] = np.full(count, arrays[name])
        for name, values in arrays.items():
            if not np.isfinite(values).all():
                raise NebulaError(f"{name} of a constellation must be finite numbers")
        atoms, weights = arrays["atoms"], arrays["weights"]
        if len(set(self.parameters)) != count:
            raise NebulaError("a constellation names one of its parameters twice")
        if atoms.ndim != 2 or not len(atoms) or atoms.shape[1] != count:
            raise NebulaError(f"atoms of a constellation are one or more rows of {count} coordinates")
        if weights.shape != (len(atoms),) or weights.min() < 0 or not 0 < weights.sum() < np.inf:
            raise NebulaError("a constellation has one weight an atom, none below 0 and not all 0")
        if arrays["center"].shape != (count,) or arrays["scale"].shape != (count,) or arrays["scale"].min() < 0:
            raise NebulaError(f"center and scale of a constellation are {count} numbers each, no scale below 0")
        if max(np.abs(atoms).max(), np.abs(arrays["center"]).max(), arrays["scale"].max()) > FURTHEST:
            raise NebulaError(f"a constellation's coordinates are within {-FURTHEST:g} and {FURTHEST:g}")
        if not 0 <= self.spread <= 1:
            raise NebulaError(f"spread of a constellation is {self.spread!r}; it is a number from 0 to 1")
        if self.classes and len(self.classes) != len(atoms):
            raise NebulaError("a constellation names the class of every atom, or of none")
        if abs(weights.sum() - 1) > ROUNDING:
            arrays["weights"] = weights / weights.sum()
        for name in ("atoms", "center", "scale"):
            arrays[name] = np.round(arrays[name], DECIMALS)
        for name, values in arrays.items():
            values.setflags(write=False)
            object.__setattr__(self, name, values)

    @property
    def effective_atoms(self) -> float:
        """1 / sum of squared weights: how many equal atoms would be as varied."""
        return float(1 / np.square(self.weights).sum())

    @cached_property
    def cumulative(self) -> Floats:
        """Upper ends of the atoms' shares of [0, 1), (atoms,)."""
        ends = np.cumsum(self.weights)
        ends /= ends[-1]
        return ends

    @cached_property
    def pull(self) -> Floats:
        """What each atom adds to a sound's coordinates, (atoms, parameters)."""
        pulled: Floats = self.center + np.sqrt(1 - self.spread**2) * (self.atoms - self.center)
        return pulled

    @property
    def push(self) -> Floats:
        """What a sound's own coordinates are multiplied by, (parameters,)."""
        pushed: Floats = self.spread * np.asarray(self.scale)
        return pushed

    @property
    def is_base(self) -> bool:
        """Whether this is its base nebula, to the bit: then a sound's raw draw is its own."""
        return self.spread == 1 and not np.any(self.center) and bool(np.all(self.scale == 1))

    def with_spread(self, spread: float, keep_moments: bool) -> Constellation:
        """The same atoms under another spread; ``keep_moments`` takes center and scale from the atoms."""
        if not keep_moments:
            return replace(self, spread=spread, center=0.0, scale=1.0)
        center = self.weights @ self.atoms
        scale = np.sqrt(self.weights @ np.square(self.atoms - center))
        return replace(self, spread=spread, center=center, scale=scale)

    def of_class(self, name: str) -> Constellation:
        """The atoms of one class, their weights summing to 1. Raises NebulaError listing the classes there are."""
        members = np.array([label == name for label in self.classes], dtype=bool)
        if not members.any():
            known = ", ".join(sorted(set(self.classes))) or "none: its target was not fitted by --classes"
            raise NebulaError(f"no class {name!r} in this constellation; there are: {known}")
        return replace(self, atoms=self.atoms[members], weights=self.weights[members], classes=(name,) * members.sum())

    @classmethod
    def load(cls, path: str | Path) -> Constellation:
        """Read a constellation file. Raises NebulaError naming the file and what is wrong with it."""
        data = read_entries(Path(path))
        try:
            return cls.from_json(data)
        except NebulaError as error:
            raise NebulaError(f"{path}: {error}") from None

    @classmethod
    def beside(cls, nebula: str | Path, identity: str) -> Constellation | None:
        """The constellation beside a nebula's file, where both are of the study of that identity; else None."""
        try:
            constellation = cls.load(constellation_path(Path(nebula)))
        except NebulaError:
            return None
        return constellation if constellation.provenance.get("identity") == identity else None

    @classmethod
    def from_json(cls, data: Any) -> Constellation:
        """Build from what :meth:`as_json` gives."""
        if not is_constellation(data):
            raise NebulaError(f'not a constellation: an object with "format": "{FORMAT}" is expected')
        if data.get("version") != VERSION:
            version = brief(data.get("version"))
            raise NebulaError(f"constellation format version {version}; this program reads {VERSION}")
        unknown = data.keys() - {
            "format", "version", "nebula", "parameters", "spread", "center", "scale", "atoms", "provenance"
        }  # fmt: skip
        if unknown:
            raise NebulaError(f"unknown key {brief(min(unknown))} in a constellation")
        parameters, atoms, spread = data.get("parameters"), data.get("atoms"), data.get("spread")
        if not (isinstance(parameters, list) and parameters and all(isinstance(name, str) for name in parameters)):
            raise NebulaError("parameters of a constellation are a list of names")
        if not (isinstance(atoms, list) and atoms):
            raise NebulaError("atoms of a constellation are a list of at least one")
        if isinstance(spread, bool) or not (isinstance(spread, int | float) and 0 <= spread <= 1):
            raise NebulaError(f"spread of a constellation is {brief(spread)}; it is a number from 0 to 1")
        provenance = data.get("provenance", {})
        if not isinstance(provenance, dict):
            raise NebulaError("provenance of a constellation is an object")
        rows, weights, classes = _read_atoms(atoms, len(parameters))
        return cls(
            Nebula.from_json(data.get("nebula")),
            tuple(parameters),
            rows,
            weights,
            float(spread),
            center=_numbers(data["center"], "center") if "center" in data else 0.0,
            scale=_numbers(data["scale"], "scale") if "scale" in data else 1.0,
            classes=classes,
            provenance=provenance,
        )

    def as_json(self) -> dict[str, Any]:
        """The file's content."""
        named = self.classes or (None,) * len(self.atoms)
        atoms = [
            {"weight": float(weight)} | ({"class": name} if name else {}) | {"coordinates": row.tolist()}
            for weight, name, row in zip(self.weights, named, self.atoms, strict=True)
        ]
        return {
            "format": FORMAT,
            "version": VERSION,
            "spread": self.spread,
            "provenance": dict(self.provenance),
            "nebula": self.nebula.as_json(),
            "parameters": list(self.parameters),
            "center": np.asarray(self.center).tolist(),
            "scale": np.asarray(self.scale).tolist(),
            "atoms": atoms,
        }

    def save(self, path: str | Path) -> None:
        """Write the file atomically, one line an atom."""
        content = self.as_json()
        atoms = content.pop("atoms")
        head = json.dumps(content, indent=1)[:-2]
        rows = ",\n  ".join(json.dumps(atom) for atom in atoms)
        write_atomically(path, f'{head},\n "atoms": [\n  {rows}\n ]\n}}\n'.encode())


def is_constellation(data: Any) -> bool:
    """Whether JSON data says it is a constellation."""
    return isinstance(data, dict) and data.get("format") == FORMAT


def load_sounds(source: str | Path) -> Nebula | Constellation:
    """A nebula or constellation from a file, or a shipped nebula by name; an existing path wins over a name."""
    path = find_nebula(source)
    if path is None:
        raise NebulaError(f"no nebula {str(source)!r}: neither a file nor a shipped nebula ({shipped_names()})")
    data = read_entries(path)
    try:
        sounds = Constellation.from_json(data) if is_constellation(data) else Nebula.from_json(data)
    except NebulaError as error:
        raise NebulaError(f"{path}: {error}") from None
    if isinstance(sounds, Nebula):
        sounds.tell_halved(path)
    return sounds


def _read_atoms(atoms: Sequence[Any], count: int) -> tuple[Floats, Floats, tuple[str, ...]]:
    """Coordinates, weights and classes of a file's atoms; raises NebulaError with the number of the one at fault."""
    rows, weights, classes = [], np.empty(len(atoms)), []
    for number, atom in enumerate(atoms):
        if not (
            isinstance(atom, dict) and {"weight", "coordinates"} <= atom.keys() <= {"weight", "coordinates", "class"}
        ):
            raise NebulaError(f"atom {number} is not an object with weight, coordinates and perhaps class")
        row = _numbers(atom["coordinates"], f"coordinates of atom {number}")
        if row.shape != (count,):
            raise NebulaError(f"atom {number} has {row.size} coordinates; there are {count} parameters")
        rows.append(row)
        weights[number] = _numbers([atom["weight"]], f"weight of atom {number}")[0]
        name = atom.get("class", "")
        if not isinstance(name, str):
            raise NebulaError(f"class of atom {number} is {brief(name)}; it is a name")
        classes.append(name)
    return np.stack(rows), weights, tuple(classes) if any(classes) else ()


def _numbers(values: Any, what: str) -> Floats:
    numeric = isinstance(values, list) and all(
        isinstance(value, int | float) and not isinstance(value, bool) for value in values
    )
    if not numeric:
        raise NebulaError(f"{what}: a list of numbers is expected")
    try:
        return np.array(values, dtype=np.float64)
    except OverflowError as error:
        raise NebulaError(f"{what}: {error}") from None
