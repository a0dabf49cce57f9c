"""Sounds of given raw parameters as several embeddings hear them, and how far they are from a target."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nebula_tune.arrays import Floats, Raw, Vectors
from nebula_tune.constellation import Constellation
from nebula_tune.corpus.prepare import Prepare
from nebula_tune.corpus.source import content_of
from nebula_tune.distance import L1, Joint, Part
from nebula_tune.embedding import make_embedding
from nebula_tune.embedding.base import Embedding, own_device
from nebula_tune.execution.executor import Client, Executor
from nebula_tune.execution.where import Where
from nebula_tune.nebula import Nebula
from nebula_tune.scoring import Request, ScorerSpec
from nebula_tune.study.settings import EmbeddingSettings
from nebula_tune.synth import NamedPanel, Synth, architecture, panel_of
from nebula_tune.trial import Point

SLICE = 2048  # sounds whose residuals are there at once
DRAWS_ONLY = (8000, 0.1)  # Hz and seconds of a synth that only draws


@dataclass(frozen=True)
class MatchEar:
    """An embedding, and what it was made of: its name, options, and weight in the sum of distances."""

    embedding: Embedding
    named: EmbeddingSettings

    @property
    def weight(self) -> float:
        """In the sum of distances."""
        return self.named.weight


@dataclass(frozen=True)
class MatchPrior:
    """What sounds are drawn from: a synth's nebula, or a constellation on one; under a panel, where it has such."""

    synth_name: str
    panel: NamedPanel | None
    sounds: Nebula | Constellation

    @classmethod
    def of(cls, nebula: str | Path, synth: str, panel: str | None) -> MatchPrior:
        """By the nebula's or constellation's file or name, and the synth's and the panel's. Raises UserInputError."""
        written = panel_of(synth, panel)
        return cls(synth, written, architecture(synth, written).resolve_sounds(nebula))

    @property
    def synth(self) -> type[Synth]:
        """The architecture."""
        return architecture(self.synth_name, self.panel)

    @property
    def content(self) -> list[Any]:
        """What its sounds depend on, as JSON."""
        return [self.synth_name, self.panel and self.panel.digest, content_of(self.sounds, self.synth)]

    @property
    def nebula(self) -> Nebula:
        """That bends raw parameters; a constellation's own."""
        return self.sounds.nebula if isinstance(self.sounds, Constellation) else self.sounds

    @property
    def point(self) -> Point:
        """The nebula as executors take it."""
        curves, symmetric = self.synth.panel.arrays(self.nebula)
        return Point(curves, symmetric.astype(float))

    def draw(self, first_index: int, sounds: int) -> Raw:
        """Raw parameters (sounds, parameters) of so many sounds."""
        raw: Raw = self.synth(self.sounds, 1, *DRAWS_ONLY).draw(first_index, sounds).cpu().numpy()
        return raw

    def player(self, sample_rate: int, seconds: float) -> Synth:
        """What renders raw parameters of its nebula."""
        return self.synth(self.nebula, 1, sample_rate, seconds)


def open_ears(settings: Sequence[EmbeddingSettings]) -> list[MatchEar]:
    """The embeddings of a study's settings, ready to hear. Raises EmbeddingError."""
    ears = []
    for named in settings:
        options = {"name": named.name, **named.options}
        ears.append(MatchEar(make_embedding(**options, device=own_device()), named))
    return ears


class Hearing:
    """Renders and embeds sounds on an executor's workers; to be closed.

    Args:
        prior: whose nebula bends raw parameters.
        ears: that hear them.
        style: how sounds are prepared.
        where: on which executor.
        note: told what a user should know of the workers.
    """

    def __init__(
        self,
        prior: MatchPrior,
        ears: Sequence[MatchEar],
        style: Prepare,
        where: Where,
        note: Callable[[str], None],
    ) -> None:
        self._point = prior.point
        named = [{"name": ear.named.name, **ear.named.options} for ear in ears]
        spec = ScorerSpec(prior.synth_name, named, style, None, own_device(), panel=prior.panel)
        self._executor: Executor = where.make(spec, Client(note=note))

    def __enter__(self) -> Hearing:
        return self

    def __exit__(self, *_: object) -> None:
        self._executor.close()

    def vectors(self, raw: Raw, first_index: int) -> Vectors:
        """Vectors (sounds, D) of raw parameters (sounds, parameters); their noise counts from ``first_index``."""
        request = Request(self._point, first_index, len(raw), np.ascontiguousarray(raw, dtype=np.float32))
        return self._executor.vectors(request)


class Ruler:
    """Distances of sounds to a target, each ear's l1 over the mean distance of two random sounds under it.

    Args:
        ears: that heard the vectors, one's stretch after the other's.
        random: random sounds (sounds, D) as they heard them.
    """

    def __init__(self, ears: Sequence[MatchEar], random: Vectors) -> None:
        parts = [Part(ear.embedding.name, ear.embedding.numbers, L1(), 1.0) for ear in ears]
        self._parts = Joint(parts).frozen_on(torch.from_numpy(random)).parts
        self._weights = np.array([ear.weight for ear in ears]) / sum(ear.weight for ear in ears)
        widths = [part.dimensions for part in self._parts]
        self._begins = np.cumsum([0, *widths[:-1]])
        self._units = np.repeat([part.factor for part in self._parts] * self._weights, widths)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the ears."""
        return tuple(part.name for part in self._parts)

    def residuals(self, vectors: Vectors, target: Vectors) -> Floats:
        """Differences (sounds, D) from a target (D,), whose absolute values sum to the distance."""
        differences: Floats = (vectors - target) * self._units
        return differences

    def by_ear(self, residuals: Floats) -> Floats:
        """Distances (sounds, ears) of residuals (sounds, D)."""
        shares: Floats = np.add.reduceat(np.abs(residuals), self._begins, axis=1) / self._weights
        return shares

    def distances(self, vectors: Vectors, target: Vectors) -> Floats:
        """Distances (sounds,) of many sounds (sounds, D) to a target (D,), all ears together."""
        slices = np.split(vectors, range(SLICE, len(vectors), SLICE))
        return np.concatenate([np.abs(self.residuals(some, target)).sum(axis=1) for some in slices])
