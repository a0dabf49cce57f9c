"""Sounds of a report: clouds on a map that play, and a few of each to listen to and look at."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nebula_tune.arrays import Vectors
from nebula_tune.corpus.folder import Unusable, find_audio, read_audio
from nebula_tune.corpus.source import Source
from nebula_tune.embedding import Embedding, make_embedding
from nebula_tune.embedding.base import own_device
from nebula_tune.embedding.embed import seconds_a_sound
from nebula_tune.errors import UserInputError
from nebula_tune.listening.sounds import Sound, encode, ready, synthetic
from nebula_tune.report.spectrogram import spectrogram
from nebula_tune.report.view import View
from nebula_tune.study.target import embed_corpus
from nebula_tune.synth import Synth
from nebula_tune.synth.indices import Purpose, first_index

DOTS, FEWEST_DOTS = 640, 24  # in all; of a cloud, or another embedding is taken
EMBEDDING_SECONDS = 8.0  # what embedding may take
QUICK = "logmel"  # the embedding in place of one that would take longer
MAP_RATE, MAP_SECONDS, MAP_COMPRESSION = 22050, 1.0, 0.85  # some 4 kB a sound
PLAYED = 16  # of each, in full
RATE, SECONDS, COMPRESSION = 44100, 2.0, 0.8  # some 25 kB a sound
INSIDE = 0.5, 99.5  # percentiles that the map shows; what lies beyond is put at its edge


@dataclass(frozen=True)
class Player:
    """One sound to listen to: what it is called, and MP3 and picture (PNG) in base64."""

    name: str
    mp3: str
    picture: str


@dataclass(frozen=True)
class Map:
    """Clouds of sounds: places in 0..1 by the embedding's two main directions, and what each plays.

    ``shares`` are the parts of the variance that the two directions show.
    """

    clouds: list[dict[str, Any]]
    shares: tuple[float, float]
    note: str


def sources(view: View) -> dict[str, Source]:
    """What is shown, by name: the target where it is there, and the nebulae."""
    found = {"target": view.source} if view.source else {}
    return found | {name: Source(name, nebula) for name, nebula in view.nebulae.items()}


def embeddings(view: View) -> list[Embedding]:
    """The study's embeddings, on this machine's device. Raises EmbeddingError where one cannot be had."""
    return [make_embedding(one.name, **one.options, device=own_device()) for one in view.plan.settings.heard]


def the_map(view: View) -> Map:
    """The map of a study's sounds. Raises UserInputError where they cannot be embedded here."""
    shown = sources(view)
    heard, note = embeddings(view), view.plan.settings.heard_as
    each = _affordable(heard, len(shown))
    if each < FEWEST_DOTS:
        heard, note = [make_embedding(QUICK)], f"{QUICK}, as {note} takes long on this machine"
        each = DOTS // len(shown)
    clouds, vectors = [], []
    for name, source in shown.items():
        purpose = Purpose.TARGET if name == "target" else Purpose.SCORE_CARD
        embedded = embed_corpus(source, view.plan, heard, purpose, sounds=each, most=each)
        names, sounds = audio_of(source, embedded.names, view.plan.synth, MAP_RATE, MAP_SECONDS)
        kept = [k for k, one in enumerate(embedded.names) if one in set(names)]
        vectors.append(embedded.vectors[kept])
        mp3 = encode([ready(sound, MAP_RATE, MAP_SECONDS) for sound in sounds], MAP_RATE, MAP_COMPRESSION)
        clouds.append({"name": name, "labels": _labels(source, names), "audio": [_text(one) for one in mp3]})
    places, shares = principal(np.concatenate(vectors))
    for cloud in clouds:
        own, places = np.split(places, [len(cloud["labels"])])
        cloud["places"] = own.round(4).tolist()
    return Map(clouds, shares, f"up to {each} sounds of each; {note}")


def _affordable(heard: Sequence[Embedding], clouds: int) -> int:
    """Sounds a cloud that can be embedded in EMBEDDING_SECONDS, of what DOTS leaves to each.

    By this process's own time, so that what else runs on the machine does not decide how a page looks.
    """
    seconds = sum(map(seconds_a_sound, heard))
    return min(DOTS // clouds, int(EMBEDDING_SECONDS / (clouds * max(seconds, 1e-6))))


def principal(vectors: Vectors) -> tuple[NDArray[np.float64], tuple[float, float]]:
    """Places (sounds, 2) in 0..1 by the two main components of vectors (sounds, D), and the variance each explains."""
    centred = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    values, directions = np.linalg.eigh(centred @ centred.T)
    total = max(float(values.clip(min=0).sum()), 1e-300)
    top = directions[:, [-1, -2]] * np.sqrt(values[[-1, -2]].clip(min=0))
    top *= np.where(top[np.abs(top).argmax(axis=0), [0, 1]] < 0, -1, 1)  # the sign is free: make it always the same
    low, high = np.percentile(top, INSIDE, axis=0)
    return ((top - low) / np.maximum(high - low, 1e-12)).clip(0, 1), (
        float(values[-1] / total),
        float(values[-2] / total),
    )


def players(view: View) -> dict[str, list[Player]]:
    """Sixteen sounds of the target, from all over it, and of each nebula, the same draws for all."""
    shown = {}
    for name, source in sources(view).items():
        if source.folder is not None:
            try:
                files = [path.relative_to(source.folder).as_posix() for path in find_audio(source.folder)]
            except UserInputError:
                continue
            chosen = [files[k] for k in np.linspace(0, len(files) - 1, min(3 * PLAYED, len(files))).round().astype(int)]
            step = max(1, len(chosen) // PLAYED)
            chosen = chosen[::step] + [one for k, one in enumerate(chosen) if k % step]  # spares for unusable ones
        else:
            first = first_index(Purpose.TARGET if name == "target" else Purpose.SCORE_CARD, view.plan.seed)
            chosen = [str(first + k) for k in range(PLAYED)]
        names, sounds = audio_of(source, chosen, view.plan.synth, RATE, SECONDS)
        shown[name] = to_players(_labels(source, names)[:PLAYED], sounds[:PLAYED])
    return shown


def of_target(view: View, names: Sequence[str]) -> Mapping[str, Player]:
    """Those of the target's files that can still be read, to listen to."""
    if not names or view.source is None or view.source.folder is None:
        return {}
    found, sounds = audio_of(view.source, list(dict.fromkeys(names)), view.plan.synth, RATE, SECONDS)
    return {player.name: player for player in to_players(found, sounds)}


def to_players(names: Sequence[str], sounds: Sequence[Sound]) -> list[Player]:
    """Sounds at RATE, any length, made ready, encoded and drawn."""
    heard = [ready(sound, RATE, SECONDS) for sound in sounds]
    mp3 = encode(heard, RATE, COMPRESSION)
    return [
        Player(name, _text(one), _text(spectrogram(sound, RATE)))
        for name, one, sound in zip(names, mp3, heard, strict=True)
    ]


def audio_of(
    source: Source, names: Sequence[str], synth: type[Synth], rate: int, seconds: float
) -> tuple[list[str], list[Sound]]:
    """Sounds of a source by their names, those that can be had: their names, and each (samples,).

    Args:
        source: where they are from.
        names: files below its folder; indices of a nebula or noise, in a row.
        synth: the architecture of a nebula's sounds.
        rate: Hz.
        seconds: of a nebula's sounds or of noise; files are read whole.
    """
    if source.folder is None:
        return list(names), list(synthetic(source, synth, int(names[0]), len(names), rate=rate, seconds=seconds))
    folder = source.folder

    def read(name: str) -> Sound | None:
        try:
            return read_audio(Path(folder, name), rate)
        except Unusable:
            return None

    with ThreadPoolExecutor() as pool:
        found = [(name, sound) for name, sound in zip(names, pool.map(read, names), strict=True) if sound is not None]
    return [name for name, _ in found], [sound for _, sound in found]


def _labels(source: Source, names: Sequence[str]) -> list[str]:
    """What sounds are called on the page: files by their names, others by number."""
    return list(names) if source.folder is not None else [f"sound {k + 1}" for k in range(len(names))]


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()
