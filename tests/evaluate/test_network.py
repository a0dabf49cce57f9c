"""The network judge: chance for one law, certainty for different ones, nothing learnt of the groups it judges."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import mannwhitneyu

from nebula_tune.errors import UserInputError
from nebula_tune.evaluate import network_judge as network
from nebula_tune.evaluate.network_judge import network_test, out_of_fold, share_taken_for, wins

FRAMES = 16  # of small pictures, to be quick


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A short training of one network, over fewer folds."""
    for name, value in (("NETWORKS", 1), ("FOLDS", 3), ("EPOCHS", 6), ("LEAST_STEPS", 30)):
        monkeypatch.setattr(network, name, value)


def stripes(rng: np.random.Generator, sounds: int, period: float | list[float]) -> np.ndarray:
    """Pictures (sounds, FRAMES, 64) of noise with stripes over the bands; their period, of all or each."""
    phase = rng.uniform(0, 2 * np.pi, size=(sounds, 1, 1))
    turns = np.arange(64) / np.broadcast_to(period, sounds)[:, None, None]
    lines = 0.25 * np.sin(2 * np.pi * turns + phase)
    return np.clip(0.5 + lines + rng.normal(0, 0.1, size=(sounds, FRAMES, 64)), 0, 1).astype(np.float32)


def spectra(rng: np.random.Generator, kits: np.ndarray) -> np.ndarray:
    """Pictures (sounds, FRAMES, 64), alike within a kit but for a little noise."""
    levels = rng.uniform(0.2, 0.8, size=(kits.max() + 1, 1, 64))[kits]
    return np.clip(levels + rng.normal(0, 0.05, size=(len(kits), FRAMES, 64)), 0, 1).astype(np.float32)


def files(pictures: np.ndarray) -> list[str]:
    """Groups, where every sound is its own."""
    return [f"f{k}" for k in range(len(pictures))]


def test_two_draws_of_one_law_cannot_be_told_apart() -> None:
    rng = np.random.default_rng(0)
    x, y = stripes(rng, 60, 6), stripes(rng, 60, 6)
    assert 0.35 < network_test(x, y, files(y), seeds=(0, 1)) < 0.65


def test_different_laws_always_can() -> None:
    rng = np.random.default_rng(1)
    x, y = stripes(rng, 40, 6), stripes(rng, 50, 9)
    found = network_test(x, y, files(y))
    assert found > 0.95
    flat = [side.reshape(len(side), -1) for side in (x, y)]
    assert network_test(*flat, files(y)) == found, "vectors as the cache has them"


def test_a_group_is_never_learnt_from_and_judged() -> None:
    """Kits with a spectrum of their own, from the law of which every x has a new one: known kits give all away."""
    rng = np.random.default_rng(2)
    kits = np.repeat(np.arange(6), 16)
    x, y = spectra(rng, np.arange(96)), spectra(rng, kits)
    honest = out_of_fold(x, y, [f"kit {k}" for k in kits])
    assert all(len(set(honest.y.folds[kits == kit])) == 1 for kit in range(6))
    assert honest.auc < 0.6 and network_test(x, y, files(y)) > 0.95


def test_folds_are_whole_groups_of_both_sides_and_none_is_empty() -> None:
    rng = np.random.default_rng(3)
    x, y = stripes(rng, 30, 6), stripes(rng, 33, 9)
    packs, kits = np.arange(30) % 7, np.repeat(np.arange(3), (25, 5, 3))
    run = out_of_fold(x, y, kits.astype(str).tolist(), packs.astype(str).tolist())
    for side, groups in ((run.x, packs), (run.y, kits)):
        assert set(side.folds) == {0, 1, 2}
        assert all(len(set(side.folds[groups == group])) == 1 for group in groups)
        assert np.isfinite(side.scores).all() and (side.scores != 0).all()
    assert max(np.bincount(run.x.folds)) <= 13, "shared out evenly"


def test_the_same_twice_whatever_torch_has_threads_and_its_random_state_is_left_alone() -> None:
    rng = np.random.default_rng(4)
    x, y = stripes(rng, 30, 6), stripes(rng, 30, 6.5)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    first = out_of_fold(x, y, files(y), seed=5)
    try:
        torch.set_num_threads(2)
        torch.manual_seed(99)
        now = torch.get_rng_state()
        second = out_of_fold(x, y, files(y), seed=5)
        assert torch.equal(torch.get_rng_state(), now) and torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
        torch.set_rng_state(before)
    for one, other in ((first.x, second.x), (first.y, second.y)):
        assert np.array_equal(one.scores, other.scores) and np.array_equal(one.folds, other.folds)
    assert not np.array_equal(first.y.scores, out_of_fold(x, y, files(y), seed=6).y.scores)


def test_runs_against_one_y_share_its_choice_and_folds() -> None:
    rng = np.random.default_rng(5)
    y, kits = stripes(rng, 40, 6), [f"{k % 8}" for k in range(40)]
    near, far = (out_of_fold(stripes(rng, 35, period), y, kits, most=30) for period in (6, 9))
    assert len(near.x.kept) == len(near.y.kept) == 30
    assert np.array_equal(near.y.kept, far.y.kept) and np.array_equal(near.y.folds, far.y.folds)
    assert near.auc == near.wins.mean() and (far.wins - near.wins).mean() == pytest.approx(far.auc - near.auc)


def test_wins_are_mann_and_whitneys() -> None:
    assert wins(np.array([1.0, 2.0, 3.0]), np.array([2.0, 0.0, 9.0])).tolist() == [0.5, 0.0, 1.0]
    rng = np.random.default_rng(6)
    x, y = rng.integers(0, 9, size=31).astype(float), rng.integers(2, 12, size=17).astype(float)
    statistic = mannwhitneyu(y, x).statistic
    assert wins(x, y).mean() == pytest.approx(statistic / (31 * 17))


@pytest.mark.parametrize(("n", "m", "groups"), [(16, 22, 22), (16, 16, 2), (3, 40, 40)])
def test_small_sides_are_judged_too(n: int, m: int, groups: int) -> None:
    rng = np.random.default_rng(7)
    found = network_test(stripes(rng, n, 6), stripes(rng, m, 9), [f"{k % groups}" for k in range(m)])
    assert 0.5 < found <= 1


def test_a_single_group_is_one_clear_line() -> None:
    y = stripes(np.random.default_rng(8), 20, 6)
    with pytest.raises(UserInputError, match="two groups on each side") as caught:
        network_test(y, y, ["kit"] * 20)
    assert "\n" not in str(caught.value)


def test_the_share_taken_for_a_kind_is_90_percent_of_its_own_and_none_of_what_is_unlike() -> None:
    rng = np.random.default_rng(9)
    kind, others = stripes(rng, 80, 6), stripes(rng, 80, [9.0, 12.0] * 40)
    sounds = {"same": stripes(rng, 60, 6), "unlike": stripes(rng, 60, 12), "half": stripes(rng, 60, [6, 12] * 30)}
    found = share_taken_for(kind, files(kind), others, files(others), sounds)
    assert list(found) == list(sounds)
    assert found["same"] > 0.75 and found["unlike"] < 0.1 and 0.35 < found["half"] < 0.6
