"""What search and scoring exchange: a point of the search, and the score it gets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from nebula_tune.arrays import Floats

INFORMATION_FLOOR = 1e-3  # added to a coordinate's, so that one without any divides by no zero
NO_CURVATURE: Floats = np.zeros((0, 2, 0))


@dataclass(frozen=True)
class Point:
    """A nebula, or a relaxed one, as arrays in the synth's registration order.

    ``curves`` (parameters,) > 0; ``probabilities`` (parameters,) in [0, 1] that a sound's parameter is symmetric:
    0 or 1 for a nebula, anything between for a relaxed one, whose sounds each draw their own flags.
    """

    curves: Floats
    probabilities: Floats

    @property
    def relaxed(self) -> bool:
        """Whether any flag is still open."""
        return bool(np.any((self.probabilities > 0) & (self.probabilities < 1)))

    @property
    def symmetric(self) -> NDArray[np.bool_]:
        """The flags, hardened at one half."""
        return self.probabilities > 0.5

    def hardened(self) -> Point:
        """The nebula this relaxed point is nearest to."""
        return Point(self.curves, self.symmetric.astype(np.float64))


@dataclass(frozen=True)
class Score:
    """How near one trial's sounds are to the target; smaller is nearer.

    Attributes:
        value: what the search minimises: the unbiased distance to the target (for diversity, minus the spread), and
            the study's guards.
        mmd: eq. 2 of the paper on the same sounds, without guards.
        by_embedding: of several embeddings each one's part of the unbiased distance, which is their sum: weighted, over
            the mean distance of two sounds of the target under it. One that is cheated hides in the sum.
        shares: what guards count, whether they weigh anything or not: each one's mean over the sounds.
        curve_gradient: (parameters,) derivative of ``value`` by log curve.
        flag_gradient: (parameters,) derivative of ``value`` by the logit of ``probabilities``.
        flag_information: (parameters,) Fisher information of those logits; 0 where a flag is decided.
        deviation: standard deviation of the witness over the sounds: the scale of both gradients.
        curvature: (rows, 2, parameters) factor A of the Gauss-Newton curvature A'A of ``value`` by log curves, then
            logits; no rows where none was asked for.
        prior_curvature: (2, parameters) what a prior adds to its diagonal.
    """

    value: float
    mmd: float
    shares: Mapping[str, float]
    curve_gradient: Floats
    flag_gradient: Floats
    flag_information: Floats
    deviation: float
    curvature: Floats = field(default_factory=lambda: NO_CURVATURE)
    prior_curvature: Floats | None = None
    by_embedding: Mapping[str, float] = field(default_factory=dict)

    def without_gradient(self) -> Score:
        """The score as a sampler takes it that goes by values alone."""
        none: Floats = np.zeros(0)
        return replace(
            self,
            curve_gradient=none,
            flag_gradient=none,
            flag_information=none,
            curvature=NO_CURVATURE,
            prior_curvature=None,
        )
