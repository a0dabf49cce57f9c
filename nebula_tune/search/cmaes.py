"""CMA-ES (the paper's second phase, section 6): the cmaes package, driven directly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from cmaes import SepCMA
from pydantic import Field

from nebula_tune.arrays import Floats
from nebula_tune.search.sampler import Candidate, Sampler, SamplerSettings
from nebula_tune.search.space import Space
from nebula_tune.trial import Point, Score


class CmaEsSettings(SamplerSettings):
    """Separable CMA-ES; without a population CMA-ES's own, 4 + 3 log(dimensions)."""

    sampler: Literal["cmaes"]
    population: Annotated[int, Field(ge=2)] | None = 48
    sigma: Annotated[float, Field(gt=0, le=1)] = 0.08

    def make(self, space: Space, best: Point, seed: int, sounds: int) -> CmaEs:
        population = self.population or 4 + int(3 * np.log(space.dimensions))
        return CmaEs(space, best, self.trials, seed=seed, population=population, sigma=self.sigma)


class CmaEs(Sampler):
    """Separable CMA-ES in the unit cube, unbounded inside and reflected at the walls.

    A generation shares one set of sounds. The unreflected points are told, so the distribution stays Gaussian.
    A trial without a score counts as the worst of its generation.

    Args:
        space: the search space.
        start: where the distribution begins.
        trials: how many trials in all; the last generation may be cut short, and is then not told.
        seed: of the distribution's draws.
        population: trials a generation.
        sigma: first standard deviation, as a share of each range.
    """

    def __init__(self, space: Space, start: Point, trials: int, *, seed: int, population: int, sigma: float) -> None:
        self.space, self.trials, self.population = space, trials, max(2, min(population, trials))
        mean = space.to_unit(space.clip(start))
        if len(mean) == 1:  # the package refuses a single dimension: a second one that changes nothing
            mean = np.append(mean, 0.5)
        self._optimizer = SepCMA(mean=mean, sigma=sigma, population_size=self.population, seed=seed)
        self._start = start
        self._generation = 0
        self._asked: list[Floats] = []

    def ask(self) -> list[Candidate]:
        left = self.trials - self._generation * self.population
        self._asked = [self._optimizer.ask() for _ in range(min(self.population, max(left, 0)))]
        return [Candidate(self._point(unit), draw=self._generation) for unit in self._asked]

    def tell(self, scores: Sequence[Score | None]) -> None:
        self._generation += 1
        values = [score.value for score in scores if score is not None]
        if len(scores) < self.population or not values:
            return
        losses = [max(values) if score is None else score.value for score in scores]
        self._optimizer.tell(list(zip(self._asked, losses, strict=True)))

    def result(self) -> Point:
        """The mean of the distribution: under noise it beats the best single trial."""
        if self._generation == 0:
            return self._start
        return self._point(np.asarray(self._optimizer.mean))

    def _point(self, unit: Floats) -> Point:
        return self.space.from_unit(reflect(unit)[: self.space.dimensions])


def reflect(unit: Floats) -> Floats:
    """Fold any real numbers back into 0..1 at its walls."""
    folded = np.mod(unit, 2.0)
    result: Floats = np.where(folded > 1, 2 - folded, folded)
    return result
