"""Atomic writing, and where shipped files are."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from nebula_tune.errors import StorageError
from nebula_tune.files import make_folder, shipped, write_atomically


def test_bytes_and_functions_are_written(tmp_path: Path) -> None:
    write_atomically(tmp_path / "new/folders/a.txt", b"one")
    write_atomically(str(tmp_path / "b.txt"), lambda file: file.write(b"two"))
    assert (tmp_path / "new/folders/a.txt").read_bytes() == b"one"
    assert (tmp_path / "b.txt").read_bytes() == b"two"


@pytest.fixture
def no_umask() -> Iterator[None]:
    """Whatever is made may be written by everybody, but for what the program says."""
    before = os.umask(0)
    yield
    os.umask(before)


def test_not_everybody_may_write_what_is_made(no_umask: None, tmp_path: Path) -> None:
    write_atomically(tmp_path / "new/folders/a.txt", b"one")
    make_folder(tmp_path / "and/more")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
    assert modes == {"new": 0o775, "folders": 0o775, "a.txt": 0o664, "and": 0o775, "more": 0o775}


@pytest.mark.parametrize("raised", [ValueError("broken"), KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_a_failure_while_writing_leaves_the_old_file_and_no_other(tmp_path: Path, raised: BaseException) -> None:
    path = tmp_path / "kept.json"
    path.write_bytes(b"old")

    def failing(file: BinaryIO) -> None:
        file.write(b"half of the n")
        file.flush()
        raise raised

    with pytest.raises(StorageError if isinstance(raised, OSError) else type(raised)) as caught:
        write_atomically(path, failing)
    if isinstance(raised, OSError):
        assert str(caught.value) == f"cannot write {path}: No space left on device"
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_a_failure_while_renaming_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "kept.json"
    path.write_bytes(b"old")

    def refuse(self: Path, target: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(StorageError, match="Permission denied"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_nobody_ever_sees_half_a_file(tmp_path: Path) -> None:
    path = tmp_path / "watched"
    whole = [bytes([k]) * 300_000 for k in range(2)]
    write_atomically(path, whole[0])
    stop, seen = threading.Event(), set()

    def watch() -> None:
        while not stop.is_set():
            seen.add(path.read_bytes() in whole)

    watcher = threading.Thread(target=watch)
    watcher.start()
    for k in range(40):
        write_atomically(path, lambda file, k=k: [file.write(whole[k % 2][:150_000]) for _ in range(2)])
    stop.set()
    watcher.join()
    assert seen == {True}


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_permissions_are_those_of_any_new_file(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        write_atomically(tmp_path / "atomic", b"x")
        (tmp_path / "usual").write_bytes(b"x")
    finally:
        os.umask(before)
    atomic, usual = (stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("atomic", "usual"))
    assert atomic == usual == 0o666 & ~umask


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"old")
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "file/below.json", tmp_path / "folder", tmp_path / ("x" * 300)):
        with pytest.raises(StorageError, match=f"cannot write {path}: .+") as caught:
            write_atomically(path, b"new")
        assert "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


@pytest.mark.parametrize(("kind", "name"), [("studies", "laptop.yaml"), ("nebulae", "default.json")])
def test_shipped_files_are_found(kind: str, name: str) -> None:
    assert (shipped(kind) / name).is_file()
