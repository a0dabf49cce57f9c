"""The status of many studies: true, from few queries, and quick."""

from __future__ import annotations

import io
import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from rich.console import Console

from nebula_tune.cli import console
from nebula_tune.storage.ledger import Ledger
from nebula_tune.storage.owner import NOBODY
from nebula_tune.storage.schema import studies
from nebula_tune.study import status
from nebula_tune.study.status import all_statuses, study_status
from tests.service.many import Many
from tests.service.postgres import Postgres
from tests.study.tiny import command


def queries(ledger: Ledger) -> list[str]:
    """What is asked of a database from now on."""
    asked: list[str] = []

    @sa.event.listens_for(ledger.engine, "before_cursor_execute")
    def note(*event: object) -> None:
        asked.append(str(event[2]))

    return asked


def check(many: Many, ledger: Ledger) -> None:
    told = all_statuses(ledger)
    assert [each["study"] for each in told] == [many.name(k) for k in range(many.count)]
    for k, each in enumerate(told):
        complete, total, best = many.expected(k)
        assert (each["complete"], each["total"]) == (complete, total)
        assert each["best"] == (None if best == float("inf") else best)
        assert each["state"] == ("finished" if k % 2 else "interrupted")


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Ledger:
    if request.param == "sqlite":
        return Ledger(f"sqlite:///{tmp_path}/studies.db")
    server: Postgres = request.getfixturevalue("postgres")
    return Ledger(server.url(database=server.fresh_database()))


def test_a_hundred_studies_of_a_thousand_trials_from_as_many_queries_as_one(ledger: Ledger) -> None:
    many = Many(100, 1000)
    many.put_into(ledger)
    asked = queries(ledger)
    check(many, ledger)
    number = len(asked)
    assert sum("GROUP BY" in query for query in asked) == 2
    asked.clear()
    alone = study_status(ledger, many.name(3))
    assert len(asked) == number and alone == all_statuses(ledger)[3]


@pytest.mark.slow
def test_a_thousand_studies_with_a_million_trials_in_two_seconds(ledger: Ledger) -> None:
    """`make status-test`."""
    many = Many(1000, 1000)
    many.put_into(ledger)
    if ledger.engine.dialect.name == "postgresql":  # as the server does by itself soon after
        with ledger.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM ANALYZE")
    check(many, ledger)
    seconds = []
    for _ in range(3):
        began = time.monotonic()
        all_statuses(ledger)
        seconds.append(time.monotonic() - began)
    print([f"{each:.2f}" for each in seconds])
    assert min(seconds) < 2


@pytest.fixture
def held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    """Thirty running studies of owners elsewhere."""
    monkeypatch.setattr(status, "BEAT", 0.3)
    monkeypatch.setattr(status, "STILL", 0.6)
    ledger = Ledger(f"sqlite:///{tmp_path}/studies.db")
    owner = {"owner_host": "elsewhere", "owner_pid": 7, "owner_started": "then", "owner_token": "theirs"}
    for k in range(30):
        ledger.begin(f"study-{k:02}", Many(1, 9).plan.resolved(), {})
        ledger.update(f"study-{k:02}", state="waiting" if k % 2 else "running", phase="grid", **owner)
    return ledger


@pytest.fixture
def beating(held: Ledger, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every third: their hearts beat before each look, however slow the machine."""
    names, look = held.names()[::3], Ledger.heartbeats
    change = studies.update().where(studies.c.name.in_(names)).values(heartbeat=studies.c.heartbeat + 1)

    def beaten(ledger: Ledger) -> dict[str, tuple[str, int]]:
        with held.engine.begin() as connection:
            connection.execute(change)
        return look(ledger)

    monkeypatch.setattr(Ledger, "heartbeats", beaten)
    return names


def test_whether_owners_are_at_work_is_seen_of_all_at_once(held: Ledger, beating: list[str]) -> None:
    asked = queries(held)
    hearts = status.Heartbeats(held)
    told = all_statuses(held, hearts)
    assert [each["study"] for each in told if each["state"] != "interrupted"] == beating
    assert {each["state"] for each in told} == {"running", "waiting", "interrupted"}
    assert {each["owner"] for each in told} == {"elsewhere:7"}
    assert len(asked) < 30
    asked.clear()
    assert [each["state"] for each in all_statuses(held, hearts)] == [each["state"] for each in told]
    looks = [query for query in asked if "heartbeat" in query and "settings" not in query and "UPDATE" not in query]
    assert len(looks) == 1  # those it knows already


def test_who_leaves_a_study_while_somebody_looks_was_at_work(held: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a study that ends just then would be called interrupted."""
    looks, look = iter(range(100)), held.heartbeats

    def change(name: str, **columns: Any) -> None:
        with held.engine.begin() as connection:
            connection.execute(studies.update().where(studies.c.name == name).values(**columns))

    def meanwhile() -> dict[str, tuple[str, int]]:
        if next(looks) == 1:
            change("study-03", state="finished", **NOBODY)
            change("study-04", owner_token="another's")
        return look()

    monkeypatch.setattr(held, "heartbeats", meanwhile)
    told = all_statuses(held)
    assert {each["study"]: each["state"] for each in told if each["state"] != "interrupted"} == {
        "study-03": "waiting",
        "study-04": "running",
    }


def test_a_running_study_is_removed_only_when_that_is_agreed_to(
    held: Ledger, beating: list[str], call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = ("--storage", held.url)
    refused = call("delete", beating[0], *where)
    assert refused.code == 2 and refused.line.endswith("say so with --yes")
    questions = []

    def answer(text: str, **_: Any) -> bool:
        questions.append(text)
        return False

    monkeypatch.setattr("sys.stdin", type("Terminal", (), {"isatty": lambda _: True})())
    monkeypatch.setattr("typer.confirm", answer)
    assert call("delete", beating[0], *where).code == 0
    assert call("delete", "study-01", *where).code == 0
    assert questions == [
        f"Remove study {beating[0]}, which elsewhere:7 is running now, and all its trials?",
        "Remove study study-01 and all its trials?",
    ]
    assert len(held.names()) == 30
    assert call("delete", beating[0], "--yes", *where).code == 0
    assert len(held.names()) == 29


def test_a_watched_status_is_told_line_by_line_until_ctrl_c(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/studies.db"
    Ledger(url).begin("one", Many(1, 9).plan.resolved(), {})
    process = command(tmp_path, "status", "--watch", "--json", "--storage", url)
    assert process.stdout
    assert [each["study"] for each in json.loads(process.stdout.readline())] == ["one"]
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0 and err == ""


def test_a_watched_status_stays_in_its_place_in_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    screen, shown = io.StringIO(), iter(range(1, 100))
    monkeypatch.setattr(console, "REFRESH", 0)
    monkeypatch.setattr(console, "plain_console", lambda: Console(file=screen, force_terminal=True, width=60))

    def show() -> None:
        if (number := next(shown)) > 3:
            raise KeyboardInterrupt
        print(f"look {number}\n[bold]:smile:")

    console.refreshing(show, in_place=True)
    text = screen.getvalue()
    assert all(f"look {k}" in text for k in (1, 2, 3)) and "[bold]:smile:" in text
    assert text.count("\x1b[1A") >= 2  # up again, over the lines of the time before
