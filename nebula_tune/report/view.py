"""A study as its ledger has it, finished or not: what a report shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nebula_tune.constellation import Constellation
from nebula_tune.corpus.source import Source
from nebula_tune.errors import NebulaError
from nebula_tune.nebula import Nebula
from nebula_tune.storage.store import Store, Stored
from nebula_tune.study.plan import Plan, stored_json
from nebula_tune.study.status import exported_nebula, study_status


@dataclass(frozen=True)
class View:
    """One study. ``result`` is its report (INTERFACE: `run --json`) once it is finished, else empty.

    ``nebulae`` are start, drum (of the voice), tuned (of an unfinished study the best so far, if any) and, if one was
    fitted, the constellation.
    """

    name: str
    status: Mapping[str, Any]
    plan: Plan
    trials: tuple[Stored, ...]
    result: Mapping[str, Any]
    origin: Mapping[str, Any]
    target: Mapping[str, Any] | None
    nebulae: Mapping[str, Nebula | Constellation]

    @classmethod
    def of(cls, ledger: Store, name: str) -> View:
        """Read a study. Raises StudyError where there is none of that name."""
        row = ledger.record(name)
        plan = Plan.stored(row)
        trials = tuple(ledger.trials(name))
        stored_result = ledger.result(name)
        result = stored_result[0] if stored_result else {}
        nebulae: dict[str, Nebula | Constellation] = {"start": plan.start, **plan.hand_made}
        if (tuned := _tuned(ledger, name, trials, finished=bool(stored_result))) is not None:
            nebulae["tuned"] = tuned
        if (constellation := _kept_constellation(ledger, name) or _constellation(result)) is not None:
            nebulae["constellation"] = constellation
        origin = stored_json(row, "origin")
        status = study_status(ledger, name)
        return cls(name, status, plan, trials, result, origin, ledger.target(name), nebulae)

    @property
    def tuned(self) -> Nebula | None:
        """The tuned nebula, if there is one yet."""
        tuned = self.nebulae.get("tuned")
        return tuned if isinstance(tuned, Nebula) else None

    @property
    def source(self) -> Source | None:
        """The target, where it is still there."""
        if self.target is None:
            return None
        try:
            source = Source.parse(self.target["source"])
        except NebulaError:
            return None
        return source if source.exists else None


def _tuned(ledger: Store, name: str, trials: tuple[Stored, ...], finished: bool) -> Nebula | None:
    if finished:
        return exported_nebula(ledger, name, None)
    decided = [trial for trial in trials if trial.score is not None and not trial.relaxed]
    if not decided:
        return None
    best = min(decided, key=lambda trial: trial.score.value if trial.score else 0.0)
    return exported_nebula(ledger, name, best.number)


def _kept_constellation(ledger: Store, name: str) -> Constellation | None:
    kept = ledger.constellation(name)
    return Constellation.from_json(kept) if kept else None


def _constellation(result: Mapping[str, Any]) -> Constellation | None:
    """Of studies of before, which kept it in its file only."""
    if "constellation" not in (result.get("heldout") or {}):
        return None
    nebula = Path(result["nebula"])
    beside = nebula.with_name(f"{nebula.stem}.constellation.json")
    try:
        return Constellation.load(result.get("constellation", {}).get("file", beside))
    except NebulaError:
        return None
