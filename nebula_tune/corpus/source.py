"""Where sounds come from: a folder, a nebula or constellation, or white noise.

Which of the three a text means is asked once, by :meth:`Source.parse`; each then answers for itself.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nebula_tune.constellation import Constellation, load_sounds
from nebula_tune.corpus.cache import digest
from nebula_tune.corpus.folder import AudioFiles, Unusable, audio_files, read_audio
from nebula_tune.corpus.groups import GroupBy
from nebula_tune.corpus.prepare import Prepare, as_read, is_silent
from nebula_tune.nebula import Nebula, find_nebula
from nebula_tune.synth import Synth, synth1b1

WHITE_NOISE = "white-noise"
BATCH = 64  # sounds rendered at a time, of those that are listened to one after the other

Sound = NDArray[np.float32]


@dataclass(frozen=True)
class NamedSound:
    """A sound (samples,), and what it is called: a file's name in its folder, or an index."""

    name: str
    audio: Sound


@dataclass(frozen=True)
class Source(ABC):
    """What sounds come from, as it was named in ``text``. Made by :meth:`parse`."""

    text: str

    @staticmethod
    def parse(text: str) -> Source:
        """A folder, a nebula's or constellation's file, a shipped nebula's name, or ``white-noise``.

        An existing path wins over a name.
        """
        path = Path(text)
        if path.is_dir():
            return Folder(text, path)
        if text == WHITE_NOISE and not path.exists():
            return WhiteNoise(text)
        if find_nebula(text) is not None and (path.suffix == ".json" or not path.exists()):
            return NebulaSounds(text, load_sounds(text))
        return Folder(text, path)  # whose reading says what is wrong with it

    @property
    def name(self) -> str:
        """A short name for a study of it."""
        return Path(self.text).resolve().name

    @property
    def exists(self) -> bool:
        """Whether it is still there."""
        return True

    @abstractmethod
    def content(self, synth: type[Synth]) -> str:
        """What its sounds depend on, as a digest or a word."""

    @abstractmethod
    def group_by(self, asked: GroupBy) -> GroupBy:
        """How its sounds can be grouped where ``asked`` is wanted."""

    @abstractmethod
    def names(self, count: int, first_index: int) -> list[str]:
        """Names of so many sounds from all over it, and of more where some may turn out to be unusable.

        Those of a synth are indices, from ``first_index``. Raises CorpusError for a folder that cannot be read.
        """

    @abstractmethod
    def sounds(self, names: Sequence[str], synth: type[Synth], rate: int, seconds: float) -> list[NamedSound]:
        """Those of the named sounds that can be had, mono and untrimmed.

        Args:
            names: of :meth:`names`, or any others of this source.
            synth: the architecture that plays a nebula.
            rate: Hz.
            seconds: of a synth's sounds when they are trimmed; files are read whole.
        """

    @abstractmethod
    def stream(
        self, synth: type[Synth], first_index: int, *, rate: int, seconds: float, random: np.random.Generator
    ) -> Iterator[NamedSound | None]:
        """Sounds one after the other: files in random order, a synth's from ``first_index`` without end.

        Each is mono and not yet trimmed; None stands for one that is silent or cannot be read.

        Args:
            synth: the architecture that plays a nebula.
            first_index: of a synth's sounds.
            rate: Hz.
            seconds: of a synth's sounds when they are trimmed; files are read whole.
            random: gives files their order.
        """

    @abstractmethod
    def labels(self, names: Sequence[str]) -> list[str]:
        """What named sounds are called on a page."""


@dataclass(frozen=True)
class Folder(Source):
    """A folder's audio files."""

    path: Path

    @property
    def exists(self) -> bool:
        return self.path.is_dir()

    def content(self, synth: type[Synth]) -> str:
        return digest(str(self.path.resolve()))

    def group_by(self, asked: GroupBy) -> GroupBy:
        return asked

    def files(self) -> list[Path]:
        """Its audio files. Raises CorpusError."""
        return list(self.listing().paths)

    def listing(self) -> AudioFiles:
        """Its audio files, and what of it is passed over. Raises CorpusError."""
        return audio_files(self.path)

    def names(self, count: int, first_index: int) -> list[str]:
        files = [self._name(path) for path in self.files()]
        spread = np.linspace(0, len(files) - 1, min(3 * count, len(files))).round().astype(int)
        step = max(1, len(spread) // count)
        spares = [files[place] for k, place in enumerate(spread) if k % step]
        return [files[place] for place in spread[::step]] + spares

    def sounds(self, names: Sequence[str], synth: type[Synth], rate: int, seconds: float) -> list[NamedSound]:
        with ThreadPoolExecutor() as pool:
            read = pool.map(lambda name: self._read(Path(self.path, name), rate), names)
            return [sound for sound in read if sound is not None]

    def stream(
        self, synth: type[Synth], first_index: int, *, rate: int, seconds: float, random: np.random.Generator
    ) -> Iterator[NamedSound | None]:
        files = self.files()
        for place in random.permutation(len(files)):
            yield self._read(files[place], rate)

    def labels(self, names: Sequence[str]) -> list[str]:
        return list(names)

    def _name(self, path: Path) -> str:
        return path.relative_to(self.path).as_posix()

    def _read(self, path: Path, rate: int) -> NamedSound | None:
        try:
            return NamedSound(self._name(path), read_audio(path, rate))
        except Unusable:
            return None


class Synthetic(Source):
    """Sounds without end, each a pure function of its index."""

    @abstractmethod
    def player(self, synth: type[Synth], sounds: int, rate: int, seconds: float) -> Callable[[int, int], Tensor]:
        """What makes untrimmed sounds (count, samples) of (first index, count).

        Args:
            synth: the architecture that plays a nebula.
            sounds: the most that are asked for at a time.
            rate: Hz.
            seconds: when they are trimmed.
        """

    @abstractmethod
    def reader(
        self, synth: type[Synth], sounds: int, style: Prepare, rate: int, seconds: float
    ) -> Callable[[int, int], Tensor]:
        """What makes sounds (count, samples) of (first index, count) as if read from files, to be prepared.

        Args:
            synth: the architecture that plays a nebula.
            sounds: the most that are asked for at a time.
            style: the preparation's version.
            rate: Hz.
            seconds: when they are prepared.
        """

    def group_by(self, asked: GroupBy) -> GroupBy:
        return GroupBy.FILE

    def names(self, count: int, first_index: int) -> list[str]:
        return [str(first_index + k) for k in range(count)]

    def sounds(self, names: Sequence[str], synth: type[Synth], rate: int, seconds: float) -> list[NamedSound]:
        play, indices = self.player(synth, len(names), rate, seconds), [int(name) for name in names]
        begins = [k for k, index in enumerate(indices) if k == 0 or index != indices[k - 1] + 1]  # of consecutive ones
        runs = zip(begins, [*begins[1:], len(indices)], strict=True)
        audio = [sound for begin, end in runs for sound in play(indices[begin], end - begin).cpu().numpy()]
        return [NamedSound(name, sound) for name, sound in zip(names, audio, strict=True)]

    def stream(
        self, synth: type[Synth], first_index: int, *, rate: int, seconds: float, random: np.random.Generator
    ) -> Iterator[NamedSound | None]:
        play = self.player(synth, BATCH, rate, seconds)
        while True:
            audio = play(first_index, BATCH).cpu()
            for number, silent in enumerate(is_silent(audio).tolist()):
                yield None if silent else NamedSound(str(first_index + number), audio[number].numpy())
            first_index += BATCH

    def labels(self, names: Sequence[str]) -> list[str]:
        return [f"sound {number + 1}" for number in range(len(names))]


@dataclass(frozen=True)
class NebulaSounds(Synthetic):
    """Random sounds of a nebula or constellation."""

    nebula: Nebula | Constellation

    @property
    def name(self) -> str:
        return Path(self.text).stem.removesuffix(".constellation")

    def content(self, synth: type[Synth]) -> str:
        return digest([synth.__name__, content_of(self.nebula, synth)])

    def player(self, synth: type[Synth], sounds: int, rate: int, seconds: float) -> Callable[[int, int], Tensor]:
        return self._player(synth, sounds, rate, Prepare.ONSET.render_seconds(seconds))

    def reader(
        self, synth: type[Synth], sounds: int, style: Prepare, rate: int, seconds: float
    ) -> Callable[[int, int], Tensor]:
        rendered = style.render_rate(rate)
        play = self._player(synth, sounds, rendered, style.render_seconds(seconds))
        return lambda first, count: as_read(play(first, count), rendered, rate, style)

    def _player(self, synth: type[Synth], sounds: int, rate: int, seconds: float) -> Callable[[int, int], Tensor]:
        player = synth(self.nebula, sounds, rate, seconds)
        return lambda first, count: player.render(player.draw(first, count), first)


@dataclass(frozen=True)
class WhiteNoise(Synthetic):
    """White noise."""

    def content(self, synth: type[Synth]) -> str:
        return WHITE_NOISE

    def player(self, synth: type[Synth], sounds: int, rate: int, seconds: float) -> Callable[[int, int], Tensor]:
        return lambda first, count: white_noise(range(first, first + count), round(seconds * rate))

    def reader(
        self, synth: type[Synth], sounds: int, style: Prepare, rate: int, seconds: float
    ) -> Callable[[int, int], Tensor]:
        return self.player(synth, sounds, rate, seconds)


def content_of(nebula: Nebula | Constellation, synth: type[Synth]) -> Any:
    """What a nebula's or constellation's sounds depend on, as JSON."""
    resolved = synth.resolve_sounds(nebula)
    if isinstance(resolved, Nebula):
        return resolved.as_json()
    content = resolved.as_json()
    del content["provenance"]
    return content


def white_noise(indices: Iterable[int], samples: int) -> Tensor:
    """White noise in [-1, 1), a pure function of each index, (sounds, samples)."""
    return torch.from_numpy(np.stack([synth1b1.uniform(index, samples) for index in indices]) * np.float32(2) - 1)
