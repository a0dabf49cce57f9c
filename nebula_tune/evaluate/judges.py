"""The judges of a run: how easily each nebula's sounds are told from real ones, and what speaks against a result.

Judges are never an objective: nothing is tuned or chosen by them. Two look at the same sounds: a linear classifier
under ``mss``, and the network judge (:mod:`nebula_tune.evaluate.network`), which sees fine pictures.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nebula_tune.embedding import make_embedding
from nebula_tune.embedding.embedded import Source, one_thread
from nebula_tune.evaluate.network import told_apart_by_network
from nebula_tune.evaluate.telling import EYES
from nebula_tune.evaluate.told_apart import told_apart
from nebula_tune.scoring import Request
from nebula_tune.study.fresh import fresh_sounds
from nebula_tune.study.indices import Purpose
from nebula_tune.study.plan import Plan
from nebula_tune.study.target import SplitTarget, embed_corpus

REAL_ENOUGH = 100  # held-out sounds that suffice as the real ones; with fewer it is the whole target
SOUNDS = 256  # of each side at most

Side = tuple[NDArray[np.float32], Sequence[str] | None]  # vectors (sounds, D), and each sound's group


@dataclass(frozen=True)
class Real:
    """Real sounds to be told from: vectors (sounds, D), groups, and what part of the target they are."""

    vectors: NDArray[np.float32]
    groups: Sequence[str]
    part: str

    @classmethod
    def of(cls, target: SplitTarget) -> Real:
        """The held-out part where it is large enough, else the whole target."""
        if target.held.sum() >= REAL_ENOUGH:
            return cls(*target.held_out, "held-out")
        return cls(target.embedded.vectors, target.groups.tolist(), "whole target")


def verdicts(
    requests: Mapping[str, Request], plan: Plan, device: str, source: Source, against: Source | None
) -> dict[str, Any]:
    """How easily each nebula's fresh sounds, and a second real corpus's, are told from real ones, as JSON.

    ``linear`` has balanced accuracies and ``network`` AUCs, by name; 0.5 = cannot tell.
    """
    found: dict[str, Any] = {}
    for judge, eye in EYES.items():
        embedding = make_embedding(**eye, device=device)
        target = SplitTarget.load(source, plan, [embedding])
        real = Real.of(target)
        sides: dict[str, Side] = {
            name: (vectors, None) for name, (vectors, _) in fresh_sounds(requests, plan, eye, device, SOUNDS).items()
        }
        if against is not None:
            second = embed_corpus(against, plan, [embedding], Purpose.VALIDATION)
            sides["against"] = second.vectors, second.groups(target.grouped_by)[1]
        found |= {"real": real.part, "real_sounds": len(real.vectors)}
        found["network" if judge == "network" else "linear"] = _told(judge, sides, real, device)
    return found


def _told(judge: str, sides: Mapping[str, Side], real: Real, device: str) -> dict[str, float]:
    """One judge's figure for each side; sides are judged beside each other, each by one thread."""

    def figure(side: Side) -> float:
        vectors, groups = side
        if judge == "network":
            return told_apart_by_network(vectors, real.vectors, real.groups, groups, most=SOUNDS, device=device)
        return told_apart(vectors, real.vectors, real.groups, groups)

    with one_thread(), ThreadPoolExecutor(os.cpu_count()) as pool:
        return dict(zip(sides, pool.map(figure, sides.values()), strict=True))


def doubts(report: Mapping[str, Any]) -> list[str]:
    """What speaks against a result, a plain line each: a judge, or an embedding not tuned on, prefers another nebula.

    Args:
        report: the parts of a run's report that are there: ``told_apart``, ``other``, ``heldout``.
    """
    lines = []
    told = report.get("told_apart") or {}
    for judge, named in (("linear", "linear classifier"), ("network", "network")):
        for better, worse in (("start", "tuned"), ("tuned", "constellation")):
            figures = told.get(judge, {})
            if worse in figures and figures[worse] > figures[better]:
                lines.append(
                    f"the {named} tells {_called(worse)} from real sounds more easily than {_called(better)} "
                    f"({figures[worse]:.2f}, {figures[better]:.2f})"
                )
    other = report.get("other") or {}
    rows = other.get("heldout", {})
    for better, worse in (("start", "tuned"), ("drum", "tuned"), ("tuned", "constellation")):
        if better in rows and worse in rows and rows[worse]["mmd_unbiased"] > rows[better]["mmd_unbiased"]:
            lines.append(
                f"under {other['embedding']}, which nothing was tuned on, {_called(worse)} is farther from held-out "
                f"sounds than {_called(better)}"
            )
    return lines


def _called(name: str) -> str:
    return {
        "start": "the start nebula",
        "drum": "the hand-made drum nebula",
        "tuned": "the tuned nebula",
        "constellation": "the constellation",
    }[name]
