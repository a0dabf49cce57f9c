"""Databases that may not be written are read."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from nebula_tune.storage.ledger import Ledger
from nebula_tune.storage.schema import VERSION

HERE = Path(__file__).parent


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[Path]:
    """A folder whose files may not be written, once ``lock`` was called; of a user who may do all, by a mount."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid():
        yield folder
        folder.chmod(0o755)
        return
    if subprocess.run(["mount", "-t", "tmpfs", "none", folder], capture_output=True).returncode:
        pytest.skip("neither permissions nor mounts keep this user from writing")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def lock(folder: Path) -> None:
    if os.geteuid():
        for path in folder.iterdir():
            path.chmod(0o444)
        folder.chmod(0o555)
    else:
        subprocess.run(["mount", "-o", "remount,ro", folder], check=True)


@pytest.mark.parametrize("version", range(1, VERSION + 1))
@pytest.mark.parametrize("journal", ["WAL", "DELETE"])
def test_status_export_and_report_read_what_may_not_be_written(version: int, journal: str, locked: Path, call) -> None:
    shutil.copy(HERE / f"golden-v{version}.db", locked / "golden.db")
    with closing(sqlite3.connect(locked / "golden.db")) as connection:
        connection.execute(f"PRAGMA journal_mode={journal}")
    lock(locked)
    where = ("--storage", f"sqlite:///{locked}/golden.db")
    before = sorted(path.name for path in locked.iterdir())
    status = call("status", "golden", *where)
    assert status.code == 0 and "finished" in status.out
    assert call("export", "golden", *where).out.startswith("[")
    copied = call("copy", "golden", "--to", "sqlite:///mine.db", *where)
    assert copied.code == 0 and Ledger("sqlite:///mine.db").names() == ["golden"]
    refused = call("delete", "golden", "--yes", *where)
    assert refused.code and "writ" in refused.line
    assert sorted(path.name for path in locked.iterdir()) == before


def test_what_sqlite_has_not_yet_put_into_the_file_is_read_too(locked: Path, call, tmp_path: Path) -> None:
    shutil.copy(HERE / f"golden-v{VERSION}.db", tmp_path / "live.db")
    with closing(sqlite3.connect(tmp_path / "live.db")) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("UPDATE nebula_tune_studies SET state = 'interrupted'")
        connection.commit()
        for end in ("", "-wal"):
            shutil.copy(tmp_path / f"live.db{end}", locked / f"golden.db{end}")
    lock(locked)
    assert "interrupted" in call("status", "golden", "--storage", f"sqlite:///{locked}/golden.db").out
