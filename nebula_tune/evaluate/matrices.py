"""Matrices of distances between many sounds, the one thing that comparing and ranking are read from."""

from __future__ import annotations

import numpy as np
import torch

from nebula_tune.arrays import Matrix
from nebula_tune.distance import Distance

ROWS = 256  # worked out at a time


def across(x: Matrix, y: Matrix, distance: Distance) -> Matrix:
    """Distances (n, m) of sounds x (n, D) to sounds y (m, D)."""
    first, second = torch.from_numpy(np.ascontiguousarray(x)), torch.from_numpy(np.ascontiguousarray(y))
    parts = [distance.pairwise(first[start : start + ROWS], second) for start in range(0, len(first), ROWS)]
    matrix: Matrix = torch.cat(parts).numpy()
    return matrix


def among(x: Matrix, distance: Distance) -> Matrix:
    """Distances (n, n) of sounds x (n, D) to each other, exactly symmetric; half the work of :func:`across`."""
    data = torch.from_numpy(np.ascontiguousarray(x))
    matrix = np.zeros((len(x), len(x)), dtype=np.float32)
    for start in range(0, len(x), ROWS):
        matrix[start : start + ROWS, start:] = distance.pairwise(data[start : start + ROWS], data[start:]).numpy()
    upper: Matrix = np.triu(matrix, 1)
    return upper + upper.T
