"""The prior around the start nebula."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad

from nebula_tune.objective import Prior
from nebula_tune.search import CmaEs, Grid, Sampler, Witness
from nebula_tune.trial import Point, Score
from tests.search.problems import START, Bowl, run, score, space

SPACE = space()


def moved(step: float, flips: tuple[int, ...] = ()) -> Point:
    flags = START.probabilities.copy()
    flags[list(flips)] = 1 - flags[list(flips)]
    return Point(START.curves * np.exp(step), flags)


def test_the_start_costs_nothing_and_all_else_does() -> None:
    assert Prior(SPACE.start, SPACE.free_flags, 1.0).divergence(START) == pytest.approx(0)
    for point in (moved(0.3), moved(-0.3), moved(0, (1,)), moved(0, (0, 4))):
        assert Prior(SPACE.start, SPACE.free_flags, 1.0).divergence(point) > 0


@pytest.mark.parametrize("curve", [0.2, 0.5, 3.0])
def test_a_curves_divergence_is_the_integral(curve: float) -> None:
    here = space(tune=("vco.depth",), flags=False)
    start = START.curves[1]
    point = Point(np.where(np.arange(5) == 1, curve, START.curves), START.probabilities)

    def integrand(log_rho: float) -> float:  # over log rho, where the density is c exp(c log rho)
        ratio = np.log(curve / start) + (curve - start) * log_rho
        return curve * np.exp(curve * log_rho) * ratio

    assert Prior(here.start, here.free_flags, 1.0).divergence(point) == pytest.approx(
        quad(integrand, -200, 0, limit=500)[0], rel=1e-6
    )


def test_a_flag_turned_over_costs_log_9() -> None:
    assert Prior(SPACE.start, SPACE.free_flags, 1.0).divergence(moved(0, (2,))) == pytest.approx(np.log(9))
    frozen = space(flags=False)
    assert Prior(frozen.start, frozen.free_flags, 1.0).divergence(moved(0)) == 0


@pytest.mark.parametrize("k", range(5))
def test_gradients_are_slopes(k: int) -> None:
    prior, p = Prior(SPACE.start, SPACE.free_flags, 3.0), np.array([0.3, 0.6, 0.9, 0.1, 0.5])
    point = Point(np.array([0.7, 0.5, 4.0, 1.0, 0.2]), p)
    weighed = prior.on(point, score(1.0))
    assert weighed.value == pytest.approx(1 + 3 * prior.divergence(point)) and weighed.mmd == 1.0
    h, unit = 1e-5, np.eye(5)[k]

    def value(curve: float, logit: float) -> float:
        q = 1 / (1 + (1 / p - 1) * np.exp(-logit * unit))
        return 3 * prior.divergence(Point(point.curves * np.exp(curve * unit), q))

    assert weighed.curve_gradient[k] == pytest.approx((value(h, 0) - value(-h, 0)) / (2 * h), rel=1e-5)
    assert weighed.flag_gradient[k] == pytest.approx((value(0, h) - value(0, -h)) / (2 * h), rel=1e-4, abs=1e-8)


@pytest.mark.parametrize("k", range(5))
def test_the_curvature_of_curves_is_the_slope_of_their_gradient(k: int) -> None:
    prior, p = Prior(SPACE.start, SPACE.free_flags, 3.0), np.array([0.3, 0.6, 1.0, 0.0, 0.5])

    def weighed(step: float) -> Score:
        return prior.on(Point(np.array([0.7, 0.5, 4.0, 1.0, 0.2]) * np.exp(step * np.eye(5)[k]), p), score(1.0))

    curvature = weighed(0.0).prior_curvature
    assert curvature is not None and curvature.shape == (2, 5) and (curvature >= 0).all()
    slope = (weighed(1e-5).curve_gradient - weighed(-1e-5).curve_gradient) / 2e-5
    assert curvature[0, k] == pytest.approx(slope[k], rel=1e-5)
    assert (curvature[1] > 0).tolist() == [True, True, False, False, True]


def test_a_decided_flag_has_no_gradient_and_no_cost_changes_nothing() -> None:
    assert (Prior(SPACE.start, SPACE.free_flags, 2.0).on(moved(1, (1,)), score(0.0)).flag_gradient == 0).all()
    plain = score(1.0)
    assert Prior(SPACE.start, SPACE.free_flags, 0.0).on(moved(1), plain) is plain


def witness() -> Sampler:
    return Witness(SPACE, START, 150, step=1.0)


def cmaes() -> Sampler:
    return CmaEs(SPACE, START, 600, seed=0, population=16, sigma=0.2)


def grid() -> Sampler:
    return Grid(SPACE, 300, 0)


@pytest.mark.parametrize("make", [witness, cmaes, grid])
def test_a_leash_trades_match_for_closeness(make: object) -> None:
    bowl = Bowl(np.array([3.0, 0.1, 1.0, 0.2, 8.0]), np.array([-0.5, -0.5, 0.1, 0.1, 0.1]))
    ends = []
    for cost in (0.0, 0.3, 30.0):
        prior, sampler = Prior(SPACE.start, SPACE.free_flags, cost), make()
        run(sampler, lambda candidate, prior=prior: prior.on(candidate.point, bowl(candidate)))
        result = sampler.result()
        ends.append((prior.divergence(result), bowl.value(result)))
    divergences, values = zip(*ends, strict=True)
    assert list(divergences) == sorted(divergences, reverse=True) and divergences[0] > divergences[2]
    assert list(values) == sorted(values) and values[0] < values[2]
    assert divergences[2] < 0.3
