"""What an embedding that nothing was fitted to says: the score card again.

One encoder is never enough evidence: a nebula tuned with one is to be accepted with another.
"""

from __future__ import annotations

from collections.abc import Mapping

from nebula_tune.corpus.source import Source
from nebula_tune.distance import L1
from nebula_tune.embedding import make_embedding
from nebula_tune.evaluate.scorecard import score_card
from nebula_tune.results import SecondOpinion
from nebula_tune.scoring import Request
from nebula_tune.study.fresh import fresh_sounds
from nebula_tune.study.plan import Plan
from nebula_tune.study.target import SplitTarget, embed_corpus
from nebula_tune.synth.indices import Purpose


def second_embedding(
    requests: Mapping[str, Request],
    plan: Plan,
    device: str,
    source: Source,
    against: Source | None,
) -> SecondOpinion | None:
    """Score card (l1) under the plan's other embedding; all is rendered in this process.

    None where the study has none, or is tuned or chosen by that one.

    Args:
        requests: of each nebula, by its name: the sounds that it is judged by.
        plan: of the study.
        device: torch's name of where synth and embedding run.
        source: the target.
        against: a second real corpus, for a row of its own; None where there is none.
    """
    other = plan.settings.second_opinion
    if other is None:
        return None
    embedding = make_embedding(other.name, **other.options, device=device)
    target = SplitTarget.load(source, plan, [embedding])
    fresh = fresh_sounds(requests, plan, {"name": other.name, **other.options}, device, plan.settings.other_sounds)
    second = embed_corpus(against, plan, [embedding], Purpose.VALIDATION) if against else None
    others = {"against": second.vectors} if second else {}
    heldout = score_card(fresh, target.held_in, target.held_out, L1(), others)
    return SecondOpinion(embedding=other.name, heldout=heldout)
