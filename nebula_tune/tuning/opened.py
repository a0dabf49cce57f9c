"""A resolved study with its target and its place in the database: begun, gone on with, or told again."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa

from nebula_tune import __version__
from nebula_tune.corpus.source import NebulaSounds
from nebula_tune.errors import NebulaTuneError, StopRequested, StudyError, TakenOverError
from nebula_tune.scoring import packages_behind
from nebula_tune.storage.address import without_password
from nebula_tune.storage.lease import Lease
from nebula_tune.storage.ledger import Ledger
from nebula_tune.storage.paths import database_file
from nebula_tune.storage.places import artifacts_root, set_artifacts_root
from nebula_tune.study.editions import with_gains
from nebula_tune.study.plan import brought_up_to_date, stored_json
from nebula_tune.study.run_log import run_log
from nebula_tune.study.target import SplitTarget, embed_corpus
from nebula_tune.study.yardstick import REFERENCE_SOUNDS, Yardstick
from nebula_tune.synth.indices import Purpose
from nebula_tune.tuning.export import Finished, complete, refuse_foreign_file
from nebula_tune.tuning.outputs import (
    ARTIFACTS,
    LOG,
    claimed,
    database_files,
    files_of,
    kept_at,
    read_by,
    refuse_one_file,
    try_out,
    try_out_folder,
    try_out_log,
)
from nebula_tune.tuning.resolve import ResolvedStudy, refuse_differences

FEW_SOUNDS = 64
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class OpenedStudy:
    """A study in its database, with its target.

    Attributes:
        study: what the run does.
        ledger: the database.
        target: what is matched; None for a study of diversity.
        yardstick: the scales that are frozen when a study begins.
        identity: of the study, whatever its name.
        seconds: that earlier runs worked on it.
        origin: where its trials come from, as JSON: the target, versions, the yardstick.
    """

    study: ResolvedStudy
    ledger: Ledger
    target: SplitTarget | None
    yardstick: Yardstick
    identity: str
    seconds: float
    origin: dict[str, Any]

    @contextmanager
    def running(self) -> Iterator[Lease]:
        """This process has the study: its log is open, its state in the database is true, errors and stops included."""
        study, ledger = self.study, self.ledger
        path, note = kept_at(study.options)[LOG], study.reporter.note
        out, force = study.out, study.options.output.force
        with (
            run_log(path, study.name, note, partial(without_password, url=ledger.url)),
            Lease(ledger, study.name, note) as lease,
            claimed(out, study.name, self.identity),
        ):
            refuse_foreign_file(out, self.identity, force)  # another study may have ended since
            settings = json.dumps(study.plan.resolved())
            ledger.update(study.name, state="running", last_error="", settings=settings)
            log.info(
                "run begins", extra={"fields": {"versions": self.origin["versions"], "where": asdict(study.where)}}
            )
            try:
                yield lease
            except TakenOverError as error:
                log.info("run ends, its study lost", extra={"fields": {"error": str(error)}})
                raise
            except (KeyboardInterrupt, StopRequested):
                log.info("run interrupted")
                self._ended_early(state="interrupted")
                raise
            except NebulaTuneError as error:
                log.info("run failed", extra={"fields": {"error": str(error)}})
                self._ended_early(state="failed", last_error=str(error))
                raise

    def export(self) -> Finished:
        """Write the files of the study, which is finished. Raises SettingsError, StorageError."""
        finished = Finished.of(self.ledger, self.study.name, self.study.out)
        if finished is None:
            raise StudyError(f"study {self.study.name} is not finished; another process has changed it")
        refuse_foreign_file(self.study.out, self.identity, self.study.options.output.force)
        finished.write(finished.files)
        return finished

    def _ended_early(self, **columns: str) -> None:
        """Keep the state of a study; one whose result is kept already stays finished."""
        if self.ledger.record(self.study.name)["state"] != "finished":
            self.ledger.update(self.study.name, **columns)


def open_study(study: ResolvedStudy) -> OpenedStudy | Finished:
    """The study, begun where it was not; or, of a finished one with nothing to add, what its files hold, all written.

    Raises StudyError for a study of that name with other settings or another target, SettingsError for a file in the
    way of the nebula or a place that cannot be written, CorpusError for a target that cannot be used, StorageError.
    """
    name, note = study.name, study.reporter.note
    _tell_files_apart(study)
    ledger = Ledger(study.options.output.storage)
    adds = _adds(study, ledger)
    finished = Finished.of(ledger, name, study.out) if ledger.has(name) and not adds else None
    if finished and finished.lost:
        note(f"the constellation of study {name} is nowhere any more: it is fitted again")
        finished = None
    if finished is None:
        _try_out(study)
    target = _load_target(study)
    origin: dict[str, Any] = {"target": target.described if target else None, "versions": _versions(study)}
    stored = ledger.record(name) if ledger.has(name) else None
    if stored:
        refuse_differences(name, "target", ledger.target(name), origin["target"])
    identity, nebula = (stored["identity"] if stored else None), (finished.nebula if finished else None)
    refuse_foreign_file(study.out, identity, study.options.output.force, nebula)
    if finished:
        edition = f", made with {study.begun_with}; give another --name for a new run" if study.begun_with else ""
        note(f"study {name} is finished; this is its result again{edition}")
        complete(study, ledger, finished)
        return finished
    if study.begun_with:
        note(
            f"study {name} was begun with {study.begun_with}: it goes on so; "
            "give another --name for a new run with today's settings"
        )
    study.check_later_embeddings()
    frozen = stored_json(stored, "origin").get("yardstick") if stored else None
    origin["yardstick"] = frozen or _yardstick(study, target).as_json()
    kept = {key: origin[key] for key in ("versions", "yardstick")}
    stored = ledger.begin(name, study.plan.resolved(), kept, origin["target"])
    if stored_json(stored, "origin")["versions"] != origin["versions"]:
        note("this study began under other versions or another device; the last bits may differ")
    _name_artifacts(study, ledger)
    yardstick = Yardstick.read(origin["yardstick"])
    return OpenedStudy(study, ledger, target, yardstick, stored["identity"], stored["seconds"], origin)


def _written(study: ResolvedStudy, page: bool) -> dict[str, Path]:
    """The files of the study's result."""
    constellation = study.source is not None and study.plan.settings.constellation is not None
    return files_of(study.out, constellation=constellation, page=page)


def _tell_files_apart(study: ResolvedStudy) -> None:
    """Refuse places that are one: each would eat what the other holds. Raises SettingsError."""
    written = (
        database_files(study.options.output.storage)
        | _written(study, page=not study.options.output.no_report)
        | kept_at(study.options)
    )
    refuse_one_file(written, read_by(study.options))


def _try_out(study: ResolvedStudy) -> None:
    """Refuse, before any trial, what could not be written after all of them. Raises SettingsError."""
    try_out(_written(study, page=False).items())  # the page lies beside them; without it the study is finished too
    kept = kept_at(study.options)
    try_out_log(kept[LOG])
    try_out_folder(kept[ARTIFACTS])


def _name_artifacts(study: ResolvedStudy, ledger: Ledger) -> None:
    """Name the folder of sounds and pictures in the database where it names none, so that every dashboard finds it.

    What lies beside a database is found without, wherever both are moved. A folder that the database names already is
    somebody's else: it is told, and never written to because of that.
    """
    given = study.options.output.artifacts
    if given is None and database_file(ledger.url) is not None:
        return
    folder = str(kept_at(study.options)[ARTIFACTS].absolute())
    named = ledger.database.call(lambda _: artifacts_root(ledger.engine))
    if named is None:
        with suppress(sa.exc.IntegrityError):  # another run named one just now
            set_artifacts_root(ledger.engine, folder)
    elif named != folder:
        study.reporter.note(
            f"warning: sounds and pictures of this database are in {named}, those of this run go to {folder}, where "
            "other users' dashboards do not look; --artifacts names a folder for all"
        )


def _adds(study: ResolvedStudy, ledger: Ledger) -> bool:
    """Refuse other settings than the stored study has; whether it now also fits or judges what it did not.

    That changes no trial, so it is done on what there is.
    """
    if not ledger.has(study.name):
        return False
    stored = brought_up_to_date(stored_json(ledger.record(study.name), "settings"))
    now = study.plan.resolved()
    whole = with_gains(stored, now)
    refuse_differences(study.name, "settings", whole, now)
    return whole != stored


def _load_target(study: ResolvedStudy) -> SplitTarget | None:
    if study.source is None:
        return None
    target = SplitTarget.load(study.source, study.plan, study.embeddings, study.reporter.loading)
    if target.described["skipped"]:
        study.reporter.skipped(target.described["skipped"])
    if study.plan.settings.constellation is not None and study.plan.settings.constellation.classes:
        study.reporter.note(target.told_classes)
    usable = target.described["usable"]
    if usable < FEW_SOUNDS:
        study.reporter.note(
            f"warning: the target has {usable} usable sounds; with fewer than {FEW_SOUNDS} the score card is rough"
        )
    return target


def _yardstick(study: ResolvedStudy, target: SplitTarget | None) -> Yardstick:
    """Frozen on what trials are scored against; where that is nothing, on sounds of the start nebula."""
    settings, embeddings = study.plan.settings, study.embeddings
    if target is None:
        start = NebulaSounds("start", study.plan.start)
        reference = embed_corpus(start, study.plan, embeddings, Purpose.TARGET, sounds=REFERENCE_SOUNDS)
        return Yardstick.frozen_on(settings, embeddings, reference.vectors)
    return Yardstick.frozen_on(settings, embeddings, *target.held_in)


def _versions(study: ResolvedStudy) -> dict[str, str]:
    """Of what a study's numbers depend on; the packages of others that it uses are among them."""
    import torch

    settings, synth = study.plan.settings, study.plan.synth
    judging = [named.name for named in (settings.chooser, settings.second_opinion) if named is not None]
    names = [*(embedding.name for embedding in study.embeddings), *judging]
    ours = {"nebula_tune": __version__, "torch": torch.__version__, "numpy": np.__version__, "device": study.device}
    return ours | dict(synth.versions()) | packages_behind(study.plan.synth_name, names, [settings.distance])
