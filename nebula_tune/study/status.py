"""What the ledger can tell of a study: how far it is, and its nebulae."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from nebula_tune.errors import StudyError
from nebula_tune.nebula import Nebula
from nebula_tune.search import AnySampler
from nebula_tune.storage.owner import BEAT
from nebula_tune.storage.store import Overview, Store
from nebula_tune.study.coordinator import REEVALUATE
from nebula_tune.study.plan import Plan, side_by_side, stored_search

AT_WORK = ("new", "running", "waiting")  # states of a study while somebody has it
STILL = BEAT * 4 / 3  # seconds without a heartbeat after which an owner is not at work


class Heartbeats:
    """Tells which owners are at work: their hearts beat while we look, at all of them at once.

    Kept from one look to the next, it waits only for owners that are new to it.
    """

    def __init__(self, ledger: Store) -> None:
        self._ledger = ledger
        self._seen: dict[
            tuple[str, str], tuple[int, float, bool]
        ] = {}  # beat, since when, whether it was another before

    def at_work(self, owners: Mapping[str, str]) -> set[str]:
        """Studies whose owner was at work when it was read; looks for STILL seconds at most. Raises StorageError.

        An owner that leaves its study while we look was at work, and so was one whose study another gets.

        Args:
            owners: of each study, its owner's token.
        """
        while owners:
            now = time.monotonic()
            held = self._ledger.heartbeats()
            left = {name for name, token in owners.items() if name not in held or held[name][0] != token}
            beats = {(name, owners[name]): held[name][1] for name in owners.keys() - left}
            for owner, beat in beats.items():
                before = self._seen.get(owner)
                if before is None or before[0] != beat:
                    self._seen[owner] = (beat, now, before is not None)
            fresh = {owner for owner in beats if now - self._seen[owner][1] < STILL}
            beating = {owner for owner in fresh if self._seen[owner][2]}
            if fresh == beating:
                return left | {name for name, _ in beating}
            time.sleep(BEAT / 3)
        return set()


def study_status(ledger: Store, name: str, hearts: Heartbeats | None = None) -> dict[str, Any]:
    """State, phase, trials, best, rate and time left of a study. Raises StorageError, StudyError.

    Its state is running, waiting (for workers), finished, interrupted, failed, or removed (with Optuna's dashboard).

    Args:
        ledger: the database.
        name: the study's.
        hearts: kept from one look to the next; None: this is the only one.
    """
    views = ledger.overview([name])
    if not views:
        ledger.record(name)  # which says what studies there are
    search = stored_search(views[0].row)
    return _told(views[0], search, (hearts or Heartbeats(ledger)).at_work(_held(views)))


def all_statuses(ledger: Store, hearts: Heartbeats | None = None) -> list[dict[str, Any]]:
    """The status of all studies, in as many queries as of one; of one that cannot be read, what can be told."""
    views = ledger.overview()
    at_work = (hearts or Heartbeats(ledger)).at_work(_held(views))
    return [_told(view, _search(view), at_work) for view in views]


def _search(view: Overview) -> Sequence[AnySampler]:
    """A study's phases; none of one that is finished, or that cannot be read."""
    try:
        return () if view.row["state"] == "finished" else stored_search(view.row)
    except StudyError:
        return ()


def _held(views: Sequence[Overview]) -> dict[str, str]:
    """Studies that somebody seems to have, with that owner's token."""
    held = (view.row for view in views if view.row["state"] in AT_WORK and view.row["owner_token"])
    return {row["name"]: row["owner_token"] for row in held}


def _told(view: Overview, search: Sequence[AnySampler], at_work: Collection[str]) -> dict[str, Any]:
    """A study's status; without a ``search`` it is not known how many trials there will be."""
    row = view.row
    state, phase, error = row["state"], row["phase"], row["last_error"]
    if state in AT_WORK and row["name"] not in at_work:
        state, phase = "interrupted", "" if state == "waiting" else phase
    total = _total(search, view.tried, searched=state == "finished" or phase == REEVALUATE)
    if view.known_as is None:
        state, phase = "removed", "with Optuna's dashboard"
        error = f"nebula-tune delete {row['name']} removes what is left of it"
    left = None
    if state == "running" and row["rate"] and total is not None:
        left = round((total - view.complete) / row["rate"])
    return {
        "study": row["name"],
        "state": state,
        "phase": phase,
        "complete": view.complete,
        "total": total,
        "best": view.best,
        "trials_per_second": round(row["rate"], 3),
        "seconds_left": left,
        "workers": row["workers"],
        "owner": _owner(row),
        "last_error": error or None,
    }


def _owner(row: Mapping[str, Any]) -> str | None:
    """Who has a study: user@host:pid, without the user where it is not known."""
    if not row["owner_token"]:
        return None
    user = row.get("owner_user")
    return f"{user}@{row['owner_host']}:{row['owner_pid']}" if user else f"{row['owner_host']}:{row['owner_pid']}"


def _total(search: Sequence[AnySampler], tried: Mapping[int, int], searched: bool) -> int | None:
    """Trials of the search; of a phase that is over as many as it had, since it may have ended early."""
    if searched or not search:
        return sum(tried.values()) if searched else None
    now = max(tried, default=0)
    over = next((group[0] for group in side_by_side(search) if now in group), len(search))
    return sum(tried.get(k, 0) if k < over else p.trials for k, p in enumerate(search))


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
