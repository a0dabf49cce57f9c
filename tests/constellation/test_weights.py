"""Weights by pairwise Frank-Wolfe, pruning, and the choice of a spread: on distances alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from nebula_tune.distance import DISTANCES, make_distance
from nebula_tune.fitting.weights import (
    Aim,
    Trialled,
    Weights,
    choose,
    fit_weights,
    mixed,
    paired_error,
    pooled,
    systematic,
    trialled,
)


def problem(x: np.ndarray, y: np.ndarray, name: str = "l1") -> tuple[np.ndarray, float, np.ndarray]:
    """Mean distances to the target, within the target, and the pool's matrix."""
    first, second = (torch.from_numpy(part.astype(np.float32)) for part in (x, y))
    distance = make_distance(name).frozen_on(second)
    matrix = distance.pairwise(first, first).numpy()
    np.fill_diagonal(matrix, 0)
    to_target = distance.pairwise(first, second).double().mean(dim=1).numpy()
    return to_target, float(distance.pairwise(second, second).double().mean()), matrix


def value(weights: np.ndarray, to_target: np.ndarray, within: float, matrix: np.ndarray) -> float:
    return float(2 * weights @ to_target - weights @ matrix.astype(np.float64) @ weights - within)


def whole(fit: Weights, sounds: int) -> np.ndarray:
    weights = np.zeros(sounds)
    np.add.at(weights, fit.indices, fit.weights)
    return weights


@pytest.mark.parametrize("name", sorted(DISTANCES))
def test_weights_are_as_good_as_a_general_solvers_and_the_gap_says_so(name: str) -> None:
    random = np.random.default_rng(3)
    x, y = random.normal(size=(60, 5)), random.normal(0.5, 0.7, size=(40, 5))
    to_target, within, matrix = problem(x, y, name)
    fit = fit_weights(Aim(to_target, within), lambda i: matrix[:, i], tolerance=1e-4, pruning=0)
    peer = minimize(
        lambda w: value(w, to_target, within, matrix),
        np.full(60, 1 / 60),
        jac=lambda w: 2 * to_target - 2 * matrix.astype(np.float64) @ w,
        bounds=[(0, 1)] * 60,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": lambda w: np.ones(60)},
        method="SLSQP",
        options={"ftol": 1e-12, "maxiter": 500},
    )
    assert fit.value == pytest.approx(value(whole(fit, 60), to_target, within, matrix), rel=1e-5)
    assert fit.value <= peer.fun + 1e-4 * abs(peer.fun) + 1e-9
    assert fit.value - peer.fun <= fit.gap + 1e-9
    assert fit.weights.sum() == pytest.approx(1) and fit.weights.min() > 0


def test_the_bound_holds_for_a_rough_fit_too() -> None:
    random = np.random.default_rng(4)
    to_target, within, matrix = problem(random.normal(size=(300, 6)), random.normal(1, 1, size=(50, 6)))
    rough = fit_weights(Aim(to_target, within), lambda i: matrix[:, i], tolerance=0.3, pruning=0.05)
    fine = fit_weights(Aim(to_target, within), lambda i: matrix[:, i], tolerance=1e-5, pruning=0)
    assert 0 <= rough.value - fine.value <= rough.gap
    assert rough.columns < fine.columns <= 300


def test_pruning_costs_no_more_than_its_share() -> None:
    random = np.random.default_rng(5)
    to_target, within, matrix = problem(random.normal(size=(400, 6)), random.normal(0.3, 1, size=(80, 6)))
    all_atoms, pruned = (
        fit_weights(Aim(to_target, within), lambda i: matrix[:, i], tolerance=1e-3, pruning=share)
        for share in (0, 0.05)
    )
    assert len(pruned.indices) < len(all_atoms.indices)
    assert pruned.value <= 1.05 * all_atoms.value * (1 + 1e-6)
    assert pruned.lost == pytest.approx(pruned.value - all_atoms.value, rel=1e-3, abs=1e-9)


def test_a_pool_that_holds_the_target_gets_exactly_it() -> None:
    random = np.random.default_rng(6)
    y = random.normal(size=(20, 4))
    to_target, within, matrix = problem(np.concatenate([random.normal(2, 1, size=(100, 4)), y]), y)
    fit = fit_weights(Aim(to_target, within), lambda i: matrix[:, i], pruning=0)
    assert whole(fit, 120)[100:].sum() > 0.97
    assert fit.value < 0.01 * within


def test_equal_sounds_in_a_pool_do_no_harm() -> None:
    y = np.random.default_rng(7).normal(size=(10, 3))
    to_target, within, matrix = problem(np.repeat(y, 3, axis=0), y)
    fit = fit_weights(Aim(to_target, within), lambda i: matrix[:, i])
    assert fit.value < 0.01 * within


def test_two_far_clusters_get_their_shares() -> None:
    random = np.random.default_rng(8)
    left, right = random.normal(-30, 1, size=(500, 5)), random.normal(30, 1, size=(500, 5))
    y = np.concatenate([random.normal(-30, 1, size=(70, 5)), random.normal(30, 1, size=(30, 5))])
    to_target, within, matrix = problem(np.concatenate([left, right]), y)
    fit = fit_weights(Aim(to_target, within), lambda i: matrix[:, i])
    assert whole(fit, 1000)[:500].sum() == pytest.approx(0.7, abs=0.01)


def test_classes_are_joined_in_their_shares() -> None:
    one = Weights(np.array([1, 4]), np.array([0.5, 0.5]), 2.0, 0.1, 0.0, 3, 2)
    other = Weights(np.array([4]), np.array([1.0]), 4.0, 0.2, 0.1, 5, 1)
    both = mixed([one, other], [0.25, 0.75])
    assert both.indices.tolist() == [1, 4, 4] and both.weights.tolist() == [0.125, 0.125, 0.75]
    assert both.value == 3.5 and both.gap == pytest.approx(0.175)


def test_a_verdict_is_the_energy_distance_to_the_target() -> None:
    random = np.random.default_rng(9)
    fresh, y = random.normal(0, 1, size=(600, 2)), random.normal(0.4, 1, size=(500, 2))

    def mean(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.abs(a[:, None] - b[None]).sum(axis=2).mean(axis=1)

    across = np.concatenate([mean(fresh[:300], fresh[300:]), mean(fresh[300:], fresh[:300])])
    got = trialled(mean(fresh, y), across, 5)
    assert got.value == pytest.approx(2 * mean(fresh, y).mean() - mean(fresh[:300], fresh[300:]).mean())
    assert pooled([got, got]).value == pytest.approx(got.value) and pooled([got, got]).weight == 10


def test_the_widest_spread_is_taken_that_cannot_be_told_from_the_best() -> None:
    common = np.random.default_rng(0).normal(0, 1, 400)
    little = np.random.default_rng(1).normal(0, 0.05, 400)  # an error of 1 in the difference
    trials = {
        0.1: Trialled(10.0, common, 10),
        0.2: Trialled(10.6, common + little, 10),
        0.5: Trialled(14.0, common + little, 10),
    }
    assert paired_error(trials[0.1], trials[0.2]) == pytest.approx(1, rel=0.1)
    assert choose(trials) == 0.2


def test_a_shrunk_aim_is_the_mixture_of_both_corpora() -> None:
    random = np.random.default_rng(10)
    x, y, other = random.normal(size=(40, 3)), random.normal(1, 1, size=(30, 3)), random.normal(-1, 1, size=(90, 3))
    mixture = np.concatenate([np.repeat(y, 3, axis=0), other])  # half and half
    aims = [Aim(*problem(x, part)[:2]) for part in (y, other, mixture)]
    between = float(np.abs(y[:, None] - other[None]).sum(axis=2).mean())
    shrunk = aims[0].shrunk(aims[1], between, 0.5)
    assert np.allclose(shrunk.to_target, aims[2].to_target, rtol=1e-5)
    assert shrunk.within == pytest.approx(aims[2].within, rel=1e-5)


def test_systematic_sampling_keeps_proportions() -> None:
    weights = np.array([0.5, 0.25, 0.2, 0.05])
    for offset in (0.0, 0.37, 0.999):
        counts = np.bincount(systematic(weights, 100, offset), minlength=4)
        assert np.abs(counts - 100 * weights).max() <= 1
