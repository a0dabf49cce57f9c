"""The prior: what is minimised grows with the divergence from the start nebula, in closed form."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from nebula_tune.arrays import Floats
from nebula_tune.search.space import Space
from nebula_tune.trial import Point, Score

PRIOR_FLAG = 0.9  # probability that the prior gives to a flag as the start has it


@dataclass(frozen=True)
class Prior:
    """Adds ``cost`` times the Kullback-Leibler divergence (nats) of a point from the start of ``space`` to its scores.

    A curve c has KL(c || c0) = log(c / c0) + c0 / c - 1, whatever its flag. A free flag that is symmetric with
    probability p has KL(p || p0), p0 being 0.9 where the start is symmetric and 0.1 where it is not, less what the
    start itself has: log 9 for a flag turned over.
    """

    space: Space
    cost: float

    def divergence(self, point: Point) -> float:
        """Divergence from the start in nats; 0 for the start itself."""
        ratio = self.space.start.curves / point.curves
        curves = float(np.sum(ratio - np.log(ratio) - 1))
        p, prior = point.probabilities[self.space.free_flags], self._prior[self.space.free_flags]
        flags = _xlogy(p, p / prior) + _xlogy(1 - p, (1 - p) / (1 - prior)) + np.log(PRIOR_FLAG)
        return curves + float(np.sum(flags))

    def on(self, point: Point, score: Score) -> Score:
        """The point's score with the prior in its value, gradients and curvature.

        That of a flag is of its divergence from what it is; p has another, which may be below zero.
        """
        if self.cost == 0:
            return score
        p, prior = np.clip(point.probabilities, 1e-12, 1 - 1e-12), self._prior
        by_logit = p * (1 - p) * (np.log(p / (1 - p)) - np.log(prior / (1 - prior)))
        open_flags = (point.probabilities > 0) & (point.probabilities < 1)
        return replace(
            score,
            value=score.value + self.cost * self.divergence(point),
            curve_gradient=score.curve_gradient + self.cost * (1 - self.space.start.curves / point.curves),
            flag_gradient=score.flag_gradient + self.cost * np.where(open_flags, by_logit, 0.0),
            prior_curvature=self.cost * np.stack([self.space.start.curves / point.curves, open_flags * p * (1 - p)]),
        )

    @property
    def _prior(self) -> Floats:
        return np.where(self.space.start.symmetric, PRIOR_FLAG, 1 - PRIOR_FLAG)


def _xlogy(x: Floats, y: Floats) -> Floats:
    """x log y, and 0 where x is 0."""
    result: Floats = x * np.log(np.where(x > 0, y, 1.0))
    return result
