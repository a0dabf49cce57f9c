"""The score card: nebulae judged by fresh sounds against sounds of the target that no trial ever saw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nebula_tune.distance import L1, l1_mmd
from nebula_tune.distance.inference import Z95
from nebula_tune.scoring import Request
from nebula_tune.study.executor import Executor
from nebula_tune.study.indices import Purpose, first_index
from nebula_tune.synth import Synth, synth1b1
from nebula_tune.trial import Point, Score

SOUNDS = 1024
PITCH = "keyboard.midi_f0"

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


def spread_card(
    executor: Executor, nebulae: Mapping[str, Point], seed: int, synth: type[Synth]
) -> dict[str, dict[str, Any]]:
    """For diversity (section 6.2): each nebula's own spread E d(x, x') on 1024 fresh sounds, with its 95 % interval.

    Beside it what spread alone hides: the shares of silent sounds and of sounds of extreme pitch. The executor's
    scorer has no target.
    """
    first = first_index(Purpose.SCORE_CARD, seed)
    rows = {}
    for name, point in nebulae.items():
        request = Request(point, first, SOUNDS)
        value, interval = _spread(executor.vectors(request))
        executor.submit(name, request)
        score = executor.wait()[1]
        silent = score.silent if isinstance(score, Score) else None
        rows[name] = {"value": value, "ci95": interval, "silent": silent} | _pitch_shares(synth, point, first)
    return rows


def _spread(vectors: Vectors) -> tuple[float, list[float]]:
    """The mean distance of two sounds, and its 95 % interval by the jackknife."""
    n = len(vectors)
    sums = L1().within(torch.from_numpy(vectors)).numpy()
    value = float(sums.sum() / (n * (n - 1)))
    without = (sums.sum() - 2 * sums) / ((n - 1) * (n - 2))
    deviation = float(np.sqrt((n - 1) / n * np.sum((without - without.mean()) ** 2)))
    return value, [value - Z95 * deviation, value + Z95 * deviation]


def _pitch_shares(synth: type[Synth], point: Point, first: int) -> dict[str, float]:
    """Shares of sounds below and above the pitches a piano has, for a synth with a keyboard."""
    if PITCH not in synth.panel.index:
        return {}
    k = synth.panel.index[PITCH]
    raw = torch.from_numpy(synth1b1.draw(first, SOUNDS, len(synth.panel))[:, synth.panel.draw_order])
    curves, symmetric = torch.from_numpy(point.curves), torch.from_numpy(point.symmetric)
    pitch = synth.panel.to_human(raw, curves, symmetric)[:, k]
    return {
        "under_midi_24": float((pitch < 24).double().mean()),
        "over_midi_108": float((pitch > 108).double().mean()),
    }


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
