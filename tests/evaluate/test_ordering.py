"""Experiments 1 and 2 of the paper against known answers, and against their definitions in plain loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from nebula_tune.distance import make_distance
from nebula_tune.errors import CorpusError, SettingsError
from nebula_tune.ranking import ordering
from nebula_tune.ranking.ordering import (
    Draws,
    by_chance,
    differences,
    judge,
    mates_dcg,
    mean_and_interval,
    signed_spearman,
    unit,
)

L1 = make_distance("l1")


def line(ranks: list[int]) -> np.ndarray:
    values = np.asarray(ranks, dtype=np.float32)
    return np.abs(values[:, None] - values[None])


def by_definition(distances: np.ndarray, ranks: list[int], triples: np.ndarray) -> float:
    """Section 4.2.1 and eq. 1, sound by sound."""
    found = []
    for s, low, high in triples:
        others = [k for k in range(len(ranks)) if k != s]
        sign = [
            -1 if distances[low, k] < distances[high, k] else int(distances[high, k] < distances[low, k])
            for k in others
        ]
        signed = [sign_k * distances[s, k] for sign_k, k in zip(sign, others, strict=True)]
        rho = spearmanr([ranks[k] for k in others], signed).statistic if len(set(signed)) > 1 else 0.0
        found.append(rho)
    return float(np.mean(found))


@settings(max_examples=60, deadline=None)
@given(st.integers(3, 12), st.integers(1, 3), st.integers(0, 10**6))
def test_experiment_1_is_its_definition(sounds: int, dimensions: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    vectors = rng.integers(0, 4, size=(sounds, dimensions)).astype(float)  # ties are common
    distances = np.abs(vectors[:, None] - vectors[None]).sum(axis=2)
    ranks = sorted(rng.choice(100, sounds, replace=False).tolist())
    triples = Draws.make([ranks, [1, 2, 3]], seed, 2, 1).triples[0]
    assert (triples[:, 1] < triples[:, 0]).all() and (triples[:, 0] < triples[:, 2]).all()
    assert signed_spearman(distances, ranks, triples) == pytest.approx(by_definition(distances, ranks, triples))


def test_experiment_1_of_a_perfect_embedding_is_1() -> None:
    # From five sounds on, eq. 1 gives even the ranks themselves less: see the next test.
    for ranks in ([10, 20, 30], [1, 2, 3, 4], [-5, 60, 61, 127]):
        draws = Draws.make([ranks] * 20, 0, 20, 1)
        assert [signed_spearman(line([0, 1, 2, 3][: len(ranks)]), ranks, t) for t in draws.triples] == [1.0] * 20


def test_the_papers_own_example_takes_the_wrong_sign() -> None:
    # s = 80, s_l = 31, s_h = 81, ŝ = 79 is judged above s (section 4.2.1): a known limit of eq. 1, kept as it is.
    ranks = [31, 79, 80, 81]
    assert signed_spearman(line(ranks), ranks, np.array([[2, 0, 3]])) < 1
    assert signed_spearman(line(ranks), ranks, np.array([[2, 1, 3]])) == 1


def test_experiment_1_of_noise_is_0() -> None:
    # Two of the other sounds are s_l and s_h, whose signs are right whatever is heard: 2 of 87 here, so not quite 0.
    rng = np.random.default_rng(1)
    ranks = [list(range(21, 109))] * 30
    vectors = [rng.normal(size=(88, 8)).astype(np.float32) for _ in ranks]
    draws = Draws.make(ranks, 0, 30, 1)
    noise = mean_and_interval(judge(vectors, ranks, draws, L1).spearman)
    assert -0.02 < noise.mean < 0.05 and noise.ci95[1] - noise.ci95[0] < 0.04
    assert mean_and_interval(by_chance(ranks, draws)).mean == pytest.approx(noise.mean, abs=0.02)
    downwards = [-np.array(own, dtype=np.float32)[:, None] for own in ranks]
    assert mean_and_interval(judge(downwards, ranks, draws, L1).spearman).mean > 0.8, "direction does not matter"


def test_chance_is_more_where_presets_have_few_sounds() -> None:
    three, twelve = ([list(range(n))] * 200 for n in (3, 12))
    assert by_chance(three, Draws.make(three, 0, 200, 1)).tolist() == [1] * 200
    assert 0.05 < by_chance(twelve, Draws.make(twelve, 0, 200, 1)).mean() < 0.2


def test_sounds_that_sound_alike_count_as_no_order() -> None:
    assert (
        signed_spearman(np.zeros((5, 5)), [1, 2, 3, 4, 5], Draws.make([[1, 2, 3, 4, 5]] * 2, 0, 2, 1).triples[0]) == 0
    )


def test_dcg_of_known_ranks() -> None:
    # Four sounds on a line, mates (0, 1) and (2, 3).
    position = np.array([0.0, 1.0, 10.0, 2.5])
    distances = np.abs(position[:, None] - position[None])
    # 0: mate nearest. 1: 0 at 1, 3 at 1.5: nearest. 2: 3 at 7.5 nearest. 3: 1 at 1.5, 0 at 2.5, mate third.
    assert mates_dcg(distances) == pytest.approx([1, 1, 1, 1 / np.log2(4)])


def test_a_mate_as_far_as_others_shares_their_ranks() -> None:
    same = np.zeros((400, 400))
    assert mates_dcg(same) == pytest.approx([1 / np.log2(200 + 1)] * 400)


def test_trials_draw_different_presets_and_tritones() -> None:
    ranks = [list(range(21, 109, 3))] * 30 + [[60, 61, 62]]
    draws = Draws.make(ranks, 3, 20, 50, apart=6)
    assert len(draws.trials) == 50 and draws.usable == 30
    for trial in draws.trials:
        assert len(set(trial[:, 0].tolist())) == 20
        assert all(ranks[k][b] - ranks[k][a] == 6 for k, a, b in trial)
    free = Draws.make(ranks, 3, 31, 50)
    assert {ranks[k][b] - ranks[k][a] for trial in free.trials for k, a, b in trial} > {3, 6, 9}
    assert free.usable == 31


def test_the_same_seed_draws_the_same() -> None:
    ranks = [list(range(9))] * 12
    one, again, other = (Draws.make(ranks, seed, 8, 5) for seed in (1, 1, 2))
    assert all((a == b).all() for a, b in zip(one.trials, again.trials, strict=True))
    assert any((a != b).any() for a, b in zip(one.trials, other.trials, strict=True))


@pytest.mark.parametrize("largest", [0, 10**6])
def test_experiment_2_finds_mates(largest: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ordering, "LARGEST_MATRIX", largest)  # trial by trial, and from one matrix
    rng = np.random.default_rng(0)
    ranks = [[1, 2, 3, 4]] * 40
    draws = Draws.make(ranks, 0, 25, 30)
    apart = [k * 100 + rng.normal(size=(4, 3)).astype(np.float32) for k in range(40)]
    assert judge(apart, ranks, draws, L1).dcg == pytest.approx(np.ones(40))
    noise = [rng.normal(size=(4, 3)).astype(np.float32) for _ in range(40)]
    chance = np.mean(1 / np.log2(np.arange(2, 51)))
    assert np.nanmean(judge(noise, ranks, draws, L1).dcg) == pytest.approx(chance, abs=0.03)


def test_one_matrix_and_one_a_trial_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    ranks = [[1, 2, 3]] * 10
    vectors = [rng.normal(size=(3, 3)).astype(np.float32) + k for k in range(10)]
    draws = Draws.make(ranks, 0, 6, 20)
    whole = judge(vectors, ranks, draws, L1)
    monkeypatch.setattr(ordering, "LARGEST_MATRIX", 0)
    assert judge(vectors, ranks, draws, L1).dcg == pytest.approx(whole.dcg)


def test_presets_that_cannot_take_part_are_not_averaged() -> None:
    ranks = [[0, 6, 12]] * 5 + [[0, 1, 2]]
    scores = judge([np.eye(3, dtype=np.float32)] * 6, ranks, Draws.make(ranks, 0, 5, 4, apart=6), L1)
    assert np.isnan(scores.dcg[5]) and np.isfinite(scores.dcg[:5]).all()
    assert np.isfinite(mean_and_interval(scores.dcg).mean)


def test_normed_vectors_have_length_1_and_silence_stays_zero() -> None:
    lengths = np.linalg.norm(unit([np.array([[3, 4], [0, 0], [1e-3, 0]], dtype=np.float32)])[0], axis=1)
    assert lengths == pytest.approx([1, 0, 1])


def test_intervals_cover_the_mean_in_95_percent() -> None:
    rng = np.random.default_rng(0)
    intervals = [mean_and_interval(rng.normal(0.3, 1, size=12)).ci95 for _ in range(600)]
    assert 0.93 <= np.mean([low <= 0.3 <= high for low, high in intervals]) <= 0.97


def test_differences_are_paired() -> None:
    rng = np.random.default_rng(0)
    base = rng.normal(size=100)
    scores = {
        "a": ordering.Scores(base + 0.1, base),
        "b": ordering.Scores(base + rng.normal(size=100) / 100, base),
    }
    (found,) = differences(scores)
    assert (found.a, found.b) == ("a", "b")
    assert found.spearman.ci95[0] > 0.09, "far less than the spread over presets"
    assert found.dcg == ordering.Interval(0, (0, 0))


def test_impossible_experiments_are_refused() -> None:
    with pytest.raises(SettingsError, match="--presets 1"):
        Draws.make([[1, 2, 3]], 0, 1, 5)
    with pytest.raises(CorpusError, match="1 of 2 presets have two sounds 6 ranks apart"):
        Draws.make([[1, 2, 3], [0, 6, 7]], 0, 200, 5, apart=6)
