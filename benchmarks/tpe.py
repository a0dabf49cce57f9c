"""Optuna's TPE behind the samplers' interface, for benchmarks/search.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nebula_tune.search import Candidate, Sampler, Space
from nebula_tune.trial import Point, Score


class Tpe(Sampler):
    """Optuna's TPE, each dimension by itself as it does by default; the start nebula first."""

    def __init__(self, space: Space, trials: int, seed: int) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.space, self.trials = space, trials
        self._study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed, multivariate=False))
        self._study.enqueue_trial(self._params(space.start))
        self._best, self._lowest = space.start, np.inf
        self._done = 0

    def _params(self, point: Point) -> dict[str, Any]:
        curves = {f"{name}.curve": float(c) for name, c in zip(self.space.names, point.curves, strict=True)}
        return curves | {f"{n}.flag": bool(s) for n, s in zip(self.space.names, point.symmetric, strict=True)}

    def ask(self) -> list[Candidate]:
        if self._done == self.trials:
            return []
        self._trial = self._study.ask()
        suggest, space = self._trial, self.space
        ranges = zip(space.names, space.low.tolist(), space.high.tolist(), strict=True)
        curves = [suggest.suggest_float(f"{name}.curve", low, high, log=True) for name, low, high in ranges]
        flags = [suggest.suggest_categorical(f"{name}.flag", [False, True]) for name in space.names]
        self._point = Point(np.array(curves), np.array(flags, dtype=float))
        return [Candidate(self._point, draw=self._done)]

    def tell(self, scores: Sequence[Score | None]) -> None:
        self._done += 1
        value = scores[0].value if scores[0] else None
        if value is not None and value < min(
            (t.value for t in self._study.trials if t.value is not None), default=np.inf
        ):
            self._best = self._point
        self._study.tell(self._trial, value)

    def result(self) -> Point:
        return self._best
