"""The study database: its errors in plain words, and how it is opened: Optuna's tables and our own."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from nebula_tune.errors import FREE_SPACE, NebulaTuneError, StorageError, StudyError
from nebula_tune.files import make_folder
from nebula_tune.storage.address import shown, without_password
from nebula_tune.storage.paths import database_file
from nebula_tune.storage.reading import connector, may_be_written
from nebula_tune.storage.schema import VERSION, is_there
from nebula_tune.storage.upgrades import bring_up_to_date

SQLITE_TIMEOUT = 60  # seconds to wait for another process's write; ?timeout= in the URL says otherwise
ASK_AGAIN = 0.05  # seconds between two attempts where SQLite itself does not wait
CONNECT_TIMEOUT = 10  # seconds to wait for a server that does not answer


@contextmanager
def database_errors(url: str) -> Iterator[None]:
    """Turn whatever a database may raise into one clear line."""
    from optuna.exceptions import StorageInternalError

    try:
        yield
    except NebulaTuneError:
        raise
    except ImportError as error:
        raise StudyError(f"database {shown(url)}: its driver is not installed ({error})") from None
    except (sa.exc.SQLAlchemyError, StorageInternalError, RuntimeError) as error:
        cause: BaseException = error.__cause__ or error
        cause = getattr(cause, "orig", None) or cause
        lines = without_password(str(cause), url).strip().splitlines() or [type(cause).__name__]
        kind = StudyError if _is_refusal(lines[0]) else StorageError
        raise kind(f"database {shown(url)}: {lines[0].strip()}{_advice(lines[0])}") from error


def _is_refusal(message: str) -> bool:
    """Whether a server answered that the URL's user, password or database is wrong."""
    return any(word in message for word in ("authentication failed", "no password supplied", "does not exist"))


def _advice(message: str) -> str:
    advice = {
        "disk": FREE_SPACE,
        "full": FREE_SPACE,
        "locked": "; another program holds it: end that and run the same command again",
        "read-only": "; this user or server may not write: give another --storage",
        "readonly": "; make the file and its folder writable, or give another --storage",
        "unable to open": "; check that its folder exists and can be written",
        "not a database": "; give another --storage",
        "does not exist": "; check the user and the database in the URL",
        "authentication": "; check user and password",
        "password": "; check user and password",
        "timeout": "; check host and port, and that the server runs",
        "refused": "; check host and port, and that the server runs",
    }
    return next((text for word, text in advice.items() if word in message.lower()), "")


def open_storage(url: str, create: bool, reading: bool = False) -> Any:
    """Optuna's storage on a normalised URL, with our own tables beside Optuna's.

    With ``reading`` a database's file that may not be written is opened all the same, to be read; so is one of an older
    version that a run of that version works on.

    Raises StudyError where there is no database and ``create`` is false, or for one of a newer version, or where a run
    of an older version works on it.
    """
    from optuna.storages import RDBStorage

    arguments: dict[str, Any] = {"pool_pre_ping": True}
    file = database_file(url)
    if file is None:
        arguments |= {"pool_size": 4, "connect_args": {"connect_timeout": CONNECT_TIMEOUT}}
    else:
        if "timeout" not in sa.engine.make_url(url).query:
            arguments["connect_args"] = {"timeout": SQLITE_TIMEOUT}
        if not file.exists() and not create:
            raise StudyError(f"no studies here: {file} does not exist; say where they are with --storage")
        if reading and file.is_file() and not may_be_written(file):
            with database_errors(url):
                return _read_only(RDBStorage, url, file)
        try:
            make_folder(file.parent)
        except OSError as error:
            raise StorageError(f"cannot make folder {file.parent}: {error.strerror}") from error
    with database_errors(url):
        for pause in (0.2, 0.5, 1.0):
            try:
                return _connect(RDBStorage, url, arguments, create)
            except sa.exc.DatabaseError as error:
                if not any(word in str(error) for word in ("exists", "UNIQUE")):
                    raise
                time.sleep(pause)  # another process is making the tables at this moment
        return _connect(RDBStorage, url, arguments, create)


def _read_only(storage_class: Any, url: str, file: Path) -> Any:
    """A storage on a file that may not be written; its tables are brought up to date in a copy only."""
    connect = connector(file, VERSION, SQLITE_TIMEOUT)
    storage = storage_class(url, engine_kwargs={"creator": connect}, skip_table_creation=True)
    bring_up_to_date(storage.engine, shown(url), watched=False)
    return storage


def _connect(storage_class: Any, url: str, arguments: dict[str, Any], create: bool) -> Any:
    if not create:
        _refuse_empty(url, arguments)
    storage = storage_class(url, engine_kwargs=arguments)
    if database_file(url) is not None:
        _tune_sqlite(storage.engine)
    bring_up_to_date(storage.engine, shown(url))
    return storage


def _refuse_empty(url: str, arguments: dict[str, Any]) -> None:
    """Raise StudyError for a database without studies' tables, in which Optuna would make its own."""
    engine = sa.create_engine(url, **arguments)
    try:
        if not is_there(engine):
            raise StudyError(
                f"no studies here: {shown(url)} has no tables of nebula-tune; say where they are with --storage"
            )
    finally:
        engine.dispose()


def _tune_sqlite(engine: sa.Engine) -> None:
    """Readers and a writer side by side: a write-ahead log, one fsync less a commit."""

    @sa.event.listens_for(engine, "connect")
    def _pragmas(connection: Any, _: Any) -> None:
        cursor = connection.cursor()
        _log_ahead(cursor)
        cursor.execute("PRAGMA synchronous=NORMAL")
        cursor.close()

    engine.dispose()


def _log_ahead(cursor: sqlite3.Cursor) -> None:
    """Have a database's file keep a write-ahead log.

    To change from another kind of log SQLite does not wait where another program writes at this moment, as it does
    for everything else. So it is asked again, for as long as it would have waited.
    """
    (patience,) = cursor.execute("PRAGMA busy_timeout").fetchone()  # ms
    until = time.monotonic() + patience / 1000
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > until:
                raise
            time.sleep(ASK_AGAIN)
        else:
            return
