"""Transactions on a database that may go away for a while and come back."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

import sqlalchemy as sa

from nebula_tune.errors import NebulaTuneError
from nebula_tune.storage.address import shown
from nebula_tune.storage.database import database_errors

PATIENCE = 120.0  # seconds a lost database is waited for
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0  # seconds between attempts, doubling
LOST_STATES = ("08", "57P", "53300", "40001", "40P01")  # SQLSTATE: connection, shutdown, too many, serialisation

log = logging.getLogger(__name__)
T = TypeVar("T")


class Database:
    """An engine whose transactions survive lost connections: each is tried again, with growing pauses."""

    def __init__(self, engine: sa.Engine, url: str) -> None:
        self.engine, self.url = engine, url
        self._given_up = False  # then the last words of a failing run are not waited for again

    def run(self, work: Callable[[sa.Connection, bool], T], patient: bool = True) -> T:
        """``work(connection, again)`` in one transaction. Raises StorageError.

        ``again`` says that an attempt went before whose commit may have been kept though its answer was lost: work
        that must not be done twice looks first.
        """

        def attempt(again: bool) -> T:
            with self.engine.begin() as connection:
                if self._given_up and self.engine.dialect.name == "sqlite":
                    connection.exec_driver_sql("PRAGMA busy_timeout=500")
                return work(connection, again)

        return self.call(attempt, patient)

    def call(self, attempt: Callable[[bool], T], patient: bool = True) -> T:
        """``attempt(again)`` until the database answers, for PATIENCE seconds at most. Raises StorageError."""
        began, pause, again = time.monotonic(), FIRST_PAUSE, False
        with database_errors(self.url):
            while True:
                try:
                    result = attempt(again)
                except NebulaTuneError:
                    raise
                except Exception as error:
                    waited = time.monotonic() - began
                    if not patient or self._given_up or not is_lost(error) or waited > PATIENCE:
                        self._given_up |= patient and isinstance(error, sa.exc.SQLAlchemyError)
                        raise
                    if not again:
                        log.warning("lost database %s; trying again for %.0f s", shown(self.url), PATIENCE)
                    again = True
                    time.sleep(pause)
                    pause = min(2 * pause, LONGEST_PAUSE)
                else:
                    if again:
                        log.warning("database is back after %.1f s", time.monotonic() - began)
                    return result


def is_lost(error: BaseException | None) -> bool:
    """Whether an error means that the connection, not the work, failed."""
    while error is not None and not isinstance(error, sa.exc.SQLAlchemyError):
        error = error.__cause__  # Optuna wraps what SQLAlchemy raised
    if not isinstance(error, sa.exc.DBAPIError) or "sqlite" in type(error.orig).__module__:
        return False
    if error.connection_invalidated:
        return True
    state = getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None)
    if state is None:  # the server was not reached, or it hung up
        return isinstance(error, (sa.exc.OperationalError, sa.exc.InterfaceError))
    return str(state).startswith(LOST_STATES)
