"""CMA-ES in the unit cube."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nebula_tune.search import Candidate, CmaEs, Sampler, Space
from nebula_tune.search.cmaes import reflect
from nebula_tune.trial import Point, Score
from tests.search.contract import SamplerContract
from tests.search.problems import START, points, run, score, space


class TestCmaEs(SamplerContract):
    def make(self, space: Space, start: Point = START, trials: int = 50, seed: int = 1) -> Sampler:
        return CmaEs(space, start, trials, seed=seed, population=8, sigma=0.4)


def bowl(here: Space, goal: np.ndarray) -> object:
    def value(candidate: Candidate) -> Score:
        return score(float(np.sum((here.to_unit(candidate.point) - goal) ** 2)))

    return value


@pytest.mark.parametrize("free", ["adsr.attack", "adsr.*", "*"])
def test_a_quadratic_in_the_cube_is_minimised(free: str) -> None:
    here = space(flags=False, tune=(free,))
    goal = np.linspace(0.2, 0.9, here.dimensions)
    cmaes = CmaEs(here, START, trials=900, seed=2, population=18, sigma=0.2)
    run(cmaes, bowl(here, goal))
    np.testing.assert_allclose(here.to_unit(cmaes.result()), goal, atol=1e-3)


def test_flags_are_found_too() -> None:
    here = space()
    goal = np.array([*[0.3] * 5, 0.25, 0.75, 0.25, 0.75, 0.25])
    cmaes = CmaEs(here, START, trials=600, seed=2, population=24, sigma=0.2)
    run(cmaes, bowl(here, goal))
    assert cmaes.result().probabilities.tolist() == [0, 1, 0, 1, 0]


def test_a_minimum_on_the_wall_is_reached() -> None:
    here = space(flags=False)
    cmaes = CmaEs(here, START, trials=600, seed=2, population=12, sigma=0.2)
    run(cmaes, bowl(here, np.full(5, 1.2)))
    assert (here.to_unit(cmaes.result()) > 0.97).all()


def test_a_generation_shares_its_sounds_and_the_last_may_be_short() -> None:
    generations = run(CmaEs(space(), START, 30, seed=0, population=12, sigma=0.1), lambda _: score(0.0))
    assert [len(generation) for generation in generations] == [12, 12, 6]
    assert [{c.draw for c in generation} for generation in generations] == [{0}, {1}, {2}]


def test_a_short_last_generation_is_not_told() -> None:
    whole, short = (CmaEs(space(), START, trials, seed=0, population=12, sigma=0.1) for trials in (24, 30))
    for sampler in (whole, short):
        run(sampler, bowl(sampler.space, np.full(10, 0.3)))
    assert np.array_equal(whole.result().curves, short.result().curves)


def test_the_seed_decides_the_points() -> None:
    first, second = (points([CmaEs(space(), START, 10, seed=seed, population=10, sigma=0.1).ask()]) for seed in (0, 1))
    assert not np.isin(first[:, :5], second[:, :5]).any()


def test_before_any_score_the_result_is_the_start() -> None:
    assert CmaEs(space(), START, 10, seed=0, population=10, sigma=0.1).result() is START


def test_a_trial_without_a_score_counts_as_the_worst() -> None:
    # the half of the cube where trials fail is left
    here = space(flags=False, tune=("vco.depth",))
    sampler = CmaEs(here, START, 300, seed=0, population=10, sigma=0.2)

    def failing(candidate: Candidate) -> Score | None:
        unit = float(here.to_unit(candidate.point)[0])
        return None if unit > 0.6 else score(-unit)

    run(sampler, failing)
    assert 0.5 < here.to_unit(sampler.result())[0] <= 0.62


@given(st.lists(st.floats(-50, 50), min_size=1, max_size=5))
def test_reflection_folds_at_the_walls(values: list[float]) -> None:
    folded = reflect(np.array(values))
    assert ((folded >= 0) & (folded <= 1)).all()
    np.testing.assert_allclose(reflect(-np.array(values)), folded, atol=1e-12)
    np.testing.assert_allclose(reflect(2 - np.array(values)), folded, atol=1e-12)
    inside = np.clip(values, 0, 1)
    assert np.array_equal(reflect(inside), inside)
