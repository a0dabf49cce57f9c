"""The command that tunes a nebula: parse, one call, print."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from nebula_tune.cli.types import Artifacts, Json, Storage
from nebula_tune.storage.paths import DEFAULT_URL


def run(
    *,
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
    from nebula_tune.cli.console import RunConsole
    from nebula_tune.tuning.options import Options
    from nebula_tune.tuning.pipeline import run as tune_nebula

    options = Options(
        target=target,
        study=study,
        objective=objective,
        embedding=embedding,
        weights=weights,
        trials=trials,
        sounds=sounds,
        tune=tuple(tune or ()),
        freeze=tuple(freeze or ()),
        start=start,
        name=name,
        storage=storage,
        workers=workers,
        executor=executor,
        ray_address=ray_address,
        gpu_share=gpu_share,
        task_timeout=task_timeout,
        seed=seed,
        out=out,
        force=force,
        time_limit=time_limit,
        group_by=group_by,
        against=against,
        synth=synth,
        target_sounds=target_sounds,
        log=log,
        artifacts=artifacts,
        no_report=no_report,
        distance=distance,
        constellation=constellation,
        classes=classes,
    )
    with RunConsole(quiet=as_json, verbose=verbose) as console:
        result = tune_nebula(options, console)
        console.finish(result.report)
    if as_json:
        print(json.dumps(result.report, indent=1))
