"""Embedded vectors kept in the user's cache folder, by what they are made of; never inside a user's data."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
from numpy.typing import NDArray

from nebula_tune.files import write_atomically


def cache_folder() -> Path:
    """The user's cache folder for nebula-tune; NEBULA_TUNE_CACHE in the environment overrides it."""
    return Path(os.environ.get("NEBULA_TUNE_CACHE") or platformdirs.user_cache_dir("nebula-tune"))


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
        """Keep a sound's vector."""
        save_array(self._path(key), vector)

    def note(self, key: str) -> str:
        """What is to be told of that sound's file; nothing of most."""
        try:
            return self._path(key).with_suffix(".txt").read_text(encoding="utf-8")
        except OSError:
            return ""

    def put_note(self, key: str, note: str) -> None:
        """Keep what is to be told of a sound's file."""
        write_atomically(self._path(key).with_suffix(".txt"), note.encode())

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.npy"


def save_array(path: Path, array: NDArray[np.float32]) -> None:
    """Write one array as .npy, atomically."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    write_atomically(path, buffer.getvalue())


def cache_size() -> tuple[int, int]:
    """Files and bytes in the cache folder."""
    sizes = [path.stat().st_size for path in cache_folder().rglob("*") if path.is_file()]
    return len(sizes), sum(sizes)


def clear_cache() -> None:
    """Remove all embedded sounds; fetched weights stay."""
    for kind in ("vectors", "targets"):
        shutil.rmtree(cache_folder() / kind, ignore_errors=True)
