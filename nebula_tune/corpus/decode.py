"""Samples of a file by libsndfile, as far as they go, and whether that is as far as the file says."""

from __future__ import annotations

import io
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from nebula_tune.corpus.chatter import without_chatter
from nebula_tune.corpus.containers import SoundExtent, mended, mp3_is_cut, ogg_is_cut, sound_extent

ERRORS = (OSError, RuntimeError, ValueError, MemoryError)
ENDLESS = 1 << 62  # frames; libsndfile gives more where a FLAC does not tell how many it has
MPEG_SLACK = 2304  # frames that an mp3 may have fewer than it says: what its decoder begins with
Frames = NDArray[np.float32]


@dataclass(frozen=True)
class Decoded:
    """Audio (frames, channels) at ``rate`` Hz; ``note`` says what is missing, or nothing."""

    audio: Frames
    rate: int
    note: str


def decode(path: Path, seconds: int) -> Decoded | None:
    """The first ``seconds`` of a file; None for what is not audio."""
    with without_chatter():
        opened = _opened(path, seconds)
        if opened is None or len(opened.audio) == 0:
            extent = _extent(path)
            if extent is not None and extent.available > 0 and extent.claimed != 0:
                opened = _opened(mended(path, extent), seconds) or opened
        if opened is None:
            return None
        return Decoded(opened.audio, opened.rate, _note(path, opened, seconds))


def first_sound(path: Path, after: int, level: float) -> float | None:
    """Seconds into a file at which a channel first exceeds a level, looked for from ``after`` seconds on; or None."""
    with suppress(*ERRORS), without_chatter(), soundfile.SoundFile(os.fsencode(path)) as file:
        rate: int = file.samplerate
        file.seek(after * rate)
        for number, block in enumerate(file.blocks(rate, dtype="float32", always_2d=True)):
            loud = np.flatnonzero(np.abs(block).max(axis=1) >= level)
            if len(loud):
                return after + number + float(loud[0]) / rate
    return None


@dataclass(frozen=True)
class _Opened:
    """What libsndfile gave of a file, how many frames it had promised, and whether it failed on the way."""

    audio: Frames
    rate: int
    kind: str
    promised: int
    failed: bool
    log: str


def _opened(source: Path | io.BytesIO, seconds: int) -> _Opened | None:
    try:
        with soundfile.SoundFile(_named(source)) as file:
            failed = False
            try:
                audio = file.read(seconds * file.samplerate, dtype="float32", always_2d=True)
            except ERRORS:
                failed, audio = True, _until_it_fails(source, seconds)
            return _Opened(audio, file.samplerate, file.format, file.frames, failed, file.extra_info)
    except ERRORS:
        return None


def _named(source: Path | io.BytesIO) -> bytes | io.BytesIO:
    """A path as the bytes it is: names need not be UTF-8."""
    return os.fsencode(source) if isinstance(source, Path) else source


def _until_it_fails(source: Path | io.BytesIO, seconds: int) -> Frames:
    """What stands in memory when reading fails: the frames before those that nothing was written to."""
    if isinstance(source, io.BytesIO):
        source.seek(0)
    with soundfile.SoundFile(_named(source)) as file:
        audio = np.full((min(file.frames, seconds * file.samplerate), file.channels), np.nan, np.float32)
        with suppress(*ERRORS):
            file.read(out=audio)
    written = ~np.isnan(audio).any(axis=1)
    return audio if written.all() else audio[: int(written.argmin())]


def _note(path: Path, opened: _Opened, seconds: int) -> str:
    """Whether less was read than there should be; nothing where as much was read as ever is."""
    count, most = len(opened.audio), seconds * opened.rate
    if count >= most:
        return ""
    used = f"{count / opened.rate:.2f} s used" if count else "nothing is left to decode"
    extent = _extent(path)
    if opened.promised >= ENDLESS or (extent is not None and extent.claimed is None):
        return f"length unknown, perhaps cut short: {used}"
    slack = MPEG_SLACK if opened.kind == "MP3" else 0
    if opened.failed or count + slack < min(opened.promised, most) or _is_cut(path, opened):
        return f"cut short: {used}"
    return ""


def _is_cut(path: Path, opened: _Opened) -> bool:
    if opened.kind == "OGG":
        return ogg_is_cut(path)
    if opened.kind == "MP3":
        return mp3_is_cut(path)
    extent = _extent(path)
    if extent is not None:
        return extent.is_cut
    counted = re.search(r"^\s*Frames\s*: (\d+)$", opened.log, re.MULTILINE)
    if opened.kind == "NIST":
        counted = re.search(r"^sample_count -i (\d+)$", _beginning(path), re.MULTILINE)
    missing = counted is not None and int(counted[1]) > opened.promised
    return missing or re.search("truncated file|Data length [0-9]+ should be", opened.log) is not None


def _beginning(path: Path) -> str:
    with open(path, "rb") as file:
        return file.read(1024).decode("latin-1")


def _extent(path: Path) -> SoundExtent | None:
    with suppress(OSError):
        return sound_extent(path)
    return None
