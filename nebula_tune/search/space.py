"""The space of a search: which curves and flags may move, and how far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from nebula_tune.arrays import Floats
from nebula_tune.errors import SettingsError
from nebula_tune.trial import Point


@dataclass(frozen=True)
class Space:
    """Free curves (log-uniform between ``low`` and ``high``) and free flags; all else stays as in ``start``.

    Arrays are (parameters,), in the synth's registration order.
    """

    names: tuple[str, ...]
    start: Point
    low: Floats
    high: Floats
    free_curves: NDArray[np.bool_]
    free_flags: NDArray[np.bool_]

    @classmethod
    def around(
        cls,
        names: Sequence[str],
        start: Point,
        curve_range: tuple[float, float],
        *,
        flags: bool,
        tune: Sequence[str] = (),
        freeze: Sequence[str] = (),
    ) -> Space:
        """Space around a start nebula; a parameter's range is widened to include its start curve.

        Args:
            names: of the parameters, ``module.parameter``.
            start: the start nebula.
            curve_range: lowest and highest curve.
            flags: whether flags may change.
            tune: globs over names: only parameters that match may change; none: all may.
            freeze: globs over names: parameters that match stay as they are.

        Raises:
            SettingsError: for a glob that matches nothing, or where nothing is left to tune.
        """
        free = np.array([_matches(name, tune, True) and not _matches(name, freeze, False) for name in names])
        for glob in [*tune, *freeze]:
            if not any(fnmatchcase(name, glob) for name in names):
                raise SettingsError(
                    f"{glob!r} matches no parameter; names look like {names[0]!r}, globs like 'vco_*.*'"
                )
        if not free.any():
            raise SettingsError("every parameter is frozen: nothing is left to tune")
        low = np.minimum(curve_range[0], start.curves)
        high = np.maximum(curve_range[1], start.curves)
        return cls(tuple(names), start, low, high, free, free & flags)

    @cached_property
    def dimensions(self) -> int:
        """Free curves and free flags."""
        return int(self.free_curves.sum() + self.free_flags.sum())

    def clip(self, point: Point) -> Point:
        """The nearest point inside the ranges, frozen parameters as in the start."""
        curves = np.where(self.free_curves, np.clip(point.curves, self.low, self.high), self.start.curves)
        return Point(curves, np.where(self.free_flags, point.probabilities, self.start.probabilities))

    def to_unit(self, point: Point) -> Floats:
        """Free curves by their logarithm, then free flags (0.25 plain, 0.75 symmetric), each in 0..1."""
        log_low, log_high = np.log(self.low), np.log(self.high)
        curves = (np.log(point.curves) - log_low) / (log_high - log_low)
        flags = 0.25 + 0.5 * point.symmetric
        return np.concatenate([curves[self.free_curves], flags[self.free_flags]])

    def from_unit(self, unit: Floats) -> Point:
        """The nebula at a place of the unit cube; flags are cut at one half."""
        count = int(self.free_curves.sum())
        curves, flags = self.start.curves.copy(), self.start.probabilities.copy()
        log_low, log_high = np.log(self.low[self.free_curves]), np.log(self.high[self.free_curves])
        curves[self.free_curves] = np.exp(log_low + unit[:count] * (log_high - log_low))
        flags[self.free_flags] = unit[count:] > 0.5
        return self.clip(Point(curves, flags))


def _matches(name: str, globs: Sequence[str], if_none: bool) -> bool:
    return any(fnmatchcase(name, glob) for glob in globs) if globs else if_none
