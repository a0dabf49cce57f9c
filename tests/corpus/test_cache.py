"""Vectors kept by content, in a folder of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import platformdirs
import pytest

from nebula_tune.corpus.cache import VectorCache, cache_folder, cache_size, clear_cache, digest

KEY = "ab" * 32
VECTOR = np.arange(40, dtype=np.float32)


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_what_is_kept_comes_back_bit_for_bit() -> None:
    VectorCache({"embedding": "a"}).put(KEY, VECTOR)
    back = VectorCache({"embedding": "a"}).get(KEY)
    assert back is not None and back.dtype == np.float32 and np.array_equal(back, VECTOR)
    assert VectorCache({"embedding": "a"}).get("cd" * 32) is None
    assert VectorCache({"embedding": "b"}).get(KEY) is None, "other settings, other vectors"


def test_the_environment_says_where(cache_of_the_test: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_folder() == cache_of_the_test
    monkeypatch.setenv("NEBULA_TUNE_CACHE", str(tmp_path / "elsewhere"))
    VectorCache({}).put(KEY, VECTOR)
    assert len(files(tmp_path / "elsewhere")) == 1 and not files(cache_of_the_test)
    usual = Path(platformdirs.user_cache_dir("nebula-tune"))
    monkeypatch.setenv("NEBULA_TUNE_CACHE", "")
    assert cache_folder() == usual
    monkeypatch.delenv("NEBULA_TUNE_CACHE")
    assert cache_folder() == usual


def test_a_torn_file_counts_as_absent(cache_of_the_test: Path) -> None:
    cache = VectorCache({})
    cache.put(KEY, VECTOR)
    (path,) = files(cache_of_the_test)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert cache.get(KEY) is None, f"cut after {length} of {len(whole)} bytes"
    for damaged in (b"\0" * len(whole), b"PK\3\4" + whole, whole.replace(b"{", b"("), whole.replace(b"}", b"'")):
        path.write_bytes(damaged)
        assert cache.get(KEY) is None
    cache.put(KEY, VECTOR)
    assert np.array_equal(cache.get(KEY), VECTOR)


def test_size_and_clearing(cache_of_the_test: Path) -> None:
    assert cache_size() == (0, 0)
    for key in ("ab" * 32, "cd" * 32):
        VectorCache({}).put(key, VECTOR)
    assert cache_size() == (2, 2 * (128 + VECTOR.nbytes))
    weights = cache_of_the_test / "weights" / "ear.h5"
    weights.parent.mkdir()
    weights.write_bytes(b"fetched")
    for _ in range(2):
        clear_cache()
        assert [p for p in cache_of_the_test.rglob("*") if p.is_file()] == [weights]


def test_a_digest_knows_content_and_not_the_order_of_keys() -> None:
    assert digest({"a": 1, "b": [2, 3]}) == digest({"b": [2, 3], "a": 1})
    assert digest({"a": 1, "b": [2, 3]}) != digest({"a": 1, "b": [3, 2]})
