"""A weighted sum of distances, each of its own stretch of the vectors: several embeddings heard at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from nebula_tune.distance.measure import Corpus, Distance
from nebula_tune.errors import UserInputError


@dataclass(frozen=True)
class Part:
    """One embedding's share: the next ``dimensions`` of a vector, under a distance times ``factor``."""

    name: str
    dimensions: int
    distance: Distance
    factor: float

    @property
    def settings(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "name": self.name,
            "dimensions": self.dimensions,
            "distance": self.distance.settings,
            "factor": self.factor,
        }


class Joint(Distance):
    """Sum over parts of factor x distance, of vectors that are those of the parts one after the other.

    Being a sum of distances, it has their eq. 2, witness and gradient, added up. Before :meth:`frozen_on` a factor is
    a plain weight; then it is the weight over the part's own mean distance between two sounds of the reference. So
    weights compare embeddings whatever their units and dimensions.
    """

    name: ClassVar[str] = "joint"

    def __init__(self, parts: Sequence[Part], frozen: bool = False) -> None:
        for part in parts:
            if not 0 < part.factor < float("inf") or part.dimensions < 1:
                raise UserInputError(f"{part.name}: weights are numbers above 0, not {part.factor}")
        self.parts, self._frozen = tuple(parts), frozen

    @property
    def settings(self) -> dict[str, Any]:
        return {"name": self.name, "frozen": self._frozen, "parts": [part.settings for part in self.parts]}

    def stretches(self, x: Tensor) -> Iterator[tuple[Part, Tensor]]:
        """Each part with its own vectors (sounds, dimensions) out of x. Raises UserInputError where they do not fit."""
        widths = [part.dimensions for part in self.parts]
        if x.shape[1] != sum(widths):
            raise UserInputError(f"vectors of {sum(widths)} dimensions are needed, not of {x.shape[1]}")
        return zip(self.parts, torch.split(x, widths, dim=1), strict=True)

    def frozen_on(self, reference: Tensor) -> Joint:
        if self._frozen:
            return self
        frozen = []
        for part, vectors in self.stretches(reference):
            distance, n = part.distance.frozen_on(vectors), len(vectors)
            mean = float(distance.within(vectors).sum()) / (n * (n - 1))
            frozen.append(Part(part.name, part.dimensions, distance, part.factor / (mean or 1.0)))
        return Joint(frozen, frozen=True)

    def pairwise(self, x: Tensor, y: Tensor) -> Tensor:
        both = zip(self.stretches(x), self.stretches(y), strict=True)
        terms = [part.factor * part.distance.pairwise(of_x, of_y) for (part, of_x), (_, of_y) in both]
        return torch.stack(terms).sum(dim=0)

    def corpus(self, y: Tensor) -> JointCorpus:
        return JointCorpus(self, y)


class JointCorpus:
    """Sums by each part's own way to make them."""

    def __init__(self, distance: Joint, y: Tensor) -> None:
        self.sounds = len(y)
        self._distance = distance
        self._corpora = [part.distance.corpus(vectors.contiguous()) for part, vectors in distance.stretches(y)]

    def sums(self, x: Tensor) -> Tensor:
        return self.parts(x).sum(dim=0)

    def parts(self, x: Tensor) -> Tensor:
        """Each part's share of :meth:`sums`, (parts, n) float64."""
        both = zip(self._distance.stretches(x), self._corpora, strict=True)
        return torch.stack([part.factor * corpus.sums(vectors) for (part, vectors), corpus in both])


def terms(corpus: Corpus, x: Tensor) -> Tensor:
    """A corpus's sums as what they are made of, (terms, n) float64: one for each part of a joint distance, else one."""
    return corpus.parts(x) if isinstance(corpus, JointCorpus) else corpus.sums(x)[None]
