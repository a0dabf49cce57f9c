"""The paper's trials as quadratic forms, against direct double sums of eq. 2."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from nebula_tune.errors import SettingsError
from nebula_tune.evaluate import trials
from nebula_tune.testing import direct


def corpora(seed: int, n: int, m: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 3)).astype(np.float32), rng.normal(1, 1, size=(m, 3)).astype(np.float32)


def matrices(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return tuple(direct.distances(a, b).astype(np.float32) for a, b in ((x, x), (x, y), (y, y)))  # type: ignore[return-value]


def test_a_trial_of_all_sounds_is_eq_2() -> None:
    x, y = corpora(0, 12, 12)
    assert trials.between(*matrices(x, y), n=12, trials=3, rng=np.random.default_rng(0)) == pytest.approx(
        [direct.mmd(x, y)] * 3
    )


def test_trials_are_eq_2_of_so_many_sounds_of_each() -> None:
    x, y = corpora(1, 5, 6)
    possible = [
        direct.mmd(x[list(a)], y[list(b)]) for a in combinations(range(5), 3) for b in combinations(range(6), 3)
    ]
    values = trials.between(*matrices(x, y), n=3, trials=400, rng=np.random.default_rng(0))
    assert all(min(abs(value - one) for one in possible) < 1e-5 for value in values)
    assert values.mean() == pytest.approx(np.mean(possible), abs=4 * np.std(possible) / 20)


def test_halvings_are_different_and_complete() -> None:
    x, _ = corpora(2, 9, 2)
    xx = matrices(x, x)[0]
    possible = sorted(
        direct.mmd(x[list(a)], x[list(b)])
        for a in combinations(range(9), 4)
        for b in combinations(sorted(set(range(9)) - set(a)), 4)
        if a[0] < b[0]
    )
    values = np.sort(trials.within(xx, n=4, trials=31, rng=np.random.default_rng(0)))
    assert all(min(abs(value - one) for one in possible) < 1e-5 for value in values)
    assert np.diff(values).min() > 1e-9, "no halving twice"


def test_more_trials_than_halvings_are_refused() -> None:
    x, _ = corpora(3, 8, 2)
    with pytest.raises(SettingsError, match="--trials 18: a corpus of 8 sounds"):
        trials.within(matrices(x, x)[0], n=4, trials=18, rng=np.random.default_rng(0))


def test_within_one_law_eq_2_is_its_bias() -> None:
    # 2 E d / n, as the paper's rows of a corpus with itself are (its V-statistic)
    rng = np.random.default_rng(4)
    x = rng.normal(size=(200, 10)).astype(np.float32)
    values = trials.within(matrices(x, x)[0], n=100, trials=200, rng=rng)
    expected = 2 * 10 * 2 / np.sqrt(np.pi) / 100
    assert values.mean() == pytest.approx(expected, rel=0.03)
