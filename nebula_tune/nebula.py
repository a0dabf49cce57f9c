"""A nebula: curve and symmetry of a synth's parameters, and the JSON file torchsynth loads.

Source: "One Billion Audio Sounds from GPU-Enabled Modular Synthesis" (2021), section 3.3.
This module knows the file and its rules only; which parameters exist is the synth's knowledge
(:meth:`nebula_tune.synth.parameters.Panel.complete`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from nebula_tune.errors import NebulaError
from nebula_tune.files import shipped, write_atomically

# torchsynth reaches only the upper half of a symmetric parameter's range when its curve is exactly 1,
# so such a curve is written as the nearest value with six decimals, which has the full range there.
ALMOST_LINEAR = 1.000001


@dataclass(frozen=True)
class Nebula:
    """Curve (> 0) and symmetry of parameters, by their dotted name ``module.parameter``.

    A nebula may be partial, as torchsynth allows: what it does not list stays as it was.
    """

    curves: Mapping[str, float] = field(default_factory=dict)
    symmetric: Mapping[str, bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, curve in self.curves.items():
            if not (math.isfinite(curve) and curve > 0):
                raise NebulaError(f"curve of {name} is {curve!r}; a curve is a finite number above 0")
        object.__setattr__(self, "curves", MappingProxyType(dict(self.curves)))
        object.__setattr__(self, "symmetric", MappingProxyType(dict(self.symmetric)))

    def __reduce__(self) -> tuple[type[Nebula], tuple[dict[str, float], dict[str, bool]]]:
        return Nebula, (dict(self.curves), dict(self.symmetric))

    @classmethod
    def load(cls, source: str | Path) -> Nebula:
        """Read a nebula from a JSON file, or a shipped one (``default``, ``drum``) by name.

        An existing path wins over a name. Raises NebulaError naming the entry at fault.
        """
        path = find_nebula(source)
        if path is None:
            raise NebulaError(f"no nebula {str(source)!r}: neither a file nor a shipped nebula ({shipped_names()})")
        entries = read_json(path)
        try:
            return cls.from_entries(entries)
        except NebulaError as error:
            raise NebulaError(f"{path}: {error}") from None

    @classmethod
    def from_entries(cls, entries: Any) -> Nebula:
        """Build from torchsynth's list of ``{"name": [module, parameter, "curve"|"symmetric"], "value": ...}``."""
        if isinstance(entries, dict) and "atoms" in entries:
            raise NebulaError("a constellation; a nebula is needed here")
        if not isinstance(entries, list):
            raise NebulaError("a nebula is a JSON list of {name, value} entries")
        curves: dict[str, float] = {}
        symmetric: dict[str, bool] = {}
        for number, entry in enumerate(entries):
            module, parameter, kind, value = _read_entry(entry, number)
            name = f"{module}.{parameter}"
            if kind == "curve":
                if name in curves:
                    raise NebulaError(f"entry {number}: curve of {name} is given twice")
                if isinstance(value, bool) or not isinstance(value, int | float):
                    raise NebulaError(f"entry {number}: curve of {name} is {value!r}; a curve is a number above 0")
                curves[name] = float(value)
            else:
                if name in symmetric:
                    raise NebulaError(f"entry {number}: symmetric of {name} is given twice")
                if value not in (True, False, 0, 1):
                    raise NebulaError(f"entry {number}: symmetric of {name} is {value!r}; it is true or false")
                symmetric[name] = bool(value)
        return cls(curves, symmetric)

    def entries(self) -> list[dict[str, Any]]:
        """torchsynth's list: modules sorted, parameters in their own order, curve before symmetric."""
        names = list(dict.fromkeys([*self.curves, *self.symmetric]))
        names.sort(key=lambda name: name.partition(".")[0])
        result: list[dict[str, Any]] = []
        for name in names:
            module, _, parameter = name.partition(".")
            if name in self.curves:
                curve = self.curves[name]
                if curve == 1 and self.symmetric.get(name, False):
                    curve = ALMOST_LINEAR
                result.append({"name": [module, parameter, "curve"], "value": curve})
            if name in self.symmetric:
                result.append({"name": [module, parameter, "symmetric"], "value": self.symmetric[name]})
        return result

    def to_json(self) -> str:
        """The file's text; equal nebulae give equal text."""
        return json.dumps(self.entries(), indent=1) + "\n"

    def save(self, path: str | Path) -> None:
        """Write the JSON file atomically."""
        write_atomically(path, self.to_json().encode())


def read_json(path: Path) -> Any:
    """Data of a nebula's or constellation's file; raises NebulaError for one that cannot be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise NebulaError(f"cannot read nebula {path}: {error}") from error


def find_nebula(source: str | Path) -> Path | None:
    """Path of a nebula given as a file or as a shipped nebula's name; None where there is neither."""
    path = Path(source)
    if path.is_file():
        return path
    named = shipped("nebulae") / f"{source}.json"
    return named if "/" not in str(source) and named.is_file() else None


def shipped_names() -> str:
    """Names of the nebulae that come with nebula-tune, for messages."""
    return ", ".join(("default", "drum"))


def _read_entry(entry: Any, number: int) -> tuple[str, str, str, Any]:
    """Check one entry's form; raise NebulaError with its number."""
    if not (isinstance(entry, dict) and {"name", "value"} <= entry.keys()):
        raise NebulaError(f"entry {number} is not an object with name and value")
    name = entry["name"]
    if not (_is_strings(name) and len(name) == 3 and name[2] in ("curve", "symmetric")):
        raise NebulaError(f'entry {number}: name {name!r} is not [module, parameter, "curve" or "symmetric"]')
    return name[0], name[1], name[2], entry["value"]


def _is_strings(value: Any) -> bool:
    return isinstance(value, Iterable) and not isinstance(value, str) and all(isinstance(x, str) for x in value)
