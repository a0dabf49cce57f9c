"""A SQLite database that may not be written, opened to be read: as it is, or as a copy that lasts as long as we do."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import weakref
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import quote

from nebula_tune.errors import StorageError

Connect = Callable[[], sqlite3.Connection]
LOG = "-wal"  # what SQLite writes first, beside the database


def may_be_written(file: Path) -> bool:
    """Whether this process may write a database's file, and beside it."""
    return os.access(file, os.W_OK) and os.access(file.parent, os.W_OK)


def connector(file: Path, wanted_version: int, timeout: float) -> Connect:
    """What opens a database that may only be read.

    It is read where it is, writes of others included, if SQLite can do so and the tables are those of this version.
    Else it is copied, with what SQLite has not yet put into its file; the copy goes away with this process.

    Args:
        file: the database.
        wanted_version: of our tables.
        timeout: seconds to wait for another process's write.

    Raises:
        StorageError: where it cannot be copied.
    """
    log = Path(f"{file}{LOG}")
    settled = not (log.exists() and log.stat().st_size)
    for unchanging in (False, True) if settled else (False,):
        connect = _reader(file, unchanging, timeout)
        with suppress(sqlite3.Error), closing(connect()) as connection:
            version = connection.execute("SELECT MAX(version) FROM nebula_tune_schema").fetchone()[0]
            if version is not None and version >= wanted_version:
                return connect
    copy = _copied(file)
    return lambda: sqlite3.connect(copy, timeout=timeout, check_same_thread=False)


def _reader(file: Path, unchanging: bool, timeout: float) -> Connect:
    """``unchanging``: nobody writes it meanwhile, so SQLite needs no files of its own beside it."""
    address = f"file:{quote(os.fsencode(file.absolute()))}?mode=ro" + ("&immutable=1" if unchanging else "")
    return lambda: sqlite3.connect(address, uri=True, timeout=timeout, check_same_thread=False)


def _copied(file: Path) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="nebula-tune-"))
    weakref.finalize(_copied, shutil.rmtree, folder, ignore_errors=True)
    try:
        for end in ("", LOG):
            if (part := Path(f"{file}{end}")).exists():
                shutil.copyfile(part, folder / f"copy.db{end}")
    except OSError as error:
        raise StorageError(f"cannot read database {file}: {error.strerror or error}") from error
    return folder / "copy.db"
