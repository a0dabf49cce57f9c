"""A folder of sounds: found, read, mixed to mono, resampled; what cannot be used is listed by name."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch
from numpy.typing import NDArray

from nebula_tune.corpus.prepare import SILENT_DB, Prepare, without_offset
from nebula_tune.corpus.resample import QUALITY
from nebula_tune.errors import CorpusError

EXTENSIONS = frozenset({".wav", ".flac", ".ogg", ".mp3", ".aiff", ".aif"})
LONGEST_SECONDS = 60  # read of each file: far more than any embedding hears
LOUDEST = 1e9  # full scale is 1; what is above this is damage, and its square would overflow


@dataclass(frozen=True)
class SoundFile:
    """One audio file: where it is, and the SHA-256 of its bytes."""

    path: Path
    name: str
    key: str

    @property
    def folder(self) -> str:
        """The folder it lies in, relative to the corpus."""
        return str(Path(self.name).parent)


@dataclass(frozen=True)
class Skipped:
    """A file that is not used, and why: unreadable, silent, not finite, empty, or a duplicate."""

    name: str
    reason: str


class Unusable(Exception):
    """Raised by :func:`read_audio` for a file that cannot be used; the message is the reason."""


def find_audio(folder: Path) -> list[Path]:
    """Audio files below a folder, sorted by their relative names. Raises CorpusError."""
    if not folder.exists():
        raise CorpusError(f"{folder} does not exist; give a folder of audio files, a nebula, or white-noise")
    if not folder.is_dir():
        raise CorpusError(f"{folder} is not a folder; give a folder of audio files, a nebula, or white-noise")
    paths: list[Path] = []
    for parent, folders, files in os.walk(folder, onerror=_refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        paths += [
            Path(parent, name) for name in files if Path(name).suffix.lower() in EXTENSIONS and not name.startswith(".")
        ]
    if not paths:
        kinds = ", ".join(sorted(extension[1:] for extension in EXTENSIONS))
        raise CorpusError(f"{folder} holds no audio files ({kinds})")
    return sorted(paths, key=lambda path: path.relative_to(folder).as_posix())


def _refuse(error: OSError) -> None:
    raise CorpusError(f"cannot read folder {error.filename}: {error.strerror}")


def fingerprint(path: Path, folder: Path) -> SoundFile:
    """The file with its content key. Raises Unusable where it cannot be read."""
    try:
        with open(path, "rb") as file:
            key = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise Unusable(f"unreadable: {error.strerror}") from error
    return SoundFile(path, path.relative_to(folder).as_posix(), key)


def read_audio(path: Path, sample_rate: int, style: Prepare = Prepare.ONSET) -> NDArray[np.float32]:
    """Mono audio (samples,) at ``sample_rate`` Hz. Raises Unusable with the reason.

    A constant offset is taken out as ``style`` says, here already: resampled, it would ring at the sound's ends.
    """
    try:
        with soundfile.SoundFile(os.fsencode(path)) as file:
            rate = file.samplerate
            audio = file.read(LONGEST_SECONDS * rate, dtype="float32", always_2d=True)
    except (OSError, RuntimeError, ValueError) as error:
        raise Unusable("unreadable: not audio this program can decode") from error
    if len(audio) == 0:
        raise Unusable("empty: no samples")
    mono = audio.mean(axis=1)
    if not (np.abs(mono) < LOUDEST).all():  # false for NaN too
        raise Unusable("not finite: NaN, infinite or absurdly large samples")
    if style is Prepare.ONSET:
        mono = without_offset(torch.from_numpy(mono)[None])[0].numpy()
    if np.abs(mono).max() < 10 ** (SILENT_DB / 20):
        raise Unusable("silent")
    if rate != sample_rate:
        mono = soxr.resample(mono, rate, sample_rate, quality=QUALITY)
        if len(mono) == 0:
            raise Unusable(f"empty: shorter than a sample at {sample_rate} Hz")
    return np.ascontiguousarray(mono, dtype=np.float32)
