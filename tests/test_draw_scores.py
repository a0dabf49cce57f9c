"""Scores of raw draws: derivatives of the log density of what a draw becomes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nebula_tune.scoring import draw_scores
from nebula_tune.synth.parameters import to_unit
from nebula_tune.trial import Point

DRAWS = 200_000


def draws(point: Point, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Raw numbers as sounds have them, multiples of 2^-24, and flags, each (DRAWS, parameters)."""
    rng = np.random.default_rng(seed)
    size = (DRAWS, len(point.curves))
    raw = torch.from_numpy(rng.integers(0, 2**24, size).astype(np.float32) * np.float32(2**-24))
    return raw, torch.from_numpy(rng.random(size) < point.probabilities)


def log_density(theta: np.ndarray, log_curve: np.ndarray, logit: np.ndarray) -> np.ndarray:
    """log(p p_sym + (1 - p) p_plain) on the unit axis."""
    c, p = np.exp(log_curve), 1 / (1 + np.exp(-logit))
    return np.log(p * c * np.abs(2 * theta - 1) ** (c - 1) + (1 - p) * c * theta ** (c - 1))


@settings(max_examples=150, deadline=None)
@given(
    raw=st.lists(st.integers(1, 2**12 - 1).map(lambda k: k / 2**12), min_size=8, max_size=8),
    curves=st.lists(st.floats(0.25, 4), min_size=8, max_size=8),
    probabilities=st.lists(st.floats(0.02, 0.98), min_size=8, max_size=8),
    flags=st.lists(st.booleans(), min_size=8, max_size=8),
)
def test_scores_of_open_flags_are_the_slopes_of_the_mixtures_log_density(
    raw: list[float], curves: list[float], probabilities: list[float], flags: list[bool]
) -> None:
    point = Point(np.array(curves), np.array(probabilities))
    u, drawn = torch.tensor([raw], dtype=torch.float32), torch.tensor([flags])
    curve_scores, flag_scores = (scores[0] for scores in draw_scores(u, drawn, point))
    theta = to_unit(u, torch.from_numpy(point.curves), drawn)[0].numpy()
    log_curve, logit, h = np.log(point.curves), np.log(point.probabilities / (1 - point.probabilities)), 1e-5
    # where a law's density is near its pole or zero, theta itself is rounded too much to take a slope there
    fair = np.minimum(theta, np.abs(2 * theta - 1)) > 1e-3
    by_curve = (log_density(theta, log_curve + h, logit) - log_density(theta, log_curve - h, logit)) / (2 * h)
    by_logit = (log_density(theta, log_curve, logit + h) - log_density(theta, log_curve, logit - h)) / (2 * h)
    np.testing.assert_allclose(curve_scores[fair], by_curve[fair], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(flag_scores[fair], by_logit[fair], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("curve", [0.003, 1.0, 50.0])
def test_scores_of_decided_flags_have_mean_0_and_variance_1(curve: float) -> None:
    point = Point(np.full(2, curve), np.array([0.0, 1.0]))
    raw, flags = draws(point)
    curve_scores, flag_scores = draw_scores(raw, flags, point)
    assert curve_scores.dtype == np.float64 and np.isfinite(curve_scores).all()
    np.testing.assert_allclose(curve_scores.mean(axis=0), 0, atol=0.01)
    np.testing.assert_allclose(curve_scores.var(axis=0), 1, atol=0.03)
    np.testing.assert_allclose(np.cov(curve_scores.T)[0, 1], 0, atol=0.01)
    assert (flag_scores == 0).all()
    u = raw.double().numpy()[:1000]
    np.testing.assert_allclose(curve_scores[:1000, 0], 1 + np.log(np.maximum(u[:, 0], 2**-25)), rtol=1e-12)
    np.testing.assert_allclose(curve_scores[:1000, 1], 1 + np.log(np.maximum(abs(2 * u[:, 1] - 1), 2**-25)), rtol=1e-12)


def test_scores_of_open_flags_have_mean_0_and_less_variance_than_the_flags_own() -> None:
    curves = np.array([0.1, 0.5, 2.0, 10.0])
    for p in (0.1, 0.5, 0.9):
        point = Point(curves, np.full(4, p))
        raw, flags = draws(point)
        curve_scores, flag_scores = draw_scores(raw, flags, point)
        for scores in (curve_scores, flag_scores):
            assert np.isfinite(scores).all()
            error = scores.std(axis=0) / np.sqrt(DRAWS)
            assert (np.abs(scores.mean(axis=0)) < 4.5 * error + 1e-5).all()
        own = p * (1 - p)  # variance of z - p
        assert (flag_scores.var(axis=0) < own).all() and (curve_scores.var(axis=0) < 1.02).all()
        # Fisher's identity: the covariance with the flag's own score is the information
        information = (flag_scores * (flags.numpy() - p)).mean(axis=0)
        np.testing.assert_allclose(information, (flag_scores**2).mean(axis=0), atol=5e-3)


def test_at_a_curve_of_1_an_open_flag_says_nothing() -> None:
    point = Point(np.ones(3), np.array([0.1, 0.5, 0.9]))
    flag_scores = draw_scores(*draws(point), point)[1]
    np.testing.assert_allclose(flag_scores, 0, atol=1e-12)


def test_extreme_draws_keep_scores_finite() -> None:
    raw = torch.tensor([0.0, 2**-24, 0.5, 0.5 - 2**-24, 0.5 + 2**-24, 1 - 2**-24])[:, None].expand(-1, 5)
    for curve in (0.003, 1.0, 50.0):
        for flag in (False, True):
            point = Point(np.full(5, curve), np.array([0.0, 1e-3, 0.5, 1 - 1e-3, 1.0]))
            for scores in draw_scores(raw, torch.full(raw.shape, flag), point):
                assert np.isfinite(scores).all()
