"""The dashboard's reading of a study: every trial, parameters of some, each read once."""

from __future__ import annotations

import uuid
from pathlib import Path

import numpy as np
import optuna
import pytest

from nebula_tune.dashboard.gallery import remove_artifacts
from nebula_tune.dashboard.trial_view import SPREAD, PageStorage
from nebula_tune.search import Space
from nebula_tune.storage.ledger import Ledger, TrialWriter
from nebula_tune.trial import Point
from tests.study.test_ledger import NAMES, score

START = Point(np.array([0.5, 1.0, 2.0]), np.array([0.0, 1.0, 0.0]))


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(f"sqlite:///{tmp_path}/studies.db")


def write(ledger: Ledger, count: int, first: int = 0) -> None:
    """Trials whose values are the last digits of their numbers; number 77 is by far the best."""
    ledger.begin("one", {}, {})
    writer = TrialWriter(ledger, "one", Space.around(NAMES, START, (0.1, 10.0), flags=True))
    for i in range(first, first + count):
        writer.write((0, i, 0), "witness", START, i, score(-1.0 if i == 77 else 1 + i % 10))


def test_every_trial_is_there_and_few_carry_parameters(ledger: Ledger) -> None:
    write(ledger, 3 * SPREAD)
    page = PageStorage(ledger)
    trials = page.get_all_trials(1, deepcopy=False)
    assert [trial.number for trial in trials] == list(range(3 * SPREAD))
    assert [trial.value for trial in trials] == [trial.value for trial in ledger.storage.get_all_trials(1)]
    whole = [trial for trial in trials if trial.params]
    assert {0, 4, 77} <= {trial.number for trial in whole} and len(whole) <= SPREAD + 2
    assert all(len(trial.params) == 6 and trial.params.keys() == trial.distributions.keys() for trial in whole)
    assert all("--trial 7" in trial.user_attrs["parameters"] for trial in trials if trial.number == 7)
    assert not any("gradient" in trial.user_attrs for trial in trials)


def test_figures_of_parameters_are_of_the_trials_that_carry_them(ledger: Ledger) -> None:
    write(ledger, 3 * SPREAD)
    page = PageStorage(ledger)
    importances = optuna.importance.get_param_importances(optuna.load_study(storage=page, study_name="one"))
    assert len(importances) == 6


def test_new_trials_appear_and_a_study_of_another_identity_is_read_anew(ledger: Ledger) -> None:
    write(ledger, 5)
    page = PageStorage(ledger)
    assert len(page.get_all_trials(1)) == 5
    write(ledger, 2, first=5)
    assert len(page.get_all_trials(1)) == 7
    ledger.delete("one")
    write(ledger, 3)
    assert ledger.study_row("one") == 1  # SQLite gives the number again
    assert len(page.get_all_trials(1)) == 3


def test_only_artifacts_that_lie_in_their_folder_are_removed_whatever_rows_name(ledger: Ledger, tmp_path: Path) -> None:
    write(ledger, 1)
    folder = tmp_path / "artifacts"
    folder.mkdir()
    mine, link, other = (str(uuid.uuid4()) for _ in range(3))
    outside = tmp_path / "precious"
    for path in (folder / mine, folder / "named", outside, tmp_path / other):
        path.write_text("kept")
    (folder / link).symlink_to(outside)
    for name in (mine, link, "named", "..", "", f"../{other}", "../precious", str(outside), f"{mine}/../../precious"):
        for key in ("artifacts:", "dashboard:artifacts:1:"):
            ledger.storage.set_study_system_attr(1, f"{key}{name}", "{}")
    assert remove_artifacts(ledger, "one", folder) == 1
    assert sorted(path.name for path in folder.iterdir()) == sorted([link, "named"])
    assert outside.read_text() == (tmp_path / other).read_text() == "kept"
