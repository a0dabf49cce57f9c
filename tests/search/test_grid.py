"""Random grid search."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from nebula_tune.search import Grid, Sampler, Space
from nebula_tune.search.grid import LEVELS
from nebula_tune.trial import Point
from tests.search.contract import SamplerContract
from tests.search.problems import START, points, run, score, space


class TestGrid(SamplerContract):
    def make(self, space: Space, start: Point = START, trials: int = 50, seed: int = 1) -> Sampler:
        return Grid(space, trials, seed)  # which knows one start, the space's


@pytest.mark.parametrize("blocks", [1, 3])
def test_every_level_is_taken_equally_often(blocks: int) -> None:
    here = space()
    asked = Grid(here, blocks * LEVELS + 1, seed=3).ask()
    units = np.array([here.to_unit(candidate.point) for candidate in asked[1:]])
    for k in range(here.dimensions):
        levels = (np.arange(LEVELS) + 0.5) / LEVELS if k < 5 else [0.25, 0.75]
        counts = Counter(np.round(units[:, k], 9).tolist())
        assert counts == {round(level, 9): blocks * LEVELS // len(levels) for level in levels}


def test_dimensions_are_independent_of_each_other() -> None:
    here = space()
    units = np.array([here.to_unit(Grid(here, 1, seed).point(1)) for seed in range(400)])
    correlation = np.corrcoef(units.T)[~np.eye(10, dtype=bool)]
    assert np.abs(correlation).max() < 0.2
    np.testing.assert_allclose(units.mean(axis=0), 0.5, atol=0.06)


def test_a_point_is_a_function_of_seed_and_number_alone() -> None:
    few, many = (points([Grid(space(), trials, 5).ask()]) for trials in (7, 33))
    assert np.array_equal(few, many[:7])
    assert np.array_equal(points([Grid(space(), 33, 5).ask()]), many)
    other = points([Grid(space(), 33, 6).ask()])
    assert not np.array_equal(other[1:], many[1:])
    assert len(np.unique(many, axis=0)) == 33


def test_point_0_is_the_start_and_all_are_compared_on_the_same_sounds() -> None:
    asked = Grid(space(), 9, 0).ask()
    assert np.array_equal(asked[0].point.curves, START.curves)
    assert np.array_equal(asked[0].point.probabilities, START.probabilities)
    assert {candidate.draw for candidate in asked} == {0}


def test_the_result_is_the_best_point() -> None:
    scores = [score(3.0), score(2.0), None, score(-1.0), score(-1.0), score(5.0)]
    grid, left = Grid(space(), len(scores), 0), iter(scores)
    run(grid, lambda _: next(left))
    assert grid.result() is grid._points[3]
