"""A study that waits for workers: its state and phase, and that it can be stopped meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from nebula_tune.errors import StopRequested, StorageError
from nebula_tune.storage.ledger import Ledger
from nebula_tune.study.waiting import Waiting

HOLDERS = "study a has 12, study b has 4"


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    ledger = Ledger(f"sqlite:///{tmp_path}/studies.db")
    ledger.begin("one", {}, {})
    ledger.update("one", state="running", phase="witness", workers=3)
    return ledger


def shown(ledger: Ledger) -> tuple[str, str, int]:
    row = ledger.record("one")
    return row["state"], row["phase"], row["workers"]


def test_a_study_waits_and_goes_on_where_it_was(ledger: Ledger) -> None:
    notes: list[str] = []
    checks: list[None] = []
    with Waiting(ledger, "one", notes.append, lambda: checks.append(None)) as waiting:
        waiting("")
        assert shown(ledger) == ("running", "witness", 3) and notes == []
        waiting(HOLDERS)
        assert shown(ledger) == ("waiting", f"waits for workers: {HOLDERS}", 0)
        waiting("study a has 16")
        assert shown(ledger) == ("waiting", "waits for workers: study a has 16", 0)
        waiting("")
        assert shown(ledger) == ("running", "witness", 0)
    assert notes == [f"waiting for workers: {HOLDERS}; this run goes on as soon as it gets one"]
    assert len(checks) == 4


def test_a_phase_that_is_longer_than_the_database_keeps_is_cut(ledger: Ledger) -> None:
    from nebula_tune.storage.schema import studies

    with Waiting(ledger, "one", lambda _: None, lambda: None) as waiting:
        waiting(", ".join(f"study {number} has 1" for number in range(20)))
        _, phase, _ = shown(ledger)
        assert len(phase) == studies.c.phase.type.length and phase.endswith("…")


def stop() -> None:
    raise StopRequested("time limit reached")


def disk_full() -> None:
    raise StorageError("disk full")


@pytest.mark.parametrize("check", [stop, disk_full])
def test_a_study_that_is_stopped_while_it_waits_has_its_phase_again(ledger: Ledger, check: Callable[[], None]) -> None:
    waiting = Waiting(ledger, "one", lambda _: None, lambda: None)
    with pytest.raises((StopRequested, StorageError)), waiting:
        waiting(HOLDERS)
        waiting._check = check
        waiting(HOLDERS)
    assert shown(ledger) == ("running", "witness", 0)  # whoever has the study says how it ended
