"""The command line: its commands, and how it ends. Everything heavy is imported by the command that needs it."""

from __future__ import annotations

import io
import signal
import sys
from typing import Annotated, Any, NoReturn

import typer

from nebula_tune import __version__
from nebula_tune.cli import corpora, judging, presets, run, studies
from nebula_tune.cli.arguments import hide_passwords, without_passwords
from nebula_tune.errors import NebulaTuneError, why
from nebula_tune.notices import on_stderr
from nebula_tune.words import DEGRADING, printable

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


@app.callback(invoke_without_command=True)
def _main(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    if version:
        print(f"nebula-tune {__version__}")
        raise typer.Exit


# In the order that `nebula-tune --help` lists them.
COMMANDS = (
    run.run, studies.status, studies.stop, studies.export, corpora.render, presets.match, studies.report,
    judging.listen, studies.dashboard, studies.copy, studies.delete, corpora.cache, judging.compare, judging.rank,
    corpora.dataset, judging.reach, judging.embeddings,
)  # fmt: skip
for command in COMMANDS:
    app.command()(command)


def main() -> NoReturn:
    """Entry point: run the app, and turn every foreseen error into one line and an exit code."""
    hide_passwords()
    signal.signal(signal.SIGTERM, _terminate)
    _degrade_outputs()
    try:
        with on_stderr():
            code = app(standalone_mode=False)
    except KeyboardInterrupt:
        code = INTERRUPTED
    except NebulaTuneError as error:
        _fail(str(error), error.exit_code)
    except MemoryError:
        _fail("out of memory; use fewer --workers or a smaller target", 1)
    except OSError as error:
        _fail(f"{error.filename or 'system'}: {why(error)}", 1)
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
    print(f"nebula-tune: {printable(' '.join(without_passwords(message).split()))}", file=sys.stderr)
    sys.stderr.flush()
    sys.exit(code)


def _degrade_outputs() -> None:
    """Where an output's encoding lacks a character, another takes its place, unless the environment says what."""
    for output in (sys.stdout, sys.stderr):
        if isinstance(output, io.TextIOWrapper) and output.errors in ("strict", "surrogateescape", "backslashreplace"):
            output.reconfigure(errors=DEGRADING)


def _terminate(*_: object) -> None:
    raise KeyboardInterrupt
