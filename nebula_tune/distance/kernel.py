"""Maximum mean discrepancy with a Gaussian kernel, written as a distance.

With d(x, y) = 1 - k(x, y), the constant falls out of 2 E d(x,y) - E d(x,x') - E d(y,y'), which is the squared MMD
E k(x,x') + E k(y,y') - 2 E k(x,y) (Gretton et al., JMLR 2012, lemma 6).
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from nebula_tune.distance.energy import Euclidean
from nebula_tune.distance.measure import Distance
from nebula_tune.errors import UserInputError

MEDIAN_OF = 1000  # sounds of the reference, evenly spaced, whose distances the bandwidth is the median of


class Gaussian(Distance):
    """1 - exp(-|x - y|² / (2 bandwidth²)), between 0 and 1.

    ``bandwidth`` is in the units of the vectors. Without one, :meth:`frozen_on` sets it to the median Euclidean
    distance of two sounds of the reference. Raises UserInputError for one that is not above 0.
    """

    name: ClassVar[str] = "gaussian"

    def __init__(self, bandwidth: float | None = None) -> None:
        if bandwidth is not None and not 0 < bandwidth < float("inf"):
            raise UserInputError(f"a Gaussian kernel's bandwidth is a number above 0, not {bandwidth}")
        self.bandwidth = bandwidth

    @property
    def settings(self) -> dict[str, Any]:
        return {"name": self.name, "bandwidth": self.bandwidth}

    def frozen_on(self, reference: Tensor) -> Gaussian:
        return self if self.bandwidth is not None else Gaussian(_median_distance(reference))

    def pairwise(self, x: Tensor, y: Tensor) -> Tensor:
        if self.bandwidth is None:
            raise UserInputError("a Gaussian kernel needs its bandwidth: give one, or freeze it on a reference corpus")
        return -torch.expm1(-Euclidean().pairwise(x, y).div_(self.bandwidth).square_().div_(2))


def _median_distance(x: Tensor) -> float:
    """Median Euclidean distance of two different sounds; where half of them are copies, the mean; 1 if all are."""
    some = x[:: -(-len(x) // MEDIAN_OF)]
    above = torch.triu_indices(len(some), len(some), offset=1, dtype=torch.int64, device=some.device)
    distances = Euclidean().pairwise(some, some)[above[0], above[1]]
    return float(distances.median()) or float(distances.mean()) or 1.0
