"""Matches as files: audio, parameters as JSON and as a table; and a page on which they play beside their sounds."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nebula_tune.corpus.claim import claim_folder
from nebula_tune.corpus.folder import read_audio
from nebula_tune.corpus.source import Sound
from nebula_tune.corpus.writer import write_audio
from nebula_tune.documents import read_json
from nebula_tune.errors import UserInputError
from nebula_tune.files import write_atomically
from nebula_tune.html import one_file
from nebula_tune.listening.sounds import encode, ready
from nebula_tune.matching.hearing import MatchPrior
from nebula_tune.matching.matched import Matched, MatchedPreset
from nebula_tune.report.spectrogram import spectrogram

TEMPLATES = Path(__file__).resolve().parent / "templates"
SAMPLE_RATE = 44100
DEFAULT_SECONDS, LONGEST_SECONDS = 4.0, 600.0
COMPRESSION = 0.8  # of libsndfile's MP3 encoder: 112 kbit/s
PAGE_SECONDS = 3.0  # of each sound on the page
CLAIM, FOUND, TABLE = "match.json", "presets.json", "presets.parquet"


@dataclass(frozen=True)
class MatchFolder:
    """The folder of one sound's matches.

    Attributes:
        path: of the folder.
        settings: what its matches depend on, as JSON.
        seconds: of the audio in it.
    """

    path: Path
    settings: Mapping[str, Any]
    seconds: float

    def claim(self) -> None:
        """Say in the folder what it is for. Raises CorpusError for one that is for something else, StorageError."""
        claim_folder(self.path / CLAIM, {**self.settings, "seconds": self.seconds}, holds="matches")

    def finished(self) -> Matched | None:
        """What an earlier call wrote; None where it is not there, or not whole."""
        try:
            matched = Matched.from_json(read_json(self.path / FOUND))
        except (UserInputError, ValueError):
            return None
        whole = all(preset.file and (self.path / preset.file).is_file() for preset in matched.presets)
        return matched.model_copy(update={"folder": str(self.path)}) if whole else None

    def write(self, matched: Matched, prior: MatchPrior) -> Matched:
        """Write ``1.wav``, ``2.wav`` ... nearest first, ``presets.json`` and ``presets.parquet``.

        Args:
            matched: what was found for the sound.
            prior: whose nebula bends the raw parameters; it goes along as ``nebula.json``.

        Returns:
            the same, with its folder and the files' names there.

        Raises:
            StorageError: where the folder cannot be written.
        """
        presets = []
        for number, preset in enumerate(matched.presets, 1):
            name = f"{number}.wav"
            write_audio(self.path / name, played(preset, prior, self.seconds), SAMPLE_RATE)
            presets.append(preset.model_copy(update={"file": name}))
        self._write_presets(matched.presets, prior)
        written = matched.model_copy(update={"presets": presets})
        write_atomically(self.path / "nebula.json", prior.nebula.to_json().encode())
        _write_table(presets, self.path / TABLE)
        write_atomically(self.path / FOUND, (json.dumps(written.to_json(), indent=1) + "\n").encode())
        return written.model_copy(update={"folder": str(self.path)})

    def _write_presets(self, presets: Sequence[MatchedPreset], prior: MatchPrior) -> None:
        """What the instrument itself opens, where it has such files: ``1.vital``, ``1.syx`` ..."""
        if not prior.synth.preset_suffix:
            return
        human = torch.tensor([list(preset.human.values()) for preset in presets], dtype=torch.float64, device="cpu")
        contents = prior.player(SAMPLE_RATE, self.seconds).presets(human, [preset.index for preset in presets])
        for number, content in enumerate(contents, 1):
            write_atomically(self.path / f"{number}.{prior.synth.preset_suffix}", content)


def played(preset: MatchedPreset, prior: MatchPrior, seconds: float) -> Sound:
    """A preset's sound (samples,) at SAMPLE_RATE Hz, as long as is wanted."""
    raw = torch.tensor([list(preset.raw.values())], dtype=torch.float32, device="cpu")
    sound: Sound = prior.player(SAMPLE_RATE, seconds).render(raw, preset.index)[0].cpu().numpy()
    return sound


def _write_table(presets: Sequence[MatchedPreset], path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    rows = [
        {"place": place, "index": preset.index, "distance": preset.distance}
        | {f"distance.{ear}": value for ear, value in preset.by_ear.items()}
        | {f"raw.{name}": value for name, value in preset.raw.items()}
        | {f"human.{name}": value for name, value in preset.human.items()}
        for place, preset in enumerate(presets, 1)
    ]
    table = pyarrow.Table.from_pylist(rows)
    write_atomically(path, lambda file: parquet.write_table(table, file))


def write_page(results: Sequence[Matched], prior: MatchPrior, path: Path) -> None:
    """Write a page, one file, on which sounds and their matches play side by side, with spectrograms.

    Args:
        results: what was found.
        prior: whose nebula bends the raw parameters.
        path: of the page.

    Raises:
        StorageError: where it cannot be written.
    """
    shown = []
    for matched in results:
        sounds = [read_audio(Path(matched.sound), SAMPLE_RATE)]
        sounds += [played(preset, prior, PAGE_SECONDS + 0.5) for preset in matched.presets]
        labels = ["the sound", *(f"{preset.distance:.3g}" for preset in matched.presets)]
        shown.append(_shown(sounds, labels))
    page = one_file(
        TEMPLATES,
        "match",
        rows=list(zip(results, shown, strict=True)),
        sounds=[[sound.mp3 for sound in row] for row in shown],
        ears=list(results[0].pool_best.by_ear),
        synth=prior.synth_name,
    )
    write_atomically(path, page)


@dataclass(frozen=True)
class _ShownSound:
    """A sound on the page: its label, a PNG and an MP3 in base64."""

    label: str
    picture: str
    mp3: str


def _shown(sounds: Sequence[Sound], labels: Sequence[str]) -> list[_ShownSound]:
    levelled = [ready(np.ascontiguousarray(sound), SAMPLE_RATE, PAGE_SECONDS) for sound in sounds]
    encoded = encode(levelled, SAMPLE_RATE, COMPRESSION)
    return [
        _ShownSound(label, _base64(spectrogram(sound, SAMPLE_RATE)), _base64(mp3))
        for label, sound, mp3 in zip(labels, levelled, encoded, strict=True)
    ]


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
