"""The main job: a target in, a tuned nebula with its evidence out."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from nebula_tune import __version__
from nebula_tune.corpus.groups import GroupBy
from nebula_tune.corpus.source import Source
from nebula_tune.dashboard.gallery import Gallery
from nebula_tune.distance import Distance
from nebula_tune.embedding import make_embedding
from nebula_tune.embedding.base import own_device
from nebula_tune.errors import NebulaTuneError, SettingsError, StopRequested, StudyError
from nebula_tune.evaluate.judges import doubts, verdicts
from nebula_tune.evaluate.novelty import novelty
from nebula_tune.evaluate.reach import reach
from nebula_tune.evaluate.scorecard import SOUNDS as SCORE_CARD_SOUNDS
from nebula_tune.evaluate.scorecard import gap_closed, requests_for, score_card, spread_card
from nebula_tune.evaluate.second_embedding import other_ear
from nebula_tune.execution.executor import Executor
from nebula_tune.execution.where import Where
from nebula_tune.files import constellation_path, provenance_path, shipped, write_atomically
from nebula_tune.fitting.fit import Fitted, Fitter, most_sounds
from nebula_tune.fitting.sound_pool import PoolRenderer, SoundCounter
from nebula_tune.nebula import Nebula
from nebula_tune.report.page import report_path, write_report
from nebula_tune.scoring import Request, ScorerSpec
from nebula_tune.storage.database import shown
from nebula_tune.storage.lease import Lease
from nebula_tune.storage.ledger import Ledger
from nebula_tune.storage.paths import default_artifacts, default_log
from nebula_tune.storage.schema import public_target
from nebula_tune.study.choosing import Chooser
from nebula_tune.study.coordinator import Coordinator
from nebula_tune.study.editions import Edition, nearest_edition, other_editions, with_gains
from nebula_tune.study.plan import Plan, brought_up_to_date, choose_study, differences, override
from nebula_tune.study.run_log import journal
from nebula_tune.study.settings import StudySettings
from nebula_tune.study.status import trial_counts
from nebula_tune.study.target import SplitTarget, embed_corpus
from nebula_tune.study.yardstick import REFERENCE_SOUNDS, Yardstick
from nebula_tune.synth import architecture
from nebula_tune.synth.indices import Purpose, first_index
from nebula_tune.trial import Point
from nebula_tune.tuning.options import Options, check, study_name
from nebula_tune.tuning.reporter import Reporter, Silent

FEW_SOUNDS = 64
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


def tune(target: str | Path | None = None, reporter: Reporter | None = None, **options: Any) -> Result:
    """Tune a nebula to a target; the same options, defaults and files as ``nebula-tune run``.

    Raises NebulaTuneError; KeyboardInterrupt and StopRequested leave the study resumable.
    """
    try:
        chosen = Options(target=None if target is None else str(target), **options)
    except TypeError as error:
        raise SettingsError(f"tune: {error}") from None
    return Run(chosen, reporter or Silent()).go()


class Run:
    """One run of one study: resolved, embedded, searched, judged, exported."""

    def __init__(self, options: Options, reporter: Reporter) -> None:
        self.options, self.reporter = options, reporter
        check(options)
        self.where = Where(
            options.executor, options.workers, options.ray_address, options.gpu_share, options.task_timeout
        )
        today, why = choose_study(options.study, _ready)
        of_study = Path(options.study).stem if today.objective == "diversity" else "diversity"
        match = (options.objective or today.objective) == "match"
        if match and options.target is None:
            raise SettingsError("say what to sound like with --target (a folder, a nebula, or white-noise)")
        self.source = Source.parse(options.target) if match and options.target else None
        self.name = options.name or (study_name(self.source) if self.source else of_study)
        self.plan, self.begun_with = self._choose_plan(today)
        if why and not self.begun_with:
            reporter.note(why)
        self.device = own_device()
        heard = self.plan.settings.heard
        self.embeddings = [make_embedding(one.name, **one.options, device=self.device) for one in heard]
        self.space = self.plan.space  # refuses bad globs before any work
        self.out = Path(options.out or f"nebulae/{self.name}.json")

    def _choose_plan(self, today: StudySettings) -> tuple[Plan, str]:
        """The plan; and the edition that the stored study was begun with, in words, where it is not today's."""
        if stored := _stored_settings(self.options.storage, self.name):
            editions = [Edition(self.options.study, today), *other_editions(self.options.study)]
            if nearest := nearest_edition(stored, editions, self._planned):
                edition, plan = nearest
                _refuse_differences(self.name, "settings", with_gains(stored, plan.resolved()), plan.resolved())
                return plan, "" if edition is editions[0] else str(edition)
        return self._planned(today), ""

    def _planned(self, settings: StudySettings) -> Plan:
        """A study's settings with the options over them. Raises SettingsError for options it cannot take."""
        options = self.options
        settings = override(
            settings,
            options.objective,
            options.embedding,
            options.weights,
            options.trials,
            options.sounds,
            options.distance,
            options.constellation,
            options.classes,
        )
        return Plan(
            settings,
            options.synth,
            architecture(options.synth).resolve(options.start),
            tuple(options.tune) or settings.tune,
            (*settings.freeze, *options.freeze),
            options.seed,
            GroupBy(options.group_by).value,
            options.target_sounds,
        )

    def go(self) -> Result:
        """Do it, or go on with it, or tell its result again."""
        ledger = Ledger(self.options.storage)
        more = self._refuse_other_settings(ledger)
        target = self._load_target()
        origin = {"target": target.described if target else None, "versions": _versions(self.device)}
        stored = ledger.record(self.name) if ledger.has(self.name) else None
        if stored:
            _refuse_differences(self.name, "target", ledger.target(self.name), origin["target"])
        self._refuse_foreign_file(stored["identity"] if stored else None)
        if stored and not more and stored["state"] == "finished" and (known := ledger.result(self.name)):
            made = f", made with {self.begun_with}; give another --name for a new run" if self.begun_with else ""
            self.reporter.note(f"study {self.name} is finished; this is its result again{made}")
            report, entries = known
            return self._with_report(Result(Nebula.from_entries(entries), report))
        if self.begun_with:
            self.reporter.note(
                f"study {self.name} was begun with {self.begun_with}: it goes on so; "
                "give another --name for a new run with today's settings"
            )
        self._check_later_embeddings()
        frozen = json.loads(stored["origin"]).get("yardstick") if stored else None
        origin["yardstick"] = frozen or self._yardstick(target).as_json()
        kept = {key: origin[key] for key in ("versions", "yardstick")}
        stored = ledger.begin(self.name, self.plan.resolved(), kept, origin["target"])
        if json.loads(stored["origin"])["versions"] != origin["versions"]:
            self.reporter.note("this study began under other versions or another device; the last bits may differ")
        path = Path(self.options.log) if self.options.log else default_log(ledger.url)
        with journal(path, self.name, self.reporter.note), Lease(ledger, self.name, self.reporter.note) as lease:
            ledger.update(self.name, state="running", last_error="", settings=json.dumps(self.plan.resolved()))
            log.info("run begins", extra={"fields": {"versions": origin["versions"], "where": asdict(self.where)}})
            try:
                result = self._work(ledger, lease, stored, target, origin)
            except (KeyboardInterrupt, StopRequested):
                log.info("run interrupted")
                ledger.update(self.name, state="interrupted")
                raise
            except NebulaTuneError as error:
                log.info("run failed", extra={"fields": {"error": str(error)}})
                ledger.update(self.name, state="failed", last_error=str(error))
                raise
        self._write_report(ledger)
        return self._with_report(result)

    def _write_report(self, ledger: Ledger) -> None:
        """The page of the finished study. Whatever goes wrong with it, the study's result stands."""
        if self.options.no_report:
            return
        self.reporter.note("making the report")
        try:
            write_report(ledger, self.name, report_path(self.out))
        except Exception as error:
            log.info("no report", extra={"fields": {"error": repr(error)}})
            self.reporter.note(f"no report could be made: {error}; the study is finished all the same")

    def _with_report(self, result: Result) -> Result:
        """The result, with the page's path where there is one."""
        path = report_path(self.out)
        return replace(result, report=result.report | {"page": str(path)}) if path.exists() else result

    def _work(
        self,
        ledger: Ledger,
        lease: Lease,
        stored: dict[str, Any],
        target: SplitTarget | None,
        origin: dict[str, Any],
    ) -> Result:
        began = time.monotonic()
        deadline = began + 60 * self.options.time_limit if self.options.time_limit is not None else None
        artifacts = Path(self.options.artifacts) if self.options.artifacts else default_artifacts(ledger.url)
        gallery = Gallery(ledger, self.name, self.plan, self.source, artifacts)
        yardstick, settings = Yardstick.read(origin["yardstick"]), self.plan.settings
        with self.where.make(self._scorer_spec(target, yardstick), self.reporter.note) as executor, gallery:
            try:
                self._foretell(executor, ledger)
                leash_cost = self.plan.settings.prior_weight * yardstick.mean_distance
                chooser = self._chooser()
                coordinator = Coordinator(
                    self.plan,
                    ledger,
                    self.name,
                    executor,
                    lease,
                    self.reporter,
                    deadline,
                    gallery.written,
                    leash_cost,
                    chooser,
                )
                point = coordinator.run()
                fitted = None
                if target is not None and settings.constellation is not None:
                    progress = SoundCounter(most_sounds(settings.constellation), self.reporter.rendering)
                    renderer = PoolRenderer(
                        executor, self.plan, self.embeddings, point, self.device, progress, coordinator.check_stop
                    )
                    fitted = Fitter(renderer, yardstick.distance, settings.constellation, self.plan, point).target(
                        target
                    )
                judged = self._judge(executor, point, target, yardstick.distance, fitted)
                report: dict[str, Any] = {
                    "ended_early": coordinator.early,
                    "chosen": chooser.told if chooser else None,
                    "divergence_from_start": coordinator.leash.divergence(point),
                    **judged,
                }
                gallery.judged(report["heldout"])
            finally:
                ledger.update(self.name, seconds=stored["seconds"] + time.monotonic() - began)
        seconds = stored["seconds"] + time.monotonic() - began
        nebula = self.plan.nebula(point)
        report |= {
            "study": self.name,
            "storage": shown(ledger.url),
            "nebula": str(self.out),
            "embedding": self.plan.settings.heard_as,
            "distance": self.plan.settings.distance,
            "trials": trial_counts(ledger, self.name),
            "seconds": round(seconds, 1),
            "target": public_target(origin["target"]),
        }
        self._export(nebula, fitted, report, stored["identity"], origin)
        ledger.finish(self.name, report, nebula.entries())
        log.info("run finished", extra={"fields": {"seconds": report["seconds"], "trials": report["trials"]}})
        return Result(nebula, report)

    def _chooser(self) -> Chooser | None:
        """What chooses among the search's nebulae, where the study says so."""
        if self.source is None or self.plan.settings.chooser is None:
            return None
        return Chooser(self.plan, self.source, self.device, self.reporter.note)

    def _check_later_embeddings(self) -> None:
        """Make, before any trial, what is heard only after all of them. Raises EmbeddingError.

        A setting that is wrong is a setting of the study: found out at the end, it would cost all trials.
        """
        settings = self.plan.settings
        for later in (settings.chooser, settings.second_opinion):
            if self.source is not None and later is not None:
                make_embedding(later.name, **later.options, device=self.device)

    def _load_target(self) -> SplitTarget | None:
        if self.source is None:
            return None
        target = SplitTarget.load(self.source, self.plan, self.embeddings, self.reporter.loading)
        if target.described["skipped"]:
            self.reporter.skipped(target.described["skipped"])
        if self.plan.settings.constellation is not None and self.plan.settings.constellation.classes:
            self.reporter.note(target.told_classes)
        usable = target.described["usable"]
        if usable < FEW_SOUNDS:
            self.reporter.note(
                f"warning: the target has {usable} usable sounds; with fewer than {FEW_SOUNDS} the score card is rough"
            )
        return target

    def _yardstick(self, target: SplitTarget | None) -> Yardstick:
        """Frozen on what trials are scored against; where that is nothing, on sounds of the start nebula."""
        if target is None:
            start = Source("start", self.plan.start)
            found = embed_corpus(start, self.plan, self.embeddings, Purpose.TARGET, sounds=REFERENCE_SOUNDS)
            return Yardstick.frozen_on(self.plan.settings, self.embeddings, found.vectors)
        return Yardstick.frozen_on(self.plan.settings, self.embeddings, *target.held_in)

    def _scorer_spec(self, target: SplitTarget | None, yardstick: Yardstick) -> ScorerSpec:
        settings = self.plan.settings
        path = str(target.save_for_workers(self.plan, self.embeddings, yardstick)) if target else None
        heard = [{"name": one.name, **one.options} for one in settings.heard]
        costs = yardstick.costs(settings.guarded)
        return ScorerSpec(
            self.plan.synth_name, heard, settings.prepare, path, self.device, yardstick.distance.settings, costs
        )

    def _foretell(self, executor: Executor, ledger: Ledger) -> None:
        """Say what will be done, and how long it should take."""
        settings = self.plan.settings
        done = sum(1 for _ in ledger.trials(self.name))
        phases = ", ".join(f"{phase.trials} {phase.sampler}" for phase in settings.search)
        again, chooser = settings.reevaluations, settings.chooser
        then = f"{chooser.name} chooses" if chooser else f"{again} re-evaluations"
        left = (settings.trials - done + again) * settings.sounds + 3 * SCORE_CARD_SOUNDS
        cost = "; ".join(filter(None, (embedding.cost_note(left) for embedding in self.embeddings)))
        on_top = self._on_top()
        self.reporter.note(
            f"study {self.name}: {phases} trials of {settings.sounds} sounds, then {then}; "
            + (cost or f"about {_duration(left * self._seconds_a_sound(executor))}")
            + (f" ({done} trials are done already)" if done else "")
            + (f"; on top come {', '.join(on_top)}" if on_top else "")
        )
        if settings.choose and not chooser and self.source:
            self.reporter.note(f"trials hear {settings.choose.embedding.name}, so it does not choose")

    def _on_top(self) -> list[str]:
        """What takes time beside trials, re-evaluations and score card."""
        settings, match = self.plan.settings, self.source is not None
        parts = {
            "choosing": settings.chooser is not None,
            "the constellation": match and settings.constellation is not None,
            "the second opinion": match and settings.second_opinion is not None,
            "the judges": match and settings.judges,
            "the report": not self.options.no_report,
        }
        return [part for part, wanted in parts.items() if wanted]

    def _seconds_a_sound(self, executor: Executor) -> float:
        """From a few chunks, timed after as many that warm up."""
        sounds = executor.chunk_sounds * executor.slots
        request = Request(self.space.start, first_index(Purpose.VALIDATION, self.plan.seed), sounds)
        for _ in range(2):
            began = time.monotonic()
            executor.vectors(request)
            seconds = time.monotonic() - began
        return seconds / sounds

    def _judge(
        self, executor: Executor, tuned: Point, target: SplitTarget | None, distance: Distance, fitted: Fitted | None
    ) -> dict[str, Any]:
        """Score card of start, hand-made and tuned nebula: on the held-out part, or (diversity) of their own spread."""
        nebulae = {"start": self.space.start}
        if self.plan.synth_name == "voice":
            nebulae["drum"] = self.plan.point(Nebula.load(shipped("nebulae") / "drum.json"))
        nebulae["tuned"] = tuned
        requests = requests_for(nebulae, self.plan.seed)
        if fitted is not None:
            raw = PoolRenderer.draws(self.plan, fitted.constellation, requests["tuned"])
            requests["constellation"] = replace(requests["tuned"], raw=raw)
        fresh = {name: executor.fresh(request) for name, request in requests.items()}
        if target is None or self.source is None:
            spread = spread_card(fresh, distance)
            improves = spread["tuned"]["value"] > spread["start"]["value"]
            return {"heldout": None, "gap_closed": None, "spread": spread, "improves": improves}
        against = Source.parse(self.options.against) if self.options.against else None
        second = embed_corpus(against, self.plan, self.embeddings, Purpose.VALIDATION) if against else None
        others = {"against": second.vectors} if second else {}
        rows = score_card(fresh, target.held_in, target.held_out, distance, others)
        improves = rows["tuned"]["mmd_unbiased"] < rows["start"]["mmd_unbiased"]
        pool = [vectors for vectors, _ in fresh.values()] if fitted is None else [fitted.pool]
        embedded = target.embedded
        near = reach(embedded.vectors, embedded.names, target.groups.tolist(), np.concatenate(pool), distance)
        report: dict[str, Any] = {"heldout": rows, "gap_closed": gap_closed(rows), "improves": improves, "reach": near}
        if other := other_ear(requests, self.plan, self.device, self.source, against):
            report["other"] = other
        if self.plan.settings.judges:
            self.reporter.note("asking the judges how easily these sounds are told from real ones")
            report["told_apart"] = verdicts(requests, self.plan, self.device, self.source, against)
        report["doubts"] = doubts(report)
        if fitted is not None:
            new = novelty(fresh["constellation"][0], fitted.atoms, target.held_in[0], target.held_out[0], distance)
            report["constellation"] = {"file": str(constellation_path(self.out)), **fitted.told, "novelty": new}
        return report

    def _export(
        self, nebula: Nebula, fitted: Fitted | None, report: dict[str, Any], identity: str, origin: dict[str, Any]
    ) -> None:
        """Write provenance, then nebula: killed in between, the study finds no file of unknown origin in its way."""
        provenance = {"identity": identity, **report, "settings": self.plan.resolved(), "origin": origin}
        text = json.dumps(provenance, indent=1) + "\n"
        write_atomically(provenance_path(self.out), text.encode())
        nebula.save(self.out)
        if fitted is not None:
            replace(fitted.constellation, provenance=provenance).save(constellation_path(self.out))

    def _refuse_other_settings(self, ledger: Ledger) -> bool:
        """Refuse other settings than the study has; whether it now also fits or judges what it did not.

        That changes no trial, so it is done on what there is.
        """
        if not ledger.has(self.name):
            return False
        stored = brought_up_to_date(json.loads(ledger.record(self.name)["settings"]))
        now = self.plan.resolved()
        whole = with_gains(stored, now)
        _refuse_differences(self.name, "settings", whole, now)
        return whole != stored

    def _refuse_foreign_file(self, identity: str | None) -> None:
        """Never replace a file that is not this study's."""
        if not self.out.exists() or self.options.force:
            return
        try:
            owner = json.loads(provenance_path(self.out).read_text())["identity"]
        except (OSError, ValueError, KeyError, TypeError):
            owner = None
        if owner is None or owner != identity:
            raise SettingsError(
                f"{self.out} exists and is not this study's; give another --out or --name, or --force to replace it"
            )


def _ready(embedding: str) -> bool:
    """Whether an embedding can be used here and now."""
    try:
        make_embedding(embedding)
    except NebulaTuneError:
        return False
    return True


def _stored_settings(url: str, name: str) -> dict[str, Any] | None:
    """Settings of the study of that name, up to date; None where there is none. Makes no database."""
    try:
        return brought_up_to_date(json.loads(Ledger(url, create=False).record(name)["settings"]))
    except StudyError:  # no database or study yet; or a database that the run itself will be refused by
        return None


def _versions(device: str) -> dict[str, str]:
    import torch

    return {"nebula_tune": __version__, "torch": torch.__version__, "numpy": np.__version__, "device": device}


def _refuse_differences(name: str, what: str, stored: Any, now: Any) -> None:
    if what == "target" and stored and now:
        stored, now = ({k: t[k] for k in ("content", "usable", "held_out")} for t in (stored, now))
    changed = differences(stored, now)
    if changed:
        raise StudyError(
            f"study {name} exists with other {what} ({'; '.join(changed[:6])}); "
            "give another --name, or the settings it has"
        )


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} seconds" if seconds < 90 else f"{seconds / 60:.0f} minutes"
