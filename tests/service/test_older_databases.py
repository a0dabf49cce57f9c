"""Databases of older versions open, and a study moves from one database to another."""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import optuna
import pytest
import sqlalchemy as sa

from nebula_tune.storage import database, optuna_tables, upgrades
from nebula_tune.storage.ledger import Ledger
from nebula_tune.storage.places import artifacts_root, set_artifacts_root
from nebula_tune.storage.schema import OF_STUDY, VERSION, schema
from nebula_tune.study.status import exported_nebula, study_status
from tests.conftest import Outcome
from tests.service.postgres import Postgres
from tests.service.studies import ServiceStudy, as_version_2, assert_same, finish
from tests.study.tiny import TRIALS, TinyStudy, command, let_go


def golden(folder: Path, version: int) -> str:
    """URL of a copy of golden-vN.db: six trials over the curves and flags of adsr_1, finished."""
    shutil.copy(Path(__file__).with_name(f"golden-v{version}.db"), folder / "golden.db")
    return f"sqlite:///{folder}/golden.db"


@pytest.mark.parametrize("version", range(1, VERSION + 1))
def test_a_database_of_every_schema_version_opens_and_tells_all(version: int, tmp_path: Path) -> None:
    ledger = Ledger(golden(tmp_path, version), create=False)
    status = study_status(ledger, "golden")
    assert (status["state"], status["complete"], status["total"]) == ("finished", 6, 6)
    assert len({trial.key for trial in ledger.trials("golden")}) == 6
    assert len(ledger.reevaluated("golden")) == 10
    assert len(exported_nebula(ledger, "golden", None).entries()) == 156
    assert exported_nebula(ledger, "golden", 3) != exported_nebula(ledger, "golden", 0)
    target, result = ledger.target("golden"), ledger.result("golden")
    assert target and target["usable"] == 20 and target["skipped"] == [] and len(target["content"]) == 64
    assert result and result[0]["target"] == {key: target[key] for key in result[0]["target"]}
    tuned = result[0]["heldout"]["tuned"]
    assert (tuned["mmd_unbiased"], tuned["ci95"][0]) == (7295.524248003935, 3966.2489278778744)
    assert list(result[0]["heldout"]) == ["start", "drum", "tuned", "floor"]
    with ledger.engine.connect() as connection:
        assert connection.execute(sa.select(schema.c.version)).scalars().all() == [VERSION]


def test_a_study_whose_run_died_while_it_waited_for_workers_is_interrupted(tmp_path: Path) -> None:
    ledger = Ledger(golden(tmp_path, VERSION), create=False)
    ledger.update("golden", state="waiting", phase="waits for workers: study a has 16")
    status = study_status(ledger, "golden")
    assert (status["state"], status["phase"]) == ("interrupted", "")


def test_two_processes_upgrade_a_database_once(tmp_path: Path) -> None:
    url = golden(tmp_path, 1)
    both = [command(tmp_path, "export", "golden", "--storage", url) for _ in range(2)]
    assert both[0].communicate(timeout=300) == both[1].communicate(timeout=60)
    assert [process.returncode for process in both] == [0, 0]
    with Ledger(url).engine.connect() as connection:
        counts = [connection.execute(sa.select(sa.func.count()).select_from(table)).scalar() for table in OF_STUDY]
    assert counts == [1, 10, 4, 1]


def test_an_upgrade_that_fails_leaves_the_database_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = golden(tmp_path, 1)

    def fail(*_: object) -> None:
        raise OSError("no")

    with monkeypatch.context() as patch:
        patch.setattr("nebula_tune.storage.upgrades.write_outcome", fail)
        with pytest.raises(OSError):
            Ledger(url)
    result = Ledger(url).result("golden")
    assert result and len(result[1]) == 156


OLDER = range(1, VERSION)
HELD = "UPDATE nebula_tune_studies SET owner_host = 'far', owner_pid = 7, owner_token = 'theirs'"
BEATS = "UPDATE nebula_tune_studies SET heartbeat = heartbeat + 1"


@contextmanager
def run_of(file: Path) -> Iterator[None]:
    """A run of the database's version holds its study, and beats, while inside."""
    stop = threading.Event()

    def beat() -> None:
        with closing(sqlite3.connect(file, isolation_level=None)) as connection:
            while not stop.wait(0.02):
                connection.execute(BEATS)

    heart = threading.Thread(target=beat)
    heart.start()
    try:
        yield
    finally:
        stop.set()
        heart.join()


def tables(file: Path) -> tuple[int, list[str]]:
    """A database's version, and what its tables are."""
    with closing(sqlite3.connect(file)) as connection:
        made = connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name").fetchall()
        return connection.execute("SELECT version FROM nebula_tune_schema").fetchone()[0], [sql for (sql,) in made]


@pytest.mark.parametrize("version", OLDER)
def test_nothing_is_upgraded_under_a_run_of_an_older_version(
    version: int, tmp_path: Path, call: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    where, file = ("--storage", golden(tmp_path, version)), tmp_path / "golden.db"
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute(HELD)
    before = tables(file)
    monkeypatch.setattr(upgrades, "BEAT", 0.1)
    with run_of(file):
        for arguments in (("delete", "golden", "--yes"), ("status",)):
            refused = call(*arguments, *where)
            assert refused.code == 2
            assert "study golden is being run with it by process 7 on far: end that run there (Ctrl-C" in refused.line
    assert before == tables(file) and before[0] == version
    monkeypatch.setattr(upgrades, "WATCH", 0.2)
    told = call("status", "golden", *where)
    assert told.code == 0 and "watching 0 s whether process 7 on far (study golden) is alive" in told.err
    assert tables(file)[0] == VERSION
    assert not call("status", "golden", *where).err


def test_a_database_that_another_program_writes_at_this_moment_is_waited_for(
    tmp_path: Path, call: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its file keeps no write-ahead log yet, and SQLite would not wait to give it one."""
    where = golden(tmp_path, 2)
    with closing(sqlite3.connect(tmp_path / "golden.db", isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        sleep, waited = time.sleep, []

        def let_go(seconds: float) -> None:
            if seconds == database.ASK_AGAIN:
                waited.append(seconds)
                if len(waited) == 3:
                    other.execute("COMMIT")
            sleep(seconds)

        monkeypatch.setattr(database.time, "sleep", let_go)
        assert call("status", "golden", "--storage", where).code == 0
        assert len(waited) == 3
        assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_run_of_an_older_version_that_begins_at_the_last_moment_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, file = golden(tmp_path, 2), tmp_path / "golden.db"
    looked = upgrades._standing_still

    def begin_late(*arguments: object) -> object:
        owners = looked(*arguments)  # type: ignore[arg-type]
        with closing(sqlite3.connect(file, isolation_level=None)) as connection:
            connection.execute(HELD)
        return owners

    monkeypatch.setattr(upgrades, "_standing_still", begin_late)
    with pytest.raises(upgrades.OlderRunError, match="being run with it by process 7 on far"):
        Ledger(url)
    assert tables(file)[0] == 2


def test_an_upgraded_database_has_what_a_new_one_has(tmp_path: Path) -> None:
    """Tables, columns and indexes, of every version."""

    def structure(url: str) -> object:
        inspector = sa.inspect(Ledger(url).engine)
        columns = {
            (table, column["name"], str(column["type"]), column["nullable"])
            for table in inspector.get_table_names()
            for column in inspector.get_columns(table)
        }
        indexes = {index["name"] for table in inspector.get_table_names() for index in inspector.get_indexes(table)}
        return columns, indexes

    new = structure(f"sqlite:///{tmp_path}/new.db")
    assert [structure(golden(tmp_path, version)) for version in OLDER] == [new for _ in OLDER]


def test_a_database_of_version_2_is_upgraded_on_postgresql(postgres: Postgres) -> None:
    as_version_2(Ledger(postgres.url()).engine)
    again = Ledger(postgres.url())
    if "one" not in again.names():
        again.begin("one", {}, {})
    assert again.record("one")["stop_asked"] is None and artifacts_root(again.engine) is None
    inspector = sa.inspect(again.engine)
    for index in optuna_tables.INDEXES:
        assert index.name in {each["name"] for each in inspector.get_indexes(index.table.name)}
    with again.engine.connect() as connection:
        assert connection.execute(sa.select(schema.c.version)).scalars().all() == [VERSION]


def test_a_database_says_where_its_artifacts_lie(tmp_path: Path) -> None:
    engine = Ledger(golden(tmp_path, 2)).engine
    assert artifacts_root(engine) is None
    for path in ("/team/artifacts", "/team/caf\udce9"):  # a name that is not UTF-8 too
        set_artifacts_root(engine, path)
        assert artifacts_root(engine) == path
    set_artifacts_root(engine, None)
    assert artifacts_root(engine) is None


def test_a_database_of_a_newer_version_says_what_to_do(tmp_path: Path) -> None:
    url = golden(tmp_path, VERSION)
    with Ledger(url).engine.begin() as connection:
        connection.execute(schema.update().values(version=VERSION + 1))
    process = command(tmp_path, "status", "--storage", url)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 2 and len(err.splitlines()) == 1
    assert f"newer nebula-tune (schema {VERSION + 1}, this one knows {VERSION}); upgrade nebula-tune" in err


@pytest.mark.slow
def test_a_study_begun_on_sqlite_goes_on_on_postgresql(
    tmp_path: Path, target: Path, undisturbed: TinyStudy, postgres: Postgres
) -> None:
    begun = TinyStudy(tmp_path, target)
    process = begun.run_until(8)
    let_go(process, signal.SIGINT)
    process.communicate(timeout=300)
    count = begun.count()
    moved = ServiceStudy(tmp_path, target, postgres.url())
    moved.forget()
    copied = command(tmp_path, "copy", "tiny", "--to", moved.storage, "--storage", begun.storage)
    assert 8 <= count <= TRIALS
    finish(copied)
    assert moved.count() == count
    again = command(tmp_path, "copy", "tiny", "--to", moved.storage, "--storage", begun.storage)
    _, err = again.communicate(timeout=300)
    assert again.returncode == 2 and "already" in err
    finish(moved.start())
    assert_same(moved, undisturbed)


def test_what_the_dashboard_shows_moves_along_and_the_score_card(tmp_path: Path, undisturbed: TinyStudy) -> None:
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
        shown.append((named, len(attributes), ledger.result("tiny"), ledger.target("tiny")))
    assert shown[0] == shown[1] and all(shown[0])


def test_the_log_tells_a_run_line_by_line(undisturbed: TinyStudy) -> None:
    lines = [json.loads(line) for line in (undisturbed.folder / "studies.log").read_text().splitlines()]
    assert {"time", "level", "event", "study", "host", "process"} <= set(lines[0])
    told = [line["event"] for line in lines]
    assert told[0] == "run begins" and told[-1] == "run finished"
    assert told.count("trial") == TRIALS and told.count("phase") == 2, "grid and witness go side by side"


def test_a_removed_study_takes_its_sounds_along(tmp_path: Path, undisturbed: TinyStudy) -> None:
    other = f"sqlite:///{tmp_path}/other.db"
    finish(command(tmp_path, "copy", "tiny", "--to", other, "--storage", undisturbed.storage))
    shutil.copytree(undisturbed.folder / "artifacts", tmp_path / "artifacts")
    assert len(list((tmp_path / "artifacts").iterdir())) >= 4
    finish(command(tmp_path, "delete", "tiny", "--yes", "--storage", other))
    assert not list((tmp_path / "artifacts").iterdir()) and not Ledger(other).names()
    with Ledger(other).engine.connect() as connection:
        assert not any(connection.execute(sa.select(table)).first() for table in OF_STUDY)


def test_an_older_database_tells_optuna_what_it_did_not_and_gets_its_indexes(tmp_path: Path) -> None:
    url = golden(tmp_path, 1)
    ledger = Ledger(url)
    (study,) = optuna.get_all_study_summaries(ledger.storage)
    assert study.user_attrs == {"nebula_tune:identity": ledger.record("golden")["identity"]}
    trials = ledger.storage.get_all_trials(study._study_id)
    relaxed = [trial.number for trial in trials if trial.user_attrs["relaxed"]]
    assert relaxed and [trial.number for trial in trials if trial.constraints] == relaxed
    inspected = sa.inspect(ledger.engine)
    names = {index["name"] for table in inspected.get_table_names() for index in inspected.get_indexes(table)}
    assert {"nebula_tune_trial_values", "nebula_tune_trial_keys"} <= names
