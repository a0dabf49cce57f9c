"""Vectors kept by content, in a folder of their own."""

from __future__ import annotations

import errno
import json
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
import pytest
from numpy.typing import NDArray

from nebula_tune.corpus.cache import VectorCache, cache_folder, cache_size, cached_file, clear_cache, digest
from nebula_tune.corpus.prepare import Prepare
from nebula_tune.corpus.source import Folder
from nebula_tune.embedding.embed import embed_source
from nebula_tune.embedding.logmel import LogMel
from nebula_tune.files import write_atomically
from nebula_tune.machine import user_cache_folder
from nebula_tune.synth import Voice
from nebula_tune.synth.compiler import compiled
from tests.study.tiny import make_target

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


@pytest.mark.parametrize("chosen", ["", "relative", "/elsewhere/cache"])
@pytest.mark.parametrize(("system", "peer"), [("linux", "unix.Unix"), ("darwin", "macos.MacOS")])
def test_without_it_it_is_where_platformdirs_says(
    system: str, peer: str, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, _, name = peer.partition(".")
    expected = getattr(import_module(f"platformdirs.{module}"), name)("nebula-tune")
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setenv("XDG_CACHE_HOME", chosen)
    assert user_cache_folder("nebula-tune") == Path(expected.user_cache_dir)


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


@pytest.fixture(params=["a file in its place", "no place for folders", "a full disk", "no leave to look"])
def unwritable(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder that cannot be written, or only for a while."""
    folder = tmp_path / "cache"
    if request.param == "a file in its place":
        folder.write_bytes(b"")
    elif request.param == "no place for folders":
        folder = Path("/proc/cache")
    elif request.param == "a full disk":
        sync = os.fsync

        def full(file: int) -> None:
            if str(folder) in os.readlink(f"/proc/self/fd/{file}"):
                raise OSError(errno.ENOSPC, "No space left on device")
            sync(file)

        monkeypatch.setattr(os, "fsync", full)
    else:
        stat, mkdir = os.stat, os.mkdir

        def refused(original: Any) -> Any:
            def call(path: Any, *arguments: Any, **named: Any) -> Any:
                if isinstance(path, str | Path) and str(path).startswith(str(folder)):
                    raise PermissionError(errno.EACCES, "Permission denied", str(path))
                return original(path, *arguments, **named)

            return call

        monkeypatch.setattr(os, "stat", refused(stat))
        monkeypatch.setattr(os, "mkdir", refused(mkdir))
    monkeypatch.setenv("NEBULA_TUNE_CACHE", str(folder))
    return folder


def test_a_cache_that_cannot_be_written_is_told_once_and_done_without(
    unwritable: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    target = make_target(tmp_path / "target", 20)

    def embedded() -> NDArray[np.float32]:
        return embed_source(Folder("target", target), LogMel(8000, 0.5), Prepare.ONSET, Voice, 0).vectors

    without = embedded()
    VectorCache({}).put(KEY, VECTOR)
    VectorCache({}).put_note(KEY, "cut short")
    assert VectorCache({}).get(KEY) is None and VectorCache({}).note(KEY) == ""
    (record,) = caplog.records
    said = record.getMessage()
    assert f"warning: the cache folder {unwritable} cannot be written (" in said and "NEBULA_TUNE_CACHE" in said
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEBULA_TUNE_CACHE", str(tmp_path / "another"))
        assert np.array_equal(embedded(), without)


def test_a_file_for_workers_is_elsewhere_where_the_cache_cannot_be_written(unwritable: Path) -> None:
    def write(path: Path) -> None:
        write_atomically(path, b"vectors")

    path = cached_file("targets/one.npz", write)
    assert path.read_bytes() == b"vectors" and unwritable not in path.parents
    assert cached_file("targets/one.npz", write) == path


def test_a_file_for_workers_is_kept_in_the_cache(cache_of_the_test: Path) -> None:
    for _ in range(2):
        path = cached_file("targets/one.npz", lambda path: write_atomically(path, b"vectors"))
        assert path == cache_of_the_test / "targets/one.npz" and path.read_bytes() == b"vectors"


def test_commands_go_on_without_the_cache(call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_target(tmp_path / "a", 20)
    (tmp_path / "full").write_bytes(b"")
    monkeypatch.setenv("NEBULA_TUNE_CACHE", str(tmp_path / "full"))
    outcome = call("reach", "a", "--pool", "64", "--json")
    assert outcome.code == 0 and json.loads(outcome.out)
    assert outcome.err.count("NEBULA_TUNE_CACHE") == 1
    assert call("cache").code == 0


def test_machine_code_that_finds_no_room_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    @compiled
    def twice(x: float) -> float:
        return 2 * x

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("numba.core.caching.IndexDataCacheFile.save", full)
    assert twice(2.0) == 4.0
