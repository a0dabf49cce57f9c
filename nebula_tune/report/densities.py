"""How a nebula's parameters are distributed, in closed form: before and after, most changed first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nebula_tune.arrays import Floats
from nebula_tune.nebula import Nebula
from nebula_tune.synth.parameters import Panel, Parameter

BINS = 48
TALLEST = 8.0  # times an even spread: bars are cut there
FINE = 2001  # places where two distributions are compared
WIDTH, HEIGHT = 192.0, 48.0  # of a picture


def cumulative(unit: Floats, curve: float, symmetric: bool) -> Floats:
    """Share of sounds whose parameter lies below ``unit`` of its range (0..1).

    The inverse of the way from raw to unit values (section 3.3): u = t^c, or mirrored around the middle.
    """
    if not symmetric:
        return np.asarray(unit**curve)
    deviation = 2 * unit - 1
    return np.asarray((1 + np.sign(deviation) * np.abs(deviation) ** curve) / 2)


def quantile(share: float, curve: float, symmetric: bool) -> float:
    """Inverse of :func:`cumulative`, 0..1."""
    if not symmetric:
        return float(share ** (1 / curve))
    deviation = 2 * share - 1
    return float((1 + np.sign(deviation) * abs(deviation) ** (1 / curve)) / 2)


@dataclass(frozen=True)
class ParameterDensity:
    """One parameter under one nebula, for the page: curve and flag, median and middle 90 % in words, and a picture."""

    curve: float
    symmetric: bool
    median: str
    middle: str
    path: str  # of an SVG, WIDTH x HEIGHT


@dataclass(frozen=True)
class Change:
    """One parameter before and after. ``moved``: how far its sounds moved on average, as a share of the range."""

    name: str
    unit: str
    lowest: str
    highest: str
    moved: float
    before: ParameterDensity
    after: ParameterDensity | None


def changes(panel: Panel, before: Nebula, after: Nebula | None) -> list[Change]:
    """Every parameter of a synth, the most changed first. ``moved`` is the first Wasserstein distance."""
    fine = np.linspace(0, 1, FINE)
    first = panel.complete(before)
    second = panel.complete(after) if after else None
    rows = []
    for parameter in panel.parameters:
        name = parameter.full_name
        density_before = first.curves[name], first.symmetric[name]
        density_after = (second.curves[name], second.symmetric[name]) if second else None
        moved = (
            float(np.abs(cumulative(fine, *density_before) - cumulative(fine, *density_after)).mean())
            if density_after
            else 0.0
        )
        rows.append(
            Change(
                name,
                parameter.unit,
                human(parameter, 0.0, False),
                human(parameter, 1.0),
                moved,
                _spread(parameter, *density_before),
                _spread(parameter, *density_after) if density_after else None,
            )
        )
    return sorted(rows, key=lambda change: -change.moved)


def human(parameter: Parameter, unit: float, named: bool = True) -> str:
    """A value in human units, three digits, with the unit's name or without."""
    value = parameter.minimum + (parameter.maximum - parameter.minimum) * unit
    small = abs(value) < 1e-6 * (parameter.maximum - parameter.minimum)
    digits = "0" if small else f"{value:.3g}" if 1e-3 <= abs(value) < 1000 else f"{value:.0e}"
    return f"{digits} {parameter.unit}".strip() if named else digits


def _spread(parameter: Parameter, curve: float, symmetric: bool) -> ParameterDensity:
    low, median, high = (quantile(share, curve, symmetric) for share in (0.05, 0.5, 0.95))
    middle = f"{human(parameter, low, False)} … {human(parameter, high)}"
    return ParameterDensity(curve, symmetric, human(parameter, median), middle, _outline(curve, symmetric))


def _outline(curve: float, symmetric: bool) -> str:
    """A histogram's outline, its bars' heights exact."""
    mass = np.diff(cumulative(np.linspace(0, 1, BINS + 1), curve, symmetric)) * BINS
    tops = HEIGHT * (1 - np.minimum(mass, TALLEST) / TALLEST)
    step = WIDTH / BINS
    bars = "".join(f"V{top:.1f}h{step:g}" for top in tops)
    return f"M0 {HEIGHT:g}{bars}V{HEIGHT:g}Z"
