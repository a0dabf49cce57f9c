"""The stages of a run on an opened study: announce, search, fit, judge; each takes what the one before gave."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np

from nebula_tune.dashboard.gallery import Gallery
from nebula_tune.evaluate.judges import doubts, verdicts
from nebula_tune.evaluate.novelty import novelty
from nebula_tune.evaluate.reach import reach
from nebula_tune.evaluate.scorecard import SOUNDS as SCORE_CARD_SOUNDS
from nebula_tune.evaluate.scorecard import gap_closed, requests_for, score_card, spread_card
from nebula_tune.evaluate.second_embedding import second_embedding
from nebula_tune.execution.executor import Executor
from nebula_tune.files import constellation_path
from nebula_tune.fitting.fit import Fitted, Fitter, most_sounds
from nebula_tune.fitting.sound_pool import PoolRenderer, SoundCounter
from nebula_tune.results import ConstellationReport, Judged, SearchReport
from nebula_tune.scoring import Request, ScorerSpec
from nebula_tune.storage.lease import Lease
from nebula_tune.study.choosing import Chooser
from nebula_tune.study.coordinator import Coordinator
from nebula_tune.study.target import embed_corpus
from nebula_tune.synth.indices import Purpose, first_index
from nebula_tune.trial import Point
from nebula_tune.tuning.opened import OpenedStudy
from nebula_tune.tuning.resolve import ResolvedStudy


def scorer_spec(opened: OpenedStudy) -> ScorerSpec:
    """All that a worker needs to score the study's trials."""
    study, settings, yardstick = opened.study, opened.study.plan.settings, opened.yardstick
    target = opened.target
    path = str(target.save_for_workers(study.plan, study.embeddings, yardstick)) if target else None
    embeddings = [{"name": named.name, **named.options} for named in settings.heard]
    costs = yardstick.costs(settings.guarded)
    return ScorerSpec(
        study.plan.synth_name,
        embeddings,
        settings.prepare,
        path,
        study.device,
        yardstick.distance.settings,
        costs,
        study.plan.panel,
    )


def announce(opened: OpenedStudy, executor: Executor) -> None:
    """Say what will be done, and how long it should take."""
    study, settings = opened.study, opened.study.plan.settings
    done = sum(1 for _ in opened.ledger.trials(study.name))
    phases = ", ".join(f"{phase.trials} {phase.sampler}" for phase in settings.search)
    again, chooser = settings.reevaluations, settings.chooser
    then = f"{chooser.name} chooses" if chooser else f"{again} re-evaluations"
    left = (settings.trials - done + again) * settings.sounds + 3 * SCORE_CARD_SOUNDS
    cost = "; ".join(filter(None, (embedding.cost_note(left) for embedding in study.embeddings)))
    on_top = _on_top(study)
    study.reporter.note(
        f"study {study.name}: {phases} trials of {settings.sounds} sounds, then {then}; "
        + (cost or f"about {_duration(left * _seconds_a_sound(study, executor))}")
        + (f" ({done} trials are done already)" if done else "")
        + (f"; on top come {', '.join(on_top)}" if on_top else "")
    )
    if settings.choose and not chooser and study.source:
        study.reporter.note(f"trials hear {settings.choose.embedding.name}, so it does not choose")


def coordinator_of(
    opened: OpenedStudy, executor: Executor, lease: Lease, gallery: Gallery, deadline: float | None
) -> Coordinator:
    """What runs the study's trials.

    Args:
        opened: the study.
        executor: where trials are scored.
        lease: this run's on the study.
        gallery: told of every trial that is written.
        deadline: of time.monotonic(), in seconds, at which it stops; None: never.
    """
    study, settings = opened.study, opened.study.plan.settings
    chooser = None
    if study.source is not None and settings.chooser is not None:
        chooser = Chooser(study.plan, study.source, study.device, study.reporter.note)
    return Coordinator(
        study.plan,
        opened.ledger,
        study.name,
        executor,
        lease,
        study.reporter,
        deadline=deadline,
        written=gallery.written,
        prior_cost=settings.prior_weight * opened.yardstick.mean_distance,
        choose=chooser,
    )


def search(coordinator: Coordinator) -> tuple[Point, SearchReport]:
    """All trials: the point that they led to, and how. Raises ScoringError, StorageError, StopRequested."""
    point = coordinator.run()
    chooser = coordinator.choose
    report = SearchReport(
        ended_early=coordinator.early,
        chosen=chooser.told if isinstance(chooser, Chooser) else None,
        divergence_from_start=coordinator.prior.divergence(point),
    )
    return point, report


def fit(opened: OpenedStudy, coordinator: Coordinator, point: Point) -> Fitted | None:
    """A constellation on the tuned nebula; None where the study wants none."""
    study, settings = opened.study, opened.study.plan.settings.constellation
    if opened.target is None or settings is None:
        return None
    counter = SoundCounter(most_sounds(settings), study.reporter.rendering)
    renderer = PoolRenderer(
        coordinator.executor,
        study.plan,
        study.embeddings,
        point,
        device=study.device,
        progress=counter,
        check=coordinator.check_stop,
    )
    return Fitter(renderer, opened.yardstick.distance, settings, study.plan, point).target(opened.target)


def judge(opened: OpenedStudy, executor: Executor, tuned: Point, fitted: Fitted | None) -> Judged:
    """Score card of start, hand-made and tuned nebula: on the held-out part, or (diversity) of their own spread.

    Args:
        opened: the study.
        executor: where fresh sounds are rendered and embedded.
        tuned: the tuned nebula.
        fitted: its constellation; None where none was fitted.
    """
    study, plan, distance, target = opened.study, opened.study.plan, opened.yardstick.distance, opened.target
    nebulae = {"start": plan.space.start}
    nebulae |= {name: plan.point(nebula) for name, nebula in plan.hand_made.items()}
    nebulae["tuned"] = tuned
    requests = requests_for(nebulae, plan.seed)
    if fitted is not None:
        raw = PoolRenderer.draws(plan, fitted.constellation, requests["tuned"])
        requests["constellation"] = replace(requests["tuned"], raw=raw)
    fresh = {name: executor.fresh(request) for name, request in requests.items()}
    if target is None or study.source is None:
        spread = spread_card(fresh, distance)
        improves = spread["tuned"].value > spread["start"].value
        return Judged(heldout=None, gap_closed=None, spread=spread, improves=improves)
    against = study.against
    second = embed_corpus(against, plan, study.embeddings, Purpose.VALIDATION) if against else None
    others = {"against": second.vectors} if second else {}
    rows = score_card(fresh, target.held_in, target.held_out, distance, others)
    pool = [vectors for vectors, _ in fresh.values()] if fitted is None else [fitted.pool]
    embedded = target.embedded
    parts: dict[str, Any] = {  # parts that are not there are left out of the report
        "reach": reach(embedded.vectors, embedded.names, target.groups.tolist(), np.concatenate(pool), distance)
    }
    if other := second_embedding(requests, plan, study.device, study.source, against):
        parts["other"] = other
    if plan.settings.judges:
        study.reporter.note("asking the judges how easily these sounds are told from real ones")
        parts["told_apart"] = verdicts(requests, plan, study.device, study.source, against)
    parts["doubts"] = doubts(parts.get("told_apart"), other)
    if fitted is not None:
        new = novelty(fresh["constellation"][0], fitted.atoms, target.held_in[0], target.held_out[0], distance)
        file = str(constellation_path(study.out))
        parts["constellation"] = ConstellationReport(file=file, novelty=new, **dict(fitted.told))
    improves = rows["tuned"].mmd_unbiased < rows["start"].mmd_unbiased
    return Judged(heldout=rows, gap_closed=gap_closed(rows), improves=improves, **parts)


def _on_top(study: ResolvedStudy) -> list[str]:
    """What takes time beside trials, re-evaluations and score card."""
    settings, match = study.plan.settings, study.source is not None
    parts = {
        "choosing": settings.chooser is not None,
        "the constellation": match and settings.constellation is not None,
        "the second opinion": match and settings.second_opinion is not None,
        "the judges": match and settings.judges,
        "the report": not study.options.output.no_report,
    }
    return [part for part, wanted in parts.items() if wanted]


def _seconds_a_sound(study: ResolvedStudy, executor: Executor) -> float:
    """From a few chunks, timed after as many that warm up."""
    sounds = executor.chunk_sounds * executor.slots
    request = Request(study.plan.space.start, first_index(Purpose.VALIDATION, study.plan.seed), sounds)
    for _ in range(2):
        began = time.monotonic()
        executor.vectors(request)
        seconds = time.monotonic() - began
    return seconds / sounds


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} seconds" if seconds < 90 else f"{seconds / 60:.0f} minutes"
