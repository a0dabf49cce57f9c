"""Commands about studies that are there: parse, one call, print."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nebula_tune.cli.types import Artifacts, Json, Storage
from nebula_tune.storage.paths import DEFAULT_URL
from nebula_tune.words import json_text, printable

if TYPE_CHECKING:
    from nebula_tune.storage.ledger import Ledger


def status(
    *,
    name: Annotated[str | None, typer.Argument(help="A study. [default: all of them]")] = None,
    storage: Storage = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Studies in the database; or one of them: phase, trials, best, rate, time left."""
    from nebula_tune.cli.console import print_studies, print_study
    from nebula_tune.study.status import study_status

    ledger = opened(storage, reading=True)
    statuses = [study_status(ledger, study) for study in ([name] if name else ledger.names())]
    if as_json:
        print(json_text(statuses[0] if name else statuses))
    elif name:
        print_study(statuses[0])
    else:
        print_studies(statuses)


def stop(
    *,
    name: Annotated[str, typer.Argument(help="A study.")],
    timeout: Annotated[int, typer.Option(min=1, help="Seconds to wait until it has stopped.")] = 120,
    storage: Storage = DEFAULT_URL,
) -> None:
    """Stop a running study, on whatever machine it runs: as Ctrl-C there would, so it can be gone on with."""
    from nebula_tune.storage.stopping import stop_study

    state = stop_study(opened(storage), name, timeout)
    way = "" if state == "finished" else "; nothing scored is lost: the same run command goes on from here"
    print(printable(f"study {name}: {state}{way}"))


def export(
    *,
    name: Annotated[str, typer.Argument(help="A study.")],
    trial: Annotated[int | None, typer.Option(help="Number of a trial. [default: the study's result]")] = None,
    out: Annotated[Path | None, typer.Option(help="File to write. [default: stdout]")] = None,
    storage: Storage = DEFAULT_URL,
) -> None:
    """Write the nebula of a study, or of one of its trials, as JSON that torchsynth loads."""
    from nebula_tune.study.status import exported_nebula
    from nebula_tune.tuning.outputs import database_files, refuse_one_file

    refuse_one_file({"the nebula": out} if out else {}, database_files(storage))
    nebula = exported_nebula(opened(storage, reading=True), name, trial)
    if out is None:
        print(nebula.to_json(), end="")
    else:
        nebula.save(out)


def report(
    *,
    name: Annotated[str, typer.Argument(help="A study, finished or not.")],
    out: Annotated[Path | None, typer.Option(help="The page. [default: nebulae/NAME.report.html]")] = None,
    target: Annotated[str | None, typer.Option(help="The study's target, to hear its sounds on the page too.")] = None,
    storage: Storage = DEFAULT_URL,
) -> None:
    """Write a page of a study, one file: score card, search, parameters, a map of sounds that plays, provenance."""
    from nebula_tune.cli.console import note
    from nebula_tune.corpus.source import Source
    from nebula_tune.errors import SettingsError
    from nebula_tune.report.page import write_report
    from nebula_tune.report.view import Ours, View
    from nebula_tune.tuning.outputs import database_files, refuse_one_file

    refuse_one_file({"the report": out} if out else {}, database_files(storage))
    source = Source.parse(target) if target else None
    if source and not source.exists:
        raise SettingsError(f"--target {target} does not exist; give a folder of audio files, a nebula, or white-noise")
    view = View.of(opened(storage, reading=True), name, Ours(source))
    if view.target and not source:
        note("none of the target's sounds are on the page; with --target FOLDER they are")
    print(printable(f"report: {write_report(view, out)}"))


def dashboard(
    *,
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8080,
    host: Annotated[str, typer.Option(help="Address to listen on. It has no login: think before you open it.")] = (
        "127.0.0.1"
    ),
    allow_host: Annotated[
        list[str] | None,
        typer.Option(help="Name by which it is asked for, by a proxy, beside localhost and its address. Repeatable."),
    ] = None,
    allow_edit: Annotated[
        bool, typer.Option("--allow-edit", help="Let a browser change and delete what is shown.")
    ] = False,
    storage: Storage = DEFAULT_URL,
    artifacts: Artifacts = None,
) -> None:
    """Show the studies of a database, with their sounds, in a browser: Optuna's dashboard."""
    from nebula_tune.cli.console import note
    from nebula_tune.dashboard.server import serve
    from nebula_tune.storage.address import normalise_url
    from nebula_tune.storage.ledger import Ledger
    from nebula_tune.storage.paths import database_file

    names = allow_host or []
    on_server = database_file(normalise_url(storage)) is None  # a service may begin before a team's first run
    ledger = Ledger(storage, create=on_server, reading=not allow_edit)
    serve(ledger, host, port, artifacts=artifacts, allow_host=names, allow_edit=allow_edit, note=note)


def copy(
    *,
    name: Annotated[str, typer.Argument(help="A study.")],
    to: Annotated[str, typer.Option(help="The other database: any SQLite or PostgreSQL URL.")],
    storage: Storage = DEFAULT_URL,
) -> None:
    """Copy a study with all its trials to another database, from SQLite to PostgreSQL or back, to go on there."""
    from nebula_tune.storage.ledger import Ledger
    from nebula_tune.storage.transfer import copy_study

    source = opened(storage, reading=True)
    source.record(name)  # or the other database would be made for nothing
    count = copy_study(source, Ledger(to), name)
    print(printable(f"{name}: {count} trials copied"))


def delete(
    *,
    name: Annotated[str, typer.Argument(help="A study.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    storage: Storage = DEFAULT_URL,
    artifacts: Artifacts = None,
) -> None:
    """Remove a study, its trials and its sounds for the dashboard. Exported nebulae stay."""
    from nebula_tune.dashboard.gallery import remove_artifacts
    from nebula_tune.storage.paths import default_artifacts

    ledger = opened(storage)
    ledger.record(name)
    if yes or typer.confirm(printable(f"Remove study {name} and all its trials?"), err=True):
        remove_artifacts(ledger, name, Path(artifacts) if artifacts else default_artifacts(ledger.url))
        ledger.delete(name)


def opened(storage: str, reading: bool = False) -> Ledger:
    """The ledger of a database that is there; with ``reading``, also where it may not be written. Raises StudyError."""
    from nebula_tune.storage.ledger import Ledger

    return Ledger(storage, create=False, reading=reading)
