"""Sounds of a report: clouds on a map that play, and a few of each to listen to and look at."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nebula_tune.arrays import Vectors
from nebula_tune.corpus.source import NebulaSounds, Sound, Source
from nebula_tune.embedding import Embedding, make_embedding
from nebula_tune.embedding.base import own_device
from nebula_tune.embedding.embed import seconds_a_sound
from nebula_tune.errors import UserInputError
from nebula_tune.listening.sounds import encode, ready
from nebula_tune.report.spectrogram import spectrogram
from nebula_tune.report.view import View
from nebula_tune.study.target import embed_corpus
from nebula_tune.synth.indices import Purpose, first_index
from nebula_tune.words import printable

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
    target = {"target": view.source} if view.source else {}
    return target | {name: NebulaSounds(name, nebula) for name, nebula in view.nebulae.items()}


def embeddings(view: View) -> list[Embedding]:
    """The study's embeddings, on this machine's device. Raises EmbeddingError where one cannot be had."""
    return [
        make_embedding(embedding.name, **embedding.options, device=own_device())
        for embedding in view.plan.settings.heard
    ]


def the_map(view: View) -> Map:
    """The map of a study's sounds. Raises UserInputError where they cannot be embedded here."""
    shown, note = sources(view), view.plan.settings.heard_as
    if not view.own_files and any(_names_a_file(embedding.options) for embedding in view.plan.settings.heard):
        map_embeddings, each = [], 0
        note = f"{QUICK}, as a file of weights that only the database names is not read"
    else:
        map_embeddings = embeddings(view)
        each = _affordable(map_embeddings, len(shown))
        note = note if each >= FEWEST_DOTS else f"{QUICK}, as {note} takes long on this machine"
    if each < FEWEST_DOTS:
        map_embeddings, each = [make_embedding(QUICK)], DOTS // len(shown)
    clouds, vectors = [], []
    for name, source in shown.items():
        purpose = Purpose.TARGET if name == "target" else Purpose.SCORE_CARD
        embedded = embed_corpus(source, view.plan, map_embeddings, purpose, sounds=each, most=each)
        sounds = source.sounds(embedded.names, view.plan.synth, MAP_RATE, MAP_SECONDS)
        names = [sound.name for sound in sounds]
        kept = [k for k, label in enumerate(embedded.names) if label in set(names)]
        vectors.append(embedded.vectors[kept])
        mp3 = encode([ready(sound.audio, MAP_RATE, MAP_SECONDS) for sound in sounds], MAP_RATE, MAP_COMPRESSION)
        clouds.append({"name": name, "labels": source.labels(names), "audio": [_text(audio) for audio in mp3]})
    places, shares = principal(np.concatenate(vectors))
    for cloud in clouds:
        cloud_places, places = np.split(places, [len(cloud["labels"])])
        cloud["places"] = cloud_places.round(4).tolist()
    return Map(clouds, shares, f"up to {each} sounds of each; {note}")


def _names_a_file(options: Mapping[str, Any]) -> bool:
    """Whether an embedding's options name a file, and not only what comes with it."""
    return any(isinstance(value, str) and (name == "weights" or "/" in value) for name, value in options.items())


def _affordable(map_embeddings: Sequence[Embedding], clouds: int) -> int:
    """Sounds a cloud that can be embedded in EMBEDDING_SECONDS, of what DOTS leaves to each.

    By this process's own time, so that what else runs on the machine does not decide how a page looks.
    """
    seconds = sum(map(seconds_a_sound, map_embeddings))
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
        first = first_index(Purpose.TARGET if name == "target" else Purpose.SCORE_CARD, view.plan.seed)
        try:
            names = source.names(PLAYED, first)
        except UserInputError:
            continue
        sounds = source.sounds(names, view.plan.synth, RATE, SECONDS)[:PLAYED]
        labels = source.labels([sound.name for sound in sounds])
        shown[name] = to_players(labels, [sound.audio for sound in sounds])
    return shown


def of_target(view: View, names: Sequence[str]) -> Mapping[str, Player]:
    """Those of the target's sounds that can still be had, to listen to."""
    if not names or view.source is None:
        return {}
    sounds = view.source.sounds(list(dict.fromkeys(names)), view.plan.synth, RATE, SECONDS)
    players = to_players([sound.name for sound in sounds], [sound.audio for sound in sounds])
    return {player.name: player for player in players}


def to_players(names: Sequence[str], sounds: Sequence[Sound]) -> list[Player]:
    """Sounds at RATE, any length, made ready, encoded and drawn."""
    ready_sounds = [ready(sound, RATE, SECONDS) for sound in sounds]
    mp3 = encode(ready_sounds, RATE, COMPRESSION)
    return [
        Player(printable(name), _text(audio), _text(spectrogram(sound, RATE)))
        for name, audio, sound in zip(names, mp3, ready_sounds, strict=True)
    ]


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()
