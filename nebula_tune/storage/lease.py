"""One coordinator a study: a lease with a heartbeat in the study's row."""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

from nebula_tune.errors import StorageError, StudyError
from nebula_tune.machine import process_started
from nebula_tune.storage.ledger import Ledger
from nebula_tune.storage.schema import studies

BEAT = 3.0  # seconds between heartbeats
WATCH = 10.0  # seconds a newcomer watches another host's lease before it takes over


class Lease:
    """Holds a study for this process, as a context manager.

    A dead process of this host is taken over at once; any other owner is watched for one heartbeat: one that stands
    still is taken over, one that moves keeps the study, and StudyError names it. ``note`` is told what goes on.
    """

    def __init__(self, ledger: Ledger, name: str, note: Callable[[str], None]) -> None:
        self.ledger, self.name, self._note = ledger, name, note
        self._token = secrets.token_hex(8)
        self._stop = threading.Event()
        self.lost = False

    def __enter__(self) -> Lease:
        self._take()
        self.ledger.token = self._token
        self._thread = threading.Thread(target=self._beat, name="lease", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self.ledger.token = None
        try:
            self._write(error is None, owner_host=None, owner_pid=None, owner_started=None, owner_token=None)
        except StorageError:
            if error is None:
                raise

    def _take(self) -> None:
        row = self.ledger.record(self.name)
        if row["owner_token"] and not self._is_dead_here(row):
            owner = f"process {row['owner_pid']} on {row['owner_host']}"
            self._note(f"study {self.name} is held by {owner}; watching {WATCH:.0f} s whether it is alive")
            time.sleep(WATCH)
            if self.ledger.record(self.name)["heartbeat"] != row["heartbeat"]:
                raise StudyError(f"study {self.name} is being run by {owner}; wait for it, or give another --name")
        mine = {
            "owner_host": socket.gethostname(),
            "owner_pid": os.getpid(),
            "owner_started": process_started(os.getpid()),
            "owner_token": self._token,
            "heartbeat": row["heartbeat"] + 1,
        }
        # Only from the owner that was seen: of two newcomers one wins.
        seen = studies.c.owner_token.is_not_distinct_from(row["owner_token"])
        free = (studies.c.name == self.name) & (seen | (studies.c.owner_token == self._token))
        change = studies.update().where(free).values(**mine)
        if not self.ledger.database.run(lambda connection, _: connection.execute(change).rowcount):
            raise StudyError(f"study {self.name} was taken by another process just now; give another --name")

    def _is_dead_here(self, row: dict[str, Any]) -> bool:
        here: bool = row["owner_host"] == socket.gethostname()
        return here and process_started(row["owner_pid"]) != row["owner_started"]

    def _beat(self) -> None:
        while not self._stop.wait(BEAT):
            try:
                self.lost = not self._write(False, heartbeat=studies.c.heartbeat + 1)
            except StorageError:
                continue  # the coordinator meets the same database, and says so

    def _write(self, patient: bool, **columns: Any) -> bool:
        condition = (studies.c.name == self.name) & (studies.c.owner_token == self._token)
        change = studies.update().where(condition).values(**columns)
        return self.ledger.database.run(lambda connection, _: connection.execute(change).rowcount, patient) == 1
