"""From the nearest of a pool to nearer ones: several searches, the worse half of which ends early.

Coordinates are the Gaussian ones of raw draws, so that what is drawn from is the standard normal law and no step leads
out of a parameter's range. Each is searched in steps of its spread among the pool's nearest sounds: what matters to
the target is narrow there, what does not is wide.

A round of a search is a population of separable CMA-ES (Ros and Hansen 2008), which learns from distances alone. But
each is a sum over the numbers of a vector, and how these change with the coordinates tells more: it is regressed from
the latest rounds, and damped Gauss-Newton steps (Marquardt 1963) lead to where the sum would then be least. These take
the places of a few points of the population, and CMA-ES is told of them as of its own (Hansen 2011).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from cmaes import SepCMA
from threadpoolctl import threadpool_limits

from nebula_tune.arrays import Floats, Raw
from nebula_tune.synth.placing import to_gaussian, to_raw

SEARCHES = 8  # at most
POPULATION = 24  # sounds of a search in one round
LEAST_ROUNDS = 10  # of each search, if all went on to the end
STEP = 0.3  # the first step, over the spread of the nearest
LEAST_SPREAD = 0.05  # of a coordinate, in Gaussian units

LEARNED = 300  # of the latest points of a search, those that it learns from
KEPT = -(-LEARNED // POPULATION)  # rounds that hold these
FIRST = 3  # rounds before it learns
FAR = 2.0  # standard deviations a coordinate (root mean square) from the nearest at which a point weighs half
RIDGE = 1.0  # over the points' variance
DAMPING, STRIDES = (0.03, 0.3), (1.0, 0.5)  # over the mean curvature; over the step: a Gauss-Newton step for each pair
LEAST_RESIDUAL = 0.02  # over the mean of a vector's numbers: smaller ones weigh no more

Measure = Callable[[Raw, int], Floats]  # residuals (sounds, D) of raw parameters, noise from an index on


@dataclass
class NearPreset:
    """A preset: raw parameters (parameters,), the index that its noise goes by, and residuals (D,) against a target.

    These are differences of vectors in such units that their absolute values sum to the distance, ``total``.
    """

    raw: Raw
    index: int
    residuals: Floats

    @property
    def total(self) -> float:
        """The distance."""
        return float(np.abs(self.residuals).sum())


@dataclass
class _Search:
    """One search: the nearest that it has found, where that is, and its latest rounds; all in its own coordinates."""

    nearest: NearPreset
    center: Floats  # Gaussian coordinates
    optimizer: SepCMA
    place: Floats
    points: deque[Floats] = field(default_factory=lambda: deque(maxlen=KEPT))
    residuals: deque[Floats] = field(default_factory=lambda: deque(maxlen=KEPT))

    def ask(self) -> Floats:
        """The next round's points (POPULATION, coordinates)."""
        points = np.stack([self.optimizer.ask() for _ in range(POPULATION)])
        if len(self.points) >= FIRST:
            steps = self._steps()
            points[-len(steps) :] = self.place + steps
        return points

    def tell(self, points: Floats, raw: Raw, index: int, residuals: Floats) -> None:
        """What came of a round."""
        totals = np.abs(residuals).sum(axis=1)
        self.optimizer.tell(list(zip(points, totals.tolist(), strict=True)))
        self.points.append(points)
        self.residuals.append(residuals)
        best = int(totals.argmin())
        if totals[best] < self.nearest.total:
            self.nearest, self.place = NearPreset(raw[best], index + best, residuals[best]), points[best]

    def _steps(self) -> Floats:
        """Gauss-Newton steps (pairs of damping and stride, coordinates) from the nearest."""
        points, residuals = (np.concatenate(list(rounds))[-LEARNED:] for rounds in (self.points, self.residuals))
        scale = points[-FIRST * POPULATION :].std(axis=0)
        away, change = (points - self.place) / scale, residuals - self.nearest.residuals
        weight = 1 / (1 + np.square(away).mean(axis=1, keepdims=True) / FAR**2)
        unit = np.eye(len(scale))
        slopes = np.linalg.solve((weight * away).T @ away + RIDGE * unit, (weight * away).T @ change)
        here = self.nearest.residuals
        # A sum of absolute values, as squares that are weighed by what they are now.
        heavy = slopes / np.maximum(np.abs(here), LEAST_RESIDUAL * np.abs(here).mean() + 1e-12)
        curvature = heavy @ slopes.T
        mean = curvature.trace() / len(unit) + 1e-12
        steps = [np.linalg.solve(curvature + damping * mean * unit, heavy @ -here) for damping in DAMPING]
        return np.stack([stride * scale * step for step in steps for stride in STRIDES])


def refine(
    nearest: list[NearPreset],
    measure: Measure,
    *,
    renders: int,
    first_index: int,
    seed: int,
    progress: Callable[[int, int], None],
) -> list[NearPreset]:
    """What searches from the nearest presets have found, and those that were not searched from, nearest first.

    Args:
        nearest: presets of a pool, nearest first.
        measure: renders sounds and tells their residuals.
        renders: sounds that may be rendered in all.
        first_index: the index that the first of them takes its noise from.
        seed: of the searches.
        progress: called with the sounds that are rendered and how many there will be.
    """
    count = min(SEARCHES, len(nearest), max(1, renders // (LEAST_ROUNDS * POPULATION)))
    spread = np.maximum(to_gaussian(np.stack([near.raw for near in nearest])).std(axis=0), LEAST_SPREAD)
    searches = [_begin(start, seed + k) for k, start in enumerate(nearest[:count])]
    rendered, ended = 0, [*nearest[count:]]
    halve_at = [renders // 8, renders // 4, renders // 2]
    with threadpool_limits(1, "blas"):  # sums that do not depend on the machine's cores
        while rendered + POPULATION * len(searches) <= renders:
            points = [search.ask() for search in searches]
            places = [search.center + spread * some for search, some in zip(searches, points, strict=True)]
            raw = to_raw(np.concatenate(places))
            residuals = measure(raw, first_index + rendered)
            for k, (search, some) in enumerate(zip(searches, points, strict=True)):
                rows = slice(k * POPULATION, (k + 1) * POPULATION)
                search.tell(some, raw[rows], first_index + rendered + rows.start, residuals[rows])
            rendered += len(raw)
            progress(rendered, renders)
            if halve_at and rendered >= halve_at[0]:
                halve_at.pop(0)
                searches.sort(key=lambda search: search.nearest.total)
                keep = -(-len(searches) // 2)
                ended += [search.nearest for search in searches[keep:]]
                searches = searches[:keep]
    progress(renders, renders)
    return sorted((*ended, *(search.nearest for search in searches)), key=lambda preset: preset.total)


def _begin(start: NearPreset, seed: int) -> _Search:
    zeros = np.zeros(len(start.raw))
    optimizer = SepCMA(mean=zeros, sigma=STEP, seed=seed % 2**32, population_size=POPULATION)
    return _Search(start, to_gaussian(start.raw), optimizer, zeros)
