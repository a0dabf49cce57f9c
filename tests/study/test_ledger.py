"""The ledger: what it writes is what Optuna would have written, and reads back whole."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState

from nebula_tune.dashboard.trial_view import PageStorage
from nebula_tune.errors import StudyError
from nebula_tune.execution.executor import Failure
from nebula_tune.search import Space
from nebula_tune.storage.ledger import Ledger, TrialWriter
from nebula_tune.trial import Point, Score

NAMES = ("a.x", "a.y", "b.z")


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    made = Ledger(f"sqlite:///{tmp_path}/studies.db")
    made.begin("one", {"study": 1}, {"target": None})
    return made


@pytest.fixture
def writer(ledger: Ledger) -> TrialWriter:
    start = Point(np.array([0.025, 1.0, 2.0]), np.array([0.0, 1.0, 0.0]))
    return TrialWriter(ledger, "one", Space.around(NAMES, start, (0.1, 10.0), flags=True, freeze=["b.*"]))


def score(value: float) -> Score:
    numbers = np.random.default_rng(1).normal(size=(3, 3)) / 3
    return Score(value, value + 1, {"silent": 0.25}, *numbers, deviation=1 / 3,
                 curvature=numbers.repeat(4).reshape(3, 2, 6), prior_curvature=numbers[:2])  # fmt: skip


def test_a_trial_reads_back_bit_for_bit(ledger: Ledger, writer: TrialWriter) -> None:
    point = Point(np.array([0.1 + 0.2, 1 / 3, 2.0]), np.array([0.0, 0.7, 0.0]))
    writer.write((1, 2, 3), "witness", point, 77, score(1 / 7))
    writer.write((1, 2, 4), "witness", point, 77, Failure("no luck"))
    first, second = ledger.trials("one")
    assert first.key == (1, 2, 3) and first.relaxed and first.score is not None
    assert (first.score.value, first.score.mmd, first.score.shares) == (1 / 7, 1 / 7 + 1, {"silent": 0.25})
    np.testing.assert_array_equal(first.score.curve_gradient, score(0).curve_gradient)
    np.testing.assert_array_equal(first.score.flag_information, score(0).flag_information)
    np.testing.assert_array_equal(first.score.curvature, score(0).curvature)
    np.testing.assert_array_equal(first.score.prior_curvature, score(0).prior_curvature)
    assert first.params == {"a.x.curve": 0.1 + 0.2, "a.y.curve": 1 / 3, "a.x.symmetric": False, "a.y.symmetric": True}
    assert second.key == (1, 2, 4) and second.score is None


def test_a_trial_written_again_after_an_interruption_is_there_once(ledger: Ledger, writer: TrialWriter) -> None:
    point = Point(np.array([0.3, 1.0, 2.0]), np.array([0.0, 1.0, 0.0]))
    rows = [writer.write(key, "grid", point, 5, score(3.0)) for key in ((0, 0, 0), (0, 0, 1), (0, 0, 1), (0, 0, 2))]
    assert rows[1] == rows[2]
    assert [trial.key for trial in ledger.trials("one")] == [(0, 0, 0), (0, 0, 1), (0, 0, 2)]


def test_optuna_sees_the_trial_it_would_have_written_itself(ledger: Ledger, writer: TrialWriter) -> None:
    point = Point(np.array([0.3, 1.0, 2.0]), np.array([0.0, 1.0, 0.0]))
    writer.write((0, 0, 0), "grid", point, 5, score(3.0).without_gradient())
    study = optuna.load_study(storage=ledger.storage, study_name="one")
    ours = study.trials[0]
    study.add_trial(
        optuna.create_trial(
            state=TrialState.COMPLETE,
            value=3.0,
            params={"a.x.curve": 0.3, "a.y.curve": 1.0, "a.x.symmetric": False, "a.y.symmetric": True},
            distributions={
                "a.x.curve": FloatDistribution(0.025, 10.0, log=True),
                "a.y.curve": FloatDistribution(0.1, 10.0, log=True),
                "a.x.symmetric": CategoricalDistribution([False, True]),
                "a.y.symmetric": CategoricalDistribution([False, True]),
            },
            user_attrs={
                "key": [0, 0, 0],
                "sampler": "grid",
                "first_index": 5,
                "relaxed": False,
                "mmd": 4.0,
                "shares": {"silent": 0.25},
            },
        )
    )
    theirs = study.trials[1]
    assert (ours.number, theirs.number) == (0, 1)
    for attribute in ("state", "values", "params", "distributions", "user_attrs"):
        assert getattr(ours, attribute) == getattr(theirs, attribute), attribute
    assert study.best_trial.number == 0


def test_studies_are_listed_and_removed_with_all_they_have(ledger: Ledger, writer: TrialWriter) -> None:
    ledger.begin("two", {}, {})
    ledger.write_reevaluation("one", 0, 1, score(2.0))
    assert ledger.reevaluated("one") == {(0, 1): 2.0}
    assert ledger.names() == ["one", "two"]
    ledger.delete("one")
    assert ledger.names() == ["two"]
    assert ledger.reevaluated("one") == {}
    with pytest.raises(StudyError, match=r"no study 'one'.*there are: two"):
        ledger.record("one")


def test_a_relaxed_trial_is_never_optunas_best(ledger: Ledger, writer: TrialWriter) -> None:
    relaxed = Point(np.array([0.3, 1.0, 2.0]), np.array([0.0, 0.7, 0.0]))
    decided = Point(np.array([0.3, 1.0, 2.0]), np.array([0.0, 1.0, 0.0]))
    writer.write((0, 0, 0), "witness", relaxed, 5, score(1.0))
    page = PageStorage(ledger)
    assert page.get_best_trial(1).number == 0  # as long as there is no other
    for i, value in enumerate((3.0, 2.0, 4.0)):
        writer.write((0, 1, i), "grid", decided, 5, score(value))
    writer.write((0, 2, 0), "witness", relaxed, 5, score(0.5))
    assert optuna.load_study(storage=ledger.storage, study_name="one").best_trial.value == 2.0
    assert page.get_best_trial(1).value == 2.0
    assert [trial.constraints for trial in ledger.storage.get_all_trials(1)[:2]] == [{"0": 1.0}, {}]


def test_a_trials_times_are_told_in_utc(ledger: Ledger, writer: TrialWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        began = datetime(2026, 11, 27, 10, 0, tzinfo=UTC)
        point = Point(np.array([0.3, 1.0, 2.0]), np.array([0.0, 1.0, 0.0]))
        writer.write((0, 0, 0), "grid", point, 5, score(3.0), times=(began, began + timedelta(seconds=2)))
        (trial,) = ledger.storage.get_all_trials(1)
        assert trial.datetime_start == datetime(2026, 11, 27, 19, 0) and trial.duration == timedelta(seconds=2)
    finally:
        monkeypatch.undo()
        time.tzset()
