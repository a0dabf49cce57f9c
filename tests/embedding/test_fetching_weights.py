"""Weights arrive whole and verified, or not at all, and each failure is one line that says what to do."""

import errno
import gzip
import hashlib
import io
import socket
import subprocess
import sys
import zipfile
from dataclasses import replace
from types import SimpleNamespace

import pytest
from rich.console import Console

from nebula_tune.embedding import aisfx, catalogue, download, make_embedding
from nebula_tune.embedding.openl3 import OpenL3
from nebula_tune.embedding.openl3 import weight_files as files
from nebula_tune.errors import EmbeddingError, StorageError
from tests.embedding.weight_server import serving

NAME = "openl3-music-mel256-512"
STEM = "openl3_audio_mel256_music"


@pytest.fixture(scope="module")
def packed(openl3_weights):
    return gzip.compress(openl3_weights["mel256"].read_bytes(), compresslevel=1)


@pytest.fixture
def server(packed, monkeypatch, cache):
    """A server of seeded weights that pass for the official ones; nothing is in the cache."""
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setitem(files.GIT_BLOBS, STEM, download.git_blob_id(packed))
    monkeypatch.delitem(files.SHA256, STEM)
    monkeypatch.setattr(files, "find_spec", lambda name: None)
    with serving(packed) as running:
        yield running


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=100)


def test_where_there_is_no_rich_lines_on_stderr_tell(server, cache, packed, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "nebula_tune.terminal", None)
    path = catalogue.fetch(NAME, f"{server.address}/good")
    assert path.read_bytes() == packed
    first, place, licence = capsys.readouterr().err.splitlines()
    assert first == f"fetching {path.name}" and place == str(path) and "CC BY 4.0" in licence


def cached(cache):
    return sorted(path.name for path in cache.rglob("*") if path.is_file())


@pytest.mark.parametrize("way", ["good", "moved"])
def test_weights_are_fetched_verified_and_used(way, server, cache, console, packed):
    path = catalogue.fetch(NAME, f"{server.address}/{way}/", console)
    assert path == cache / "weights" / f"{STEM}-v0_4_0.h5.gz"
    assert path.read_bytes() == packed
    assert cached(cache) == [path.name]
    said = console.file.getvalue()
    assert "CC BY 4.0" in said and "Look, Listen and Learn More" in said
    assert OpenL3().settings["weights"].startswith("0fd8a4d3")


def test_weights_there_already_are_not_fetched_again(server, cache, console):
    catalogue.fetch(NAME, f"{server.address}/good", console)
    catalogue.fetch("openl3-music-mel256-6144", f"{server.address}/missing", console)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("way", "said"),
    [
        ("missing", "answers 404"),
        ("busy", "answers 503"),
        ("truncated", "broke off after .* of .* bytes: try again"),
        ("empty", "broke off after 0 of"),
        ("cut", "does not match its published git blob id"),
        ("wrong", "does not match its published git blob id"),
        ("hung", "cannot be reached or broke off .*timed out"),
    ],
)
def test_a_failed_download_is_one_line_and_leaves_nothing(way, said, server, cache, console, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT", 0.3)
    with pytest.raises(EmbeddingError, match=said) as caught:
        catalogue.fetch(NAME, f"{server.address}/{way}", console)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2
    assert cached(cache) == []


def test_an_interrupted_download_starts_again_cleanly(server, cache, console):
    with pytest.raises(EmbeddingError, match="try again"):
        catalogue.fetch(NAME, f"{server.address}/flaky", console)
    assert catalogue.fetch(NAME, f"{server.address}/flaky", console).is_file()


def test_a_known_sha256_is_checked_too(server, cache, console, monkeypatch):
    monkeypatch.setitem(files.SHA256, STEM, "0" * 64)
    with pytest.raises(EmbeddingError, match=r"SHA-256 .*000"):
        catalogue.fetch(NAME, f"{server.address}/good", console)
    assert cached(cache) == []


def nobody_listens():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


def test_offline_is_one_line(server, cache, console):
    with pytest.raises(EmbeddingError, match=r"cannot be reached .* try again when online"):
        catalogue.fetch(NAME, nobody_listens(), console)
    with pytest.raises(EmbeddingError, match="cannot be reached"):
        catalogue.fetch(NAME, "http://no-such-host.invalid", console)


def test_missing_weights_name_every_remedy(server, cache, monkeypatch):
    monkeypatch.setattr(files, "ADDRESS", nobody_listens())
    with pytest.raises(EmbeddingError) as caught:
        make_embedding(NAME)
    said = str(caught.value)
    assert "\n" not in said
    for remedy in (f"nebula-tune embeddings --fetch {NAME}", "--weights", "openl3 package", f"{STEM}-v0_4_0.h5.gz"):
        assert remedy in said
    assert caught.value.exit_code == 2


def test_weights_are_fetched_on_first_need(server, cache, monkeypatch):
    monkeypatch.setattr(files, "ADDRESS", f"{server.address}/good")
    make_embedding(NAME)
    make_embedding(NAME)
    assert len(server.requests) == 1


def test_a_full_disk_says_how_much_room_and_where(server, cache, console, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StorageError, match=r"No space left on device; free \d+ MB .* NEBULA_TUNE_CACHE"):
        catalogue.fetch(NAME, f"{server.address}/good", console)
    assert cached(cache) == []


def test_a_cache_that_cannot_be_a_folder_is_one_line(server, cache, console):
    cache.parent.mkdir(exist_ok=True)
    cache.write_text("a file")
    with pytest.raises(StorageError, match="NEBULA_TUNE_CACHE"):
        catalogue.fetch(NAME, f"{server.address}/good", console)


def test_an_installed_openl3_packages_folder_serves(server, cache, openl3_weights, monkeypatch):
    package = SimpleNamespace(submodule_search_locations=[str(openl3_weights["mel256"].parent)])
    monkeypatch.setattr(files, "find_spec", lambda name: package if name == "openl3" else None)
    assert files.find(STEM) == openl3_weights["mel256"]
    make_embedding(NAME)
    assert server.requests == []


def test_the_catalogue_lists_all_embeddings_as_they_are(server, cache, openl3_weights, aisfx_weights, monkeypatch):
    monkeypatch.setattr(aisfx, "find_spec", lambda name: None)
    entries = {entry.name: entry for entry in catalogue.entries()}
    assert entries["logmel"].ready and entries["mss"].ready and not entries["logmel"].remedy
    options = {NAME: {"weights": openl3_weights["mel256"]}, "aisfx": {"weights": aisfx_weights}}
    for name in (NAME, "aisfx"):
        assert not entries[name].ready
        assert entries[name].remedy == f"nebula-tune embeddings --fetch {name}"
        assert entries[name].licence.startswith("CC BY 4.0")
    for name in ("logmel", "mss", "aisfx", "scattering", NAME):
        if entries[name].ready or name in options:
            embedding = make_embedding(name, **options.get(name, {}))
            assert (entries[name].sample_rate, entries[name].seconds) == (embedding.sample_rate, embedding.seconds)
    assert entries[NAME].dimensions == OpenL3(weights=openl3_weights["mel256"]).frames(192000) * 512
    assert entries["aisfx"].dimensions == 2 * 512
    assert entries["scattering"].ready and entries["scattering"].dimensions == 15 * 545


def test_names_without_weights_have_nothing_to_fetch_and_unknown_ones_are_refused(cache):
    assert catalogue.fetch("logmel") is None
    with pytest.raises(EmbeddingError, match="no embedding 'cochlea'"):
        catalogue.fetch("cochlea")


def test_the_cost_of_an_embedding_is_measured(aisfx_weights):
    assert 0 < catalogue.seconds_a_sound(make_embedding("aisfx", weights=aisfx_weights)) < 60


class TestAiSFXFromPyPI:
    @pytest.fixture
    def pip(self, cache, monkeypatch, aisfx_weights):
        """A pip that brings a wheel with seeded weights; returns what it was asked."""
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as wheel:
            wheel.write(aisfx_weights, aisfx.MEMBER)
        asked = []

        def run(command, **options):
            asked.append(command)
            folder = command[command.index("--dest") + 1]
            with open(f"{folder}/{aisfx.WHEEL.file}", "wb") as file:
                file.write(buffer.getvalue())
            return subprocess.CompletedProcess(command, 0, "", "")

        monkeypatch.setattr(subprocess, "run", run)
        monkeypatch.setattr(aisfx, "find_spec", lambda name: None)
        sha256 = hashlib.sha256(buffer.getvalue()).hexdigest()
        monkeypatch.setattr(aisfx, "WHEEL", replace(aisfx.WHEEL, sha256=sha256))
        return asked

    def test_its_weights_are_taken_from_the_wheel(self, pip, cache, console):
        path = catalogue.fetch("aisfx", console=console)
        assert path == cache / "weights" / aisfx.WEIGHTS_FILE
        assert cached(cache) == [path.name]
        assert "--no-deps" in pip[0] and pip[0][-1] == "aisfx==0.1.2"
        assert "CC BY 4.0" in console.file.getvalue()
        make_embedding("aisfx")
        assert len(pip) == 1

    def test_another_wheel_is_refused(self, pip, cache, console, monkeypatch):
        monkeypatch.setattr(aisfx, "WHEEL", replace(aisfx.WHEEL, sha256="0" * 64))
        with pytest.raises(EmbeddingError, match=r"SHA-256"):
            catalogue.fetch("aisfx", console=console)
        assert cached(cache) == []

    def test_a_pip_that_fails_is_one_line_with_remedies(self, pip, cache, monkeypatch):
        def run(command, **options):
            return subprocess.CompletedProcess(command, 1, "", "WARNING: retry\nERROR: No matching distribution\n")

        monkeypatch.setattr(subprocess, "run", run)
        with pytest.raises(EmbeddingError, match=r"No matching distribution.*--fetch aisfx.*pip install") as caught:
            make_embedding("aisfx")
        assert "\n" not in str(caught.value)
