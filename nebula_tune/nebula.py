"""A nebula: curve and symmetry of a synth's parameters, and its JSON file: the one that torchsynth loads, or (of an
instrument under a panel) one of our own, which names instrument and panel.

Source: "One Billion Audio Sounds from GPU-Enabled Modular Synthesis" (2021), section 3.3.
This module knows the file and its rules only; which parameters exist is the synth's knowledge
(:meth:`nebula_tune.synth.parameters.Panel.complete`).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from nebula_tune.documents import UnreadableError, read_json
from nebula_tune.errors import NebulaError, brief, shortened
from nebula_tune.files import shipped, write_atomically
from nebula_tune.notices import warn_once

# torchsynth reaches only the upper half of a symmetric parameter's range when its curve is exactly 1,
# so such a curve is written as the nearest value with six decimals, which has the full range there.
ALMOST_LINEAR = 1.000001
LARGEST_CURVE = sys.float_info.max
NAMED = 5  # parameters in a warning
FORMAT, VERSION = "nebula-tune nebula", 1
ORIGIN = ("synth", "panel", "panel_sha256")


@dataclass(frozen=True)
class Nebula:
    """Curve (> 0) and symmetry of parameters, by their dotted name ``module.parameter``.

    A nebula may be partial, as torchsynth allows: what it does not list stays as it was. ``origin`` says of what synth
    and panel it is (ORIGIN), where its synth has panels that users write; else it is empty.
    """

    curves: Mapping[str, float] = field(default_factory=dict)
    symmetric: Mapping[str, bool] = field(default_factory=dict)
    origin: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, curve in self.curves.items():
            if not (curve > 0 and curve <= LARGEST_CURVE):
                raise NebulaError(f"curve of {shortened(name)} is {brief(curve)}; a curve is a finite number above 0")
        object.__setattr__(self, "curves", MappingProxyType(dict(self.curves)))
        object.__setattr__(self, "symmetric", MappingProxyType(dict(self.symmetric)))
        object.__setattr__(self, "origin", MappingProxyType(dict(self.origin)))

    def __reduce__(self) -> tuple[type[Nebula], tuple[dict[str, float], dict[str, bool], dict[str, str]]]:
        return Nebula, (dict(self.curves), dict(self.symmetric), dict(self.origin))

    @classmethod
    def load(cls, source: str | Path) -> Nebula:
        """Read a nebula from a JSON file, or a shipped one (``default``, ``drum``) by name.

        An existing path wins over a name. Raises NebulaError naming the entry at fault.
        """
        path = find_nebula(source)
        if path is None:
            raise NebulaError(f"no nebula {str(source)!r}: neither a file nor a shipped nebula ({shipped_names()})")
        entries = read_entries(path)
        try:
            nebula = cls.from_json(entries)
        except NebulaError as error:
            raise NebulaError(f"{path}: {error}") from None
        nebula.tell_halved(path)
        return nebula

    def tell_halved(self, path: Path) -> None:
        """Warn of parameters that torchsynth 1.0 plays otherwise than this program does, if the file has any."""
        halved = self.halved
        if halved:
            others = f" and {len(halved) - NAMED} others" if len(halved) > NAMED else ""
            named = ", ".join(map(shortened, halved[:NAMED])) + others
            warn_once(
                f"{path}: symmetric with a curve of exactly 1: {named}; torchsynth 1.0 plays only the upper half of "
                f"such a range, nebula-tune the whole of it. With {ALMOST_LINEAR} in the place of 1 both play the whole"
            )

    @property
    def halved(self) -> list[str]:
        """Parameters of torchsynth's Voice whose range torchsynth 1.0 halves: symmetric, with a curve of exactly 1.

        What a partial nebula does not list is as in torchsynth's default.
        """
        names = [
            name
            for name in dict.fromkeys([*self.curves, *self.symmetric])
            if not self.origin and self.curves.get(name, 1) == 1 and self.symmetric.get(name, True)
        ]
        if not names:
            return []
        default = Nebula.from_entries(read_json(shipped("nebulae") / "default.json"))
        return [
            name
            for name in names
            if name in default.curves
            and self.curves.get(name, default.curves[name]) == 1
            and self.symmetric.get(name, default.symmetric[name])
        ]

    @classmethod
    def from_json(cls, data: Any) -> Nebula:
        """Build from what :meth:`as_json` gives: torchsynth's list, or an object that says of which synth it is."""
        if not (isinstance(data, dict) and data.get("format") == FORMAT):
            return cls.from_entries(data)
        if data.get("version") != VERSION:
            raise NebulaError(f"nebula format version {brief(data.get('version'))}; this program reads {VERSION}")
        origin = {key: data[key] for key in ORIGIN if key in data}
        if data.keys() != {"format", "version", "parameters", *ORIGIN} or not _is_strings(list(origin.values())):
            raise NebulaError(f"such a nebula has {', '.join(ORIGIN)} (texts) and parameters, and nothing else")
        return replace(cls.from_entries(data["parameters"]), origin=origin)

    def as_json(self) -> Any:
        """The file's content: torchsynth's list where the nebula is of no panel."""
        entries = self.entries()
        return {"format": FORMAT, "version": VERSION, **self.origin, "parameters": entries} if self.origin else entries

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
            shown = shortened(name)
            if kind == "curve":
                if name in curves:
                    raise NebulaError(f"entry {number}: curve of {shown} is given twice")
                if isinstance(value, bool) or not isinstance(value, int | float):
                    what = f"curve of {shown} is {brief(value)}"
                    raise NebulaError(f"entry {number}: {what}; a curve is a number above 0")
                curves[name] = float(value) if abs(value) <= LARGEST_CURVE else value
            else:
                if name in symmetric:
                    raise NebulaError(f"entry {number}: symmetric of {shown} is given twice")
                if value not in (True, False, 0, 1):
                    raise NebulaError(f"entry {number}: symmetric of {shown} is {brief(value)}; it is true or false")
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
                if curve == 1 and self.symmetric.get(name, False) and not self.origin:
                    curve = ALMOST_LINEAR
                result.append({"name": [module, parameter, "curve"], "value": curve})
            if name in self.symmetric:
                result.append({"name": [module, parameter, "symmetric"], "value": self.symmetric[name]})
        return result

    def to_json(self) -> str:
        """The file's text; equal nebulae give equal text."""
        return json.dumps(self.as_json(), indent=1) + "\n"

    def save(self, path: str | Path) -> None:
        """Write the JSON file atomically."""
        write_atomically(path, self.to_json().encode())


def read_entries(path: Path) -> Any:
    """Data of a nebula's or constellation's file; raises NebulaError for one that cannot be read."""
    try:
        return read_json(path)
    except UnreadableError as error:
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
        raise NebulaError(f'entry {number}: name {brief(name)} is not [module, parameter, "curve" or "symmetric"]')
    return name[0], name[1], name[2], entry["value"]


def _is_strings(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(x, str) for x in value)
