"""Whether fresh sounds are new: how near each is to the sounds it was made from, beside the same among real sounds."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from nebula_tune.arrays import Vectors
from nebula_tune.distance import Distance
from nebula_tune.results import Novelty

COPY_PERCENT = 5  # of held-out sounds are nearer to a fitted one than what counts as a copy


def novelty(fresh: Vectors, atoms: Vectors, held_in: Vectors, held_out: Vectors, distance: Distance) -> Novelty:
    """Medians of distances to the nearest sound, and the share of copies.

    ``to_atoms``: fresh sounds to the atoms' own sounds. ``to_target``: fresh sounds to the target sounds that were
    fitted. ``among_real``: held-out target sounds to the fitted ones. ``among_atoms``: atoms' sounds to each other.
    ``copies``: share of fresh sounds nearer to a fitted one than all but 5 % of the held-out sounds are.

    Args:
        fresh: vectors of fresh sounds, (sounds, D).
        atoms: vectors of the atoms' own sounds, (atoms, D).
        held_in: vectors of the target sounds that were fitted, (sounds, D).
        held_out: vectors of those that were not, (sounds, D).
        distance: of two vectors.
    """
    to_target, among_real = nearest(fresh, held_in, distance), nearest(held_out, held_in, distance)
    threshold = np.percentile(among_real, COPY_PERCENT)
    return Novelty(
        to_atoms=_median(nearest(fresh, atoms, distance)),
        among_atoms=_median(nearest(atoms, None, distance)) if len(atoms) > 1 else None,
        to_target=_median(to_target),
        among_real=_median(among_real),
        copies=float((to_target < threshold).mean()),
    )


def nearest(x: Vectors, y: Vectors | None, distance: Distance) -> NDArray[np.float64]:
    """Distance of each x to the nearest y (sounds,), or to the nearest other x."""
    first = torch.from_numpy(x)
    if y is None:
        nearest_other = distance.pairwise(first, first).fill_diagonal_(float("inf")).amin(dim=1)
    else:
        nearest_other = distance.nearest(first, torch.from_numpy(y))
    distances: NDArray[np.float64] = nearest_other.double().numpy()
    return distances


def _median(values: NDArray[np.float64]) -> float:
    return float(np.median(values))
