"""One coordinator a study: a lease with a heartbeat in the study's row."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any

import sqlalchemy as sa

from nebula_tune.errors import StopRequested, StorageError, StudyError, TakenOverError
from nebula_tune.storage.ledger import Ledger
from nebula_tune.storage.owner import BEAT, NOBODY, WATCH, is_dead, named, this_process
from nebula_tune.storage.schema import studies


class Lease:
    """Holds a study for this process, as a context manager.

    A process that is surely dead is taken over at once; any other owner is watched for its heartbeat: one that stands
    still is taken over, one that moves keeps the study, and StudyError names it. ``note`` is told what goes on.
    With each heartbeat it learns whether it is lost, and whether somebody asked the study to stop: :meth:`check` tells.
    """

    def __init__(self, ledger: Ledger, name: str, note: Callable[[str], None]) -> None:
        self.ledger, self.name, self._note = ledger, name, note
        self._token = secrets.token_hex(8)
        self._stop = threading.Event()
        self._lost = False
        self._stop_asked_by: str | None = None

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
        self._thread.join()  # the ledger keeps the token: what is written late is refused
        try:
            self._write(error is None, **NOBODY)
        except StorageError:
            if error is None:
                raise

    def check(self) -> None:
        """Raises TakenOverError where the lease is lost, StopRequested where somebody asked the study to stop."""
        if self._lost:
            raise TakenOverError(f"study {self.name} was taken over by another process, or removed; this process stops")
        if self._stop_asked_by is not None:
            raise StopRequested(
                f"{self._stop_asked_by} asked study {self.name} to stop; nothing scored is lost: the same command goes "
                "on from here"
            )

    def _take(self) -> None:
        row = self.ledger.record(self.name)
        if row["owner_token"] and not is_dead(row):
            owner = named(row)
            self._note(f"study {self.name} is held by {owner}; watching {WATCH:.0f} s whether it is alive")
            time.sleep(WATCH)
            if self.ledger.record(self.name)["heartbeat"] != row["heartbeat"]:
                raise StudyError(f"study {self.name} is being run by {owner}; wait for it, or give another --name")
        mine = this_process(self._token) | {"heartbeat": row["heartbeat"] + 1}
        # Only from the owner that was seen: of two newcomers one wins.
        seen = studies.c.owner_token.is_not_distinct_from(row["owner_token"])
        free = (studies.c.name == self.name) & (seen | (studies.c.owner_token == self._token))
        change = studies.update().where(free).values(**mine)
        if not self.ledger.database.run(lambda connection, _: connection.execute(change).rowcount):
            raise StudyError(f"study {self.name} was taken by another process just now; give another --name")

    def _beat(self) -> None:
        while not self._stop.wait(BEAT):
            with suppress(StorageError):  # the coordinator meets the same database, and says so
                self._lost = not self._write(False, heartbeat=studies.c.heartbeat + 1)
                self._stop_asked_by = self._asked()

    def _asked(self) -> str | None:
        """Who asked this process to stop."""
        asked = (studies.c.name == self.name) & (studies.c.stop_asked == self._token)
        query = sa.select(studies.c.stop_asked_by).where(asked)
        return self.ledger.database.run(lambda connection, _: connection.execute(query).scalar(), patient=False)

    def _write(self, patient: bool, **columns: Any) -> bool:
        condition = (studies.c.name == self.name) & (studies.c.owner_token == self._token)
        change = studies.update().where(condition).values(**columns)
        return self.ledger.database.run(lambda connection, _: connection.execute(change).rowcount, patient) == 1
