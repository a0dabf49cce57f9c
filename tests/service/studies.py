"""Studies of the service's tests: tiny ones, on any database."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import sqlalchemy as sa

from nebula_tune.errors import NebulaTuneError
from nebula_tune.storage import upgrades
from nebula_tune.storage.ledger import Ledger
from nebula_tune.storage.schema import places, schema, studies
from tests.study.tiny import TinyStudy


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


def as_version_2(engine: sa.Engine) -> None:
    """A database as schema version 2 left it."""
    with engine.begin() as connection:
        connection.execute(schema.update().values(version=2))
        for name in upgrades.ADDED_IN_3:
            connection.execute(sa.text(f"ALTER TABLE {studies.name} DROP COLUMN {name}"))
        places.drop(connection)
        upgrades.TRIAL_STATES.drop(connection)
    engine.dispose()


def wait_for(condition: object, seconds: float = 60) -> None:
    """Until ``condition()`` is true."""
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def finish(process: subprocess.Popen[str], seconds: float = 300) -> str:
    """Its stderr, once it has ended well."""
    _, err = process.communicate(timeout=seconds)
    assert process.returncode == 0, err
    return err
