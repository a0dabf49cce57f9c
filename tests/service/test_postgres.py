"""PostgreSQL through the real command: the same study, and what happens when the server goes away."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
import sqlalchemy as sa

from nebula_tune.search import Space
from nebula_tune.storage.connection import is_lost
from nebula_tune.storage.ledger import Ledger, TrialWriter
from nebula_tune.trial import Point
from tests.service.postgres import PASSWORD, Postgres, free_port
from tests.service.studies import ServiceStudy, assert_same, finish
from tests.study.test_ledger import NAMES, score
from tests.study.tiny import TRIALS, TinyStudy, command, let_go


@pytest.fixture
def study(tmp_path: Path, target: Path, postgres: Postgres) -> ServiceStudy:
    made = ServiceStudy(tmp_path, target, postgres.url())
    made.forget()
    return made


def test_a_study_on_postgresql_equals_one_on_sqlite(study: ServiceStudy, undisturbed: TinyStudy) -> None:
    report = study.run()
    assert_same(study, undisturbed)
    assert PASSWORD not in str(report) and report["storage"].startswith("postgresql+psycopg://postgres:***@")
    assert PASSWORD not in "".join(rows(study.storage))
    files = [path for path in study.folder.rglob("*") if path.is_file()]
    assert study.nebula in files and study.folder / "studies" / "nebula-tune.log" in files
    assert not [path for path in files if PASSWORD.encode() in path.read_bytes()]


def rows(url: str) -> Iterator[str]:
    """All rows of all tables of a database."""
    engine = Ledger(url).engine
    with engine.connect() as connection:
        for table in sa.inspect(engine).get_table_names():
            yield from map(str, connection.execute(sa.text(f'SELECT * FROM "{table}"')))


def test_a_killed_coordinator_goes_on_on_postgresql(study: ServiceStudy, undisturbed: TinyStudy) -> None:
    process = study.run_until(8)
    shown = Path(f"/proc/{process.pid}/cmdline").read_bytes().split(b"\0")
    assert b"--storage" in shown and PASSWORD.encode() not in b" ".join(shown)  # nor in a list of processes
    assert shown[shown.index(b"--storage") + 1].startswith(b"postgresql://***")
    process.kill()
    process.communicate()
    assert 0 < study.count() < TRIALS
    assert "watching" not in finish(study.start())  # nobody waits for a dead owner on this host
    assert_same(study, undisturbed)


def test_a_server_killed_in_mid_study_costs_seconds_not_the_study(
    study: ServiceStudy, undisturbed: TinyStudy, postgres: Postgres
) -> None:
    process = study.run_until(6)
    postgres.kill()
    let_go(process)
    time.sleep(1.5)
    assert process.poll() is None
    postgres.start()
    err = finish(process)
    assert "lost database" in err and "database is back" in err
    assert_same(study, undisturbed)


def made_writer(study: ServiceStudy) -> tuple[Ledger, TrialWriter, Point]:
    ledger = Ledger(study.storage)
    ledger.begin("tiny", {}, {})
    start = Point(np.array([0.5, 1.0, 2.0]), np.array([0.0, 1.0, 0.0]))
    return ledger, TrialWriter(ledger, "tiny", Space.around(NAMES, start, (0.1, 10.0), flags=True)), start


def test_a_commit_whose_answer_is_lost_is_not_done_twice(study: ServiceStudy) -> None:
    ledger, writer, start = made_writer(study)
    plain, answers = ledger.engine.dialect.do_commit, []

    def lose_the_first_answer(connection: object) -> None:
        plain(connection)
        answers.append(connection)
        if len(answers) == 1:
            raise psycopg.OperationalError("server closed the connection unexpectedly")

    ledger.engine.dialect.do_commit = lose_the_first_answer
    writer.write((0, 0, 0), "grid", start, 5, score(1.0))
    assert len(answers) == 2
    answers.clear()
    ledger.write_reevaluation("tiny", 0, 0, score(1.0))
    assert len(answers) == 2
    ledger.engine.dialect.do_commit = plain
    assert [trial.key for trial in ledger.trials("tiny")] == [(0, 0, 0)]
    assert ledger.reevaluated("tiny") == {(0, 0): 1.0}
    assert not is_lost(ValueError())


def test_a_write_that_never_arrived_is_done_again(study: ServiceStudy) -> None:
    ledger, writer, start = made_writer(study)
    plain, attempts = ledger.engine.dialect.do_commit, []

    def lose_the_first(connection: Any) -> None:
        attempts.append(connection)
        if len(attempts) == 1:
            connection.rollback()
            raise psycopg.OperationalError("server closed the connection unexpectedly")
        plain(connection)

    ledger.engine.dialect.do_commit = lose_the_first
    row = writer.write((0, 0, 0), "grid", start, 5, score(1.0))
    ledger.engine.dialect.do_commit = plain
    assert [(trial.key, trial.row) for trial in ledger.trials("tiny")] == [((0, 0, 0), row)]


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        ({"password": "wr0ng"}, 2, "password authentication failed"),
        ({"database": "nowhere"}, 2, 'database "nowhere" does not exist'),
        ({}, 1, "refused"),
    ],
)
def test_a_server_that_says_no_gets_one_clear_line(
    change: dict[str, str], code: int, message: str, study: ServiceStudy, postgres: Postgres
) -> None:
    study.storage = postgres.url(**change) if change else f"postgresql://postgres@127.0.0.1:{free_port()}/studies"
    process = study.start()
    _, err = process.communicate(timeout=300)
    assert process.returncode == code
    assert "wr0ng" not in err
    lines = err.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("nebula-tune: database postgresql")
    assert message in lines[0] and "; check" in lines[0] and "wrong" not in lines[0]


@pytest.mark.parametrize("port", ["54x2", "543210", "-1"])
def test_a_port_that_is_none_gets_one_clear_line(port: str, tmp_path: Path) -> None:
    process = command(tmp_path, "status", "--storage", f"postgresql://user:secret@localhost:{port}/studies")
    _, err = process.communicate(timeout=300)
    assert process.returncode == 2 and len(err.splitlines()) == 1
    assert "postgresql://...': its port is no number" in err and "secret" not in err


def test_a_server_that_takes_no_writes_gets_one_clear_line(study: ServiceStudy, postgres: Postgres) -> None:
    study.storage = f"{postgres.url()}?options=-c%20default_transaction_read_only%3Don"
    process = study.start()
    _, err = process.communicate(timeout=300)
    assert process.returncode == 1
    assert "read-only transaction; this user or server may not write" in err.splitlines()[-1]
