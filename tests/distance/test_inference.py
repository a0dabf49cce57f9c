"""Intervals and p-values: what they promise, by brute force and by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest, norm

from nebula_tune.distance import l1_mmd
from nebula_tune.distance.inference import _jackknife_variance, group_sums, infer
from nebula_tune.testing import direct

pytestmark = pytest.mark.usefixtures("one_thread")


def normals(rng: np.random.Generator, sounds: int, dimensions: int = 2, shift: float = 0) -> np.ndarray:
    return rng.normal(shift, 1, size=(sounds, dimensions)).astype(np.float32)


def kits(rng: np.random.Generator, kits: int, sounds: int) -> tuple[np.ndarray, np.ndarray]:
    """Sounds of kits that differ by far more than the sounds of a kit do, and each sound's kit."""
    centres = rng.normal(0, 1, size=(kits, 1, 2))
    return (centres + rng.normal(0, 0.1, size=(kits, sounds, 2))).reshape(-1, 2).astype(np.float32), np.repeat(
        np.arange(kits), sounds
    )


def deviation_of(shift: float) -> float:
    """2 E|x - y| - E|x - x'| - E|y - y'| of N(0, 1) and N(shift, 1): E|N(s, 2)| is the mean of a folded normal."""
    root = np.sqrt(2)
    folded = root * np.sqrt(2 / np.pi) * np.exp(-(shift**2) / 4) + shift * (1 - 2 * norm.cdf(-shift / root))
    return float(2 * folded - 2 * 2 / np.sqrt(np.pi))


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.lists(st.integers(1, 4), min_size=3, max_size=6),
    st.lists(st.integers(1, 4), min_size=3, max_size=6),
)
def test_the_jackknife_deletes_one_group_at_a_time(seed: int, sizes_x: list[int], sizes_y: list[int]) -> None:
    rng = np.random.default_rng(seed)
    x, y = normals(rng, sum(sizes_x)), normals(rng, sum(sizes_y), shift=0.5)
    groups = [np.repeat(np.arange(len(sizes)), sizes) for sizes in (sizes_x, sizes_y)]
    expected = 0.0
    for side, count in enumerate((len(sizes_x), len(sizes_y))):
        left = []
        for k in range(count):
            keep = [np.ones(len(g), dtype=bool) for g in groups]
            keep[side] = groups[side] != k
            left.append(direct.unbiased(x[keep[0]], y[keep[1]], groups[0][keep[0]], groups[1][keep[1]]))
        expected += (count - 1) / count * float(np.sum((np.array(left) - np.mean(left)) ** 2))
    labels = np.concatenate([groups[0], groups[1] + len(sizes_x)])
    sums = group_sums(np.concatenate([x, y]), labels)
    sizes = np.array([*sizes_x, *sizes_y], dtype=np.float64)
    in_x = np.arange(len(sizes)) < len(sizes_x)
    # the matrix of distances is float32
    assert _jackknife_variance(sums, sizes, in_x) == pytest.approx(expected, rel=1e-4, abs=1e-9)


def test_sums_between_groups_are_the_direct_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nebula_tune.distance.inference.ROWS", 7)
    rng = np.random.default_rng(0)
    x, labels = normals(rng, 30), np.concatenate([np.arange(5), rng.integers(0, 5, 25)])
    expected = np.array([[direct.distances(x[labels == a], x[labels == b]).sum() for a in range(5)] for b in range(5)])
    np.fill_diagonal(expected, 0)
    np.testing.assert_allclose(group_sums(x, labels), expected, rtol=1e-5)


@pytest.mark.parametrize("grouped", [False, True])
def test_the_interval_is_around_the_unbiased_estimate(grouped: bool) -> None:
    rng = np.random.default_rng(1)
    x, y = normals(rng, 40), normals(rng, 30, shift=3)
    groups = (np.arange(40) // 4, np.arange(30) // 3) if grouped else (None, None)
    result, inference = l1_mmd(x, y, *groups), infer(x, y, *groups)
    assert inference.mmd_unbiased == pytest.approx(result.mmd_unbiased, rel=1e-5)
    assert sum(inference.ci95) / 2 == pytest.approx(result.mmd_unbiased, rel=1e-5)
    assert (result.ci95, result.p_value) == (inference.ci95, inference.p_value)


def test_one_law_gives_uniform_p_values() -> None:
    rng = np.random.default_rng(2)
    p = np.array([infer(normals(rng, 15), normals(rng, 25)).p_value for _ in range(300)])
    assert kstest(p, "uniform").pvalue > 0.01
    assert 0.02 <= (p <= 0.05).mean() <= 0.09
    assert p.min() >= 1 / 1000


def test_whole_groups_are_permuted() -> None:
    # kits of one law: their sounds taken for independent, they would seem to differ nearly always
    rng = np.random.default_rng(3)
    p, naive = [], []
    for _ in range(120):
        (x, groups_x), (y, groups_y) = kits(rng, 8, 5), kits(rng, 10, 5)
        p.append(infer(x, y, groups_x, groups_y).p_value)
        naive.append(infer(x, y).p_value)
    assert kstest(p, "uniform").pvalue > 0.01
    assert np.mean(np.array(naive) <= 0.05) > 0.5


def test_a_shifted_law_gives_the_smallest_p_value() -> None:
    rng = np.random.default_rng(4)
    assert all(infer(normals(rng, 20), normals(rng, 20, shift=2)).p_value == 1 / 1000 for _ in range(10))


def test_a_p_value_is_never_smaller_than_the_relabellings_allow() -> None:
    # Of the 20 ways to call 3 of 6 sounds x, two (as they are, and swapped) are as far apart as can be.
    for seed in range(30):
        rng = np.random.default_rng(seed)
        x, y = (rng.normal(shift, 1, size=(3, 7)).astype(np.float32) for shift in (0, 10))
        assert infer(x, y).p_value == pytest.approx(2 / 20, abs=0.03)


def coverage(truth: float, pairs: list[tuple]) -> float:
    intervals = [infer(*pair).ci95 for pair in pairs]
    return float(np.mean([low <= truth <= high for low, high in intervals]))


def test_the_interval_of_one_law_covers_0() -> None:
    rng = np.random.default_rng(5)
    assert coverage(0, [(normals(rng, 30), normals(rng, 20)) for _ in range(150)]) >= 0.95
    grouped = [(kits(rng, 8, 4), kits(rng, 10, 4)) for _ in range(100)]
    assert coverage(0, [(x, y, a, b) for (x, a), (y, b) in grouped]) >= 0.95
    assert coverage(0, [(x, y) for (x, _), (y, _) in grouped]) < 0.75, "sounds of a kit are not independent"


@pytest.mark.parametrize(("shift", "sounds"), [(0.3, 60), (0.6, 50)])
def test_the_interval_covers_a_known_distance(shift: float, sounds: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nebula_tune.distance.inference.PERMUTATIONS", 199)
    # In an embedding's many dimensions; in one or two, the estimate is skewed where it is just above its noise.
    rng = np.random.default_rng(6)
    pairs = [(normals(rng, sounds, 20), normals(rng, sounds, 20, shift)) for _ in range(400)]
    assert coverage(20 * deviation_of(shift), pairs) >= 0.93
    widths = [np.ptp(infer(*pair).ci95) for pair in pairs[:20]]
    estimates = [l1_mmd(*pair).mmd_unbiased for pair in pairs]
    assert np.mean(widths) < 1.3 * 2 * 1.96 * np.std(estimates), "not by being too wide"


def test_the_interval_is_cut_at_0_and_the_estimate_is_not() -> None:
    rng = np.random.default_rng(7)
    results = [l1_mmd(normals(rng, 30), normals(rng, 30)) for _ in range(20)]
    assert min(result.mmd_unbiased for result in results) < 0
    assert all(0 <= result.ci95[0] <= result.ci95[1] for result in results)


def test_identical_sounds_say_nothing() -> None:
    assert infer(np.ones((5, 3), np.float32), np.ones((4, 3), np.float32)).ci95 == (0, 0)
    assert infer(np.ones((5, 3), np.float32), np.ones((4, 3), np.float32)).p_value == 1


def test_the_fewest_groups_still_give_an_interval() -> None:
    rng = np.random.default_rng(8)
    result = l1_mmd(normals(rng, 2), normals(rng, 2, shift=3))
    assert np.isfinite(result.ci95).all() and 0 < result.p_value <= 1
