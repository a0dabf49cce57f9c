"""Nebulae and measures shared by the synth's tests."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import torch

from nebula_tune.nebula import Nebula
from nebula_tune.synth import Voice
from tests.synth import torchsynth_peer

SOUNDS = 32


class Setting(NamedTuple):
    """Under what to compare; ``nebula`` is a name that :func:`nebula` knows."""

    nebula: str
    sample_rate: int
    seconds: float


class Sounds(NamedTuple):
    audio: np.ndarray
    raw: np.ndarray
    train: np.ndarray


def nebula(name: str) -> Nebula:
    """A shipped nebula, "tuned" (to drums), or one drawn at random.

    Random curves lie between 1/16 and 16, extreme ones at 1/50 or 50; every fourth parameter is symmetric.
    """
    if name == "tuned":
        return Nebula.load(Path(__file__).with_name("tuned.json"))
    if "-" not in name:
        return Nebula.load(name)
    kind, _, seed = name.partition("-")
    rng = np.random.default_rng(int(seed))
    count = len(Voice.panel)
    if kind == "extreme":
        return Voice.panel.nebula(rng.choice([1 / 50, 50.0], count), rng.random(count) < 0.25)
    return Voice.panel.nebula(np.exp2(rng.uniform(-4, 4, count)), rng.random(count) < 0.25)


@lru_cache
def ours(setting: Setting, backend: str, dtype: torch.dtype = torch.float32) -> Sounds:
    name, rate, seconds = setting
    voice = Voice(nebula(name), SOUNDS, rate, seconds, dtype=dtype, backend=backend)
    return Sounds(*(part.numpy() for part in voice(3)))


@lru_cache
def theirs(setting: Setting) -> Sounds:
    name, rate, seconds = setting
    with TemporaryDirectory() as folder:
        path = Path(folder, "exported.json")
        nebula(name).save(path)
        voice = torchsynth_peer.voice(str(path), SOUNDS, rate, seconds)
        return Sounds(*(part.as_subclass(torch.Tensor).numpy() for part in voice(3)))


def snr(audio: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Signal-to-noise ratio of each sound in dB, at most 140."""
    noise = np.square(audio.astype(np.float64) - truth).mean(axis=1)
    signal = np.square(truth).mean(axis=1)
    return 10 * np.log10((signal + 1e-30) / (noise + 1e-14 * signal + 1e-30))
