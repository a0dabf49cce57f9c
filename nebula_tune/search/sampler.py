"""The interface of every sampler: pure ask and tell.

Same seed and same scores give the same nebulae; a sampler does no I/O and reads no clock.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from nebula_tune.search.space import Space
from nebula_tune.strict import AtLeastOne, Strict
from nebula_tune.trial import Point, Score


@dataclass(frozen=True)
class Candidate:
    """A point to score, on the sampler's set of sounds number ``draw`` (equal numbers: common random numbers)."""

    point: Point
    draw: int


class Sampler(ABC):
    """Proposes points generation by generation until its ``trials`` are spent."""

    trials: int

    @abstractmethod
    def ask(self) -> list[Candidate]:
        """The next generation; empty when the trials are spent."""

    @abstractmethod
    def tell(self, scores: Sequence[Score | None]) -> None:
        """Scores of the last generation, in its order; None for a trial that could not be scored."""

    @abstractmethod
    def result(self) -> Point:
        """The nebula this sampler would stand for now."""

    def snapshots(self) -> list[tuple[int, Point]]:
        """Nebulae along its way, each with the trials that it took; the last is the result."""
        return [(self.trials, self.result())]


class SamplerSettings(Strict, ABC):
    """A phase of a study file: a sampler by name, its trials, and options of its own.

    ``needs_gradient``: whether trials are kept with their gradients, for a resumed search to go on from.
    """

    needs_gradient: ClassVar[bool] = False
    sampler: str
    trials: AtLeastOne

    @property
    def needs_curvature(self) -> bool:
        """Whether trials are scored with their curvature."""
        return False

    @property
    def needs_best(self) -> bool:
        """Whether it goes on from where the phase before ended; else the two can go side by side."""
        return True

    @abstractmethod
    def make(self, space: Space, best: Point, seed: int, sounds: int) -> Sampler:
        """The sampler.

        Args:
            space: what is searched.
            best: where the phase before ended; of the first, the start nebula.
            seed: of all that is random.
            sounds: of a trial.
        """


def seeded(seed: int, *purpose: int) -> np.random.Generator:
    """A generator of its own for each purpose under one seed."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=purpose))
