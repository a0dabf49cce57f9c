"""What a study measures with: its distance, every scale of it frozen once on a reference and stored with the study.

The reference is the target's held-in part; for diversity, which has no target, sounds of the start nebula. A scale
that followed what is measured would let a nebula look better by moving the scale.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nebula_tune.distance import Distance, Joint, Part, make_distance, mean_within
from nebula_tune.embedding.base import Embedding
from nebula_tune.study.settings import GuardSettings, StudySettings

REFERENCE_SOUNDS = 1024  # of the start nebula, where there is no target


@dataclass(frozen=True)
class Yardstick:
    """A frozen distance, and E d(y, y') of the reference: the unit of guards."""

    distance: Distance
    mean_distance: float

    @classmethod
    def frozen_on(
        cls,
        settings: StudySettings,
        embeddings: Sequence[Embedding],
        vectors: NDArray[np.float32],
        groups: Sequence[str] | None = None,
    ) -> Yardstick:
        """The study's distance, its scales set by a reference.

        Args:
            settings: of the study; they name the distance.
            embeddings: the study's, in the order of their vectors.
            vectors: of the reference, (sounds, D).
            groups: group of each sound, which is never compared with itself; None: every sound is its own.
        """
        distance = make_distance(settings.distance)
        if len(embeddings) > 1:
            named = zip(settings.heard, embeddings, strict=True)
            distance = Joint(
                [Part(embedding.name, ear.numbers, distance, embedding.weight) for embedding, ear in named]
            )
        frozen = distance.frozen_on(torch.from_numpy(vectors))
        return cls(frozen, mean_within(vectors, groups, frozen))

    def costs(self, guards: GuardSettings) -> dict[str, float]:
        """What each counted share costs, in units of the distance."""
        return {share: weight * self.mean_distance for share, weight in guards.shares.items()}

    def as_json(self) -> dict[str, Any]:
        """To store, and to read back with :meth:`read`."""
        return {"distance": self.distance.settings, "mean_distance": self.mean_distance}

    @classmethod
    def read(cls, stored: Mapping[str, Any]) -> Yardstick:
        """Inverse of :meth:`as_json`."""
        return cls(make_distance(**stored["distance"]), stored["mean_distance"])
