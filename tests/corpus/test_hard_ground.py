"""Folders and files as they are found: links, pipes, other formats, files cut short, channels that cancel."""

from __future__ import annotations

import os
import socket
import struct
from pathlib import Path

import numpy as np
import pytest

from nebula_tune.cli.console import print_skipped
from nebula_tune.corpus.chatter import without_chatter
from nebula_tune.corpus.folder import (
    LONGEST_SECONDS,
    Skipped,
    Unusable,
    audio_files,
    find_audio,
    fingerprint,
    read_audio,
    read_sound,
)
from nebula_tune.corpus.prepare import Prepare
from nebula_tune.errors import CorpusError
from tests.corpus.sounds import FORMATS, MORE_FORMATS, burst, tone, write

RATE = 8000


def steady(number: int, samples: int) -> np.ndarray:
    """A noise that does not decay, another for each number."""
    return np.random.default_rng(number).uniform(-0.5, 0.5, samples).astype(np.float32)


def names(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in find_audio(folder)]


def passed_over(folder: Path) -> dict[str, str]:
    return {file.name: file.reason for file in audio_files(folder).passed_over}


def reason(path: Path) -> str:
    with pytest.raises(Unusable) as caught:
        read_audio(path, RATE)
    return str(caught.value)


def test_links_to_folders_are_followed_once_and_loops_are_named(tmp_path: Path) -> None:
    corpus, elsewhere = tmp_path / "corpus", tmp_path / "elsewhere"
    for path in (corpus / "kit/a.wav", elsewhere / "b.wav", elsewhere / "deep/c.wav"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (corpus / "above").symlink_to(tmp_path)
    (corpus / "all").symlink_to(elsewhere)
    (corpus / "again").symlink_to("kit")
    (corpus / "kit/self").symlink_to(".")
    (corpus / "gone").symlink_to("nowhere")
    (corpus / "round").symlink_to("round")
    (elsewhere / "back").symlink_to(corpus)
    (elsewhere / "deep/over").symlink_to(elsewhere)
    assert names(corpus) == ["all/b.wav", "all/deep/c.wav", "kit/a.wav"]
    assert passed_over(corpus) == {
        "above": "a link to a folder above it",
        "again": "a link to kit, which is read already",
        "all/back": "a link to ., which is read already",
        "all/deep/over": "a link to all, which is read already",
        "gone": "a link to nothing",
        "kit/self": "a link to kit, which is read already",
        "round": "a link to nothing",
    }


def test_what_is_no_regular_file_is_named_and_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.path.relpath(tmp_path / "socket.flac"))
    (tmp_path / "endless.mp3").symlink_to("/dev/zero")
    (tmp_path / "dangling.ogg").symlink_to("gone.ogg")
    (tmp_path / "folder.wav").mkdir()
    (tmp_path / "kit.wav").mkdir()
    write(tmp_path / "kit.wav/hit.wav", burst(1))
    assert names(tmp_path) == ["dangling.ogg", "endless.mp3", "kit.wav/hit.wav", "pipe.wav", "socket.flac"]
    assert passed_over(tmp_path) == {"folder.wav": "a folder, not a file"}
    kinds = {"pipe.wav": "named pipe", "socket.flac": "socket", "endless.mp3": "device"}
    for name, kind in kinds.items():
        assert reason(tmp_path / name) == f"unreadable: not a file but a {kind}"
        with pytest.raises(Unusable, match=kind):
            fingerprint(tmp_path / name, tmp_path)
    assert reason(tmp_path / "dangling.ogg") == "unreadable: No such file or directory"
    assert reason(tmp_path / "folder.wav") == "unreadable: not a file but a folder"


@pytest.mark.parametrize("extension", MORE_FORMATS)
def test_whatever_libsndfile_reads_is_found_and_read(tmp_path: Path, extension: str) -> None:
    audio = tone(440, seconds=0.5, sample_rate=RATE)
    path = write(tmp_path / f"sound.{extension}", audio, RATE)
    assert names(tmp_path) == [path.name]
    read = read_sound(path, RATE)
    lossy = extension in ("opus", "oga", "aifc")
    np.testing.assert_allclose(read.audio, audio[: len(read.audio)], atol=0.2 if lossy else 2**-14)
    assert abs(len(read.audio) - len(audio)) <= (600 if lossy else 0)
    assert read.note == ""


def test_audio_that_is_not_read_is_counted_and_named(tmp_path: Path) -> None:
    for name in [*(f"{k}.M4A" for k in range(5)), "b.wma", "c.wma", "d.aac", "notes.txt", ".hidden.m4a"]:
        (tmp_path / name).touch()
    line = "5 .m4a, 2 .wma and 1 .aac files are not read: convert them to wav or flac (with ffmpeg, for instance)"
    with pytest.raises(CorpusError) as caught:
        find_audio(tmp_path)
    assert str(caught.value) == f"{tmp_path} holds no audio files that can be read: {line}"
    write(tmp_path / "a.wav", burst(1))
    (kinds,) = audio_files(tmp_path).passed_over
    assert f"{kinds.name}: {kinds.reason}" == line
    assert kinds.as_json()["files"] == 8


@pytest.mark.parametrize("share", [0.9, 0.5])
@pytest.mark.parametrize("extension", [*FORMATS, *(kind for kind in MORE_FORMATS if kind != "oga")])
def test_a_file_cut_short_is_used_as_far_as_it_goes_and_told(tmp_path: Path, extension: str, share: float) -> None:
    path = write(tmp_path / f"cut.{extension}", steady(3, 48000), RATE)
    whole = read_sound(path, RATE)
    content = path.read_bytes()
    path.write_bytes(content[: round(share * len(content))])
    read = read_sound(path, RATE)
    assert whole.note == "" and read.note == f"cut short: {len(read.audio) / RATE:.2f} s used"
    assert (share - 0.5) * 48000 < len(read.audio) < 48000
    if extension not in ("mp3", "ogg", "opus"):
        assert np.array_equal(read.audio, whole.audio[: len(read.audio)])


def patched(path: Path, *edits: tuple[int, bytes]) -> Path:
    content = bytearray(path.read_bytes())
    for place, value in edits:
        content[place : place + len(value)] = value
    path.write_bytes(content)
    return path


def place_of(path: Path, name: bytes) -> int:
    return path.read_bytes().index(name)


def wav_of_size(path: Path, size: int) -> Path:
    return patched(path, (4, struct.pack("<I", size)), (place_of(path, b"data") + 4, struct.pack("<I", size)))


def aiff_of_size(path: Path, size: int) -> Path:
    frames = (place_of(path, b"COMM") + 10, struct.pack(">I", 0))
    return patched(path, frames, (place_of(path, b"SSND") + 4, struct.pack(">I", size)))


def flac_of_no_total(path: Path) -> Path:
    packed = int.from_bytes(path.read_bytes()[18:26], "big") >> 36 << 36
    return patched(path, (18, packed.to_bytes(8, "big")))


STREAMED = {
    "none.wav": lambda p: wav_of_size(p, 0),
    "most.wav": lambda p: wav_of_size(p, 0xFFFFFFFF),
    "sox.wav": lambda p: wav_of_size(p, 0x7FFFF000),
    "none.aiff": lambda p: aiff_of_size(p, 0),
    "eight.aiff": lambda p: aiff_of_size(p, 8),
    "most.aiff": lambda p: aiff_of_size(p, 0xFFFFFFFF),
    "none.au": lambda p: patched(p, (8, bytes(4))),
    "most.au": lambda p: patched(p, (8, b"\xff" * 4)),
    "most.caf": lambda p: patched(p, (place_of(p, b"data") + 4, b"\xff" * 8)),
    "none.caf": lambda p: patched(p, (place_of(p, b"data") + 4, bytes(8))),
    "none.rf64": lambda p: patched(p, (place_of(p, b"ds64") + 8, bytes(24))),
    "most.rf64": lambda p: patched(p, (place_of(p, b"ds64") + 8, b"\xff" * 24)),
    "none.w64": lambda p: patched(p, (place_of(p, b"data") + 16, bytes(8))),
    "none.flac": flac_of_no_total,
}


@pytest.mark.parametrize("name", STREAMED)
def test_a_file_of_unknown_length_is_used_and_told(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, steady(4, 12000), RATE)
    whole = read_audio(path, RATE)
    STREAMED[name](path)
    read = read_sound(path, RATE)
    assert np.array_equal(read.audio, whole) and read.note == "length unknown, perhaps cut short: 1.50 s used"
    path.write_bytes(path.read_bytes()[:-3000])
    assert np.array_equal(read_audio(path, RATE), whole[: len(read_audio(path, RATE))])


def test_an_empty_sound_before_other_chunks_stays_empty(tmp_path: Path) -> None:
    path = write(tmp_path / "empty.wav", np.zeros(0, np.float32))
    path.write_bytes(path.read_bytes() + b"LIST" + struct.pack("<I", 10) + b"INFOabcdef")
    assert reason(path) == "empty: no samples"


def test_an_mp3_without_a_count_is_cut_where_it_ends_within_a_frame(tmp_path: Path) -> None:
    path = write(tmp_path / "stream.mp3", steady(5, 24000), RATE)
    content = path.read_bytes()
    second = content.index(content[:2], 4)  # the first frame only counts the others
    path.write_bytes(content[second:])
    assert read_sound(path, RATE).note == ""
    path.write_bytes(content[second:-10])
    assert read_sound(path, RATE).note.startswith("cut short: ")


def test_a_file_of_which_nothing_is_left_is_not_called_empty(tmp_path: Path) -> None:
    for name, kept in (("a.ogg", 0.9), ("a.flac", 0.5), ("a.wav", 0.0216)):
        path = write(tmp_path / name, steady(9, 1000), RATE)
        path.write_bytes(path.read_bytes()[: round(kept * path.stat().st_size)])
        assert reason(path) == "cut short: nothing is left to decode"


def test_a_flaw_in_a_flac_costs_what_follows_only(tmp_path: Path) -> None:
    path = write(tmp_path / "flaw.flac", steady(6, 24000), RATE)
    whole, middle = read_audio(path, RATE), path.stat().st_size // 2
    read = read_sound(patched(path, (middle, bytes(50))), RATE)
    assert 4096 <= len(read.audio) < 24000 and np.array_equal(read.audio, whole[: len(read.audio)])
    assert read.note == f"cut short: {len(read.audio) / RATE:.2f} s used"


@pytest.mark.parametrize("style", [Prepare.ONSET, Prepare.RMS_ONLY])
@pytest.mark.parametrize("name", ["a.wav", "a.mp3"])
def test_of_channels_that_cancel_the_louder_is_used(tmp_path: Path, name: str, style: Prepare) -> None:
    hit = burst(7, 4000)
    path = write(tmp_path / name, np.stack([hit, -hit], axis=1), RATE)
    read = read_sound(path, RATE, style)
    assert read.note == "its channels cancel each other: the louder one used"
    left = write(tmp_path / f"left{path.suffix}", hit, RATE)
    assert np.corrcoef(read.audio, read_audio(left, RATE, style)[: len(read.audio)])[0, 1] > 0.98
    three = np.stack([0.4 * hit, -hit, 0.6 * hit], axis=1)
    loudest = read_audio(write(tmp_path / "three.wav", three, RATE, "FLOAT"), RATE, style)
    assert np.array_equal(loudest, -hit)


def test_silence_is_named_only_where_it_is(tmp_path: Path) -> None:
    late = np.zeros((LONGEST_SECONDS + 6) * 1000, np.float32)
    assert reason(write(tmp_path / "never.wav", late, 1000)) == "silent"
    late[65000:] = 0.5
    assert reason(write(tmp_path / "late.flac", late, 1000)) == (
        "begins too late: first heard after 65 s, and 60 s are read"
    )
    quiet = write(tmp_path / "quiet.wav", np.full(900, 9e-5, np.float32), subtype="FLOAT")
    assert reason(quiet) == "silent: its peak stays under -80 dB of full scale"
    constant = write(tmp_path / "constant.wav", np.full(5000, 0.2, np.float32))
    assert reason(constant) == "silent: nothing but a constant offset"


def test_damaged_mp3_files_print_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "whole.mp3", steady(8, 40000), RATE)
    content, random = path.read_bytes(), np.random.default_rng(0)
    for kind in range(30):
        damaged = bytearray(content)
        if kind % 3:
            begin = int(random.integers(500, len(content) - 500))
            damaged[begin : begin + 400 * kind] = bytes(400 * kind) if kind % 2 else random.bytes(400 * kind)
        else:
            for place in random.integers(500, len(content), 10 + kind):
                damaged[place] ^= int(random.integers(1, 255))
        path.write_bytes(damaged)
        try:
            read_sound(path, RATE)
        except Unusable as error:
            assert str(error).startswith(("unreadable", "not finite", "silent", "empty"))
    assert capfd.readouterr() == ("", "")


def test_what_python_prints_meanwhile_is_shown(capfd: pytest.CaptureFixture[str]) -> None:
    with without_chatter(), without_chatter():
        os.write(2, b"shown\n")
    assert capfd.readouterr().err == "shown\n"


def test_what_is_left_out_and_what_is_used_otherwise_are_counted_apart(capsys: pytest.CaptureFixture[str]) -> None:
    files = [Skipped("7 .m4a files are not read", "convert them", 7), Skipped("a{}", "silent"), Skipped("b", "cut", 0)]
    print_skipped("kit{}", [file.as_json() for file in files], verbose=False)
    assert capsys.readouterr().err.splitlines() == [
        "kit{}: 8 left out:",
        "  7 .m4a files are not read: convert them",
        "  a{}: silent",
        "kit{}: 1 used, but not as they are:",
        "  b: cut",
    ]
