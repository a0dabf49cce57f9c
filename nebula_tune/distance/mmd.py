"""How far two corpora are from each other (eq. 2 of the paper) under any distance, with what it says of each sound."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from nebula_tune.arrays import Floats
from nebula_tune.distance.energy import L1
from nebula_tune.distance.inference import Groups, Inference, infer
from nebula_tune.distance.measure import Distance
from nebula_tune.errors import UserInputError


@dataclass(frozen=True)
class MMD:
    """The distance of two corpora and what can be said of it. Made by :func:`mmd`.

    Attributes:
        mmd: eq. 2 of the paper (a V-statistic: it exceeds the true distance by E d(x,x')/n + E d(y,y')/m).
        mmd_unbiased: the U-statistic; sounds of one group are never compared with each other.
        witness: (n,) how far each x pulls its corpus from y: 2 E d(x,y) - 2 E d(x,x').
        ci95: interval of the unbiased estimate, lower end cut at 0; worked out when first asked for.
        p_value: of "both corpora follow one law", by permuting groups; worked out when first asked for.
    """

    mmd: float
    mmd_unbiased: float
    witness: Floats
    n: int
    m: int
    _x: NDArray[np.float32]
    _y: NDArray[np.float32]
    _groups: tuple[Groups, Groups]
    _distance: Distance

    @cached_property
    def _inference(self) -> Inference:
        return infer(self._x, self._y, *self._groups, distance=self._distance)

    @property
    def ci95(self) -> tuple[float, float]:
        return self._inference.ci95

    @property
    def p_value(self) -> float:
        return self._inference.p_value


def mmd(
    x: ArrayLike, y: ArrayLike, distance: Distance | None = None, groups_x: Groups = None, groups_y: Groups = None
) -> MMD:
    """Distance between corpora x (n, D) and y (m, D) of embedded sounds: eq. 2 with any ``distance`` (l1 by default).

    ``groups_x`` and ``groups_y`` name each sound's group (preset, kit, file), (n,) and (m,); by default every
    sound is its own. Raises UserInputError for shapes that do not fit, numbers that are not finite, fewer
    than two groups on a side, or a distance whose scale is not set.
    """
    first, second = _matrix(x, "x"), _matrix(y, "y")
    if first.shape[1] != second.shape[1]:
        raise UserInputError(f"x has {first.shape[1]} dimensions and y has {second.shape[1]}; they must agree")
    distance = distance or L1()
    n, m = len(first), len(second)
    to_y, to_x = distance.corpus(second).sums(first), distance.within(first)
    cross, xx, yy = float(to_y.sum()), float(to_x.sum()), float(distance.within(second).sum())
    same_xx, pairs_x = _same_group(first, groups_x, "x", distance)
    same_yy, pairs_y = _same_group(second, groups_y, "y", distance)
    return MMD(
        mmd=2 * cross / (n * m) - xx / n**2 - yy / m**2,
        mmd_unbiased=2 * cross / (n * m) - (xx - same_xx) / pairs_x - (yy - same_yy) / pairs_y,
        witness=(2 * to_y / m - 2 * to_x / (n - 1)).numpy(),
        n=n,
        m=m,
        _x=first.numpy(),
        _y=second.numpy(),
        _groups=(groups_x, groups_y),
        _distance=distance,
    )


def l1_mmd(x: ArrayLike, y: ArrayLike, groups_x: Groups = None, groups_y: Groups = None) -> MMD:
    """:func:`mmd` with d = l1, as in the paper.

    ``x`` (n, D), ``y`` (m, D), ``groups_x`` (n,), ``groups_y`` (m,) and the errors are as it has them.
    """
    return mmd(x, y, L1(), groups_x, groups_y)


def mean_within(x: NDArray[np.float32], groups: Groups = None, distance: Distance | None = None) -> float:
    """E d(x, x') over pairs of different groups, of sounds x (n, D); l1 by default."""
    data, distance = _matrix(x, "x"), distance or L1()
    same, pairs = _same_group(data, groups, "x", distance)
    return (float(distance.within(data).sum()) - same) / pairs


def _matrix(values: ArrayLike, name: str) -> Tensor:
    try:
        array = np.asarray(values, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise UserInputError(f"{name} must be numbers, (sounds, dimensions): {error}") from error
    if array.ndim < 2 or len(array) < 2 or array.size == 0:
        raise UserInputError(f"{name} must be (sounds, dimensions) with at least 2 sounds, not {array.shape}")
    array = array.reshape(len(array), -1)
    if not np.isfinite(array).all():
        raise UserInputError(f"{name} holds numbers that are not finite")
    return torch.from_numpy(np.ascontiguousarray(array))


def _same_group(x: Tensor, groups: Groups, name: str, distance: Distance) -> tuple[float, int]:
    """Sum of distances over ordered pairs of one group, and the number of ordered pairs of different groups."""
    pairs = len(x) ** 2
    if groups is None:
        return 0.0, pairs - len(x)
    total = 0.0
    labels = np.unique(np.asarray(groups), return_inverse=True)[1]
    if len(labels) != len(x) or labels.max() == 0:
        raise UserInputError(f"groups of {name} must name one group for each sound, and at least two groups")
    for label in range(labels.max() + 1):
        members = x[torch.from_numpy(labels == label)]
        pairs -= len(members) ** 2
        total += float(distance.within(members).sum()) if len(members) > 1 else 0.0
    return total, pairs
