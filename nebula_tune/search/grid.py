"""Random grid search, stratified (the paper's first phase, section 6)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from nebula_tune.search.sampler import Candidate, Sampler, SamplerSettings, seeded
from nebula_tune.search.space import Space
from nebula_tune.trial import Point, Score

LEVELS = 10  # of a curve; a flag has two


class GridSettings(SamplerSettings):
    """Random grid search, stratified."""

    sampler: Literal["grid"]

    def make(self, space: Space, best: Point, seed: int, sounds: int) -> Grid:
        return Grid(space, self.trials, seed)


class Grid(Sampler):
    """Each parameter takes its levels equally often, in an order of its own.

    Point i is a pure function of (seed, i); point 0 is the start, so no search ends worse than it began. All are
    scored on the same sounds, so that they are compared on equal terms.
    """

    def __init__(self, space: Space, trials: int, seed: int) -> None:
        self.space, self.trials, self.seed = space, trials, seed
        self._asked = False
        self._best = space.start

    def point(self, i: int) -> Point:
        """Grid point number ``i``."""
        if i == 0:
            return self.space.start
        curves = int(self.space.free_curves.sum())
        levels = np.where(np.arange(self.space.dimensions) < curves, LEVELS, 2)
        unit = np.array([self._level(k, i - 1, int(count)) / count for k, count in enumerate(levels)])
        return self.space.from_unit(np.where(levels == 2, 0.25 + unit, (unit * LEVELS + 0.5) / LEVELS))

    def _level(self, dimension: int, i: int, count: int) -> int:
        """Level of a dimension at point i: each block of ``count`` points holds every level once."""
        block, place = divmod(i, count)
        return int(seeded(self.seed, dimension, block).permutation(count)[place])

    def ask(self) -> list[Candidate]:
        if self._asked:
            return []
        self._asked = True
        self._points = [self.point(i) for i in range(self.trials)]
        return [Candidate(point, draw=0) for point in self._points]

    def tell(self, scores: Sequence[Score | None]) -> None:
        scored = [(score.value, i) for i, score in enumerate(scores) if score is not None]
        if scored:
            self._best = self._points[min(scored)[1]]

    def result(self) -> Point:
        return self._best
