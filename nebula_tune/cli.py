"""The command line: parse, call, print. Everything heavy is imported by the command that needs it."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from nebula_tune import __version__, commands
from nebula_tune.errors import NebulaError, NebulaTuneError
from nebula_tune.study import DEFAULT_URL

if TYPE_CHECKING:
    from nebula_tune.storage.ledger import Ledger

INTERRUPTED = 130  # exit code

app = typer.Typer(
    name="nebula-tune",
    help="Tune a synthesizer's nebula to a folder of sounds, with evidence on held-out data.\n\n"
    "Start with:  nebula-tune run --target FOLDER",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

Storage = Annotated[
    str,
    typer.Option(
        envvar="NEBULA_TUNE_STORAGE",
        show_envvar=False,
        help="Database of studies: any SQLite or PostgreSQL URL. [or NEBULA_TUNE_STORAGE in the environment]",
    ),
]
Artifacts = Annotated[
    str | None, typer.Option(help="Folder of the dashboard's sounds. [default: artifacts, beside the database]")
]
Json = Annotated[bool, typer.Option("--json", help="Machine-readable result on stdout, nothing else there.")]


@app.callback(invoke_without_command=True)
def _main(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    if version:
        print(f"nebula-tune {__version__}")
        raise typer.Exit


@app.command()
def run(
    target: Annotated[
        str | None,
        typer.Option(
            help="What to sound like: a folder of audio, a nebula's file or name (default, drum), or white-noise."
        ),
    ] = None,
    study: Annotated[
        str,
        typer.Option(
            help="A shipped study (laptop, full, paper), a YAML file, or auto: full or full-aisfx where "
            "there is a GPU and their weights, else laptop."
        ),
    ] = "auto",
    objective: Annotated[
        str | None, typer.Option(help="match (be near the target) or diversity (be varied). [default: the study's]")
    ] = None,
    embedding: Annotated[
        str | None,
        typer.Option(help="The ear, by name; or several with weights: logmel=1,mss=0.5. [default: the study's]"),
    ] = None,
    distance: Annotated[
        str | None, typer.Option(help="l1, euclidean or gaussian, between sounds' vectors. [default: the study's]")
    ] = None,
    weights: Annotated[str | None, typer.Option(help="Weights file for the embedding.")] = None,
    trials: Annotated[
        int | None, typer.Option(help="Trials in all; phases are scaled in proportion. [default: the study's]")
    ] = None,
    sounds: Annotated[int | None, typer.Option(help="Sounds a trial. [default: the study's]")] = None,
    tune: Annotated[
        list[str] | None, typer.Option(help="Only parameters that match may change, like 'vco_*.*'. Repeatable.")
    ] = None,
    freeze: Annotated[
        list[str] | None, typer.Option(help="Parameters that match stay as they are. Repeatable.")
    ] = None,
    start: Annotated[str, typer.Option(help="Nebula to start from.")] = "default",
    name: Annotated[
        str | None, typer.Option(help="Name of the study; one that exists is resumed. [default: from the target]")
    ] = None,
    storage: Storage = DEFAULT_URL,
    workers: Annotated[int | None, typer.Option(help="Scoring workers. [default: one per GPU, else 1]")] = None,
    executor: Annotated[str, typer.Option(help="ray, inline (no Ray), or auto: ray for GPUs or workers.")] = "auto",
    ray_address: Annotated[str | None, typer.Option(help="Join the Ray cluster there.")] = None,
    gpu_share: Annotated[float, typer.Option(help="Share of a GPU that each worker takes.")] = 1.0,
    task_timeout: Annotated[
        float | None,
        typer.Option(
            help="Seconds a worker may take for a task before it is taken to hang. [default: 60, and more "
            "where tasks take long]"
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Everything random derives from it.")] = 0,
    out: Annotated[str | None, typer.Option(help="The exported nebula. [default: nebulae/NAME.json]")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace --out even if it is not this study's.")] = False,
    time_limit: Annotated[float | None, typer.Option(help="Stop cleanly after so many minutes; resumable.")] = None,
    group_by: Annotated[
        str,
        typer.Option(
            help="What is held out together: folder, file, or auto (folder where at "
            "least 30 folders hold several sounds)."
        ),
    ] = "auto",
    against: Annotated[str | None, typer.Option(help="A second real corpus for the score card.")] = None,
    synth: Annotated[str, typer.Option(help="The synth's architecture.")] = "voice",
    target_sounds: Annotated[int, typer.Option(help="Sounds of a nebula or white-noise as target.")] = 2000,
    log: Annotated[
        str | None, typer.Option(help="Log file, one JSON line an event. [default: beside the database]")
    ] = None,
    artifacts: Artifacts = None,
    no_report: Annotated[bool, typer.Option("--no-report", help="Make no page of the finished study.")] = False,
    constellation: Annotated[
        bool | None,
        typer.Option(
            help="Also fit a constellation on the tuned nebula: parameters that go together. [default: the study's]"
        ),
    ] = None,
    classes: Annotated[
        bool,
        typer.Option("--classes", help="The target's sub-folders name classes; a constellation's atoms carry them."),
    ] = False,
    as_json: Json = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="List every skipped file.")] = False,
) -> None:
    """Tune a nebula to a target, judge it on held-out sounds, and export it.

    The target's sounds are split: a fifth is held out and seen by no trial. The rest is what the search brings the
    nebula's random sounds near to. Interrupt it when you like: the same command goes on where it was.
    """
    from nebula_tune.console import RunConsole
    from nebula_tune.tuning.options import Options
    from nebula_tune.tuning.pipeline import Run

    options = Options(
        target, study, objective, embedding, weights, trials, sounds, tuple(tune or ()), tuple(freeze or ()), start,
        name, storage, workers, executor, ray_address, gpu_share, task_timeout, seed, out, force, time_limit,
        group_by, against, synth, target_sounds, log, artifacts, no_report, distance, constellation,
        classes,
    )  # fmt: skip
    with RunConsole(quiet=as_json, verbose=verbose) as console:
        result = Run(options, console).go()
        console.finish(result.report)
    if as_json:
        print(json.dumps(result.report, indent=1))


@app.command()
def status(
    name: Annotated[str | None, typer.Argument(help="A study. [default: all of them]")] = None,
    storage: Storage = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Studies in the database; or one of them: phase, trials, best, rate, time left."""
    from nebula_tune.console import print_studies, print_study
    from nebula_tune.study.status import study_status

    ledger = _open(storage)
    found = [study_status(ledger, one) for one in ([name] if name else ledger.names())]
    if as_json:
        print(json.dumps(found[0] if name else found, indent=1))
    elif name:
        print_study(found[0])
    else:
        print_studies(found)


@app.command()
def export(
    name: Annotated[str, typer.Argument(help="A study.")],
    trial: Annotated[int | None, typer.Option(help="Number of a trial. [default: the study's result]")] = None,
    out: Annotated[Path | None, typer.Option(help="File to write. [default: stdout]")] = None,
    storage: Storage = DEFAULT_URL,
) -> None:
    """Write the nebula of a study, or of one of its trials, as JSON that torchsynth loads."""
    from nebula_tune.study.status import exported_nebula

    nebula = exported_nebula(_open(storage), name, trial)
    if out is None:
        sys.stdout.write(nebula.to_json())
    else:
        nebula.save(out)


@app.command()
def render(
    nebula: Annotated[str, typer.Argument(help="A nebula's or constellation's file, or a name (default, drum).")],
    count: Annotated[int, typer.Option(help="How many sounds.")],
    out: Annotated[Path, typer.Option(help="Folder to write to.")],
    first: Annotated[int, typer.Option(help="Index of the first sound; with the default nebula, in synth1B1.")] = 0,
    kind: Annotated[str, typer.Option("--format", help="wav or flac.")] = "wav",
    parameters_only: Annotated[
        bool, typer.Option("--parameters-only", help="No audio: parameters.parquet, parameters.npz and nebula.json.")
    ] = False,
    sample_rate: Annotated[int, typer.Option(help="Hz.")] = 44100,
    seconds: Annotated[float, typer.Option(help="Length of each sound.")] = 4.0,
    only: Annotated[
        str | None, typer.Option("--class", help="Draw from this class of a constellation's atoms only.")
    ] = None,
    synth: Annotated[str, typer.Option(help="The synth's architecture.")] = "voice",
) -> None:
    """Write sounds of a nebula or constellation as audio files, with their parameters in parameters.parquet.

    The same indices give the same sounds. Files that are there already are kept, so an interrupted call is finished by
    the same call.
    """
    from nebula_tune.console import counting
    from nebula_tune.constellation import Constellation
    from nebula_tune.corpus.writer import BATCH, write_parameters, write_sounds
    from nebula_tune.synth import architecture

    kind_of_synth = architecture(synth)
    source = kind_of_synth.resolve_sounds(nebula)
    if only is not None:
        if not isinstance(source, Constellation):
            raise NebulaError(f"--class {only}: only a constellation has classes, and {nebula} is a nebula")
        source = source.of_class(only)
    player = kind_of_synth(source, BATCH, sample_rate, seconds)
    if parameters_only:
        write_parameters(player, first, count, out, archive=True)
        return
    with counting("rendering") as progress:
        write_sounds(player, first, count, out, kind, progress)


@app.command()
def report(
    name: Annotated[str, typer.Argument(help="A study, finished or not.")],
    out: Annotated[Path | None, typer.Option(help="The page. [default: NAME.report.html beside the nebula]")] = None,
    storage: Storage = DEFAULT_URL,
) -> None:
    """Write a page of a study, one file: score card, search, parameters, a map of sounds that plays, provenance."""
    from nebula_tune.report.page import write_report

    print(f"report: {write_report(_open(storage), name, out)}")


@app.command()
def listen(
    what: Annotated[
        list[str], typer.Argument(metavar="A B", help="Two folders, nebulae, or white-noise; with --analyse: ballots.")
    ],
    out: Annotated[Path, typer.Option(help="The page; its key is written beside it.")] = Path("listen.html"),
    target_kind: Annotated[
        str | None, typer.Option(help="What the target's sounds are, in your words, like 'drum hits'.")
    ] = None,
    pairs: Annotated[int, typer.Option(help="Pairs of a sound of each.")] = 64,
    seed: Annotated[
        int | None, typer.Option(help="Sounds, order and sides follow from it. [default: one nobody knows]")
    ] = None,
    analyse: Annotated[bool, typer.Option("--analyse", help="Unblind and analyse ballots.")] = False,
    key: Annotated[
        list[Path] | None, typer.Option(help="With --analyse: the key of a test. Repeatable, for several tests.")
    ] = None,
    synth: Annotated[str, typer.Option(help="The synth's architecture.")] = "voice",
    as_json: Json = False,
) -> None:
    """Make a blinded listening test of A against B, one page; or, with --analyse, tell what its ballots say.

    The page plays pairs of sounds, order and sides drawn by lot, and gives a ballot to download. Its key is a file of
    its own: do not open it before the last ballot is in.
    """
    from nebula_tune.console import print_analysis, print_test
    from nebula_tune.listening.command import analyse_ballots, make_test

    if analyse:
        print_analysis(analyse_ballots(what, key or []), as_json)
    else:
        print_test(make_test(what, synth, out, target_kind, pairs, seed, key), as_json)


@app.command()
def dashboard(
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8080,
    host: Annotated[str, typer.Option(help="Address to listen on. It has no login: think before you open it.")] = (
        "127.0.0.1"
    ),
    storage: Storage = DEFAULT_URL,
    artifacts: Artifacts = None,
) -> None:
    """Show the studies of a database, with their sounds, in a browser: Optuna's dashboard."""
    from nebula_tune.dashboard.server import serve

    serve(_open(storage), host, port, artifacts, lambda text: print(text, file=sys.stderr, flush=True))


@app.command()
def copy(
    name: Annotated[str, typer.Argument(help="A study.")],
    to: Annotated[str, typer.Option(help="The other database: any SQLite or PostgreSQL URL.")],
    storage: Storage = DEFAULT_URL,
) -> None:
    """Copy a study with all its trials to another database, from SQLite to PostgreSQL or back, to go on there."""
    from nebula_tune.storage.ledger import Ledger
    from nebula_tune.storage.transfer import copy_study

    count = copy_study(_open(storage), Ledger(to), name)
    print(f"{name}: {count} trials copied")


@app.command()
def delete(
    name: Annotated[str, typer.Argument(help="A study.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    storage: Storage = DEFAULT_URL,
    artifacts: Artifacts = None,
) -> None:
    """Remove a study, its trials and its sounds for the dashboard. Exported nebulae stay."""
    from nebula_tune.dashboard.gallery import default_artifacts, remove_artifacts

    ledger = _open(storage)
    ledger.record(name)
    if yes or typer.confirm(f"Remove study {name} and all its trials?", err=True):
        remove_artifacts(ledger, name, Path(artifacts) if artifacts else default_artifacts(ledger.url))
        ledger.delete(name)


@app.command()
def cache(
    clear: Annotated[bool, typer.Option("--clear", help="Remove embedded sounds.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Size of the cache of embedded sounds and fetched weights; with --clear, remove the sounds."""
    from nebula_tune.corpus.cache import cache_folder, cache_size, clear_cache

    files, size = cache_size()
    print(f"{cache_folder()}: {files} files, {size / 1e6:.1f} MB")
    if clear and (yes or typer.confirm("Remove all embedded sounds?", err=True)):
        clear_cache()


for command in (commands.compare, commands.rank, commands.dataset, commands.reach, commands.embeddings):
    app.command()(command)


def _open(storage: str) -> Ledger:
    from nebula_tune.storage.ledger import Ledger

    return Ledger(storage, create=False)


def main() -> NoReturn:
    """Entry point: run the app, and turn every foreseen error into one line and an exit code."""
    signal.signal(signal.SIGTERM, _terminate)
    try:
        code = app(standalone_mode=False)
    except KeyboardInterrupt:
        code = INTERRUPTED
    except NebulaTuneError as error:
        _fail(str(error), error.exit_code)
    except MemoryError:
        _fail("out of memory; use fewer --workers or a smaller target", 1)
    except OSError as error:
        _fail(f"{error.filename or 'system'}: {error.strerror or error}", 1)
    except Exception as error:
        _usage(error)
    if code == INTERRUPTED:  # which is also what typer makes of Ctrl-C
        _fail("interrupted; nothing finished is lost: the same command goes on from here", INTERRUPTED)
    sys.exit(code if isinstance(code, int) else 0)


def _usage(error: Exception) -> NoReturn:
    """Errors of the option parser as one plain line; anything else is a defect and shows its traceback."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if "Abort" in kinds:
        _fail("nothing done", INTERRUPTED)
    if "ClickException" in kinds:
        message: Any = error
        if "NoArgsIsHelpError" in kinds:
            print(message.format_message())
            sys.exit(2)
        _fail(f"{message.format_message().rstrip('.')}; see nebula-tune --help", 2)
    raise error


def _fail(message: str, code: int) -> NoReturn:
    print(f"nebula-tune: {' '.join(message.split())}", file=sys.stderr)
    sys.stderr.flush()
    sys.exit(code)


def _terminate(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
