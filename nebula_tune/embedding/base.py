"""The interface of every embedding: prepared audio in, vectors out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from importlib import import_module
from typing import Any, ClassVar

import torch
from torch import Tensor

from nebula_tune.errors import EmbeddingError


def own_device() -> str:
    """This machine's device: its GPU where there is one."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def library(module: str, embedding: str) -> Any:
    """A module that one embedding alone needs, imported now. Raises EmbeddingError where it is not installed."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise EmbeddingError(
            f"{embedding} needs {error.name}, which is not installed: pip install {error.name}"
        ) from error


class Embedding(ABC):
    """Turns sounds into vectors whose distances mean something to an ear.

    ``sample_rate`` (Hz) and ``seconds`` say what audio it takes; the corpus resamples and the synth renders to
    that. ``settings`` is everything that changes a vector (weights by their hash): it keys caches and is stored
    with a study.
    """

    name: ClassVar[str]
    gpu_chunk: ClassVar[int] = 256  # sounds a GPU takes at a time; fewer where fewer fill it, so that many GPUs share
    sample_rate: int
    seconds: float

    @property
    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """All that changes a vector, JSON-serialisable."""

    @abstractmethod
    def embed_batch(self, audio: Tensor) -> Tensor:
        """Vectors (sounds, frames, dimensions) float32 of prepared audio (sounds, samples).

        A sound's vector depends on that sound alone. A silent sound has a defined one: no NaN comes out.
        """

    @property
    def numbers(self) -> int:
        """How many numbers a sound's vector has, frames together."""
        return self.embed_batch(torch.zeros(1, self.samples, dtype=torch.float32, device="cpu")).numel()

    def cost_note(self, sounds: int) -> str:
        """What so many sounds cost to embed, where that is worth saying before a study begins; else empty."""
        return ""

    @property
    def samples(self) -> int:
        """Samples of each sound."""
        return round(self.seconds * self.sample_rate)
