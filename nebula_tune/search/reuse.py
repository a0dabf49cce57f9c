"""Sounds of earlier trials, reused for a nebula nearby by importance weights.

A sound rendered for curves c has under curves c' the density ratio w = prod (c'/c) rho^(c' - c), where log rho is
log r / c of its raw draw. Its witness is reused as it was; its score under c' is 1 + c' log rho. Nothing of a sound is
kept but its advantage: the draw follows from its index.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nebula_tune.arrays import Floats
from nebula_tune.trial import Point, Score

LEAST_SHARE = 0.5  # of a trial's sounds that count under the weights; about 0.09 of log curve in each of 78

LogRadii = Callable[[int, NDArray[np.bool_]], Floats]


def effective_share(curves: Floats, new: Floats) -> float:
    """The share of sounds of ``curves`` that is as good as sounds of ``new``, each (parameters,): of the population.

    prod 1 - (1 - c/c')^2, and 0 where any c' <= c/2. The sample's own (sum w)^2 / sum w^2 flatters.
    """
    if (new <= curves / 2).any():
        return 0.0
    return float(np.prod(1 - (1 - curves / new) ** 2))


@dataclass(frozen=True)
class Trial:
    """What is kept of a trial: its curves, log radii of its draws (sounds, parameters), advantages over deviation."""

    curves: Floats
    log_radii: Floats
    advantages: Floats

    def gradient(self, new: Floats) -> Floats:
        """The gradient by log curve at other curves, (parameters,), by self-normalised weights."""
        log_rho = self.log_radii / self.curves
        log_weights = log_rho @ (new - self.curves)  # less what all sounds have in common
        weights = np.exp(log_weights - log_weights.max())
        scores = 1 + new * log_rho
        result: Floats = (weights * self.advantages) @ scores / weights.sum()
        return result


class Reuse:
    """The last few trials with decided flags, and the mean of their gradients and a new one.

    Args:
        log_radii: (draw, flags) to the log radii of that set of sounds, (sounds, parameters).
        trials: how many are remembered.
    """

    def __init__(self, log_radii: LogRadii, trials: int) -> None:
        self._log_radii = log_radii
        self._kept: deque[Trial] = deque(maxlen=trials)

    def improved(self, gradient: Floats, point: Point, scored: Sequence[tuple[Score, int]]) -> Floats:
        """The gradient of new trials at a point, averaged with what earlier ones say of it; they are then kept too.

        What is in the gradient beside the sounds' own (a leash to a prior) stays as it is.
        """
        new = [
            Trial(point.curves, self._log_radii(draw, point.symmetric), score.advantages / score.deviation)
            for score, draw in scored
        ]
        own = np.mean([trial.gradient(point.curves) for trial in new], axis=0)
        total, weight = own * len(new), float(len(new))
        for trial in self._kept:
            share = effective_share(trial.curves, point.curves)
            if share > LEAST_SHARE:
                total, weight = total + share * trial.gradient(point.curves), weight + share
        self._kept.extend(new)
        result: Floats = gradient - own + total / weight
        return result
