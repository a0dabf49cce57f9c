"""Vital's controls: their ranges as people write them, by what the instrument itself says of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from nebula_tune.synth.vital.player import described

SMALLEST = 2.0**-30  # of what has a logarithm
# Of each scale of Vital's: from its own value to the one that it shows, and back.
SCALES: Mapping[str, tuple[Callable[[float], float], Callable[[float], float]]] = {
    "Linear": (lambda value: value, lambda human: human),
    "Indexed": (lambda value: value, lambda human: human),
    "Quadratic": (lambda value: value**2, lambda human: human ** (1 / 2)),
    "Cubic": (lambda value: value**3, lambda human: human ** (1 / 3)),
    "Quartic": (lambda value: value**4, lambda human: human ** (1 / 4)),
    "SquareRoot": (lambda value: value ** (1 / 2), lambda human: human**2),
    "Exponential": (lambda value: 2.0**value, lambda human: math.log2(max(human, SMALLEST))),
}
UNITS = {"secs": "s", "v": "voices"}


@dataclass(frozen=True)
class VitalControl:
    """One control: ends and default in Vital's own scale, and how it shows them.

    Cutoffs are in MIDI notes, rates in Hz; everything else is as Vital shows it: seconds, %, dB, semitones.
    """

    name: str
    low: float
    high: float
    default: float
    scale: str
    multiply: float
    offset: float
    unit: str
    options: tuple[str, ...]
    discrete: bool

    def to_human(self, internal: float) -> float:
        """A value in Vital's own scale, in human units."""
        return (SCALES[self.scale][0](internal) + self.offset) * self.multiply

    def to_internal(self, human: float) -> float:
        """Inverse of :meth:`to_human`, within the ends; of a discrete control the nearest step."""
        value = SCALES[self.scale][1](human / self.multiply - self.offset)
        return min(max(round(value) if self.discrete else value, self.low), self.high)

    @property
    def ends(self) -> tuple[float, float]:
        """Lowest and highest value in human units."""
        return self.to_human(self.low), self.to_human(self.high)

    @property
    def numbered(self) -> bool:
        """Whether its steps have names."""
        return len(self.options) == round(self.high - self.low) + 1

    def value(self, written: float | str | bool) -> float:
        """What a panel writes, a number in human units or the name of a step, as that number. Raises ValueError."""
        if isinstance(written, str):
            return self._step(written)
        low, high = self.ends
        slack = 1e-6 * (high - low)
        if not low - slack <= written <= high + slack:
            raise ValueError(f"{written:g} is outside {low:.6g} … {high:.6g} {self.unit}".rstrip())
        if isinstance(written, bool) and not self.discrete:
            raise ValueError(f"it is a number, {low:.6g} … {high:.6g} {self.unit}".rstrip())
        if self.discrete and written != round(written):
            raise ValueError(f"{written:g}: it has whole steps, {low:g} … {high:g}")
        return float(written)

    def _step(self, word: str) -> float:
        named = [option.casefold() for option in self.options] if self.numbered else []
        if word.casefold() in named:
            return named.index(word.casefold()) + self.low
        known = ", ".join(self.options) if named else "it takes a number"
        raise ValueError(f"no step {word!r}: {known}")


@cache
def vital_controls() -> dict[str, VitalControl]:
    """All controls by name. Raises SettingsError where there is no vita."""
    return {name: _control(name, **said) for name, said in described()["controls"].items()}


@cache
def modulators() -> frozenset[str]:
    """Names of what can move a control."""
    return frozenset(described()["sources"])


@cache
def movable() -> frozenset[str]:
    """Names of the controls that can be moved."""
    return frozenset(described()["destinations"])


def _control(
    name: str, *, multiply: float, offset: float, unit: str, options: list[str], **others: Any
) -> VitalControl:
    """A control, in the units that people write, of what Vital says of it."""
    if others["discrete"]:
        multiply, offset = 1.0, 0.0
    elif name.endswith(("cutoff", "_center")):
        multiply, offset, unit = 1.0, 0.0, "MIDI note"
    elif name.endswith("_frequency"):
        unit = "Hz"
    elif name.endswith("_tune"):
        unit = "cents"
    elif name.endswith("_transpose"):
        unit = "semitones"
    return VitalControl(
        name, multiply=multiply, offset=offset, unit=UNITS.get(unit, unit), options=tuple(options), **others
    )
