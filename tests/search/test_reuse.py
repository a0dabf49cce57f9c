"""Sounds of earlier trials, reused by importance weights."""

from __future__ import annotations

import numpy as np
import pytest

from nebula_tune.search import Reuse, Witness
from nebula_tune.search.reuse import LEAST_SHARE, Trial, effective_share
from nebula_tune.trial import Point, Score
from tests.search.problems import START, run, score, space

CURVES = np.array([0.8, 2.0, 0.1])
NEAR = CURVES * np.exp([0.3, -0.3, 0.3])


def log_radii(sounds: int, seed: int = 0, count: int = 3) -> np.ndarray:
    return np.log(np.random.default_rng(seed).random((sounds, count)))


def pull(log_radii: np.ndarray, curves: np.ndarray) -> np.ndarray:
    """Something a sound's values decide: the value of a sound is exp(log r / c)."""
    return np.exp(log_radii / curves) @ [1.0, -2.0, 0.5]


def test_a_trial_at_its_own_curves_gives_its_own_gradient() -> None:
    radii = log_radii(50)
    advantages = pull(radii, CURVES)
    expected = (advantages[:, None] * (1 + radii)).mean(axis=0)
    np.testing.assert_allclose(Trial(CURVES, radii, advantages).gradient(CURVES), expected)


def test_reweighted_sounds_give_the_gradient_of_the_other_nebula() -> None:
    old, new = log_radii(400_000, 1), log_radii(400_000, 2)
    reused = Trial(CURVES, old, pull(old, CURVES)).gradient(NEAR)
    fresh = Trial(NEAR, new, pull(new, NEAR)).gradient(NEAR)
    np.testing.assert_allclose(reused, fresh, atol=0.015)
    assert np.abs(Trial(CURVES, old, pull(old, CURVES)).gradient(CURVES) - fresh).max() > 0.03, "weights matter"


@pytest.mark.parametrize("step", [0.05, -0.2, 0.3])
def test_the_share_in_closed_form_is_that_of_many_samples(step: float) -> None:
    new = CURVES * np.exp(step)
    log_weights = (log_radii(1_000_000) / CURVES) @ (new - CURVES)
    weights = np.exp(log_weights)
    measured = weights.mean() ** 2 / np.square(weights).mean()
    assert effective_share(CURVES, new) == pytest.approx(measured, rel=0.01)


def test_no_share_is_left_where_a_curve_is_halved() -> None:
    assert effective_share(CURVES, CURVES * [1, 1, 0.5]) == 0
    assert effective_share(CURVES, CURVES) == 1
    in_all = np.ones(78)
    assert effective_share(in_all, in_all * np.exp(0.08)) > LEAST_SHARE > effective_share(in_all, in_all * np.exp(0.12))


def scored(seed: int, curves: np.ndarray, sounds: int = 40) -> Score:
    advantages = pull(log_radii(sounds, seed), curves)
    gradient = (advantages[:, None] * (1 + log_radii(sounds, seed))).mean(axis=0)
    return score(0.0, gradient, deviation=2.0, advantages=advantages)


def reuse(trials: int) -> Reuse:
    return Reuse(lambda draw, _: log_radii(40, draw), trials)


def test_near_trials_are_averaged_by_their_share_and_far_ones_left_out() -> None:
    flags = np.zeros(3)
    here = reuse(5)
    for draw, curves in ((0, NEAR), (1, CURVES * 3)):
        here.improved(scored(draw, curves).curve_gradient / 2, Point(curves, flags), [(scored(draw, curves), draw)])
    new = scored(2, CURVES)
    leash = np.array([5.0, 0, 0])
    improved = here.improved(new.curve_gradient / 2 + leash, Point(CURVES, flags), [(new, 2)])
    share = effective_share(NEAR, CURVES)
    assert share > LEAST_SHARE
    old = Trial(NEAR, log_radii(40, 0), pull(log_radii(40, 0), NEAR) / 2).gradient(CURVES)
    np.testing.assert_allclose(improved, (new.curve_gradient / 2 + share * old) / (1 + share) + leash)


def test_only_so_many_trials_are_remembered() -> None:
    flags, forgets = np.zeros(3), reuse(1)
    for draw, curves in ((0, CURVES), (1, CURVES * 5), (2, CURVES)):
        new = scored(draw, curves)
        improved = forgets.improved(new.curve_gradient / 2, Point(curves, flags), [(new, draw)])
    np.testing.assert_allclose(improved, new.curve_gradient / 2)


def test_noise_of_the_gradient_falls_where_steps_are_small() -> None:
    flags, truth = (
        np.zeros(3),
        Trial(CURVES, log_radii(400_000, 9), pull(log_radii(400_000, 9), CURVES)).gradient(CURVES),
    )
    alone, together = [], []
    for start in range(0, 1000, 10):
        here = reuse(10)
        for draw in range(start, start + 10):
            curves = CURVES * np.exp(0.01 * (start + 9 - draw))
            new = scored(draw, curves)
            improved = here.improved(new.curve_gradient / 2, Point(curves, flags), [(new, draw)])
        alone.append(new.curve_gradient / 2 - truth / 2)
        together.append(improved - truth / 2)
    assert np.std(together) < 0.5 * np.std(alone)


def test_a_witness_reuses_once_flags_are_decided() -> None:
    seen = []

    def radii(draw: int, flags: np.ndarray) -> np.ndarray:
        seen.append(draw)
        return log_radii(40, draw, 5)

    def some(candidate: object) -> Score:
        advantages = np.random.default_rng(candidate.draw).normal(size=40)
        gradient = (advantages[:, None] * (1 + log_radii(40, candidate.draw, 5))).mean(axis=0)
        return score(0.0, gradient, advantages=advantages)

    witness = Witness(space(), START, 20, reuse=Reuse(radii, 4))
    run(witness, some)
    assert seen == list(range(12, 20))
    plain = Witness(space(), START, 20)
    run(plain, some)
    assert not np.array_equal(plain.result().curves, witness.result().curves)
