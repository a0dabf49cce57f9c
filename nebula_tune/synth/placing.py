"""From a sound's own random numbers to its place in a constellation.

The sound's raw draw gives the deviation from its atom, so that spread 1 is the base nebula draw for draw; the number
that follows in its generator picks the atom. Coordinates are worked out in float64.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri
from torch import Tensor

from nebula_tune.arrays import Raw
from nebula_tune.constellation import Constellation
from nebula_tune.synth.parameters import SMALLEST_RADIUS

LARGEST = np.float32(1 - 2.0**-24)  # raw draw

Coordinates = NDArray[np.float64]


def to_gaussian(raw: Raw) -> Coordinates:
    """Gaussian coordinates of raw draws, in any shape; 0 is taken as 2^-25."""
    coordinates: Coordinates = ndtri(np.maximum(raw.astype(np.float64), SMALLEST_RADIUS))
    return coordinates


def to_raw(coordinates: Coordinates) -> Raw:
    """Raw draws (float32, below 1) of Gaussian coordinates, in any shape."""
    raw: Raw = np.minimum(ndtr(coordinates).astype(np.float32), LARGEST)
    return raw


def place(constellation: Constellation, draws: Tensor, choice: Tensor) -> Tensor:
    """Raw draws (sounds, parameters) float32 in a constellation, on the device of the numbers they are made of.

    ``draws`` (sounds, parameters) are the sounds' own, ``choice`` (sounds,) the numbers that pick their atoms.
    On a CPU a sound's bits depend on nothing but its own numbers.
    """
    if draws.device.type == "cpu":
        atoms = pick(constellation, choice.numpy())
        return torch.from_numpy(jitter(constellation, atoms, draws.numpy()))
    return place_on_device(constellation, draws, choice)


def place_on_device(constellation: Constellation, draws: Tensor, choice: Tensor) -> Tensor:
    """:func:`place` by torch: the same atoms, the same draws to the last bit or two."""
    ends, pull, push = (
        torch.from_numpy(np.array(values)).to(draws.device)
        for values in (constellation.cumulative, constellation.pull, constellation.push)
    )
    atoms = torch.searchsorted(ends, choice.double(), right=True).clamp(max=len(ends) - 1)
    deviation = torch.special.ndtri(draws.double().clamp(min=SMALLEST_RADIUS))
    raw: Tensor = torch.special.ndtr(pull[atoms] + push * deviation)
    return raw.float().clamp(max=float(LARGEST))


def pick(constellation: Constellation, choice: NDArray[np.floating]) -> NDArray[np.intp]:
    """Atoms (sounds,) that numbers in [0, 1) stand for."""
    atoms = np.searchsorted(constellation.cumulative, choice.astype(np.float64), side="right")
    return np.minimum(atoms, len(constellation.atoms) - 1)


def jitter(constellation: Constellation, atoms: NDArray[np.intp], draws: Raw) -> Raw:
    """Raw draws (sounds, parameters) around given atoms (sounds,), away from them by the sounds' own draws."""
    return to_raw(constellation.pull[atoms] + constellation.push * to_gaussian(draws))
