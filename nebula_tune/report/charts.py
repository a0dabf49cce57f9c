"""Figures of a report as plain numbers and SVG paths, so that the page's own style colours them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nebula_tune.results import figure
from nebula_tune.storage.store import Stored

WIDTH = 760.0
MOST_DOTS = 700


@dataclass(frozen=True)
class Mark:
    """A place on an axis and what stands there."""

    at: float
    text: str


@dataclass(frozen=True)
class Dot:
    """A trial in the convergence figure."""

    x: float
    y: float
    phase: int
    relaxed: bool


@dataclass(frozen=True)
class Convergence:
    """Trials left to right, distance upwards; ``best`` is the best decided trial so far, as an SVG path."""

    width: float
    height: float
    left: float
    bottom: float
    dots: list[Dot]
    best: str
    ticks: list[Mark]
    phases: list[Mark]
    borders: list[float]
    logarithmic: bool
    count: int


def convergence(trials: Sequence[Stored]) -> Convergence | None:
    """The figure of a study's scored trials; None where there are none."""
    scored = sorted((t for t in trials if t.score is not None), key=lambda t: t.key)
    if not scored:
        return None
    width, height, left, bottom = WIDTH, 300.0, 86.0, 262.0
    values = np.array([t.score.value for t in scored if t.score])
    logarithmic = bool(values.min() > 0)
    scaled = np.log10(values) if logarithmic else values
    low, high = float(scaled.min()), float(scaled.max())
    high = high if high > low else low + 1
    x = left + (np.arange(len(scored)) + 0.5) / len(scored) * (width - left - 8)
    y = 8 + (high - scaled) / (high - low) * (bottom - 16)

    names = list(dict.fromkeys(t.key[0] for t in scored))
    step = max(1, len(scored) // MOST_DOTS)
    dots = [
        Dot(round(float(x[k]), 1), round(float(y[k]), 1), names.index(t.key[0]) % 4, t.relaxed)
        for k, t in enumerate(scored)
        if k % step == 0
    ]
    best, path = np.inf, ""
    for k, trial in enumerate(scored):
        if not trial.relaxed and values[k] < best:
            path += f"H{x[k]:.1f}V{y[k]:.1f}" if path else f"M{x[k]:.1f} {y[k]:.1f}"
            best = values[k]
    path += f"H{width - 8:.1f}" if path else ""
    phases, borders = [], []
    for phase in names:
        indices = [k for k, t in enumerate(scored) if t.key[0] == phase]
        phases.append(Mark(round(float(x[indices].mean()), 1), f"{scored[indices[0]].sampler} ({len(indices)})"))
        borders.append(round(float(x[indices[0]] - (x[1] - x[0]) / 2 if len(x) > 1 else left), 1))
    ticks = [
        Mark(round(8 + (high - value) / (high - low) * (bottom - 16), 1), text)
        for value, text in _ticks(low, high, logarithmic)
    ]
    return Convergence(
        width, height, left, bottom, dots, path, ticks, phases, borders[1:], logarithmic, len(scored)
    )  # fmt: skip


def _ticks(low: float, high: float, logarithmic: bool) -> list[tuple[float, str]]:
    if logarithmic:
        decades = np.arange(np.floor(low), np.ceil(high) + 1)
        steps = (1, 2, 5) if high - low < 3 else (1,)
        values = [step * 10.0**decade for decade in decades for step in steps]
        return [(float(np.log10(value)), f"{value:g}") for value in values if low <= np.log10(value) <= high]
    size = 10 ** np.floor(np.log10((high - low) / 3))
    size *= next(step for step in (1, 2, 5, 10) if (high - low) / (size * step) <= 6)
    return [(float(k * size), f"{k * size:g}") for k in range(int(np.ceil(low / size)), int(high // size) + 1)]


@dataclass(frozen=True)
class Bar:
    """A row of the score card's figure: a value with its interval, as places across it."""

    name: str
    value: str
    at: float
    low: float
    high: float


@dataclass(frozen=True)
class Bars:
    """Rows of a score card on one linear axis."""

    width: float
    left: float
    zero: float
    rows: list[Bar]


def bars(rows: Mapping[str, Mapping[str, Any]], value: str) -> Bars:
    """The figure of rows that have ``value`` and ``ci95``."""
    ends = [end for row in rows.values() for end in (*row["ci95"], row[value], 0.0)]
    low, high = min(ends), max(ends)
    left = 170.0

    def place(at: float) -> float:
        return float(round(left + (at - low) / ((high - low) or 1) * (WIDTH - left - 120), 1))

    shown = [
        Bar(name, figure(row[value]), place(row[value]), place(row["ci95"][0]), place(row["ci95"][1]))
        for name, row in rows.items()
    ]
    return Bars(WIDTH, left, place(0.0), shown)
