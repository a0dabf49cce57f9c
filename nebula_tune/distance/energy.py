"""The distances of energy distances: l1, the paper's, exact and fast by sorting; and Euclidean.

With d = l1, eq. 2 is a sum over dimensions of one-dimensional energy distances. In one dimension the sum of
|x - y_j| over a sorted set is a rank look-up in its prefix sums, so all sums cost O((n + m) log(n + m)) a
dimension instead of O(n m). Sums are accumulated in float64.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from nebula_tune.distance.measure import Corpus, Distance

SLICE = 2_000_000  # numbers of one slice of dimensions, to bound the float64 copies


class SortedCorpus:
    """A corpus (m, D) sorted once a dimension, for the sums of l1 distances from any sounds to it."""

    def __init__(self, y: Tensor) -> None:
        self.sounds, self.dimensions = y.shape
        self._sorted = y.T.contiguous().sort(dim=1).values  # (D, m)

    def sums(self, x: Tensor) -> Tensor:
        """Sum over j of the l1 distance d(x_i, y_j), (n,) float64, of sounds x (n, D)."""
        total = torch.zeros(len(x), dtype=torch.float64, device=x.device)
        m = self.sounds
        for part in _slices(self.dimensions, m + len(x)):
            ordered = self._sorted[part].to(x.device)
            values = x[:, part].T.contiguous()  # (d, n)
            rank = torch.searchsorted(ordered, values, right=True)
            prefix = torch.nn.functional.pad(torch.cumsum(ordered, dim=1, dtype=torch.float64), (1, 0))
            below = torch.gather(prefix, 1, rank)
            signed = values.double() * (2 * rank - m) + prefix[:, -1:] - 2 * below
            total += signed.sum(dim=0)
        return total


class L1(Distance):
    """Sum over dimensions of |x - y|: the paper's (section 5). It sees each dimension's distribution by itself."""

    name: ClassVar[str] = "l1"

    def pairwise(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.cdist(x, y, p=1)

    def corpus(self, y: Tensor) -> Corpus:
        return SortedCorpus(y)


class Euclidean(Distance):
    """|x - y| in the Euclidean norm: the energy distance of Székely and Rizzo. It sees how dimensions go together."""

    name: ClassVar[str] = "euclidean"

    def pairwise(self, x: Tensor, y: Tensor) -> Tensor:
        # Not by a matrix product: a sound's distance to itself, or to a near copy, would be noise.
        return torch.cdist(x, y, p=2, compute_mode="donot_use_mm_for_euclid_dist")


def _slices(dimensions: int, sounds: int) -> list[slice]:
    width = max(1, SLICE // max(1, sounds))
    return [slice(k, min(k + width, dimensions)) for k in range(0, dimensions, width)]
