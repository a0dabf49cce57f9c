"""Which of a search's ends and snapshots is its result: the one that an embedding which no trial heard finds nearest.

Several searches of one target end in different basins, which the tuned distance cannot tell apart; and along one of
them it goes on falling when others rise again. Fresh sounds of each candidate, the same draws for all, are compared
with the held-in part of the target; held-out sounds are not touched.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nebula_tune.corpus.source import Source
from nebula_tune.distance import L1, mmd
from nebula_tune.distance.mmd import mean_within
from nebula_tune.embedding import make_embedding
from nebula_tune.embedding.embed import side_by_side
from nebula_tune.errors import StudyError
from nebula_tune.results import Chosen, ChosenCandidate
from nebula_tune.scoring import Request
from nebula_tune.study.coordinator import Snapshot
from nebula_tune.study.fresh import fresh_sounds
from nebula_tune.study.plan import Plan
from nebula_tune.study.target import SplitTarget
from nebula_tune.synth.indices import Purpose, first_index
from nebula_tune.trial import Point


@dataclass
class Chooser:
    """Chooses by a plan's choosing embedding; ``told`` says afterwards what it heard."""

    plan: Plan
    source: Source
    device: str
    note: Callable[[str], None]
    told: Chosen | None = None

    def __call__(self, snapshots: Sequence[Snapshot]) -> Point:
        """The nearest of the snapshots, the first of equals. Raises CorpusError for a target it cannot hear."""
        settings, named = self.plan.settings.choose, self.plan.settings.chooser
        if settings is None or named is None:
            raise StudyError("this study has no embedding that chooses")
        options = {"name": named.name, **named.options}
        self.note(f"choosing among {len(snapshots)} nebulae of the search by {named.name}, which no trial heard")
        target = SplitTarget.load(self.source, self.plan, [make_embedding(**options, device=self.device)])
        vectors, groups = target.held_in
        first = first_index(Purpose.VALIDATION, self.plan.seed)
        requests = {k: Request(snapshot.point, first, settings.sounds) for k, snapshot in enumerate(snapshots)}
        fresh = fresh_sounds(requests, self.plan, options, self.device, settings.sounds)
        scale = mean_within(vectors, groups) or 1.0

        def distance(k: int) -> float:
            return mmd(fresh[k][0], vectors, L1(), None, groups).mmd_unbiased / scale

        distances = side_by_side(distance, requests)
        index = distances.index(min(distances))
        self.told = Chosen(
            by=named.name,
            sounds=settings.sounds,
            chosen=index,
            candidates=[
                ChosenCandidate(
                    phase=snapshot.phase, sampler=snapshot.sampler, trials=snapshot.trials, distance=distance
                )
                for snapshot, distance in zip(snapshots, distances, strict=True)
            ],
        )
        return snapshots[index].point
