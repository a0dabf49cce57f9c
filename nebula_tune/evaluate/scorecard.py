"""The score card: nebulae judged by fresh sounds against sounds of the target that no trial ever saw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nebula_tune.distance.energy import l1_mmd
from nebula_tune.scoring import Request
from nebula_tune.study.executor import Executor
from nebula_tune.study.indices import Purpose, first_index
from nebula_tune.trial import Point

SOUNDS = 1024

Vectors = NDArray[np.float32]


def score_card(
    executor: Executor,
    nebulae: Mapping[str, Point],
    held_in: tuple[Vectors, Sequence[str]],
    held_out: tuple[Vectors, Sequence[str]],
    seed: int,
    others: Mapping[str, Vectors] | None = None,
) -> dict[str, dict[str, Any]]:
    """A row for each nebula (1024 fresh sounds, the same indices for all), for other corpora, and the floor.

    ``held_in`` and ``held_out`` are vectors (sounds, D) and each sound's group. A row has ``mmd`` (eq. 2),
    ``mmd_unbiased``, ``ci95``, ``n`` and ``m``. The floor is the target's own held-in part in a nebula's place.
    """
    first = first_index(Purpose.SCORE_CARD, seed)
    rows = {}
    for name, point in nebulae.items():
        rows[name] = _row(executor.vectors(Request(point, first, SOUNDS)), held_out)
    for name, vectors in (others or {}).items():
        rows[name] = _row(vectors, held_out)
    rows["floor"] = _row(held_in[0], held_out, held_in[1])
    return rows


def gap_closed(rows: Mapping[str, Mapping[str, Any]]) -> float | None:
    """(start - tuned) / (start - floor) on the unbiased figures; None where start and floor are one."""
    start, tuned, floor = (rows[name]["mmd_unbiased"] for name in ("start", "tuned", "floor"))
    return (start - tuned) / (start - floor) if start != floor else None


def _row(
    vectors: Vectors, held_out: tuple[Vectors, Sequence[str]], groups: Sequence[str] | None = None
) -> dict[str, Any]:
    result = l1_mmd(vectors, held_out[0], groups, held_out[1])
    return {
        "mmd": result.mmd,
        "mmd_unbiased": result.mmd_unbiased,
        "ci95": list(result.ci95),
        "p_value": result.p_value,
        "n": result.n,
        "m": result.m,
    }
