"""Distances by direct double sums in float64: what everything fast is compared with."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

Definition = Callable[[np.ndarray, np.ndarray], np.ndarray]


def distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """All l1 distances (n, m)."""
    matrix: np.ndarray = np.abs(x[:, None].astype(np.float64) - y[None].astype(np.float64)).sum(axis=2)
    return matrix


def mmd(x: np.ndarray, y: np.ndarray, matrix: Definition = distances) -> float:
    """Eq. 2 of the paper."""
    return float(2 * matrix(x, y).mean() - matrix(x, x).mean() - matrix(y, y).mean())


def between(
    x: np.ndarray, groups: Sequence[object] | np.ndarray | None = None, matrix: Definition = distances
) -> float:
    """Mean distance over pairs of different groups."""
    names = np.arange(len(x)) if groups is None else np.asarray(groups)
    return float(matrix(x, x)[names[:, None] != names[None]].mean())


def unbiased(
    x: np.ndarray,
    y: np.ndarray,
    groups_x: Sequence[object] | np.ndarray | None = None,
    groups_y: Sequence[object] | np.ndarray | None = None,
    matrix: Definition = distances,
) -> float:
    """The U-statistic.

    Args:
        x: sounds (n, D) of one corpus.
        y: sounds (m, D) of the other.
        groups_x: of the one; None: each sound is its own.
        groups_y: of the other.
        matrix: the distance's definition.
    """
    return float(2 * matrix(x, y).mean() - between(x, groups_x, matrix) - between(y, groups_y, matrix))
