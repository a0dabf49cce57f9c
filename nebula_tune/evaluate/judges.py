"""The judges of a run: how easily each nebula's sounds are told from real ones, and what speaks against a result.

Judges are never an objective: nothing is tuned or chosen by them. Two look at the same sounds: a linear classifier
under ``mss``, and the network judge (:mod:`nebula_tune.evaluate.network_judge`), which sees fine pictures.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np

from nebula_tune.corpus.source import Source
from nebula_tune.embedding import make_embedding
from nebula_tune.embedding.embed import side_by_side
from nebula_tune.evaluate.telling import EYES, JudgedSounds, judge_figure
from nebula_tune.results import SecondOpinion, Verdicts
from nebula_tune.scoring import Request
from nebula_tune.study.fresh import fresh_sounds
from nebula_tune.study.plan import Plan
from nebula_tune.study.target import SplitTarget, embed_corpus
from nebula_tune.synth.indices import Purpose

REAL_ENOUGH = 100  # held-out sounds that suffice as the real ones; with fewer it is the whole target
SOUNDS = 256  # of each side at most


def real_of(target: SplitTarget) -> tuple[JudgedSounds, str]:
    """Real sounds to be told from, and what part of the target they are: the held-out one where it is large enough."""
    held = target.held
    if held.sum() >= REAL_ENOUGH:
        return JudgedSounds(target.embedded.vectors[held], target.groups[held]), "held-out"
    return JudgedSounds(target.embedded.vectors, target.groups), "whole target"


def verdicts(
    requests: Mapping[str, Request], plan: Plan, device: str, source: Source, against: Source | None
) -> Verdicts:
    """How easily each nebula's fresh sounds, and a second real corpus's, are told from real ones.

    Args:
        requests: of each nebula, by its name: the sounds that it is judged by.
        plan: of the study.
        device: torch's name of where embeddings and networks run.
        source: the target.
        against: the second real corpus; None where there is none.
    """
    figures: dict[str, dict[str, float]] = {}
    for judge, eye in EYES.items():
        embedding = make_embedding(**eye, device=device)
        target = SplitTarget.load(source, plan, [embedding])
        real, part = real_of(target)
        fresh = fresh_sounds(requests, plan, eye, device, SOUNDS)
        sides = {name: JudgedSounds(vectors, np.arange(len(vectors))) for name, (vectors, _) in fresh.items()}
        if against is not None:
            second = embed_corpus(against, plan, [embedding], Purpose.VALIDATION)
            sides["against"] = JudgedSounds(second.vectors, np.asarray(second.groups(target.grouped_by)[1]))
        figure = partial(judge_figure, judge, y=real, most=SOUNDS, device=device)
        figures[judge] = dict(zip(sides, side_by_side(figure, sides.values()), strict=True))
    return Verdicts(real=part, real_sounds=len(real.vectors), network=figures["network"], linear=figures["linear"])


def doubts(told_apart: Verdicts | None, other: SecondOpinion | None) -> list[str]:
    """What speaks against a result, a plain line each: a judge or an embedding not tuned on prefers another nebula."""
    lines = []
    for judge, figures in (
        ("linear classifier", told_apart.linear if told_apart else {}),
        ("network", told_apart.network if told_apart else {}),
    ):
        for better, worse in (("start", "tuned"), ("tuned", "constellation")):
            if worse in figures and figures[worse] > figures[better]:
                lines.append(
                    f"the {judge} tells {_called(worse)} from real sounds more easily than {_called(better)} "
                    f"({figures[worse]:.2f}, {figures[better]:.2f})"
                )
    if other is None:
        return lines
    rows = other.heldout
    for better, worse in (("start", "tuned"), ("drum", "tuned"), ("tuned", "constellation")):
        if better in rows and worse in rows and rows[worse].mmd_unbiased > rows[better].mmd_unbiased:
            lines.append(
                f"under {other.embedding}, which nothing was tuned on, {_called(worse)} is farther from "
                f"held-out sounds than {_called(better)}"
            )
    return lines


def _called(name: str) -> str:
    return {
        "start": "the start nebula",
        "drum": "the hand-made drum nebula",
        "tuned": "the tuned nebula",
        "constellation": "the constellation",
    }[name]
