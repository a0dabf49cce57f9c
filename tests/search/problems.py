"""Search problems with known answers, and what runs a sampler on them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from nebula_tune.search import Candidate, Sampler, Space
from nebula_tune.trial import Point, Score

NAMES = ("vco.tuning", "vco.depth", "adsr.attack", "adsr.decay", "mixer.noise")
START = Point(np.array([1.0, 0.5, 2.0, 0.025, 1.0]), np.array([1.0, 0.0, 0.0, 0.0, 1.0]))


def space(flags: bool = True, tune: tuple[str, ...] = (), freeze: tuple[str, ...] = (), start: Point = START) -> Space:
    return Space.around(NAMES, start, (0.1, 10.0), flags=flags, tune=tune, freeze=freeze)


def score(value: float, curve: np.ndarray | None = None, flag: np.ndarray | None = None, **changes: object) -> Score:
    """A score, its gradients zero where they are not given."""
    zeros = np.zeros(len(NAMES))
    curve, flag = zeros if curve is None else curve, zeros if flag is None else flag
    fields = {
        "mmd": value,
        "shares": {},
        "flag_information": zeros,
        "deviation": 1.0,
        **changes,
    }
    return Score(value=value, curve_gradient=curve, flag_gradient=flag, **fields)


class Bowl:
    """A quadratic in log curve, and for each parameter the cost of being symmetric; exact gradients, or with noise."""

    def __init__(self, goal: np.ndarray, cost: np.ndarray, noise: float = 0.0, seed: int = 0) -> None:
        self.goal, self.cost, self.noise, self.seed = np.log(goal), cost, noise, seed

    def value(self, point: Point) -> float:
        return float(0.5 * np.sum((np.log(point.curves) - self.goal) ** 2) + self.cost @ point.probabilities)

    def __call__(self, candidate: Candidate) -> Score:
        point, random = candidate.point, np.random.default_rng([self.seed, candidate.draw])
        away = np.log(point.curves) - self.goal
        p = point.probabilities
        noise = self.noise * random.standard_normal((2, len(p)))
        return score(
            self.value(point),
            away + noise[0],
            p * (1 - p) * (self.cost + noise[1]),
            flag_information=p * (1 - p),
            deviation=2.0,
        )


def run(sampler: Sampler, problem: Callable[[Candidate], Score | None]) -> list[list[Candidate]]:
    """All generations, until the sampler asks for no more."""
    generations = []
    while candidates := sampler.ask():
        generations.append(candidates)
        assert len(generations) <= 1000, "no end of trials"
        sampler.tell([problem(candidate) for candidate in candidates])
    return generations


def points(generations: list[list[Candidate]]) -> np.ndarray:
    """Curves and probabilities of all candidates, (candidates, 2 parameters)."""
    return np.array([np.concatenate([c.point.curves, c.point.probabilities]) for g in generations for c in g])
