"""The paper's trials of eq. 2 (section 5), as quadratic forms on matrices of distances.

A trial takes n of each corpus's sounds; with s and t the 0/1 vectors of those taken, eq. 2 is
(2 s'D_xy t - s'D_xx s - t'D_yy t) / n². So all trials of a pair are three matrix products.
"""

from __future__ import annotations

from math import comb

import numpy as np
from numpy.typing import NDArray

from nebula_tune.arrays import Floats, Matrix
from nebula_tune.errors import SettingsError


def between(xx: Matrix, xy: Matrix, yy: Matrix, *, n: int, trials: int, rng: np.random.Generator) -> Floats:
    """Eq. 2 of random choices of n sounds of x and n of y, (trials,).

    Args:
        xx: distances of sounds of x to each other, (X, X).
        xy: distances of sounds of x to those of y, (X, Y).
        yy: distances of sounds of y to each other, (Y, Y).
        n: sounds of each that a trial takes.
        trials: how many.
        rng: what chooses the sounds.
    """
    s, t = (_choices(len(matrix), n, trials, rng) for matrix in (xx, yy))
    return _eq2(s, t, xx.astype(np.float64), xy.astype(np.float64), yy.astype(np.float64), n=n)


def within(xx: Matrix, *, n: int, trials: int, rng: np.random.Generator) -> Floats:
    """Eq. 2 of different halvings of one corpus, (trials,).

    Args:
        xx: distances of the sounds to each other, (sounds, sounds).
        n: sounds of a half.
        trials: how many.
        rng: what chooses the halves.

    Raises:
        SettingsError: for more trials than there are halvings to draw from.
    """
    sounds = len(xx)
    if trials > comb(sounds, n) // 4:
        raise SettingsError(f"--trials {trials}: a corpus of {sounds} sounds has not so many different halves")
    halves: dict[bytes, tuple[NDArray[np.intp], NDArray[np.intp]]] = {}
    while len(halves) < trials:
        order = rng.permutation(sounds)[: 2 * n]
        first, second = sorted((np.sort(order[:n]), np.sort(order[n:])), key=lambda half: half[0])
        halves.setdefault(first.tobytes() + second.tobytes(), (first, second))
    s, t = (np.zeros((trials, sounds)) for _ in range(2))
    for k, (first, second) in enumerate(halves.values()):
        s[k, first], t[k, second] = 1, 1
    matrix = xx.astype(np.float64)
    return _eq2(s, t, matrix, matrix, matrix, n=n)


def _choices(sounds: int, n: int, trials: int, rng: np.random.Generator) -> Floats:
    """0/1 rows (trials, sounds), n ones each."""
    order = np.argsort(rng.random((trials, sounds)), axis=1)
    rows = np.zeros((trials, sounds))
    np.put_along_axis(rows, order[:, :n], 1.0, axis=1)
    return rows


def _eq2(s: Floats, t: Floats, xx: Floats, xy: Floats, yy: Floats, *, n: int) -> Floats:
    value: Floats = ((s @ (2 * xy)) * t).sum(axis=1) - ((s @ xx) * s).sum(axis=1) - ((t @ yy) * t).sum(axis=1)
    return value / n**2
