"""The coordinator: asks the search, has trials scored, writes them, tells the search.

It resumes by replay: the search is asked again from the beginning, and trials the ledger has are told from there
instead of being scored. So a study that was killed ends as one that was not.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from nebula_tune.errors import ScoringError, StopRequested
from nebula_tune.execution.executor import Executor, Failure
from nebula_tune.objective import Prior
from nebula_tune.results import EndedEarly
from nebula_tune.scoring import Request
from nebula_tune.search import AnySampler, Candidate, Reevaluation, Sampler
from nebula_tune.search.reevaluate import Pair
from nebula_tune.storage.lease import Lease
from nebula_tune.storage.store import Store, TrialKey
from nebula_tune.study.plan import Plan
from nebula_tune.synth.indices import Purpose, first_index
from nebula_tune.trial import Point, Score

REEVALUATE = "re-evaluate"  # the phase after the search
log = logging.getLogger(__name__)


def check_stop(lease: Lease, deadline: float | None) -> None:
    """What the lease raises; and StopRequested past a deadline of time.monotonic()."""
    lease.check()
    if deadline is not None and time.monotonic() > deadline:
        raise StopRequested("time limit reached; nothing scored is lost: the same command goes on from here")


@dataclass(frozen=True)
class Snapshot:
    """A nebula on a search's way: of phase number ``phase`` (from 1), after so many of its trials."""

    phase: int
    sampler: str
    trials: int
    point: Point


class Observer(Protocol):
    """Told of a study's progress."""

    def phase(self, name: str, done: int, total: int) -> None:
        """A phase begins, ``done`` of its ``total`` trials already known."""

    def scored(self, done: int, best: float | None) -> None:
        """``done`` more trials of the phase are scored; ``best`` so far."""

    def ended_early(self, name: str, trials: int, total: int) -> None:
        """A phase ended after so many of its ``total`` trials: its score no longer moved."""


@dataclass
class _Phase:
    """A phase on its way: its sampler, and the generation that is being scored."""

    number: int
    settings: AnySampler
    sampler: Sampler
    asked: int = 0
    candidates: dict[TrialKey, Candidate] = field(default_factory=dict)
    requests: dict[TrialKey, Request] = field(default_factory=dict)
    scores: dict[TrialKey, Score | None] = field(default_factory=dict)
    _generations: int = 0

    @property
    def name(self) -> str:
        return self.settings.sampler

    @property
    def complete(self) -> bool:
        """Whether all of the generation is scored."""
        return len(self.scores) == len(self.candidates)

    def ask(self) -> bool:
        """Ask the sampler for its next generation; False where there is none."""
        candidates = self.sampler.ask()
        self.candidates = {(self.number, self._generations, index): each for index, each in enumerate(candidates)}
        self.requests, self.scores = {}, {}
        self.asked += len(candidates)
        self._generations += 1
        return bool(candidates)


@dataclass
class Coordinator:
    """Runs one study on one executor.

    ``deadline`` is a time.monotonic() after which it stops, resumable; ``written`` is told of every scored trial in the
    ledger, with its row; ``prior_cost`` is what a nat of divergence from the start nebula costs; ``choose`` picks the
    result among all phases' snapshots, where a study has a chooser.
    """

    plan: Plan
    ledger: Store
    name: str
    executor: Executor
    lease: Lease
    observer: Observer
    deadline: float | None = None
    written: Callable[[int, TrialKey, str, Point, Score], None] | None = None
    prior_cost: float = 0.0
    choose: Callable[[Sequence[Snapshot]], Point] | None = None
    failed: int = 0
    phase: str = ""
    early: list[EndedEarly] = field(default_factory=list)
    _pending: list[tuple[TrialKey, str, Point, int, Score | Failure]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.space = self.plan.space
        self.prior = Prior(self.space.start, self.space.free_flags, self.prior_cost)
        self._writer = self.ledger.writer(self.name, self.space)
        self._known = {trial.key: trial.score for trial in self.ledger.trials(self.name)}
        self._scored: list[tuple[float, TrialKey, Point]] = []
        self._snapshots: list[Snapshot] = []
        self._session = 0
        self._began = time.monotonic()

    def run(self) -> Point:
        """All phases and the re-evaluation; returns the nebula to export.

        Raises ScoringError, StorageError, TakenOverError, and StopRequested at the deadline or where somebody asked for
        it. Whatever was scored is written first.
        """
        try:
            finalists = self._search()
            return self.choose(self._snapshots) if self.choose else self._reevaluate(finalists)
        finally:
            self._flush()

    def _search(self) -> list[Point]:
        """Run the phases, those that do not need each other side by side; returns where each ended."""
        ends: list[Point] = []
        best = self.space.start
        for numbers in self.plan.side_by_side():
            phases = [self._begin(number, best) for number in numbers]
            self._announce(phases)
            self._to_their_ends(phases)
            for phase in phases:
                best = self._end(phase)
                ends.append(best)
        return ends

    def _begin(self, number: int, best: Point) -> _Phase:
        settings = self.plan.settings.search[number]
        return _Phase(number, settings, self.plan.sampler(number, self.space, best))

    def _announce(self, phases: Sequence[_Phase]) -> None:
        """Tell of phases that begin."""
        name = " + ".join(dict.fromkeys(phase.name for phase in phases))
        known = sum(key[0] == phase.number for key in self._known for phase in phases)
        total = sum(phase.settings.trials for phase in phases)
        self.phase = name
        self.observer.phase(name, known, total)
        self.ledger.update(self.name, phase=name)
        log.info("phase", extra={"fields": {"phase": name, "done": known, "total": total}})

    def _to_their_ends(self, phases: Sequence[_Phase]) -> None:
        """Score generation after generation of each phase until none asks for more."""
        by_number = {phase.number: phase for phase in phases}
        at_work = sum(self._go_on(phase) for phase in phases)
        while at_work:
            self._flush()  # while the workers are busy
            key, outcome = self.executor.wait()
            phase = by_number[key[0]]
            self._take(phase, key, outcome)
            if phase.complete:
                self._tell(phase)
                at_work -= not self._go_on(phase)
            else:
                self.check_stop()

    def _go_on(self, phase: _Phase) -> bool:
        """Have a phase's next generation scored that the ledger does not know; False where the phase is over."""
        curvature = phase.settings.needs_curvature
        while phase.ask():
            for key, candidate in phase.candidates.items():
                if key in self._known:
                    phase.scores[key] = self._known[key]
                else:
                    first = self.plan.trial_index(phase.number, candidate.draw)
                    phase.requests[key] = Request(
                        candidate.point, first, self.plan.settings.sounds, curvature=curvature
                    )
            self.check_stop(bool(phase.requests))
            for key, request in phase.requests.items():
                self.executor.submit(key, request)
            if phase.requests:
                return True
            self._tell(phase)
        return False

    def _take(self, phase: _Phase, key: TrialKey, outcome: Score | Failure) -> None:
        """File what came of a trial."""
        request = phase.requests[key]
        if isinstance(outcome, Score):
            outcome = self.prior.on(request.point, outcome)
            if not phase.settings.needs_gradient:
                outcome = outcome.without_gradient()
        self._pending.append((key, phase.name, request.point, request.first_index, outcome))
        phase.scores[key] = None if isinstance(outcome, Failure) else outcome
        self._count(key, outcome)
        self.observer.scored(1, self.best)

    def _tell(self, phase: _Phase) -> None:
        """Tell a phase's sampler the scores of its generation."""
        ordered = [phase.scores[key] for key in phase.candidates]
        if all(score is None for score in ordered):
            self._refuse()
        for (key, candidate), score in zip(phase.candidates.items(), ordered, strict=True):
            if score is not None and not candidate.point.relaxed:
                self._scored.append((score.value, key, candidate.point))
        phase.sampler.tell(ordered)

    def _end(self, phase: _Phase) -> Point:
        """Note how a phase ended, and its snapshots; returns its result."""
        number, total = phase.number + 1, phase.settings.trials
        if phase.asked < total:
            self.early.append(EndedEarly(phase=number, sampler=phase.name, trials=phase.asked, of=total))
            self.observer.ended_early(phase.name, phase.asked, total)
            log.info("phase ended early", extra={"fields": self.early[-1].to_json()})
        self._snapshots += [Snapshot(number, phase.name, *snapshot) for snapshot in phase.sampler.snapshots()]
        return phase.sampler.result()

    @property
    def best(self) -> float | None:
        """The best value of a trial with decided flags, in the generations told so far."""
        return min(self._scored)[0] if self._scored else None

    @property
    def counts(self) -> dict[str, int]:
        """Trials of the study by state: complete, failed."""
        stored = sum(score is not None for score in self._known.values())
        complete = stored + self._session - self.failed
        return {"complete": complete, "failed": len(self._known) + self._session - complete}

    @property
    def rate(self) -> float:
        """Trials a second since this process began with the study."""
        return self._session / (time.monotonic() - self._began)

    def _count(self, key: TrialKey, outcome: Score | Failure) -> None:
        self._session += 1
        details = {"error": outcome.message} if isinstance(outcome, Failure) else {"value": outcome.value}
        log.info("trial", extra={"fields": {"key": key, **details, "workers": self.executor.workers}})
        if isinstance(outcome, Failure):
            self.failed += 1
            self.ledger.update(self.name, last_error=outcome.message)

    def _refuse(self) -> None:
        row = self.ledger.record(self.name)
        raise ScoringError(f"no trial of a whole generation could be scored; the last error was: {row['last_error']}")

    def check_stop(self, scoring: bool = True) -> None:
        """What the lease raises; and StopRequested past the deadline if ``scoring``."""
        check_stop(self.lease, self.deadline if scoring else None)

    def _flush(self) -> None:
        """Write what is scored and not yet written."""
        while self._pending:
            key, sampler, point, _, outcome = self._pending[0]
            row = self._writer.write(*self._pending[0])
            self._pending.pop(0)
            if self.written is not None and isinstance(outcome, Score):
                self.written(row, key, sampler, point, outcome)
        if self._session:
            self.ledger.update(self.name, rate=self.rate, workers=self.executor.workers)

    def _reevaluate(self, ends: Sequence[Point]) -> Point:
        """Score the best trials, and where each phase ended, again on common sounds; the best mean is the result."""
        settings = self.plan.settings.reevaluate
        if settings.repeats == 0:
            return ends[-1]
        best = [point for _, _, point in sorted(self._scored, key=lambda s: s[:2])[: settings.top]]
        candidates = [*reversed(ends), *best]
        again = Reevaluation(len(candidates), settings.repeats, settings.halving)
        known = self.ledger.reevaluated(self.name)
        self.phase = REEVALUATE
        self.observer.phase(REEVALUATE, len(known), again.total)
        self.ledger.update(self.name, phase=REEVALUATE)
        while pairs := again.ask():
            self._score_again([pair for pair in pairs if pair not in known], candidates, known)
            again.tell([known[pair] for pair in pairs])
        return candidates[again.result()]

    def _score_again(self, pairs: Sequence[Pair], candidates: Sequence[Point], known: dict[Pair, float]) -> None:
        """Score (candidate, repeat) pairs, write them and add them to what is known."""
        for c, r in pairs:
            first = first_index(Purpose.REEVALUATION, self.plan.seed, r * self.plan.settings.sounds)
            self.executor.submit((c, r), Request(candidates[c], first, self.plan.settings.sounds))
        self._flush()
        for _ in pairs:
            (c, r), outcome = self.executor.wait()
            if isinstance(outcome, Failure):
                raise ScoringError(f"a re-evaluation failed: {outcome.message}; run the same command to go on")
            outcome = self.prior.on(candidates[c], outcome)
            self.ledger.write_reevaluation(self.name, c, r, outcome)
            known[c, r] = outcome.value
            self.observer.scored(1, self.best)
            self.check_stop(True)
