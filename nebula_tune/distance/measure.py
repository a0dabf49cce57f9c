"""The interface of every distance d(x, x') between two sounds' vectors, and the sums of it that all else is made of.

Any d of negative type, as l1 and the Euclidean, gives eq. 2 of the paper, 2 E d(x,y) - E d(x,x') - E d(y,y'), its
unbiased estimate, each sound's witness and the interval: they need sums of d only. Of another, eq. 2 may be below 0.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

CELLS = 4_000_000  # distances worked out at a time, to bound memory


class Corpus(Protocol):
    """A corpus made ready for the sums of distances from any sounds to it."""

    sounds: int

    def sums(self, x: Tensor) -> Tensor:
        """Sum over j of d(x_i, y_j), (n,) float64, of sounds x (n, D)."""


class Distance(ABC):
    """A distance between sounds: symmetric, zero from a sound to itself, and never below zero.

    Vectors are float32 tensors (sounds, D) on one device. A distance with a scale of its own has it frozen on a
    reference corpus first (:meth:`frozen_on`), so that the yardstick does not move with what is measured.
    """

    name: ClassVar[str]

    @property
    def settings(self) -> dict[str, Any]:
        """All that changes a distance, JSON-serialisable: what ``make_distance`` takes."""
        return {"name": self.name}

    def frozen_on(self, reference: Tensor) -> Distance:
        """This distance with its scale set by a reference corpus (m, D); itself where it has no scale to set."""
        return self

    @abstractmethod
    def pairwise(self, x: Tensor, y: Tensor) -> Tensor:
        """The matrix of d(x_i, y_j), (n, m) float32."""

    def column(self, x: Tensor, sound: int) -> Tensor:
        """Distances of all sounds x (n, D) to one of them, (n,) float32: a column of ``pairwise(x, x)``."""
        return self.pairwise(x, x[sound : sound + 1])[:, 0]

    def corpus(self, y: Tensor) -> Corpus:
        """A corpus (m, D) made ready for sums of distances to it."""
        return _Blocks(self, y)

    def nearest(self, x: Tensor, pool: Tensor) -> Tensor:
        """Distance of each sound x (n, D) to its nearest in a pool (N, D), (n,) float32."""
        parts = torch.split(pool, max(1, CELLS // len(x)))
        return torch.stack([self.pairwise(x, part).amin(dim=1) for part in parts]).amin(dim=0)

    def within(self, x: Tensor) -> Tensor:
        """Sum over j of d(x_i, x_j), (n,) float64, of sounds x (n, D)."""
        return self.corpus(x).sums(x)


class _Blocks:
    """Sums by blocks of the matrix of distances."""

    def __init__(self, distance: Distance, y: Tensor) -> None:
        self.sounds = len(y)
        self._distance, self._y = distance, y

    def sums(self, x: Tensor) -> Tensor:
        y = self._y.to(x.device)
        parts = torch.split(x, max(1, CELLS // max(1, self.sounds)))
        return torch.cat([self._distance.pairwise(part, y).sum(dim=1, dtype=torch.float64) for part in parts])
