"""What others do to a study with Optuna's dashboard or programs: ours follows, and no other study is worse for it."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults

import optuna
import pytest
from optuna.storages import RDBStorage
from optuna_dashboard import get_note, save_note, wsgi

from nebula_tune.dashboard.gallery import Gallery
from nebula_tune.dashboard.server import KeepsNames
from nebula_tune.errors import StudyError
from nebula_tune.execution.executor import Failure
from nebula_tune.storage.ledger import Ledger
from nebula_tune.study.plan import Plan
from nebula_tune.study.status import study_status
from tests.service.studies import assert_same, finish
from tests.service.test_lease import POINT, SPACE
from tests.study.test_ledger import score
from tests.study.tiny import TRIALS, TinyStudy, let_go

RENAME, DELETE = ("POST", "rename"), ("DELETE", "")


def press(button: tuple[str, str], storage: str, app: Any = None) -> int:
    """A button of the dashboard that others run on a database with one study; the answer's status."""
    method, what = button
    app = app or wsgi(RDBStorage(storage))
    (study,) = optuna.get_all_study_summaries(storage)
    body = json.dumps({"study_name": "another"}).encode()
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "PATH_INFO": f"/api/studies/{study._study_id}/{what}".rstrip("/"),
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body),
    }
    setup_testing_defaults(environ)
    statuses: list[str] = []
    b"".join(app(environ, lambda status, *_: statuses.append(status)))
    return int(statuses[0].split()[0])


@pytest.fixture
def finished(tmp_path: Path, target: Path, undisturbed: TinyStudy) -> TinyStudy:
    """A copy of a finished study, with all that lies about it."""
    shutil.copytree(undisturbed.folder, tmp_path, dirs_exist_ok=True)
    return TinyStudy(tmp_path, target)


def test_a_removed_study_is_told_harms_no_other_and_can_be_deleted(finished: TinyStudy, call: Any) -> None:
    Ledger(finished.storage).begin("two", {}, {})
    optuna.delete_study(study_name="tiny", storage=finished.storage)
    where = ("--storage", finished.storage)
    listed = {each["study"]: each for each in json.loads(call("status", "--json", *where).out)}
    assert listed["tiny"]["state"] == "removed" and listed["two"]["state"] == "interrupted"
    assert "delete tiny" in listed["tiny"]["last_error"]
    assert json.loads(call("status", "tiny", "--json", *where).out) == listed["tiny"]
    assert "removed" in call("status", *where).out
    for command in (["report", "tiny"], ["export", "tiny", "--trial", "1"], ["copy", "tiny", "--to", "sqlite:///b.db"]):
        outcome = call(*command, *where)
        assert outcome.code == 2 and "was removed with Optuna's dashboard" in outcome.line
    artifacts = finished.folder / "artifacts"
    assert len(list(artifacts.iterdir())) > 2
    assert call("delete", "tiny", "--yes", *where).code == 0
    assert list(artifacts.iterdir()) == []
    assert Ledger(finished.storage).names() == ["two"]


def test_a_study_renamed_while_it_runs_goes_on_where_it_is_and_ends_as_ever(
    tmp_path: Path, target: Path, undisturbed: TinyStudy
) -> None:
    study = TinyStudy(tmp_path, target)
    process = study.run_until(8, "--log", "/dev/full")
    assert press(RENAME, study.storage) == 201
    let_go(process)
    err = finish(process)
    assert err.count("log /dev/full cannot be written (No space left on device)") == 1
    assert_same(study, undisturbed)
    (summary,) = optuna.get_all_study_summaries(study.storage)
    assert (summary.study_name, summary.n_trials) == ("another", TRIALS)
    told = study_status(Ledger(study.storage), "tiny")
    assert (told["state"], told["complete"]) == ("finished", TRIALS)
    Ledger(study.storage).delete("tiny")
    assert optuna.get_all_study_summaries(study.storage) == []


def test_a_study_deleted_while_it_runs_ends_in_one_line(tmp_path: Path, target: Path) -> None:
    study = TinyStudy(tmp_path, target)
    process = study.run_until(6)
    assert press(DELETE, study.storage) == 204
    let_go(process)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 2 and "Traceback" not in err
    assert err.strip().splitlines()[-1].startswith("nebula-tune: study tiny was removed with Optuna's dashboard")
    assert study_status(Ledger(study.storage), "tiny")["state"] == "removed"
    _, err = study.start().communicate(timeout=300)
    assert "was removed with Optuna's dashboard" in err.strip().splitlines()[-1]


@pytest.mark.parametrize("then", ["trial", "result"])
def test_trials_written_while_a_rename_copies_the_others_are_not_lost(then: str, tmp_path: Path) -> None:
    ledger = Ledger(f"sqlite:///{tmp_path}/studies.db")
    ledger.begin("one", {}, {})
    writer = ledger.writer("one", SPACE)
    first = writer.write((0, 0, 0), "grid", POINT, 0, score(1.0))
    assert writer.write((0, 0, 0), "grid", POINT, 0, score(1.0)) == first
    source = optuna.load_study(study_name="one", storage=ledger.storage)
    copied = source.get_trials()
    writer.write((0, 0, 1), "grid", POINT, 5, Failure("no luck"))
    writer.write((0, 0, 2), "grid", POINT, 10, score(3.0))
    copy = optuna.create_study(study_name="another", storage=ledger.storage)
    copy.add_trials(copied)
    for key, value in source.user_attrs.items():
        copy.set_user_attr(key, value)
    optuna.delete_study(study_name="one", storage=ledger.storage)
    if then == "trial":
        writer.write((0, 0, 3), "grid", POINT, 15, score(4.0))
    else:
        ledger.finish("one", {"nebula": "one.json"}, [])
    there = {trial.key: trial.score and trial.score.value for trial in ledger.trials("one")}
    last = {(0, 0, 3): 4.0} if then == "trial" else {}
    assert there == {(0, 0, 0): 1.0, (0, 0, 1): None, (0, 0, 2): 3.0} | last
    assert len(list(ledger.trials("one"))) == len(there)


@pytest.mark.parametrize("write", ["reevaluation", "result"])
def test_what_comes_after_the_trials_is_not_written_either(write: str, tmp_path: Path) -> None:
    ledger = Ledger(f"sqlite:///{tmp_path}/studies.db")
    ledger.begin("one", {}, {})
    press(DELETE, ledger.url)
    with pytest.raises(StudyError, match="was removed"):
        if write == "reevaluation":
            ledger.write_reevaluation("one", 0, 0, score(1.0))
        else:
            ledger.finish("one", {"nebula": "one.json"}, [])


def test_a_study_that_is_given_the_number_of_a_removed_one_is_not_taken_for_it(tmp_path: Path) -> None:
    ledger = Ledger(f"sqlite:///{tmp_path}/studies.db")
    ledger.begin("one", {}, {})
    press(DELETE, ledger.url)
    ledger.begin("two", {}, {})
    assert ledger.study_row("two") == 1  # SQLite gives the number again
    optuna.create_study(storage=ledger.url, study_name="three")
    with pytest.raises(StudyError, match="a study three of Optuna's own"):
        ledger.begin("three", {}, {})
    with pytest.raises(StudyError, match="was removed"):
        ledger.study_row("one")
    ledger.delete("one")
    assert ledger.study_row("two") == 1


def test_our_dashboard_renames_nothing(finished: TinyStudy) -> None:
    app = KeepsNames(wsgi(RDBStorage(finished.storage)))
    assert press(RENAME, finished.storage, app) == 409
    (summary,) = optuna.get_all_study_summaries(finished.storage)
    assert (summary.study_name, summary.n_trials) == ("tiny", TRIALS)


def test_the_note_tells_what_the_study_is_and_what_somebody_wrote_there_stays(
    finished: TinyStudy, undisturbed: TinyStudy
) -> None:
    study = optuna.load_study(storage=finished.storage, study_name="tiny")
    note = get_note(study)
    assert f"**Target**: `{undisturbed.target}`" in note
    assert f"`nebula-tune run --target {undisturbed.target} --study tiny.yaml" in note and "--name tiny`" in note
    assert "**Trials hear**: `logmel`" in note and "| `tuned` | " in note and "| `floor` | " in note
    save_note(study, "mine")
    ledger = Ledger(finished.storage)
    plan = Plan.stored(ledger.record("tiny"))
    with Gallery(ledger, "tiny", plan, None, folder=finished.folder / "artifacts", command="again"):
        pass
    assert get_note(study) == "mine"


def test_every_trial_says_when_it_was_issued_and_when_it_was_scored(undisturbed: TinyStudy) -> None:
    trials = optuna.load_study(storage=undisturbed.storage, study_name="tiny").trials
    times = [(trial.datetime_start, trial.datetime_complete) for trial in trials]
    assert all(began < ended for began, ended in times)
    assert len({began for began, _ in times}) > 2 and [ended for _, ended in times] == sorted(e for _, e in times)
