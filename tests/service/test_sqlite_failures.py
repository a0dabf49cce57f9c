"""A database file that cannot be written: one clear line, nothing lost, and the same command goes on afterwards."""

from __future__ import annotations

import resource
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.service.studies import assert_same, finish
from tests.study.tiny import TinyStudy, let_go


def line(process: subprocess.Popen[str]) -> str:
    """The one line of a command that failed while running."""
    _, err = process.communicate(timeout=300)
    assert process.returncode == 1, err
    assert "Traceback" not in err
    last = err.strip().splitlines()[-1]
    assert last.startswith("nebula-tune: database sqlite:///")
    return last


def test_a_file_locked_by_another_process_is_waited_for_and_then_named(
    tmp_path: Path, target: Path, undisturbed: TinyStudy
) -> None:
    study = TinyStudy(tmp_path, target)
    plain, study.storage = study.storage, f"{study.storage}?timeout=1"
    process = study.run_until(4)
    with closing(sqlite3.connect(tmp_path / "studies.db", isolation_level=None, timeout=30)) as other:
        other.execute("BEGIN IMMEDIATE")
        let_go(process)
        assert "database is locked; another program holds it" in line(process)
        assert "locked" in line(study.start())
    study.storage = plain
    finish(study.start())
    assert_same(study, undisturbed)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB, where this user may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", folder], capture_output=True).returncode:
        pytest.skip("mounting a small file system is not allowed here")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_full_disk_loses_nothing(small_disk: Path, tmp_path: Path, target: Path, undisturbed: TinyStudy) -> None:
    study = TinyStudy(tmp_path, target)
    study.storage = f"sqlite:///{small_disk}/studies.db"
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(400_000))
    assert "free some space" in line(study.start())
    subprocess.run(["mount", "-o", "remount,size=50m", small_disk], check=True)
    finish(study.start())
    assert_same(study, undisturbed)


def test_a_read_only_disk_gets_one_clear_line(small_disk: Path, tmp_path: Path, target: Path) -> None:
    study = TinyStudy(tmp_path, target)
    study.storage = f"sqlite:///{small_disk}/studies.db"
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    assert "writ" in line(study.start())


def test_a_file_that_may_not_grow_loses_nothing(tmp_path: Path, target: Path, undisturbed: TinyStudy) -> None:
    """A quota, as every user can have one."""
    study = TinyStudy(tmp_path, target)

    def quota() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))

    arguments = [
        "run",
        "--target",
        str(target),
        "--study",
        "tiny.yaml",
        "--name",
        "tiny",
        "--executor",
        "inline",
        "--no-report",
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "nebula_tune.cli", *arguments, "--storage", study.storage],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=quota,
    )
    assert "free some space" in line(process)
    finish(study.start())
    assert_same(study, undisturbed)
