"""A running study asked to stop, from any machine, through the database."""

from __future__ import annotations

import socket
import time
from typing import Any

from nebula_tune.errors import NebulaTuneError, StudyError
from nebula_tune.machine import user
from nebula_tune.storage.ledger import Ledger
from nebula_tune.storage.owner import LONGEST_NAME, WATCH, is_dead, named
from nebula_tune.storage.schema import studies
from nebula_tune.words import printable

LOOK = 0.5  # seconds between looks at whether the study has stopped


def stop_study(ledger: Ledger, name: str, patience: float) -> str:
    """Ask a study's process to stop, and wait until it has; returns the study's state then.

    Args:
        ledger: the database.
        name: the study's.
        patience: seconds to wait.

    Raises:
        StorageError: the database failed.
        StudyError: there is no such study, or nobody runs it.
        NebulaTuneError: it is still running after so many seconds.
    """
    row = ledger.record(name)
    if row["state"] == "finished":
        raise StudyError(f"study {name} is finished; there is nothing to stop")
    if not row["owner_token"] or is_dead(row):
        raise StudyError(f"study {name} is not running; run goes on with it")
    _ask(ledger, row)
    began = beat = time.monotonic()
    now = row
    while True:
        time.sleep(LOOK)
        before, now = now, ledger.record(name)
        if now["owner_token"] != row["owner_token"]:
            return str(now["state"])
        if now["heartbeat"] != before["heartbeat"]:
            beat = time.monotonic()
        elif is_dead(now) or time.monotonic() - beat > WATCH:
            raise StudyError(
                f"study {name} is not running: {named(row)} gives no sign of life; should it wake, it stops; run goes "
                "on with the study"
            )
        if time.monotonic() - began > patience:
            raise NebulaTuneError(
                f"study {name} was asked to stop and has not within {patience:.0f} s: {named(row)} is busy, and stops "
                f"as soon as it can; see nebula-tune status {name}"
            )


def _ask(ledger: Ledger, row: dict[str, Any]) -> None:
    """Raises StudyError where the study's owner is another one meanwhile."""
    asked_by = f"{printable(user())}@{socket.gethostname()}"[:LONGEST_NAME]
    same = (studies.c.name == row["name"]) & (studies.c.owner_token == row["owner_token"])
    change = studies.update().where(same).values(stop_asked=row["owner_token"], stop_asked_by=asked_by)
    if not ledger.database.run(lambda connection, _: connection.execute(change).rowcount):
        raise StudyError(f"study {row['name']} was stopped, or taken over, just now; see nebula-tune status")
