"""`nebula-tune stop`: through the database, clean, and gone on with to the same bits."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from nebula_tune import machine
from nebula_tune.errors import StopRequested
from nebula_tune.storage import lease, stopping
from nebula_tune.storage.ledger import Ledger
from nebula_tune.storage.owner import this_process
from nebula_tune.study.status import study_status
from tests.conftest import Outcome
from tests.service.studies import assert_same, wait_for
from tests.study.tiny import TinyStudy, command, let_go, wait_until_it_stops

Call = Callable[..., Outcome]
STORAGE = ("--storage", "sqlite:///studies.db")


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    monkeypatch.setattr(stopping, "LOOK", 0.02)
    monkeypatch.setattr(stopping, "WATCH", 0.3)
    monkeypatch.setattr(lease, "BEAT", 0.05)
    monkeypatch.setattr(lease, "WATCH", 0.3)
    made = Ledger(f"sqlite:///{tmp_path}/studies.db")
    made.begin("one", {}, {})
    return made


def test_a_running_study_is_stopped_from_elsewhere_and_goes_on_to_the_same_bits(
    tmp_path: Path, target: Path, undisturbed: TinyStudy, call: Call
) -> None:
    study = TinyStudy(tmp_path, target)
    process = study.start(pauses=tuple(range(8, 26)))  # after each further trial it stands still: it is not faster
    wait_until_it_stops(process)
    asker, ledger = command(tmp_path, "stop", "tiny", "--storage", study.storage), Ledger(study.storage)
    wait_for(lambda: ledger.record("tiny")["stop_asked"])
    while process.poll() is None:
        let_go(process)
        time.sleep(0.2)
    _, err = process.communicate()
    assert process.returncode == 130, err
    said = [line for line in err.splitlines() if line.startswith("nebula-tune: ")]
    who = f"{machine.user()}@{socket.gethostname()}"
    assert said == [
        f"nebula-tune: {who} asked study tiny to stop; nothing scored is lost: the same command goes on from here"
    ]
    told, err = asker.communicate(timeout=300)
    assert (asker.returncode, err) == (0, "")
    assert told == "study tiny: interrupted; nothing scored is lost: the same run command goes on from here\n"
    row = ledger.record("tiny")
    assert row["state"] == "interrupted" and row["owner_token"] is None and row["stop_asked"] is None
    assert 8 <= study.count() < 25
    options = ("--target", str(target), "--study", "tiny.yaml", "--name", "tiny", "--storage", study.storage)
    assert call("run", *options, "--no-report", "--executor", "inline").code == 0
    assert_same(study, undisturbed)


def test_a_study_that_nobody_runs_is_not_stopped(call: Call, ledger: Ledger) -> None:
    idle = call("stop", "one", *STORAGE)
    assert idle.code == 2 and idle.line == "nebula-tune: study one is not running; run goes on with it"
    ledger.update("one", **this_process("gone") | {"owner_started": "in another life", "state": "running"})
    assert call("stop", "one", *STORAGE).line == idle.line
    nowhere = call("stop", "two", *STORAGE)
    assert nowhere.code == 2 and "no study 'two' in this database; there are: one" in nowhere.line
    Ledger(ledger.url).delete("one")
    ledger.token = None
    ledger.begin("one", {}, {})
    ledger.update("one", state="finished")
    finished = call("stop", "one", *STORAGE)
    assert finished.code == 2 and "study one is finished; there is nothing to stop" in finished.line


def test_an_owner_without_a_sign_of_life_is_named_and_stops_should_it_wake(call: Call, ledger: Ledger) -> None:
    ledger.update("one", **this_process("theirs") | {"owner_boot": "elsewhere", "owner_host": "far", "owner_pid": 7})
    done = call("stop", "one", *STORAGE)
    assert done.code == 2 and re.search("not running: process 7 on far gives no sign of life", done.line)
    assert ledger.record("one")["stop_asked"] == "theirs"
    ledger.token = "theirs"
    with lease.Lease(ledger, "one", lambda _: None) as newer:  # whoever goes on with it is not stopped
        time.sleep(0.2)
        newer.check()


def test_one_that_is_busy_is_told_of_after_the_timeout_and_stops_later(call: Call, ledger: Ledger) -> None:
    with lease.Lease(ledger, "one", lambda _: None) as held:
        done = call("stop", "one", "--timeout", "1", *STORAGE)
        assert done.code == 1 and "was asked to stop and has not within 1 s" in done.line
        with pytest.raises(StopRequested):
            held.check()


@pytest.mark.parametrize("state", ["interrupted", "finished"])
def test_stop_says_what_became_of_the_study(state: str, call: Call, ledger: Ledger) -> None:
    """Also where it came to its end first."""

    def work() -> None:
        with lease.Lease(ledger, "one", lambda _: None) as held:
            ready.set()
            while True:
                try:
                    held.check()
                except StopRequested:
                    return ledger.update("one", state=state)
                time.sleep(0.01)

    ready = threading.Event()
    worker = threading.Thread(target=work)
    worker.start()
    ready.wait()
    done = call("stop", "one", *STORAGE)
    worker.join()
    assert done.code == 0 and done.out.startswith(f"study one: {state}")
    assert ("goes on" in done.out) is (state == "interrupted")


def test_a_study_that_waits_for_workers_does_so_as_long_as_it_lives(
    tmp_path: Path, target: Path, undisturbed: TinyStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "BEAT", 0.1)
    monkeypatch.setattr("nebula_tune.study.status.BEAT", 0.5)
    source = Ledger(undisturbed.storage)
    row = source.record("tiny")
    ledger = Ledger(f"sqlite:///{tmp_path}/waiting.db")
    ledger.begin("tiny", json.loads(row["settings"]), json.loads(row["origin"]))
    with lease.Lease(ledger, "tiny", lambda _: None):
        ledger.update("tiny", state="waiting", phase="grid")
        status = study_status(Ledger(ledger.url), "tiny")
        assert (status["state"], status["phase"], status["seconds_left"]) == ("waiting", "grid", None)
    assert study_status(ledger, "tiny")["state"] == "interrupted"
