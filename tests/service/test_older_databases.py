"""Databases of older versions open, and a study moves from one database to another."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from nebula_tune.study.ledger import Ledger
from nebula_tune.study.status import exported_nebula, study_status
from tests.service.postgres import Postgres
from tests.service.studies import ServiceStudy, assert_same, finish
from tests.study.tiny import TRIALS, TinyStudy, command


def test_a_database_of_schema_version_1_opens_and_tells_all(tmp_path: Path) -> None:
    """golden-v1.db: six trials over the curves and flags of adsr_1, finished."""
    shutil.copy(Path(__file__).with_name("golden-v1.db"), tmp_path / "golden.db")
    ledger = Ledger(f"sqlite:///{tmp_path}/golden.db", create=False)
    status = study_status(ledger, "golden")
    assert (status["state"], status["complete"], status["total"]) == ("finished", 6, 6)
    assert len({trial.key for trial in ledger.trials("golden")}) == 6
    assert len(ledger.reevaluated("golden")) == 10
    assert len(exported_nebula(ledger, "golden", None).entries()) == 156
    assert exported_nebula(ledger, "golden", 3) != exported_nebula(ledger, "golden", 0)


def test_a_study_begun_on_sqlite_goes_on_on_postgresql(
    tmp_path: Path, target: Path, undisturbed: TinyStudy, postgres: Postgres
) -> None:
    begun = TinyStudy(tmp_path, target)
    process = begun.start("--trials", "25", "--time-limit", "0.02")
    process.communicate(timeout=120)
    count = begun.count()
    moved = ServiceStudy(tmp_path, target, postgres.url())
    moved.forget()
    copied = command(tmp_path, "copy", "tiny", "--to", moved.storage, "--storage", begun.storage)
    assert 0 < count <= TRIALS
    finish(copied)
    assert moved.count() == count
    again = command(tmp_path, "copy", "tiny", "--to", moved.storage, "--storage", begun.storage)
    _, err = again.communicate(timeout=60)
    assert again.returncode == 2 and "already" in err
    finish(moved.start())
    assert_same(moved, undisturbed)


def test_what_the_dashboard_shows_moves_along(tmp_path: Path, undisturbed: TinyStudy) -> None:
    other = f"sqlite:///{tmp_path}/other.db"
    filler = Ledger(other)
    filler.begin("another", {}, {})  # so that rows are numbered otherwise
    finish(command(tmp_path, "copy", "tiny", "--to", other, "--storage", undisturbed.storage))
    shown = []
    for ledger in (Ledger(undisturbed.storage), Ledger(other)):
        attributes = ledger.storage.get_study_system_attrs(ledger.study_row("tiny"))
        rows = {trial.row: trial.key for trial in ledger.trials("tiny")}
        named = {
            rows[int(name.split(":")[2])]: json.loads(value)["filename"]
            for name, value in attributes.items()
            if name.startswith("dashboard:artifacts:")
        }
        shown.append((named, len(attributes)))
    assert shown[0] == shown[1] and shown[0][0]


def test_the_log_tells_a_run_line_by_line(undisturbed: TinyStudy) -> None:
    lines = [json.loads(line) for line in (undisturbed.folder / "studies.log").read_text().splitlines()]
    assert {"time", "level", "event", "study", "host", "process"} <= set(lines[0])
    told = [line["event"] for line in lines]
    assert told[0] == "run begins" and told[-1] == "run finished"
    assert told.count("trial") == TRIALS and told.count("phase") == 3


def test_a_removed_study_takes_its_sounds_along(tmp_path: Path, undisturbed: TinyStudy) -> None:
    other = f"sqlite:///{tmp_path}/other.db"
    finish(command(tmp_path, "copy", "tiny", "--to", other, "--storage", undisturbed.storage))
    shutil.copytree(undisturbed.folder / "artifacts", tmp_path / "artifacts")
    assert len(list((tmp_path / "artifacts").iterdir())) >= 4
    finish(command(tmp_path, "delete", "tiny", "--yes", "--storage", other))
    assert not list((tmp_path / "artifacts").iterdir()) and not Ledger(other).names()
