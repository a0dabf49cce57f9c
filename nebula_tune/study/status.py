"""What the ledger can tell of a study: how far it is, and its nebulae."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from nebula_tune.errors import StudyError
from nebula_tune.nebula import Nebula
from nebula_tune.storage.lease import BEAT
from nebula_tune.storage.store import Store, Stored
from nebula_tune.study.coordinator import REEVALUATE
from nebula_tune.study.plan import Plan


def study_status(ledger: Store, name: str) -> dict[str, Any]:
    """State (running, finished, interrupted, failed), phase, trials, best, rate and time left of a study."""
    row = ledger.record(name)
    plan = Plan.stored(row)
    trials = list(ledger.trials(name))
    scored = [trial for trial in trials if trial.score is not None]
    best = min((t.score.value for t in scored if t.score and not t.relaxed), default=None)
    state = row["state"]
    searched = state == "finished" or row["phase"] == REEVALUATE
    total, complete = _total(plan, trials, searched), len(scored)
    if state in ("new", "running") and not _alive(ledger, name, row):
        state = "interrupted"
    left = (total - complete) / row["rate"] if state == "running" and row["rate"] else None
    return {
        "study": name,
        "state": state,
        "phase": row["phase"],
        "complete": complete,
        "total": total,
        "best": best,
        "trials_per_second": round(row["rate"], 3),
        "seconds_left": None if left is None else round(left),
        "workers": row["workers"],
        "owner": f"{row['owner_host']}:{row['owner_pid']}" if row["owner_token"] else None,
        "last_error": row["last_error"] or None,
    }


def _total(plan: Plan, trials: Sequence[Stored], searched: bool) -> int:
    """Trials of the search; of a phase that is over as many as it had, since it may have ended early."""
    tried = Counter(trial.key[0] for trial in trials)
    now = max(tried, default=0)
    over = len(plan.settings.search) if searched else next(group[0] for group in plan.side_by_side() if now in group)
    return sum(tried[k] if k < over else p.trials for k, p in enumerate(plan.settings.search))


def _alive(ledger: Store, name: str, row: dict[str, Any]) -> bool:
    """Whether somebody holds the study: its heart beats while we look."""
    if not row["owner_token"]:
        return False
    for _ in range(4):
        time.sleep(BEAT / 3)
        if ledger.record(name)["heartbeat"] != row["heartbeat"]:
            return True
    return False


def exported_nebula(ledger: Store, name: str, trial: int | None) -> Nebula:
    """The nebula of a study's result, or of trial number ``trial``. Raises StudyError where there is none."""
    if trial is None:
        result = ledger.result(name)
        if result is None:
            raise StudyError(f"study {name} has no result yet; run it to its end, or name a trial with --trial")
        return Nebula.from_json(result[1])
    plan = Plan.stored(ledger.record(name))
    for stored in ledger.trials(name):
        if stored.number == trial:
            curves, symmetric = dict(plan.start.curves), dict(plan.start.symmetric)
            for parameter, value in stored.params.items():
                knob, _, kind = parameter.rpartition(".")
                if kind == "curve":
                    curves[knob] = value
                else:
                    symmetric[knob] = value
            return Nebula(curves, symmetric, plan.start.origin)
    raise StudyError(f"study {name} has no trial {trial}")


def trial_counts(ledger: Store, name: str) -> dict[str, int]:
    """How many trials of each sampler are scored, and re-evaluations."""
    counts = dict(Counter(trial.sampler for trial in ledger.trials(name) if trial.score is not None))
    again = len(ledger.reevaluated(name))
    return counts | ({REEVALUATE: again} if again else {})
