"""Re-evaluation: noisy candidates are scored again on common sounds, and the best mean wins (section 6). Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import ceil, log2

import numpy as np

Pair = tuple[int, int]  # candidate, repeat


class Reevaluation:
    """Asks for (candidate, repeat) round by round; a repeat is the same set of sounds for all candidates.

    All at once, every candidate gets every repeat: the paper's 25 by 30. By sequential halving (Karnin, Koren and
    Somekh, 2013) all get a few, the better half twice as many, and so on until the last two or so have all repeats.

    Args:
        candidates: how many there are.
        repeats: of the candidates that stay to the end.
        halving: whether the worse half is dropped after each round.

    Attributes:
        total: how many pairs all rounds ask for.
    """

    def __init__(self, candidates: int, repeats: int, halving: bool = False) -> None:
        rounds = max(1, ceil(log2(candidates))) if halving else 1
        totals = sorted({ceil(repeats / 2**k) for k in range(rounds)})  # repeats a candidate has after each round
        self._rounds = list(pairwise([0, *totals]))  # from which repeat to which
        self.total = sum(ceil(candidates / 2**k) * (upto - since) for k, (since, upto) in enumerate(self._rounds))
        self._left = list(range(candidates))
        self._values: list[list[float]] = [[] for _ in range(candidates)]

    def ask(self) -> list[Pair]:
        """The next round; empty when all are done."""
        if not self._rounds:
            return []
        return [(candidate, repeat) for repeat in range(*self._rounds[0]) for candidate in self._left]

    def tell(self, values: Sequence[float]) -> None:
        """Values of the last round, in its order."""
        for (candidate, _), value in zip(self.ask(), values, strict=True):
            self._values[candidate].append(value)
        self._rounds.pop(0)
        if self._rounds:
            self._left = sorted(sorted(self._left, key=self._mean)[: ceil(len(self._left) / 2)])

    def result(self) -> int:
        """The candidate of the best mean; the first of equals."""
        return min(self._left, key=self._mean)

    def _mean(self, candidate: int) -> float:
        return float(np.mean(self._values[candidate]))
