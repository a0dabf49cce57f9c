"""Embedded vectors kept in the user's cache folder, by what they are made of; never inside a user's data."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nebula_tune.errors import StorageError
from nebula_tune.files import write_atomically
from nebula_tune.machine import user_cache_folder
from nebula_tune.notices import warn_once


def cache_folder() -> Path:
    """The user's cache folder for nebula-tune; NEBULA_TUNE_CACHE in the environment overrides it."""
    return Path(os.environ.get("NEBULA_TUNE_CACHE") or user_cache_folder("nebula-tune"))


def digest(content: Any) -> str:
    """SHA-256 of JSON content, in hexadecimal."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


class VectorCache:
    """Vectors of single sounds under one embedding and preparation (``settings``), by content key."""

    def __init__(self, settings: Any) -> None:
        self.folder = cache_folder() / "vectors" / digest(settings)[:32]

    def get(self, key: str) -> NDArray[np.float32] | None:
        """The vector of that sound; None where it is not there or not whole."""
        try:
            vector: NDArray[np.float32] = np.load(self._path(key), allow_pickle=False)
        except Exception:  # a damaged header makes numpy raise errors of many kinds
            return None
        return vector

    def put(self, key: str, vector: NDArray[np.float32]) -> None:
        """Keep a sound's vector; where the cache cannot be written, a warning says so once."""
        with _or_go_on():
            save_array(self._path(key), vector)

    def note(self, key: str) -> str:
        """What is to be told of that sound's file; nothing of most."""
        try:
            return self._path(key).with_suffix(".txt").read_text(encoding="utf-8")
        except OSError:
            return ""

    def put_note(self, key: str, note: str) -> None:
        """Keep what is to be told of a sound's file, as :meth:`put` does."""
        with _or_go_on():
            write_atomically(self._path(key).with_suffix(".txt"), note.encode())

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.npy"


def save_array(path: Path, array: NDArray[np.float32]) -> None:
    """Write one array as .npy, atomically."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    write_atomically(path, buffer.getvalue())


def cached_file(name: str, write: Callable[[Path], None]) -> Path:
    """A file of the cache by its name there; one that is not there is written.

    Where the cache cannot be written it is in a temporary folder, which goes when this process ends. Raises
    StorageError where that cannot be written either.
    """
    path = cache_folder() / name
    if is_there(path):
        return path
    try:
        write(path)
    except StorageError as error:
        _go_on_without(error)
        path = _instead() / name
        if not is_there(path):
            write(path)
    return path


@cache
def _temporary() -> TemporaryDirectory[str]:
    return TemporaryDirectory(prefix="nebula-tune-")


def _instead() -> Path:
    """This process's folder in the cache's place. Raises StorageError."""
    try:
        return Path(_temporary().name)
    except OSError as error:
        raise StorageError(f"no temporary folder can be made: {error.strerror or error}") from error


@contextmanager
def _or_go_on() -> Iterator[None]:
    """Where the cache cannot be written, the work goes on without it."""
    try:
        yield
    except StorageError as error:
        _go_on_without(error)


def _go_on_without(error: StorageError) -> None:
    """Say once that the cache cannot be written, and why."""
    reason = getattr(error.__cause__, "strerror", None) or error
    warn_once(
        f"warning: the cache folder {cache_folder()} cannot be written ({reason}); going on without it, so what is "
        "embedded is embedded anew next time; NEBULA_TUNE_CACHE in the environment names another folder"
    )


def is_there(path: Path) -> bool:
    """Whether a file is there and may be looked at."""
    try:
        return path.is_file()
    except OSError:
        return False


def cache_size() -> tuple[int, int]:
    """Files and bytes in the cache folder."""
    sizes = [path.stat().st_size for path in cache_folder().rglob("*") if path.is_file()]
    return len(sizes), sum(sizes)


def clear_cache() -> None:
    """Remove all embedded sounds; fetched weights stay."""
    for kind in ("vectors", "targets"):
        shutil.rmtree(cache_folder() / kind, ignore_errors=True)
