"""The nebulae along a search that has ended, from its trials: its samplers are asked again, and told what is stored."""

from __future__ import annotations

from collections.abc import Mapping

from nebula_tune.errors import StudyError
from nebula_tune.search import Sampler
from nebula_tune.storage.store import Store, TrialKey
from nebula_tune.study.coordinator import Snapshot
from nebula_tune.study.plan import Plan
from nebula_tune.trial import Score


def search_snapshots(ledger: Store, name: str) -> list[Snapshot]:
    """Ends and snapshots of all phases of a study, in the order in which its chooser had them.

    Raises StudyError for a study whose search has not ended.
    """
    plan = Plan.stored(ledger.record(name))
    space = plan.space
    known = {trial.key: trial.score for trial in ledger.trials(name)}
    best = space.start
    snapshots = []
    for numbers in plan.side_by_side():
        samplers = {number: plan.sampler(number, space, best) for number in numbers}
        for number, sampler in samplers.items():
            if not _replay(sampler, number, known):
                raise StudyError(f"study {name}: its search has not ended; run it on, then there are candidates")
            phase = plan.settings.search[number].sampler
            snapshots += [Snapshot(number + 1, phase, *snapshot) for snapshot in sampler.snapshots()]
            best = sampler.result()
    return snapshots


def _replay(sampler: Sampler, phase: int, known: Mapping[TrialKey, Score | None]) -> bool:
    """Tell a phase's sampler all of its trials; False where some are not known."""
    generation = 0
    while candidates := sampler.ask():
        keys = [(phase, generation, index) for index in range(len(candidates))]
        if any(key not in known for key in keys):
            return False
        sampler.tell([known[key] for key in keys])
        generation += 1
    return True
