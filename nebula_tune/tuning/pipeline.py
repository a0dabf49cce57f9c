"""The main job: a target in, a tuned nebula with its evidence out."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field, replace
from typing import Any

from nebula_tune.dashboard.gallery import Gallery
from nebula_tune.execution.executor import Client
from nebula_tune.nebula import Nebula
from nebula_tune.numerics import own_numerics
from nebula_tune.results import RunReport, StudyReport
from nebula_tune.storage.address import shown
from nebula_tune.storage.lease import Lease
from nebula_tune.storage.schema import public_target
from nebula_tune.study.coordinator import check_stop
from nebula_tune.study.status import trial_counts
from nebula_tune.study.waiting import Waiting
from nebula_tune.tuning.export import make_page, page_of
from nebula_tune.tuning.metrics import Metrics, measured
from nebula_tune.tuning.opened import OpenedStudy, open_study
from nebula_tune.tuning.options import Options, command_of
from nebula_tune.tuning.outputs import ARTIFACTS, kept_at
from nebula_tune.tuning.reporter import Reporter
from nebula_tune.tuning.resolve import resolve
from nebula_tune.tuning.stages import announce, coordinator_of, fit, judge, scorer_spec, search

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Result:
    """What a finished study gives. ``report`` is the machine-readable whole (INTERFACE: `run --json`)."""

    nebula: Nebula
    report: dict[str, Any] = field(repr=False)

    @property
    def heldout(self) -> dict[str, Any] | None:
        """The score card's rows."""
        rows: dict[str, Any] | None = self.report["heldout"]
        return rows

    @property
    def gap_closed(self) -> float | None:
        """Share of the way from start to floor, on held-out sounds."""
        share: float | None = self.report["gap_closed"]
        return share


@own_numerics()
def run(options: Options, reporter: Reporter) -> Result:
    """Do what the options say, or go on with it, or tell its result again.

    Raises NebulaTuneError; KeyboardInterrupt and StopRequested leave the study resumable.
    """
    study = resolve(options, reporter)
    with measured(options.execution, study.name, reporter.note) as metrics:
        opened = open_study(study)
        if isinstance(opened, OpenedStudy):
            with opened.running() as lease:
                result = _work(opened, lease, metrics)
            make_page(study, opened.ledger)
        else:
            result = Result(opened.nebula, opened.report)
    return replace(result, report=result.report | page_of(study.out))


def _work(opened: OpenedStudy, lease: Lease, metrics: Metrics) -> Result:
    """Search, fit, judge, export; the seconds it took are kept, whatever happens."""
    study, ledger, options = opened.study, opened.ledger, opened.study.options
    limit = options.execution.time_limit
    began = time.monotonic()
    deadline = began + 60 * limit if limit is not None else None
    folder, command = kept_at(options)[ARTIFACTS], command_of(options.study, study.name)
    gallery = Gallery(ledger, study.name, study.plan, study.source, folder=folder, command=command)
    metrics.stage = "workers"
    note = study.reporter.note
    waiting = Waiting(ledger, study.name, note, lambda: check_stop(lease, deadline))
    client = Client(study.name, note, waiting)
    with waiting, study.where.make(scorer_spec(opened), client) as executor, gallery:
        executor.check = lease.check
        try:
            announce(opened, executor)
            coordinator = coordinator_of(opened, executor, lease, gallery, deadline)
            metrics.stage, metrics.coordinator = "search", coordinator
            point, searched = search(coordinator)
            metrics.stage = "fit"
            fitted = fit(opened, coordinator, point)
            metrics.stage = "judge"
            judged = judge(opened, executor, point, fitted)
            gallery.judged(judged)
        finally:
            ledger.update(study.name, seconds=opened.seconds + time.monotonic() - began)
    nebula = study.plan.nebula(point)
    about = StudyReport(
        study=study.name,
        storage=shown(ledger.url),
        nebula=str(study.out),
        embedding=study.plan.settings.heard_as,
        distance=study.plan.settings.distance,
        trials=trial_counts(ledger, study.name),
        seconds=round(opened.seconds + time.monotonic() - began, 1),
        target=public_target(opened.origin["target"]),
    )
    report = RunReport.joined(searched, judged, about).to_json()
    constellation = {**fitted.constellation.as_json(), "provenance": {}} if fitted else None
    ledger.finish(study.name, report, nebula.as_json(), constellation)
    opened.export()
    log.info("run finished", extra={"fields": {"seconds": report["seconds"], "trials": report["trials"]}})
    return Result(nebula, report)
