"""Interval and p-value of an unbiased distance of corpora, from one matrix of distances.

The matrix is summed over groups first (sounds of one preset, kit or file move together), so that jackknife
and permutations both work on groups by groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from nebula_tune.arrays import Floats
from nebula_tune.distance.energy import L1
from nebula_tune.distance.measure import Distance

Groups = Sequence[object] | NDArray[np.generic] | None

PERMUTATIONS = 999
Z95 = 1.959963984540054
ROWS = 128  # rows of the distance matrix at a time
TIE = 1e-6  # share of the mean distance within which two estimates count as equal


@dataclass(frozen=True)
class Inference:
    """What the distance matrix says beside the estimate itself."""

    mmd_unbiased: float
    ci95: tuple[float, float]
    p_value: float


def infer(
    x: NDArray[np.float32],
    y: NDArray[np.float32],
    groups_x: Groups = None,
    groups_y: Groups = None,
    *,
    seed: int = 0,
    distance: Distance | None = None,
) -> Inference:
    """Unbiased estimate U, its 95 % interval and the permutation p-value of x (n, D) against y (m, D); l1 by default.

    The interval is that of :func:`infer_from_sums`.

    Args:
        x: vectors of one corpus, (n, D).
        y: vectors of the other, (m, D).
        groups_x: each x's group, (n,); None: every sound is its own.
        groups_y: likewise of y, (m,).
        seed: of the permutations.
        distance: of two vectors; None: l1.
    """
    labels, first = _pooled_labels(x, y, groups_x, groups_y)
    sums, sizes = group_sums(np.concatenate([x, y]), labels, distance), np.bincount(labels).astype(np.float64)
    return infer_from_sums(sums, sizes, np.arange(len(sizes)) < first, seed)


def infer_from_sums(sums: Floats, sizes: Floats, in_x: NDArray[np.bool_], seed: int = 0) -> Inference:
    """:func:`infer` from sums of distances between groups (groups, groups), zero within a group, and groups' sizes.

    The interval is U ± 1.96 sqrt(v_J + v_perm), its lower end cut at 0: v_J from deleting one group at a time, v_perm
    the mean squared U over permuted labels (where both laws are one, the jackknife alone is degenerate). Their sum
    covered better than the larger of them wherever that fell short: see docs/evaluation.md.

    Args:
        sums: of the distances between two groups' sounds, (groups, groups), zero within a group.
        sizes: sounds of each group, (groups,).
        in_x: which groups are x's, (groups,); the others are y's.
        seed: of the permutations.
    """
    estimate = _u_statistic(sums, sizes, in_x[None].astype(np.float64))[0]
    permuted = _permuted(sums, sizes, in_x, seed)
    spread = Z95 * float(np.sqrt(_jackknife_variance(sums, sizes, in_x) + np.mean(permuted**2)))
    # A relabelling that is the corpora themselves, or both swapped, must count: rounding may not make it smaller.
    tie = TIE * sums.sum() / sizes.sum() ** 2
    p_value = (1 + int(np.sum(permuted >= estimate - tie))) / (1 + len(permuted))
    low, high = max(0.0, float(estimate) - spread), max(0.0, float(estimate) + spread)
    return Inference(float(estimate), (low, high), p_value)


def halvings(sums: Floats, sizes: Floats, seed: int = 0) -> Floats:
    """U of one corpus's halves against each other, (999,): groups called x or y at random, half of them each."""
    return _permuted(sums, sizes, np.arange(len(sizes)) < len(sizes) // 2, seed)


def group_sums(vectors: NDArray[np.float32], labels: NDArray[np.intp], distance: Distance | None = None) -> Floats:
    """Sums of distances (l1 by default) between groups (groups, groups) float64, zero within a group."""
    distance = distance or L1()
    data = torch.from_numpy(np.ascontiguousarray(vectors, dtype=np.float32))
    owner = torch.from_numpy(labels)
    count = int(labels.max()) + 1
    sums = torch.zeros(count, count, dtype=torch.float64, device="cpu")
    for start in range(0, len(data), ROWS):  # the matrix is symmetric: each block's columns begin where its rows do
        rows = distance.pairwise(data[start : start + ROWS], data[start:]).double()
        empty = torch.zeros(len(rows), count, dtype=torch.float64, device="cpu")
        row_groups, rest = owner[start : start + ROWS], owner[start + ROWS :]
        sums.index_add_(0, row_groups, empty.index_add(1, row_groups, rows[:, : len(rows)]))
        across = empty.index_add(1, rest, rows[:, len(rows) :])
        sums.index_add_(0, row_groups, across).index_add_(1, row_groups, across.T)
    sums.fill_diagonal_(0)
    return sums.numpy()


def _pooled_labels(
    x: NDArray[np.float32], y: NDArray[np.float32], groups_x: Groups, groups_y: Groups
) -> tuple[NDArray[np.intp], int]:
    """Group number of every sound of x then y, and how many groups are x's."""
    parts = []
    for values, groups in ((x, groups_x), (y, groups_y)):
        names = np.arange(len(values)) if groups is None else np.asarray(groups)
        parts.append(np.unique(names, return_inverse=True)[1])
    first = int(parts[0].max()) + 1
    return np.concatenate([parts[0], parts[1] + first]), first


def _u_statistic(sums: Floats, sizes: Floats, in_x: Floats) -> Floats:
    """U for each row of ``in_x`` (labellings, groups) of 0/1 membership."""
    in_y = 1 - in_x
    to_x = in_x @ sums  # (labellings, groups): from x's sounds to each group
    xx, xy = np.sum(to_x * in_x, axis=1), np.sum(to_x * in_y, axis=1)
    yy = sums.sum() - xx - 2 * xy
    n, m = in_x @ sizes, in_y @ sizes
    pairs_x, pairs_y = n**2 - in_x @ sizes**2, m**2 - in_y @ sizes**2
    value: Floats = 2 * xy / (n * m) - xx / pairs_x - yy / pairs_y
    return value


def _jackknife_variance(sums: Floats, sizes: Floats, in_x: NDArray[np.bool_]) -> float:
    """Variance of U by deleting each group of x, then each of y."""
    variance = 0.0
    for side in (in_x, ~in_x):
        groups = int(side.sum())
        if groups < 3:
            continue
        to_own, to_other = sums[side] @ side, sums[side] @ ~side
        own_total, cross_total = to_own.sum(), to_other.sum()
        n, m, squares = sizes[side].sum(), sizes[~side].sum(), (sizes[side] ** 2).sum()
        left = n - sizes[side]
        pairs_left = left**2 - (squares - sizes[side] ** 2)
        # The other side's own term is the same in every replicate and drops out of the variance.
        replicate = 2 * (cross_total - to_other) / (left * m) - (own_total - 2 * to_own) / pairs_left
        variance += (groups - 1) / groups * float(np.sum((replicate - replicate.mean()) ** 2))
    return variance


def _permuted(sums: Floats, sizes: Floats, in_x: NDArray[np.bool_], seed: int) -> Floats:
    """U under permuted labels: as many groups called x as there are, drawn anew each time."""
    random = np.random.default_rng(seed)
    order = np.argsort(random.random((PERMUTATIONS, len(sizes))), axis=1)
    labels = np.zeros((PERMUTATIONS, len(sizes)))
    np.put_along_axis(labels, order[:, : int(in_x.sum())], 1.0, axis=1)
    return _u_statistic(sums, sizes, labels)
