"""A study as its ledger has it, finished or not: what a report shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nebula_tune.constellation import Constellation
from nebula_tune.corpus.source import Source
from nebula_tune.errors import SettingsError
from nebula_tune.nebula import Nebula
from nebula_tune.storage.store import Store, Stored
from nebula_tune.study.plan import Plan, stored_json
from nebula_tune.study.status import exported_nebula, study_status


@dataclass(frozen=True)
class Ours:
    """What this user says of a study. What its rows say may be another's, and decides no file that is read.

    Attributes:
        target: its target; None: none of the target's sounds are shown.
        plan: as its run was told; None: the stored one, of which no file that it names is read.
        nebula: the file of its nebula; None: where a run puts it by itself.
    """

    target: Source | None = None
    plan: Plan | None = None
    nebula: Path | None = None


@dataclass(frozen=True)
class View:
    """One study. ``result`` is its report (INTERFACE: `run --json`) once it is finished, else empty.

    ``nebulae`` are start, drum (of the voice), tuned (of an unfinished study the best so far, if any) and, if one was
    fitted, the constellation. ``source`` is the target where it is at hand, ``own_files`` whether files that the plan
    names (weights) are this user's to read.
    """

    name: str
    status: Mapping[str, Any]
    plan: Plan
    trials: tuple[Stored, ...]
    result: Mapping[str, Any]
    origin: Mapping[str, Any]
    target: Mapping[str, Any] | None
    nebulae: Mapping[str, Nebula | Constellation]
    source: Source | None
    own_files: bool

    @classmethod
    def of(cls, ledger: Store, name: str, ours: Ours = Ours()) -> View:
        """Read a study. Raises StudyError where there is none of that name.

        Args:
            ledger: the database.
            name: the study's.
            ours: what is known of it from elsewhere than the database.
        """
        row = ledger.record(name)
        plan = ours.plan or Plan.stored(row)
        trials = tuple(ledger.trials(name))
        stored_result = ledger.result(name)
        result = stored_result[0] if stored_result else {}
        nebulae: dict[str, Nebula | Constellation] = {"start": plan.start, **plan.hand_made}
        if (tuned := _tuned(ledger, name, trials, finished=bool(stored_result))) is not None:
            nebulae["tuned"] = tuned
        if (constellation := _constellation(ledger, name, result, ours.nebula or usual_nebula(name))) is not None:
            nebulae["constellation"] = constellation
        source = ours.target if ours.target and ours.target.exists else None
        origin = stored_json(row, "origin")
        status = study_status(ledger, name)
        target, own_files = ledger.target(name), ours.plan is not None
        return cls(name, status, plan, trials, result, origin, target, nebulae, source, own_files)

    @property
    def tuned(self) -> Nebula | None:
        """The tuned nebula, if there is one yet."""
        tuned = self.nebulae.get("tuned")
        return tuned if isinstance(tuned, Nebula) else None


def usual_nebula(name: str) -> Path:
    """Where a run puts the nebula of a study by itself. Raises SettingsError for a name that is no file's."""
    if Path(name).name != name or name.startswith("."):
        raise SettingsError(f"study {name!r} has no name for a file; give --out")
    return Path("nebulae", f"{name}.json")


def _tuned(ledger: Store, name: str, trials: tuple[Stored, ...], finished: bool) -> Nebula | None:
    if finished:
        return exported_nebula(ledger, name, None)
    decided = [trial for trial in trials if trial.score is not None and not trial.relaxed]
    if not decided:
        return None
    best = min(decided, key=lambda trial: trial.score.value if trial.score else 0.0)
    return exported_nebula(ledger, name, best.number)


def _constellation(ledger: Store, name: str, result: Mapping[str, Any], nebula: Path) -> Constellation | None:
    """The study's constellation; studies of before kept it in its file only, beside the nebula's."""
    if kept := ledger.constellation(name):
        return Constellation.from_json(kept)
    fitted = "constellation" in (result.get("heldout") or {})
    return Constellation.beside(nebula, ledger.record(name)["identity"]) if fitted else None
