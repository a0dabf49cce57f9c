"""A folder of sounds: found, read, mixed to mono, resampled; what cannot be used is listed by name."""

from __future__ import annotations

import hashlib
import os
import stat
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
import torch
from numpy.typing import NDArray

from nebula_tune.corpus.decode import decode, first_sound
from nebula_tune.corpus.prepare import SILENT, SILENT_DB, Prepare, without_offset
from nebula_tune.corpus.resample import QUALITY
from nebula_tune.errors import CorpusError

# Extensions of audio, and libsndfile's name of what they hold: those it can read are read.
KINDS = {
    **dict.fromkeys((".wav", ".wave", ".bwf"), "WAV"),
    **dict.fromkeys((".aif", ".aiff", ".aifc"), "AIFF"),
    **dict.fromkeys((".au", ".snd"), "AU"),
    **dict.fromkeys((".ogg", ".oga", ".opus"), "OGG"),
    **dict.fromkeys((".mp3", ".mp2", ".mpga"), "MP3"),
    **dict.fromkeys((".iff", ".8svx", ".svx"), "SVX"),
    **dict.fromkeys((".nist", ".sph"), "NIST"),
    ".caf": "CAF",
    ".flac": "FLAC",
    ".rf64": "RF64",
    ".w64": "W64",
    ".voc": "VOC",
    ".sf": "IRCAM",
    ".avr": "AVR",
    ".paf": "PAF",
    ".pvf": "PVF",
    ".wve": "WVE",
}
EXTENSIONS = frozenset(extension for extension, kind in KINDS.items() if kind in soundfile.available_formats())
OTHER_AUDIO = (
    ".3ga .3gp .aa3 .aac .aax .ac3 .adts .amr .ape .asf .awb .dff .dsf .dts .eac3 .gsm .m4a .m4b .m4p .m4r .mka .mlp "
    ".mp4 .mpc .oma .ofr .qcp .ra .ram .shn .spx .tak .tta .weba .webm .wma .wv"
)
# Known, but not read by this program.
UNREAD = frozenset(OTHER_AUDIO.split()) | KINDS.keys() - EXTENSIONS
LONGEST_SECONDS = 60  # read of each file: far more than any embedding hears
NOT_READ = "not read"
NOT_FILES = {
    stat.S_IFIFO: "named pipe",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
    stat.S_IFDIR: "folder",
}
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
    """A file that is not used, and why: unreadable, silent, not finite, empty, or a duplicate.

    ``files`` is how many are meant: several of a kind that is not read, none where a file is used, but not as it is.
    """

    name: str
    reason: str
    files: int = 1

    @property
    def is_kind(self) -> bool:
        """Whether these are the files of kinds that are not read, which are named together."""
        return self.name.endswith(NOT_READ)

    def as_json(self) -> dict[str, Any]:
        """Name and reason; and ``files`` where that is not one."""
        content: dict[str, Any] = {"name": self.name, "reason": self.reason}
        return content if self.files == 1 else content | {"files": self.files}


class Unusable(Exception):
    """Raised by :func:`read_audio` for a file that cannot be used; the message is the reason."""


@dataclass(frozen=True)
class AudioFiles:
    """What a folder holds: paths of files to be read, sorted by their relative names, and what else there is.

    Attributes:
        paths: of the files.
        unread: a line on audio of kinds that are not read; None where there is none.
        skipped: links and folders that are passed over.
    """

    paths: tuple[Path, ...]
    unread: Skipped | None
    skipped: tuple[Skipped, ...]

    @property
    def passed_over(self) -> list[Skipped]:
        """All that is not read, kinds of files first."""
        return [*([self.unread] if self.unread else []), *self.skipped]


@dataclass(frozen=True)
class ReadSound:
    """Mono audio (samples,), and what is to be told of the file: nothing where it was read as it is."""

    audio: NDArray[np.float32]
    note: str


def find_audio(folder: Path) -> list[Path]:
    """Audio files below a folder, sorted by their relative names. Raises CorpusError."""
    return list(audio_files(folder).paths)


def audio_files(folder: Path) -> AudioFiles:
    """Audio files below a folder, links to folders followed, and what is passed over. Raises CorpusError."""
    if not folder.exists():
        raise CorpusError(f"{folder} does not exist; give a folder of audio files, a nebula, or white-noise")
    if not folder.is_dir():
        raise CorpusError(f"{folder} is not a folder; give a folder of audio files, a nebula, or white-noise")
    search = _Search(folder)
    search.look_through()
    unread = _unread(search.unread)
    if not search.paths:
        if unread:
            raise CorpusError(f"{folder} holds no audio files that can be read: {unread.name}: {unread.reason}")
        kinds = ", ".join(sorted(extension[1:] for extension in EXTENSIONS))
        raise CorpusError(f"{folder} holds no audio files ({kinds})")
    paths = sorted(search.paths, key=lambda path: path.relative_to(folder).as_posix())
    return AudioFiles(tuple(paths), unread, tuple(sorted(search.skipped, key=lambda skipped: skipped.name)))


class _Search:
    """Looks through a folder: first what lies in it, then what links in it lead to. Each folder is read once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._links: deque[Path] = deque()
        real = folder.resolve()
        self._above = {_identity(parent) for parent in real.parents}
        self._seen: dict[tuple[int, int], str] = {}
        self.paths: list[Path] = []
        self.unread: Counter[str] = Counter()
        self.skipped: list[Skipped] = []

    def look_through(self) -> None:
        """Fill the lists. Raises CorpusError for a folder that cannot be read; one behind a link is passed over."""
        self._walk(self._folder, _refuse)
        while self._links:
            link = self._links.popleft()
            name = self._name(link)
            try:
                identity = _identity(link)
            except OSError as error:
                self.skipped.append(Skipped(name, f"unreadable: {error.strerror}"))
                continue
            if identity in self._above:
                self.skipped.append(Skipped(name, "a link to a folder above it"))
            elif identity in self._seen:
                self.skipped.append(Skipped(name, f"a link to {self._seen[identity]}, which is read already"))
            else:
                self._walk(link, self._pass_over)

    def _walk(self, top: Path, on_error: Callable[[OSError], None]) -> None:
        for place, folders, files in os.walk(top, onerror=on_error):
            parent = Path(place)
            if not self._is_new(parent):
                folders.clear()
                continue
            shown = sorted(name for name in folders if not name.startswith("."))
            self._links += [parent / name for name in shown if (parent / name).is_symlink()]
            folders[:] = [name for name in shown if not (parent / name).is_symlink()]
            before = len(self.paths)
            for name in files:
                self._sort(parent / name)
            if parent.suffix.lower() in EXTENSIONS and not folders and len(self.paths) == before:
                self.skipped.append(Skipped(self._name(parent), "a folder, not a file"))

    def _is_new(self, folder: Path) -> bool:
        identity = _identity(folder)
        if identity in self._seen:
            return False
        self._seen[identity] = self._name(folder)
        return True

    def _sort(self, path: Path) -> None:
        """One file to those that are read, that are not, or that are no audio."""
        extension = path.suffix.lower()
        if path.name.startswith("."):
            return
        if extension in EXTENSIONS:
            self.paths.append(path)
        elif extension in UNREAD:
            self.unread[extension] += 1
        elif not extension and path.is_symlink() and not path.exists():
            self.skipped.append(Skipped(self._name(path), "a link to nothing"))

    def _name(self, path: Path) -> str:
        return path.relative_to(self._folder).as_posix()

    def _pass_over(self, error: OSError) -> None:
        self.skipped.append(Skipped(self._name(Path(error.filename)), f"unreadable: {error.strerror}"))


def _identity(folder: Path) -> tuple[int, int]:
    """Device and inode: the same by whatever links it is reached."""
    status = folder.stat()
    return status.st_dev, status.st_ino


def _unread(counts: Counter[str]) -> Skipped | None:
    """A line such as "500 .m4a files are not read: convert them"."""
    if not counts:
        return None
    kinds = [f"{count} {extension}" for extension, count in sorted(counts.items(), key=lambda kind: (-kind[1], kind))]
    listed = ", ".join(kinds[:-1]) + (" and " if kinds[1:] else "") + kinds[-1]
    single = counts.total() == 1
    return Skipped(
        f"{listed} {'file is' if single else 'files are'} {NOT_READ}",
        f"convert {'it' if single else 'them'} to wav or flac (with ffmpeg, for instance)",
        counts.total(),
    )


def _refuse(error: OSError) -> None:
    raise CorpusError(f"cannot read folder {error.filename}: {error.strerror}")


def fingerprint(path: Path, folder: Path) -> SoundFile:
    """The file with its content key. Raises Unusable where it cannot be read."""
    _check_regular(path)
    try:
        with open(path, "rb") as file:
            key = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise Unusable(f"unreadable: {error.strerror}") from error
    return SoundFile(path, path.relative_to(folder).as_posix(), key)


def _check_regular(path: Path) -> None:
    """Raise Unusable for what is no file of bytes: a pipe would be waited for, a device may never end."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise Unusable(f"unreadable: {error.strerror}") from error
    if not stat.S_ISREG(mode):
        raise Unusable(f"unreadable: not a file but a {NOT_FILES.get(stat.S_IFMT(mode), 'thing of another kind')}")


def read_audio(path: Path, sample_rate: int, style: Prepare = Prepare.ONSET) -> NDArray[np.float32]:
    """Mono audio (samples,) at ``sample_rate`` Hz, as :func:`read_sound`. Raises Unusable with the reason."""
    return read_sound(path, sample_rate, style).audio


def read_sound(path: Path, sample_rate: int, style: Prepare = Prepare.ONSET) -> ReadSound:
    """Mono audio at ``sample_rate`` Hz, and what is to be told of it. Raises Unusable with the reason.

    A constant offset is taken out as ``style`` says, here already: resampled, it would ring at the sound's ends. Of
    channels that cancel each other in their mean, the loudest is taken.
    """
    _check_regular(path)
    decoded = decode(path, LONGEST_SECONDS)
    if decoded is None:
        raise Unusable("unreadable: not audio this program can decode")
    audio, rate, note = decoded.audio, decoded.rate, decoded.note
    if len(audio) == 0:
        raise Unusable(note or "empty: no samples")
    mono = audio.mean(axis=1)
    if not (np.abs(mono) < LOUDEST).all():  # false for NaN too
        raise Unusable("not finite: NaN, infinite or absurdly large samples")
    mono = _without_offset(mono, style)
    if np.abs(mono).max() < SILENT:
        mono = _loudest_channel(audio, style)
        if np.abs(mono).max() < SILENT:
            raise Unusable(_why_silent(path, audio, rate))
        note = "; ".join(filter(None, (note, "its channels cancel each other: the louder one used")))
    if rate != sample_rate:
        mono = soxr.resample(mono, rate, sample_rate, quality=QUALITY)
        if len(mono) == 0:
            raise Unusable(f"empty: shorter than a sample at {sample_rate} Hz")
    return ReadSound(np.ascontiguousarray(mono, dtype=np.float32), note)


def _without_offset(mono: NDArray[np.float32], style: Prepare) -> NDArray[np.float32]:
    if style is not Prepare.ONSET:
        return mono
    return without_offset(torch.from_numpy(mono)[None])[0].numpy()


def _loudest_channel(audio: NDArray[np.float32], style: Prepare) -> NDArray[np.float32]:
    """The channel of most energy of audio (samples, channels); of those within a hundredth of it the first."""
    channels = [_without_offset(channel.copy(), style) for channel in audio.T]
    energies = [float(np.square(channel, dtype=np.float64).sum()) for channel in channels]
    return next(channel for channel, energy in zip(channels, energies, strict=True) if energy >= 0.99 * max(energies))


def _why_silent(path: Path, audio: NDArray[np.float32], rate: int) -> str:
    """Why a sound whose channels are all silent is so; ``audio`` (samples, channels) is what was read of it."""
    peak = np.abs(audio).max()
    if peak >= SILENT:
        return "silent: nothing but a constant offset"
    if len(audio) >= LONGEST_SECONDS * rate:
        begins = first_sound(path, LONGEST_SECONDS, SILENT)
        if begins is not None:
            return f"begins too late: first heard after {begins:.0f} s, and {LONGEST_SECONDS} s are read"
    return "silent" if peak == 0 else f"silent: its peak stays under {SILENT_DB:.0f} dB of full scale"
