"""One coordinator a study, whatever host it is on; who lost a study writes nothing more of it."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest

from nebula_tune import machine
from nebula_tune.dashboard.gallery import Gallery
from nebula_tune.errors import StudyError, TakenOverError
from nebula_tune.execution.executor import Failure
from nebula_tune.search import Space
from nebula_tune.storage import lease
from nebula_tune.storage.ledger import Ledger
from nebula_tune.storage.owner import is_dead, this_process
from nebula_tune.study.status import study_status
from nebula_tune.trial import Point
from tests.conftest import Outcome
from tests.service.studies import assert_same
from tests.study.test_ledger import NAMES, score
from tests.study.tiny import TinyStudy, let_go, wait_until_it_stops

ELSEWHERE = {"owner_host": "another-host", "owner_pid": 7, "owner_started": "then", "owner_token": "theirs"}
POINT = Point(np.array([0.3, 1.0, 2.0]), np.array([0.0, 1.0, 0.0]))
SPACE = Space.around(NAMES, POINT, (0.1, 10.0), flags=True)
Write = Callable[[Ledger], object]


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    monkeypatch.setattr(lease, "WATCH", 0.3)
    made = Ledger(f"sqlite:///{tmp_path}/studies.db")
    made.begin("one", {}, {})
    made.update("one", **ELSEWHERE)
    return made


@contextmanager
def beating(ledger: Ledger) -> Iterator[None]:
    """The heart of the study's owner beats while inside."""
    stop, theirs = threading.Event(), Ledger(ledger.url)
    theirs.token = ledger.record("one")["owner_token"]

    def beat() -> None:
        while not stop.wait(0.05):
            theirs.update("one", heartbeat=theirs.record("one")["heartbeat"] + 1)

    heart = threading.Thread(target=beat)
    heart.start()
    try:
        yield
    finally:
        stop.set()
        heart.join()


def content(ledger: Ledger) -> list[str]:
    """All that the database holds."""
    with closing(sqlite3.connect(ledger.url.removeprefix("sqlite:///"))) as connection:
        return list(connection.iterdump())


def test_a_study_left_by_another_host_is_taken_over_after_watching(ledger: Ledger) -> None:
    notes: list[str] = []
    with lease.Lease(ledger, "one", notes.append):
        assert notes == ["study one is held by process 7 on another-host; watching 0 s whether it is alive"]
        ledger.write_reevaluation("one", 0, 0, score(1.0))
        row = ledger.record("one")
        assert row["owner_user"] == machine.user() and row["owner_boot"] == machine.boot()
    assert ledger.reevaluated("one") == {(0, 0): 1.0}
    row = ledger.record("one")
    assert not any(row[column] for column in row if column.startswith(("owner_", "stop_")))


def test_a_study_that_another_host_runs_is_refused_naming_it(ledger: Ledger) -> None:
    with (
        beating(ledger),
        pytest.raises(StudyError, match="is being run by process 7 on another-host"),
        lease.Lease(Ledger(ledger.url), "one", lambda _: None),
    ):
        pass
    assert ledger.record("one")["owner_token"] == "theirs"


# Of a dead process, and of this one, as a study's owner: whether it is taken to be dead at once.
PLACES: dict[str, tuple[dict[str, Any], bool]] = {
    "this machine and namespace": ({}, True),
    "this machine under another name": ({"owner_host": "renamed"}, True),
    "a container of this host": ({"owner_namespace": "pid:[1]"}, False),
    "another machine of this name": ({"owner_boot": "another"}, False),
    "one of an earlier version": ({"owner_boot": None, "owner_namespace": None}, False),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_process_is_dead_at_once_only_where_its_id_counts_here(place: str) -> None:
    elsewhere, sure = PLACES[place]
    child = subprocess.Popen(["true"])
    gone = {"owner_pid": child.pid, "owner_started": machine.process_started(child.pid)}
    child.wait()
    assert is_dead(this_process("x") | gone | elsewhere) is sure
    assert is_dead(this_process("x") | {"owner_started": "in another life"} | elsewhere) is sure
    assert not is_dead(this_process("x") | elsewhere)


@pytest.mark.parametrize("unknown", ["boot", "process_namespace"])
def test_where_no_system_tells_where_ids_count_every_owner_is_watched(
    unknown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, unknown, lambda: None)
    assert not is_dead(this_process("x") | {"owner_pid": 2**22 - 1})


def test_a_live_container_of_the_same_host_keeps_its_study_and_a_dead_one_loses_it(ledger: Ledger) -> None:
    ledger.token = "theirs"
    theirs = {"owner_host": socket.gethostname(), "owner_namespace": "pid:[1]", "owner_pid": 2**22 - 1}
    ledger.update("one", **this_process("theirs") | theirs)
    notes: list[str] = []
    newcomer = lease.Lease(Ledger(ledger.url), "one", notes.append)
    with beating(ledger), pytest.raises(StudyError, match=f"run by process {2**22 - 1} on"), newcomer:
        pass
    with newcomer:
        assert len(notes) == 2 and ledger.record("one")["owner_pid"] == os.getpid()


# What holds study "one" and says so, until its input ends; killed then, it releases nothing.
HOLDER = """
import os, sys
from nebula_tune.storage import lease
from nebula_tune.storage.ledger import Ledger
lease.BEAT = 0.05
with lease.Lease(Ledger(sys.argv[1]), "one", print):
    print(os.getpid(), os.readlink("/proc/self/ns/pid"), flush=True)
    sys.stdin.read()
    os._exit(1)
"""


def test_a_process_of_another_namespace_is_watched_and_not_thrown_out(tmp_path: Path, ledger: Ledger) -> None:
    own = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if sys.platform != "linux" or subprocess.run([*own, "true"], capture_output=True).returncode:
        pytest.skip("no namespaces can be made here")
    url = f"sqlite:///{tmp_path}/of-container.db"
    shared = Ledger(url)
    shared.begin("one", {}, {})
    holder = subprocess.Popen(
        [*own, sys.executable, "-c", HOLDER, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    pid, namespace = holder.stdout.readline().split()
    assert int(pid) < 100 and namespace != machine.process_namespace()
    notes: list[str] = []
    newcomer = lease.Lease(shared, "one", notes.append)
    with pytest.raises(StudyError, match=f"is being run by process {pid} on"), newcomer:
        pass
    holder.communicate()
    with newcomer:
        assert len(notes) == 2 and shared.record("one")["owner_token"]


def figure(ledger: Ledger) -> None:
    """As the gallery draws one."""
    import plotly.graph_objects as plotly

    gallery = Gallery.__new__(Gallery)
    gallery._ledger, gallery._name = ledger, "one"
    gallery._save_figure("heldout", plotly.Figure())


def trial(ledger: Ledger, outcome: Any) -> None:
    ledger.writer("one", SPACE).write((0, 0, 0), "grid", POINT, 5, outcome)


WRITES: dict[str, Write] = {
    "state": lambda ledger: ledger.update("one", state="failed", last_error="woke"),
    "nothing": lambda ledger: ledger.update("one"),
    "result": lambda ledger: ledger.finish("one", {"nebula": "x.json"}, []),
    "trial": lambda ledger: trial(ledger, score(1.0)),
    "failed trial": lambda ledger: trial(ledger, Failure("no luck")),
    "re-evaluation": lambda ledger: ledger.write_reevaluation("one", 0, 1, score(2.0)),
    "attribute": lambda ledger: ledger.write_attribute("one", 1, "artifacts:x", "{}"),
    "figure": figure,
}


@pytest.mark.parametrize("what", WRITES)
def test_a_study_is_written_by_its_holder_alone(what: str, ledger: Ledger) -> None:
    late = Ledger(ledger.url)
    with pytest.raises(TakenOverError, match="study one was taken over by another process; this process stops"):
        WRITES[what](late)  # which never had it
    before: list[str] = []
    with lease.Lease(late, "one", lambda _: None):
        WRITES[what](late)
        newer = Ledger(ledger.url)
        newer.token = late.token
        newer.update("one", owner_token="newer")
        before = content(ledger)
        with pytest.raises(TakenOverError):
            WRITES[what](late)
    with pytest.raises(TakenOverError):
        WRITES[what](late)  # and after its lease
    assert content(ledger) == before
    ledger.delete("one")
    with pytest.raises(TakenOverError, match="study one was removed; this process stops"):
        WRITES["state"](late)


@pytest.mark.parametrize("what", ["trial", "attribute"])
def test_nothing_is_written_of_a_study_that_optuna_removed(what: str, ledger: Ledger) -> None:
    """SQLite would keep it, and give it to the next study of that number."""
    with lease.Lease(ledger, "one", lambda _: None):
        writer = ledger.writer("one", SPACE)
        optuna.delete_study(study_name="one", storage=ledger.storage)
        before = content(ledger)
        with pytest.raises(TakenOverError, match="study one was removed; this process stops"):
            if what == "trial":
                writer.write((0, 0, 0), "grid", POINT, 5, score(1.0))
            else:
                WRITES[what](ledger)
        assert content(ledger) == before


def test_a_lease_that_is_lost_says_so(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "BEAT", 0.01)
    with lease.Lease(ledger, "one", lambda _: None) as held:
        held.check()
        ledger.update("one", owner_token="newer")
        with pytest.raises(TakenOverError, match="taken over by another process, or removed"):
            while True:
                held.check()
                time.sleep(0.01)
    assert ledger.record("one")["owner_token"] == "newer"


def is_locked(study: TinyStudy) -> bool:
    """Whether a process that stands still is about to write to the study's database."""
    with closing(sqlite3.connect(f"{study.folder}/studies.db", timeout=0.2)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return True
    return False


def written(study: TinyStudy) -> dict[str, tuple[bytes, int]]:
    """The files of the study's result: what is in them, and when that was written."""
    paths = study.nebula.parent.glob("tiny*")
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in paths}


def test_a_coordinator_that_slept_wakes_to_a_finished_study_and_changes_nothing(
    tmp_path: Path,
    target: Path,
    undisturbed: TinyStudy,
    call: Callable[..., Outcome],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    study = TinyStudy(tmp_path, target)
    sleeper = study.start(pauses=tuple(range(8, 16)))
    wait_until_it_stops(sleeper)
    while is_locked(study):  # its gallery stands still in a write, so let it stop elsewhere
        let_go(sleeper)
        wait_until_it_stops(sleeper)
    monkeypatch.setattr(lease, "WATCH", 0.3)
    options = ("--target", str(target), "--study", "tiny.yaml", "--name", "tiny", "--storage", study.storage)
    second = call("run", *options, "--no-report", "--executor", "inline")
    assert second.code == 0 and f"held by process {sleeper.pid}" in second.err
    ledger = Ledger(study.storage)
    before, files = content(ledger), written(study)
    let_go(sleeper)
    while sleeper.poll() is None:
        time.sleep(0.05)
        sleeper.send_signal(signal.SIGCONT)  # where it has pauses left
    _, err = sleeper.communicate()
    assert sleeper.returncode == 1
    said = [line for line in err.splitlines() if line.startswith("nebula-tune: ")]
    assert len(said) == 1 and "study tiny was taken over by another process" in err.splitlines()[-1]
    assert content(ledger) == before
    assert written(study) == files
    assert study_status(ledger, "tiny")["state"] == "finished"
    assert_same(study, undisturbed)
