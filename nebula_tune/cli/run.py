"""The command that tunes a nebula: parse, one call, print. Its options are the parameters of ``tune``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from nebula_tune.cli.signature import options_of
from nebula_tune.cli.types import Artifacts, Json, Storage
from nebula_tune.tuning.tune import tune
from nebula_tune.words import json_text


@options_of(tune, without=["reporter"], storage=Storage, artifacts=Artifacts)
def run(
    *,
    as_json: Json = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="List every skipped file.")] = False,
    **options: Any,
) -> None:
    """Tune a nebula to a target, judge it on held-out sounds, and export it.

    The target's sounds are split: a fifth is held out and seen by no trial. The rest is what the search brings the
    nebula's random sounds near to. Interrupt it when you like: the same command goes on where it was.
    """
    from nebula_tune.cli.console import RunConsole

    with RunConsole(quiet=as_json, verbose=verbose) as console:
        result = tune(reporter=console, **options)
        console.finish(result.report)
    if as_json:
        print(json_text(result.report))
