"""What an embedding that nothing was fitted to says: the score card again, and whether a classifier tells sounds apart.

One encoder is never enough evidence: a nebula tuned with one is to be accepted with another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nebula_tune.distance import L1
from nebula_tune.embedding import make_embedding
from nebula_tune.embedding.embedded import Source
from nebula_tune.evaluate.scorecard import score_card
from nebula_tune.evaluate.told_apart import told_apart
from nebula_tune.scoring import Request, ScorerSpec
from nebula_tune.study.indices import Purpose
from nebula_tune.study.inline import InlineExecutor
from nebula_tune.study.plan import Plan
from nebula_tune.study.target import SplitTarget, embed_corpus

SOUNDS = 256  # fresh, of each nebula: other embeddings may be slow
REAL_ENOUGH = 100  # held-out sounds that suffice as the real ones; with fewer it is the whole target

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Real:
    """Real sounds to be told from: vectors (sounds, D), groups, and what part of the target they are."""

    vectors: Vectors
    groups: Sequence[str]
    part: str

    @classmethod
    def of(cls, target: SplitTarget) -> Real:
        """The held-out part where it is large enough, else the whole target."""
        if target.held.sum() >= REAL_ENOUGH:
            return cls(*target.held_out, "held-out")
        return cls(target.embedded.vectors, target.groups.tolist(), "whole target")


def other_ear(
    requests: Mapping[str, Request],
    plan: Plan,
    device: str,
    source: Source,
    against: Source | None,
) -> dict[str, Any] | None:
    """Score card (l1) and accuracies under the plan's other embedding, as JSON; all is rendered in this process.

    None where the study has none, or is tuned on that one.
    """
    other = plan.settings.other_embedding
    if other is None or other.name in {heard.name for heard in plan.settings.heard}:
        return None
    embedding = make_embedding(other.name, **other.options, device=device)
    target = SplitTarget.load(source, plan, [embedding])
    named = {"name": other.name, **other.options}
    with InlineExecutor(ScorerSpec(plan.synth_name, [named], plan.settings.prepare, None, device)) as executor:
        fresh = {name: executor.fresh(_fewer(request)) for name, request in requests.items()}
    second = embed_corpus(against, plan, [embedding], Purpose.VALIDATION) if against else None
    others = {"against": second.vectors} if second else {}
    return {
        "embedding": other.name,
        "heldout": score_card(fresh, target.held_in, target.held_out, L1(), others),
        "told_apart": accuracies(
            {name: vectors for name, (vectors, _) in fresh.items()},
            Real.of(target),
            (second.vectors, second.groups(target.grouped_by)[1]) if second else None,
        ),
    }


def accuracies(
    fresh: Mapping[str, Vectors], real: Real, against: tuple[Vectors, Sequence[str]] | None
) -> dict[str, Any]:
    """How well each nebula's fresh sounds, and other real ones (``against``), are told from real ones; 0.5 = not."""
    found: dict[str, Any] = {"real": real.part, "real_sounds": len(real.vectors)}
    for name, vectors in fresh.items():
        found[name] = told_apart(vectors[:SOUNDS], real.vectors, real.groups)
    if against is not None:
        found["against"] = told_apart(against[0], real.vectors, real.groups, against[1])
    return found


def _fewer(request: Request) -> Request:
    raw = None if request.raw is None else request.raw[:SOUNDS]
    return replace(request, sounds=min(SOUNDS, request.sounds), raw=raw)
