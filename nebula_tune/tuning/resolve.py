"""From what a run is told to what it does: the study's plan, its target's source, its embeddings. Makes no database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nebula_tune.corpus.groups import GroupBy
from nebula_tune.corpus.source import Source
from nebula_tune.embedding import Embedding, make_embedding
from nebula_tune.embedding.base import own_device
from nebula_tune.errors import NebulaTuneError, SettingsError, StudyError
from nebula_tune.execution.where import Where
from nebula_tune.storage.ledger import Ledger
from nebula_tune.study.editions import Edition, nearest_edition, other_editions, with_gains
from nebula_tune.study.plan import Plan, brought_up_to_date, choose_study, differences, override, stored_json
from nebula_tune.study.settings import StudySettings
from nebula_tune.synth import NamedPanel, architecture, panel_of, study_of
from nebula_tune.tuning.options import Options, StudyOptions, check, fitting, study_name
from nebula_tune.tuning.outputs import try_out_database
from nebula_tune.tuning.reporter import Reporter


@dataclass(frozen=True)
class ResolvedStudy:
    """What a run does.

    Attributes:
        options: what the run was told.
        reporter: who is told what it does.
        where: where trials are scored.
        source: the target; None for a study of diversity.
        name: the study's.
        plan: settings, nebula to start from and all else that its trials depend on.
        begun_with: the edition of a shipped study that the stored one was begun with, in words; "" where it is today's.
        device: torch's name of where this process embeds.
        embeddings: what trials hear with.
    """

    options: Options
    reporter: Reporter
    where: Where
    source: Source | None
    name: str
    plan: Plan
    begun_with: str
    device: str
    embeddings: Sequence[Embedding]

    @property
    def out(self) -> Path:
        """The file of the nebula."""
        return Path(self.options.output.out or f"nebulae/{self.name}.json")

    @property
    def against(self) -> Source | None:
        """A second real corpus for the score card."""
        against = self.options.study.against
        return Source.parse(against) if against else None

    def check_later_embeddings(self) -> None:
        """Make, before any trial, what is heard only after all of them. Raises EmbeddingError.

        A setting that is wrong is a setting of the study: found out at the end, it would cost all trials.
        """
        settings = self.plan.settings
        for later in (settings.chooser, settings.second_opinion):
            if self.source is not None and later is not None:
                make_embedding(later.name, **later.options, device=self.device)


def resolve(options: Options, reporter: Reporter) -> ResolvedStudy:
    """The study that these options mean, or go on with. Raises SettingsError, EmbeddingError, StudyError."""
    check(options)
    study, execution, output = options.study, options.execution, options.output
    where = Where(
        execution.executor,
        execution.workers,
        execution.ray_address,
        execution.gpu_share,
        execution.task_timeout,
        ray_patience=execution.ray_patience,
    )
    of_synth = study_of(study.synth) if study.study == "auto" else None
    today, why = choose_study(of_synth or study.study, is_ready)
    if of_synth:
        why = f"study {of_synth}, which is made for what a sound of {study.synth} costs"
    match = (study.objective or today.objective) == "match"
    if match and study.target is None:
        raise SettingsError("say what to sound like with --target (a folder, a nebula, or white-noise)")
    source = Source.parse(study.target) if match and study.target else None
    of_study = Path(study.study).stem if today.objective == "diversity" else "diversity"
    name = output.name or (study_name(source) if source else fitting(of_study))
    try_out_database(output.storage)
    stored = _stored_settings(output.storage, name)
    panel = _panel(study, (stored or {}).get("panel"), reporter)
    plan, begun_with = _plan(study, today, panel, stored, name)
    if why and not begun_with:
        reporter.note(why)
    device = own_device()
    embeddings = [make_embedding(named.name, **named.options, device=device) for named in plan.settings.heard]
    plan.space  # noqa: B018  # refuses bad globs before any work
    return ResolvedStudy(options, reporter, where, source, name, plan, begun_with, device, embeddings)


def is_ready(embedding: str) -> bool:
    """Whether an embedding can be used here and now."""
    try:
        make_embedding(embedding)
    except NebulaTuneError:
        return False
    return True


def refuse_differences(name: str, what: str, stored: Any, now: Any) -> None:
    """Raise StudyError where a stored study's settings or target are others than this run's.

    Args:
        name: of the study.
        what: settings or target; of a target its content and the number of its sounds are compared.
        stored: those of the stored study, as JSON.
        now: those of this run.
    """
    if what == "target" and stored and now:
        stored, now = ({k: t[k] for k in ("content", "usable", "held_out")} for t in (stored, now))
    changed = differences(stored, now)
    if changed:
        raise StudyError(
            f"study {name} exists with other {what} ({'; '.join(changed[:6])}); "
            "give another --name, or the settings it has"
        )


def _panel(options: StudyOptions, kept: Any, reporter: Reporter) -> NamedPanel | None:
    """The panel of the run: of a study that keeps one of that name, what it keeps, whatever the file says now.

    ``kept`` is the stored study's, as JSON; None where there is none. Raises SettingsError.
    """
    if kept is None:
        return panel_of(options.synth, options.panel)
    panel = NamedPanel.from_json(kept)
    try:
        now = panel_of(options.synth, options.panel)
    except SettingsError:
        if options.panel is None or Path(options.panel).stem != panel.name:
            raise
        reporter.note(f"panel {options.panel} cannot be read any more: the study goes on with the one that it keeps")
        return panel
    if now is None or now.name != panel.name:
        return now
    if now != panel:
        reporter.note(f"panel {panel.name} has changed since the study began: it goes on with the one that it keeps")
    return panel


def _plan(
    options: StudyOptions, today: StudySettings, panel: NamedPanel | None, stored: dict[str, Any] | None, name: str
) -> tuple[Plan, str]:
    """The plan; and the edition that the stored study was begun with, in words, where it is not today's."""

    def planned(settings: StudySettings) -> Plan:
        return _planned(options, settings, panel)

    if stored:
        editions = [Edition(options.study, today), *other_editions(options.study)]
        if nearest := nearest_edition(stored, editions, planned):
            edition, plan = nearest
            refuse_differences(name, "settings", with_gains(stored, plan.resolved()), plan.resolved())
            return plan, "" if edition is editions[0] else str(edition)
    return planned(today), ""


def _planned(options: StudyOptions, settings: StudySettings, panel: NamedPanel | None) -> Plan:
    """A study's settings with the options over them. Raises SettingsError for options it cannot take."""
    settings = override(
        settings,
        objective=options.objective,
        embedding=options.embedding,
        weights=options.weights,
        trials=options.trials,
        sounds=options.sounds,
        distance=options.distance,
        constellation=options.constellation,
        classes=options.classes,
    )
    return Plan(
        settings,
        options.synth,
        architecture(options.synth, panel).resolve(options.start),
        tuple(options.tune) or settings.tune,
        (*settings.freeze, *options.freeze),
        options.seed,
        GroupBy(options.group_by).value,
        options.target_sounds,
        panel,
    )


def _stored_settings(url: str, name: str) -> dict[str, Any] | None:
    """Settings of the study of that name, up to date; None where there is none. Makes no database."""
    try:
        return brought_up_to_date(stored_json(Ledger(url, create=False).record(name), "settings"))
    except StudyError:  # no database or study yet; or a database that the run itself will be refused by
        return None
