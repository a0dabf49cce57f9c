"""The score card: nebulae judged by fresh sounds against sounds of the target that no trial ever saw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nebula_tune.arrays import Vectors
from nebula_tune.distance import Distance, Joint, mmd
from nebula_tune.distance.inference import Z95
from nebula_tune.execution.executor import Fresh
from nebula_tune.penalties import SHARES
from nebula_tune.results import Row, Spread
from nebula_tune.scoring import Request
from nebula_tune.synth.indices import Purpose, first_index
from nebula_tune.trial import Point

SOUNDS = 1024

Grouped = tuple[Vectors, Sequence[str] | None]  # vectors (sounds, D), and each sound's group


def requests_for(nebulae: Mapping[str, Point], seed: int) -> dict[str, Request]:
    """1024 fresh sounds of each nebula, the same indices for all."""
    first = first_index(Purpose.SCORE_CARD, seed)
    return {name: Request(point, first, SOUNDS) for name, point in nebulae.items()}


def score_card(
    fresh: Mapping[str, Fresh],
    held_in: Grouped,
    held_out: Grouped,
    distance: Distance,
    others: Mapping[str, Vectors] | None = None,
) -> dict[str, Row]:
    """A row for each nebula's fresh sounds, for other corpora, and the floor: their distance to the held-out part.

    Under several embeddings a row has the same of each (``parts``); for a nebula also what guards count (``shares``).
    The floor is the target's own held-in part in a nebula's place.

    Args:
        fresh: vectors (sounds, D) and penalties (sounds, shares) of each nebula, by its name.
        held_in: vectors of the target's part that was fitted, and each sound's group.
        held_out: likewise of the part that no trial saw.
        distance: of two vectors.
        others: vectors (sounds, D) of other corpora, by name.
    """
    rows = {
        name: _row((vectors, None), held_out, distance, _shares(penalties))
        for name, (vectors, penalties) in fresh.items()
    }
    for name, vectors in (others or {}).items():
        rows[name] = _row((vectors, None), held_out, distance)
    rows["floor"] = _row(held_in, held_out, distance)
    return rows


def spread_card(fresh: Mapping[str, Fresh], distance: Distance) -> dict[str, Spread]:
    """For diversity (section 6.2): each nebula's own spread E d(x, x') on its fresh sounds, with its 95 % interval.

    Beside it what spread alone hides: the shares that guards count, of silent sounds and of extreme pitch among them.
    """
    rows = {}
    for name, (vectors, penalties) in fresh.items():
        value, interval = _spread(vectors, distance)
        rows[name] = Spread(value=value, ci95=interval, **_shares(penalties))
    return rows


def _shares(penalties: NDArray[np.float64]) -> dict[str, float]:
    return dict(zip(SHARES, penalties.mean(axis=0).tolist(), strict=True))


def _spread(vectors: Vectors, distance: Distance) -> tuple[float, tuple[float, float]]:
    """The mean distance of two sounds, and its 95 % interval by the jackknife."""
    n = len(vectors)
    sums = distance.within(torch.from_numpy(vectors)).numpy()
    value = float(sums.sum() / (n * (n - 1)))
    without = (sums.sum() - 2 * sums) / ((n - 1) * (n - 2))
    deviation = float(np.sqrt((n - 1) / n * np.sum((without - without.mean()) ** 2)))
    return value, (value - Z95 * deviation, value + Z95 * deviation)


def gap_closed(rows: Mapping[str, Row]) -> float | None:
    """(start - tuned) / (start - floor) on the unbiased figures; None where start and floor are one."""
    start, tuned, floor = (rows[name].mmd_unbiased for name in ("start", "tuned", "floor"))
    return (start - tuned) / (start - floor) if start != floor else None


def _row(sounds: Grouped, held_out: Grouped, distance: Distance, shares: dict[str, float] | None = None) -> Row:
    result = mmd(sounds[0], held_out[0], distance, sounds[1], held_out[1])
    details: dict[str, Any] = {}
    if isinstance(distance, Joint):
        both = zip(
            *(distance.stretches(torch.from_numpy(vectors)) for vectors in (sounds[0], held_out[0])), strict=True
        )
        details["parts"] = {
            part.name: _row((x.numpy(), sounds[1]), (y.numpy(), held_out[1]), part.distance)
            for (part, x), (_, y) in both
        }
    if shares is not None:
        details["shares"] = shares
    return Row(
        mmd=result.mmd,
        mmd_unbiased=result.mmd_unbiased,
        ci95=result.ci95,
        p_value=result.p_value,
        n=result.n,
        m=result.m,
        **details,
    )
