"""Sounds of given raw draws as vectors: rendered and embedded by the executor's workers, kept by content.

A part once rendered is never rendered again, whichever target or study asks for it, and a killed run goes on with the
part it was at.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nebula_tune.arrays import Raw, Vectors
from nebula_tune.constellation import Constellation
from nebula_tune.corpus.cache import VectorCache, digest
from nebula_tune.embedding.base import Embedding
from nebula_tune.execution.executor import Executor
from nebula_tune.scoring import Request
from nebula_tune.study.plan import Plan
from nebula_tune.trial import Point

DRAWS_ONLY = (8000, 0.1)  # Hz and seconds of a synth that only draws
PART = 1024  # sounds rendered and kept together


@dataclass(frozen=True)
class SoundPool:
    """Sounds to choose atoms from: raw draws (sounds, parameters) and vectors (sounds, D)."""

    raw: Raw
    vectors: Vectors

    def __len__(self) -> int:
        return len(self.raw)

    def joined(self, other: SoundPool) -> SoundPool:
        """This pool's sounds, then the other's."""
        return SoundPool(np.concatenate([self.raw, other.raw]), np.concatenate([self.vectors, other.vectors]))

    def part(self, indices: NDArray[np.intp]) -> SoundPool:
        """Some of its sounds."""
        return SoundPool(self.raw[indices], self.vectors[indices])


class SoundCounter:
    """Counts sounds towards a total that may turn out too small, and tells of it."""

    def __init__(self, total: int, tell: Callable[[int, int], None]) -> None:
        self._total, self._tell, self._done = total, tell, 0

    def __call__(self, sounds: int) -> None:
        self._done += sounds
        self._tell(self._done, max(self._total, self._done))

    def finish(self) -> None:
        """All is done, with fewer sounds than it might have been."""
        self._tell(self._done, self._done)


class PoolRenderer:
    """Vectors of sounds under one nebula and a study's embeddings.

    Args:
        executor: whose workers render and embed.
        plan: of the study.
        embeddings: the study's.
        point: the nebula.
        device: torch's name of where the workers run; sounds of another one are kept apart.
        progress: told of each part.
        check: called before each part; it may raise to stop.
    """

    def __init__(
        self,
        executor: Executor,
        plan: Plan,
        embeddings: Sequence[Embedding],
        point: Point,
        *,
        device: str,
        progress: SoundCounter,
        check: Callable[[], None],
    ) -> None:
        self._executor, self._point, self.progress, self._check = executor, point, progress, check
        self._synth = plan.synth(plan.nebula(point), 1, *DRAWS_ONLY)
        self._cache = VectorCache(
            {"pool": [embedding.settings for embedding in embeddings], "prepare": plan.settings.prepare}
        )
        played_by = plan.synth_name if plan.panel is None else plan.synth.__name__
        self._what = [played_by, plan.nebula(point).as_json(), device]

    @staticmethod
    def draws(plan: Plan, constellation: Constellation, request: Request) -> Raw:
        """The raw draws of a constellation's sounds of the indices of a request."""
        drawn: Raw = plan.synth(constellation, 1, *DRAWS_ONLY).draw(request.first_index, request.sounds).numpy()
        return drawn

    def nebula_draws(self, first_index: int, sounds: int) -> Raw:
        """The sounds' own raw draws (sounds, parameters): those of the nebula itself."""
        raw: Raw = self._synth.draw(first_index, sounds).numpy()
        return raw

    def nebula(self, first_index: int, sounds: int) -> SoundPool:
        """So many sounds of the nebula."""
        return self.pool(self.nebula_draws(first_index, sounds), first_index)

    def pool(self, raw: Raw, first_index: int) -> SoundPool:
        """The sounds of raw draws; their noise counts from ``first_index``."""
        raw = np.ascontiguousarray(raw)
        parts = [self._part(raw[begin : begin + PART], first_index + begin) for begin in range(0, len(raw), PART)]
        return SoundPool(raw, np.concatenate(parts))

    def _part(self, raw: Raw, first_index: int) -> Vectors:
        self._check()
        key = digest([*self._what, first_index, hashlib.sha256(raw.tobytes()).hexdigest()])
        vectors = self._cache.get(key)
        if vectors is None:
            vectors = self._executor.vectors(Request(self._point, first_index, len(raw), raw))
            self._cache.put(key, vectors)
        self.progress(len(raw))
        return vectors
