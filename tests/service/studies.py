"""Studies of the service's tests: tiny ones, on any database."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from nebula_tune.errors import NebulaTuneError
from nebula_tune.storage.ledger import Ledger
from tests.study.tiny import TRIALS, TinyStudy


class ServiceStudy(TinyStudy):
    """A tiny study on a database given by URL, which several studies may share."""

    def __init__(self, folder: Path, target: Path, storage: str) -> None:
        super().__init__(folder, target)
        self.storage = storage

    def count(self) -> int:
        """Trials written so far; 0 where the database does not answer."""
        try:
            return sum(1 for _ in Ledger(self.storage, create=False).trials("tiny"))
        except (NebulaTuneError, KeyError):
            return 0


def assert_same(study: TinyStudy, other: TinyStudy) -> None:
    """Same trials by key (none lost, none doubled) and the same nebula, bit for bit."""
    assert study.trials() == other.trials()
    assert study.nebula.read_bytes() == other.nebula.read_bytes()


def wait_for(condition: object, seconds: float = 60) -> None:
    """Until ``condition()`` is true."""
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def midway(study: TinyStudy, begin: Callable[[], subprocess.Popen[str]]) -> subprocess.Popen[str]:
    """A study stopped (SIGSTOP) after some trials: begun anew where it was over before that could be seen."""
    for _ in range(10):
        process = begin()
        process.send_signal(signal.SIGSTOP)
        if 0 < study.count() < TRIALS and process.poll() is None:
            return process
        process.send_signal(signal.SIGCONT)
        finish(process)
        study.forget()
        study.nebula.unlink()
    raise AssertionError("ten studies were over before they could be disturbed")


def finish(process: subprocess.Popen[str], seconds: float = 300) -> str:
    """Its stderr, once it has ended well."""
    _, err = process.communicate(timeout=seconds)
    assert process.returncode == 0, err
    return err
