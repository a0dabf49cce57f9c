"""The command that finds presets for given sounds: parse, one call, print."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nebula_tune.cli.types import Json, PanelOption, Seed
from nebula_tune.words import json_text, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nebula_tune.matching.matched import Matched


def match(
    *,
    sounds: Annotated[list[Path], typer.Argument(help="Audio files, or folders of such.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder for audio and parameters; of several sounds, a folder in it for each.")
    ] = None,
    nebula: Annotated[
        str, typer.Option(help="What random sounds are drawn from: a nebula's or constellation's file, or a name.")
    ] = "default",
    synth: Annotated[str, typer.Option(help="The synth's architecture.")] = "voice",
    panel: PanelOption = None,
    pool: Annotated[
        int | None,
        typer.Option(help="Random sounds to look through; kept for the next time. [default: 65536; of Vital 4096]"),
    ] = None,
    keep: Annotated[int, typer.Option(help="Presets of each sound.")] = 5,
    renders: Annotated[
        int | None,
        typer.Option(
            help="Sounds that the searches from the nearest may render, for each sound; 0: no search. "
            "[default: 4096; of Vital 1024]"
        ),
    ] = None,
    embedding: Annotated[
        str, typer.Option(help="The ears with their weights; the first alone hears the whole pool.")
    ] = "logmel=1,modulation=1",
    seconds: Annotated[float, typer.Option(help="Length of the audio that is written.")] = 4.0,
    report: Annotated[
        Path | None, typer.Option(help="Page to write, one file: sounds and matches side by side.")
    ] = None,
    executor: Annotated[str, typer.Option(help="ray, inline (no Ray), or auto: ray for GPUs or workers.")] = "auto",
    workers: Annotated[int | None, typer.Option(help="Workers. [default: one per GPU, else 1]")] = None,
    ray_address: Annotated[str | None, typer.Option(help="Join the Ray cluster there.")] = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Presets of a synth whose sounds are nearest to given ones.

    For example:  nebula-tune match kick.wav --out kick/ --report kick.html

    Random sounds of a nebula are drawn, those nearest to yours are heard more closely, and searches go on from the
    nearest. A tuned nebula (--nebula) is a better place to look in than the synth's own. Distances are in units of the
    mean distance of two random sounds.
    """
    from nebula_tune.cli.console import counting, note
    from nebula_tune.execution.where import Where
    from nebula_tune.matching.hearing import MatchPrior
    from nebula_tune.matching.match import match as matched
    from nebula_tune.matching.output import write_page
    from nebula_tune.tuning.outputs import given, refuse_one_file, try_out

    page = given({"the page": report})
    refuse_one_file(page, {f"sound {path}": path for path in sounds})
    try_out(page.items())
    results = matched(
        sounds,
        nebula=nebula,
        synth=synth,
        panel=panel,
        embedding=embedding,
        pool=pool,
        keep=keep,
        renders=renders,
        seed=seed,
        out=out,
        seconds=seconds,
        where=Where(executor, workers, ray_address),
        note=note,
        stage=counting,
    )
    if report is not None:
        write_page(results, MatchPrior.of(nebula, synth, panel), report)
    if as_json:
        print(json_text([result.to_json() for result in results]))
    else:
        _print(results)
        if report is not None:
            note(f"report: {report}")


def _print(results: Sequence[Matched]) -> None:
    """A line for each sound: how near its matches are, and where they lie."""
    from nebula_tune.terminal import Sheet, SheetColumn, plain_console

    names = list(results[0].pool_best.by_ear)
    titles = ("nearest", *names, "pool's nearest", "random")
    sheet = Sheet([SheetColumn("sound", "left", folds=True), *map(SheetColumn, titles)])
    for result in results:
        best = result.presets[0]
        figures = [best.distance, *best.by_ear.values(), result.pool_best.distance, result.random_distance]
        sheet.add(result.name, *(f"{value:.3g}" for value in figures))
    sheet.show(plain_console())
    for result in results:
        if result.folder:
            print(printable(f"{result.name}: {result.folder}"))
