"""Analysis of ballots, against scipy and against listeners whose preference is known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from nebula_tune.errors import SettingsError
from nebula_tune.listening.analysis import Count, Power, analyse, bradley_terry
from nebula_tune.listening.ballot import unblind
from nebula_tune.listening.design import Design, Key, KeyTrial
from tests.listening.made import ballot, key_of, prefers_a, side_of, write_key


@pytest.fixture(scope="module")
def key() -> Key:
    return key_of(Design(64, np.random.default_rng(0)))


def analysed(folder: Path, key: Key, *ballots: dict[str, Any]) -> dict[str, Any]:
    path, sha = write_key(folder, key)
    paths = []
    for number, one in enumerate(ballots):
        paths.append(folder / f"ballot-{number}.json")
        paths[-1].write_text(json.dumps(one | {"key": sha}))
    result: dict[str, Any] = analyse(unblind(paths, [path]))
    return result


def test_64_pairs_need_41_and_find_a_true_70_percent_with_probability_088() -> None:
    power = Power.of(64)
    assert power.needed == 41
    assert binomtest(41, 64).pvalue <= 0.05 < binomtest(40, 64).pvalue
    assert power.power == pytest.approx(binom.sf(40, 64, 0.7)) == pytest.approx(0.88, abs=0.005)
    assert "41" in str(power) and "0.88" in str(power)
    assert Power.of(4).needed is None


@pytest.mark.parametrize("wins", [0, 20, 32, 41, 64])
def test_counts_are_scipys(wins: int) -> None:
    count = Count.of([True] * wins + [False] * (64 - wins))
    test = binomtest(wins, 64)
    assert count.p_value == test.pvalue
    assert count.ci95 == tuple(test.proportion_ci(0.95, "wilson"))


def test_a_listener_who_knows_is_counted_so(tmp_path: Path, key: Key) -> None:
    def choose(trial: KeyTrial, question: str) -> str:
        if trial.kind == "catch":
            return "left"  # wrong in two of four
        return side_of(trial, "A" if question == "like" else "B")

    test = analysed(tmp_path, key, ballot(key, "", choose, "Ann"))["tests"][0]
    one = test["listeners"][0]
    assert (one["like"]["wins"], one["like"]["n"], one["keep"]["wins"]) == (64, 64, 0)
    assert one["repeats"] == {"n": 8, "like": 8, "keep": 8}
    assert one["catches"] == {"n": 4, "failed": 2}
    assert one["listener"] == "Ann" and one["replays"] == 76
    assert one["browse"] == key.browse["one"]
    assert test["pooled"]["without_failed_catches"]["like"]["n"] == 0


def test_a_listener_who_takes_a_side_is_seen_through(tmp_path: Path, key: Key) -> None:
    one = analysed(tmp_path, key, ballot(key, "", lambda trial, question: "left"))["tests"][0]["listeners"][0]
    assert one["like"]["wins"] == 32 and one["like"]["p_value"] == 1
    assert one["repeats"]["like"] == 0  # the sides were swapped
    assert one["left_chosen"] == {"like": 1, "keep": 1}


@pytest.mark.parametrize("truth", [0.5, 0.65, 0.8])
def test_simulated_listeners_are_found_as_often_as_the_power_says(tmp_path: Path, key: Key, truth: float) -> None:
    random = np.random.default_rng(round(100 * truth))
    listeners = 300
    result = analysed(tmp_path, key, *(ballot(key, "", prefers_a(truth, random), str(k)) for k in range(listeners)))
    test = result["tests"][0]
    counts = [one["like"] for one in test["listeners"]]
    found = np.mean([count["p_value"] <= 0.05 for count in counts])
    expected = binom.sf(40, 64, truth) + binom.cdf(23, 64, truth)
    spread = 4 * np.sqrt(expected * (1 - expected) / listeners) + 0.001
    assert found == pytest.approx(expected, abs=spread)
    covered = np.mean([count["ci95"][0] <= truth <= count["ci95"][1] for count in counts])
    assert 0.9 < covered < 0.99
    pooled = test["pooled"]["keep"]
    assert pooled["n"] == 64 * listeners and pooled["share"] == pytest.approx(truth, abs=0.015)
    alike = np.mean([one["repeats"]["like"] / 8 for one in test["listeners"]])
    assert alike == pytest.approx(truth**2 + (1 - truth) ** 2, abs=0.05)


def test_several_tests_give_strengths_that_explain_the_choices(tmp_path: Path) -> None:
    truth = {"start": 0.0, "drum": 0.8, "tuned": 2.0}
    random = np.random.default_rng(5)
    paths, keys = [], []
    for number, (a, b) in enumerate((("tuned", "drum"), ("tuned", "start"), ("start", "drum"))):
        key = key_of(Design(64, random), a, b)
        path, sha = write_key(tmp_path, key, f"key-{number}.json")
        keys.append(path)
        share = 1 / (1 + np.exp(truth[b] - truth[a]))
        for listener in range(6):
            paths.append(tmp_path / f"{number}-{listener}.json")
            paths[-1].write_text(json.dumps(ballot(key, sha, prefers_a(share, random))))
    result = analyse(unblind(paths, keys))
    rows = {row["name"]: row for row in result["strengths"]["like"]}
    assert [row["name"] for row in result["strengths"]["like"]] == ["tuned", "drum", "start"]
    mean = sum(truth.values()) / 3
    for name, value in truth.items():
        low, high = rows[name]["ci95"]
        assert low < value - mean < high and high - low < 0.6
        assert rows[name]["n"] == 2 * 6 * 64 and rows[name]["set"] == 0
    assert len(result["tests"]) == 3


def test_bradley_terry_of_two_is_the_log_odds() -> None:
    strength, error, _ = bradley_terry(np.array([[0.0, 40.0], [20.0, 0.0]]))
    assert strength[0] - strength[1] == pytest.approx(np.log(40.5 / 20.5))
    assert strength.sum() == pytest.approx(0)
    assert 2 * error[0] == pytest.approx(np.sqrt(1 / 40.5 + 1 / 20.5))


def test_bradley_terry_is_where_the_likelihood_is_highest() -> None:
    from scipy.optimize import minimize

    wins = np.array([[0, 30, 50, 0], [20, 0, 35, 0], [5, 25, 0, 8], [0, 0, 12, 0]], dtype=float)
    with_prior = np.where(wins + wins.T > 0, wins + 0.5, 0)

    def loss(s: np.ndarray) -> float:
        return float((with_prior * np.log1p(np.exp(s[None] - s[:, None]))).sum())

    best = minimize(loss, np.zeros(4), tol=1e-10).x
    np.testing.assert_allclose(bradley_terry(wins)[0], best - best.mean(), atol=1e-4)


def test_a_shut_out_is_finite_and_sets_without_a_link_are_kept_apart() -> None:
    wins = np.zeros((4, 4))
    wins[0, 1], wins[2, 3] = 64, 32
    strength, error, linked = bradley_terry(wins)
    assert np.isfinite(strength).all() and np.isfinite(error).all()
    assert linked.tolist() == [0, 0, 1, 1]
    assert strength[:2].sum() == pytest.approx(0) and strength[2:].sum() == pytest.approx(0)


def test_a_ballot_that_does_not_fit_is_refused(tmp_path: Path, key: Key) -> None:
    path, sha = write_key(tmp_path, key)
    good = ballot(key, sha, prefers_a(0.5, np.random.default_rng(0)))

    def refused(content: Any, message: str, twice: bool = False) -> None:
        one = tmp_path / "b.json"
        one.write_text(content if isinstance(content, str) else json.dumps(content))
        with pytest.raises(SettingsError, match=message) as error:
            unblind([one, one] if twice else [one], [path])
        assert "\n" not in str(error.value)

    refused(good | {"key": "0" * 64}, "not of this test")
    path.write_text(path.read_text() + " ")  # the key was touched
    refused(good, "not of this test")
    write_key(tmp_path, key)
    refused("{", "not a ballot")
    refused(good | {"answers": good["answers"] * 2}, "twice")
    refused(good | {"answers": [good["answers"][0] | {"id": "x"}]}, "does not have")
    refused(good | {"answers": [good["answers"][0] | {"like": "up"}]}, "like")
    refused(good, "same ballot", twice=True)
    with pytest.raises(SettingsError, match="cannot read"):
        unblind([tmp_path / "none.json"], [path])


def test_an_unfinished_ballot_counts_with_what_it_has(tmp_path: Path, key: Key) -> None:
    whole = ballot(key, "", prefers_a(1.0, np.random.default_rng(0)), vote=None)
    part = whole | {"answers": whole["answers"][:20], "finished": None}
    one = analysed(tmp_path, key, part)["tests"][0]["listeners"][0]
    assert not one["finished"] and one["browse"] is None
    assert one["like"]["n"] == one["like"]["wins"] == sum(t.kind == "pair" for t in key.trials[:20])


@pytest.mark.parametrize("whole_first", [False, True])
def test_of_two_ballots_of_one_sitting_the_fuller_counts(
    tmp_path: Path, key: Key, whole_first: bool, caplog: pytest.LogCaptureFixture
) -> None:
    whole = ballot(key, "", prefers_a(0.7, np.random.default_rng(0)), "Ann")
    half = whole | {"answers": whole["answers"][:20], "finished": None, "listener": " Ann"}
    half["answers"] = [*half["answers"][:-1], whole["answers"][19] | {"like": "left", "keep": "left", "seconds": 0}]
    unvoted = whole | {"finished": None, "browse": {"vote": None, "one_plays": 3, "two_plays": 0}}
    given = [whole, half, unvoted] if whole_first else [half, unvoted, whole]
    test = analysed(tmp_path, key, *given, ballot(key, "", prefers_a(0.7, np.random.default_rng(1)), "Bo"))["tests"][0]
    assert [one["listener"] for one in test["listeners"]] == ["Ann", "Bo"]
    assert test["listeners"][0]["finished"] and test["listeners"][0]["browse"] == key.browse["one"]
    assert test["pooled"]["like"]["n"] == 128
    assert sum("is of the same sitting as" in record.getMessage() for record in caplog.records) == 2


def test_sittings_that_only_look_alike_all_count(tmp_path: Path, key: Key) -> None:
    random = np.random.default_rng(0)
    one = ballot(key, "", prefers_a(0.7, random), "Ann")
    others = [
        ballot(key, "", prefers_a(0.7, random), "Ann"),  # answers otherwise
        one | {"listener": "Bo"},
        one | {"started": "2026-01-01T10:00:00.001Z"},
    ]
    assert analysed(tmp_path, key, one, *others)["tests"][0]["pooled"]["like"]["n"] == 4 * 64
