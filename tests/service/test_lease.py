"""One coordinator a study, whatever host it is on."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from nebula_tune.errors import StudyError
from nebula_tune.storage import lease
from nebula_tune.storage.ledger import Ledger
from nebula_tune.storage.schema import studies
from tests.study.test_ledger import score

ELSEWHERE = {"owner_host": "another-host", "owner_pid": 7, "owner_started": "then", "owner_token": "theirs"}


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    monkeypatch.setattr(lease, "WATCH", 0.3)
    made = Ledger(f"sqlite:///{tmp_path}/studies.db")
    made.begin("one", {}, {})
    made.update("one", **ELSEWHERE)
    return made


def test_a_study_left_by_another_host_is_taken_over_after_watching(ledger: Ledger) -> None:
    notes: list[str] = []
    theirs = Ledger(ledger.url)
    theirs.token = "theirs"
    with lease.Lease(ledger, "one", notes.append):
        assert notes == ["study one is held by process 7 on another-host; watching 0 s whether it is alive"]
        ledger.write_reevaluation("one", 0, 0, score(1.0))
        with pytest.raises(StudyError, match="taken over by another process"):  # if the first one wakes up
            theirs.write_reevaluation("one", 0, 1, score(2.0))
    assert ledger.reevaluated("one") == {(0, 0): 1.0}
    assert ledger.record("one")["owner_token"] is None


def test_a_study_that_another_host_runs_is_refused_naming_it(ledger: Ledger) -> None:
    stop = threading.Event()

    def beat() -> None:
        while not stop.is_set():
            ledger.update("one", heartbeat=sa.text("heartbeat + 1"))
            time.sleep(0.05)

    heart = threading.Thread(target=beat)
    heart.start()
    try:
        with (
            pytest.raises(StudyError, match="is being run by process 7 on another-host"),
            lease.Lease(Ledger(ledger.url), "one", lambda _: None),
        ):
            pass
    finally:
        stop.set()
        heart.join()
    with ledger.engine.connect() as connection:
        assert connection.execute(sa.select(studies.c.owner_token)).scalar() == "theirs"
