"""Commands that write sounds, and the cache of embedded ones: parse, one call, print."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nebula_tune.cli.types import PanelOption, Seed
from nebula_tune.errors import NebulaError, SettingsError
from nebula_tune.words import printable


def render(
    *,
    nebula: Annotated[str, typer.Argument(help="A nebula's or constellation's file, or a name (default, drum).")],
    count: Annotated[int | None, typer.Option(help="How many sounds; of a kit, keys. [of a kit: 16]")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder to write to.")] = None,
    kit: Annotated[
        Path | None, typer.Option(help="In place of --out: folder for a kit that samplers open (kit.sfz and sounds).")
    ] = None,
    robins: Annotated[int, typer.Option(help="Of a kit: sounds a key plays in turn.")] = 4,
    pitched: Annotated[
        bool, typer.Option("--pitched", help="Of a kit: the first sound over the whole keyboard, not hits on keys.")
    ] = False,
    first: Annotated[int, typer.Option(help="Index of the first sound; with the default nebula, in synth1B1.")] = 0,
    kind: Annotated[str, typer.Option("--format", help="wav or flac.")] = "wav",
    parameters_only: Annotated[
        bool, typer.Option("--parameters-only", help="No audio: parameters.parquet, parameters.npz and nebula.json.")
    ] = False,
    sample_rate: Annotated[int, typer.Option(help="Hz.")] = 44100,
    seconds: Annotated[
        float | None, typer.Option(help="Length of each sound. [default: 4, of a kit 2 at most]")
    ] = None,
    only: Annotated[
        str | None, typer.Option("--class", help="Draw from this class of a constellation's atoms only.")
    ] = None,
    synth: Annotated[str, typer.Option(help="The synth's architecture.")] = "voice",
    panel: PanelOption = None,
    presets: Annotated[
        Path | None, typer.Option(help="Also write each sound's preset (.vital, .syx) to this folder.")
    ] = None,
) -> None:
    """Write sounds of a nebula or constellation as audio files, with their parameters in parameters.parquet.

    The same indices give the same sounds. Files that are there already are kept, so an interrupted call is finished by
    the same call, and other indices are added; a folder that holds other sounds is refused.

    With --kit, sounds that samplers play: a constellation's classes on their General MIDI drum keys, other hits by
    their spectral centre from key 36 up, or one sound over the keyboard (--pitched).
    """
    from nebula_tune.cli.console import counting
    from nebula_tune.constellation import Constellation
    from nebula_tune.corpus.writer import BATCH, write_parameters, write_presets, write_sounds
    from nebula_tune.kit.write import KEYS, LENGTH, write_kit
    from nebula_tune.synth import architecture

    kind_of_synth = architecture(synth, panel)
    source = kind_of_synth.resolve_sounds(nebula)
    if only is not None:
        if not isinstance(source, Constellation):
            raise NebulaError(f"--class {only}: only a constellation has classes, and {nebula} is a nebula")
        source = source.of_class(only)
    if kit is not None:
        if out is not None or presets is not None or parameters_only or (sample_rate, kind) != (44100, "wav"):
            raise SettingsError("--kit writes wav of 44100 Hz to its own folder: leave out --out and what goes with it")
        with counting("rendering") as progress:
            path = write_kit(
                kind_of_synth,
                source,
                kit,
                keys=KEYS if count is None else count,
                robins=robins,
                first_index=first,
                seconds=LENGTH if seconds is None else seconds,
                pitched=pitched,
                progress=progress,
            )
        print(printable(f"kit: {path}"))
        return
    if count is None or out is None:
        raise SettingsError("say how many sounds with --count and where to with --out; or --kit FOLDER for a kit")
    player = kind_of_synth(source, BATCH, sample_rate, 4.0 if seconds is None else seconds)
    if presets is not None:
        write_presets(player, first, count, presets, only)
    if parameters_only:
        write_parameters(player, first, count, out, archive=True)
        return
    with counting("rendering") as progress:
        write_sounds(player, first, count, out, kind=kind, progress=progress, only=only)


def dataset(
    *,
    kind: Annotated[str, typer.Argument(help="What is swept: pitch, velocity, or timbre.")],
    out: Annotated[Path, typer.Option(help="Folder to write to.")],
    instrument: Annotated[
        str | None,
        typer.Option(help="voice, dx7 (needs dexed-py), or amsynth. [default: voice; dx7 for velocity]"),
    ] = None,
    presets: Annotated[int, typer.Option(help="How many presets.")] = 200,
    step: Annotated[
        int | None, typer.Option(help="Between ranks. [default: 3 for pitch, 2 for velocity, 4 for timbre]")
    ] = None,
    banks: Annotated[
        Path | None, typer.Option(help="Folder of banks: .syx for dx7. [default: where Debian's packages put them]")
    ] = None,
    parameter: Annotated[
        str | None, typer.Option(help="The Voice's knob that timbre sweeps. [default: vco_2.shape]")
    ] = None,
    seed: Seed = 0,
) -> None:
    """Make a ranked data set for `rank`: presets of a synthesizer, one thing swept, the rest as it was.

    An interrupted call is finished by the same call.
    """
    from nebula_tune.cli.console import counting, print_skipped
    from nebula_tune.errors import SettingsError
    from nebula_tune.ranking.instruments import RANKS, USUAL, make_instrument
    from nebula_tune.ranking.sweeps import Sweep, write_dataset

    if kind not in RANKS:
        raise SettingsError(f"no data set {kind!r}; there are {', '.join(RANKS)}")
    player = make_instrument(instrument or USUAL[kind], banks, parameter)
    sweep = Sweep(kind, player.name, dict(player.settings), player.ranks(kind, step), presets, seed)
    with counting("rendering") as progress:
        report = write_dataset(player, sweep, out, progress)
    print_skipped(
        str(out), [{"name": preset["preset"], "reason": preset["reason"]} for preset in report["left_out"]], False
    )
    sounds = sum(map(len, report["sounds"].values()))
    print(printable(f"{out}: {len(report['sounds'])} presets, {sounds} sounds"))


def cache(
    *,
    clear: Annotated[bool, typer.Option("--clear", help="Remove embedded sounds.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Size of the cache of embedded sounds and fetched weights; with --clear, remove the sounds."""
    from nebula_tune.corpus.cache import cache_folder, cache_size, clear_cache

    files, size = cache_size()
    print(printable(f"{cache_folder()}: {files} files, {size / 1e6:.1f} MB"))
    if clear and (yes or typer.confirm("Remove all embedded sounds?", err=True)):
        clear_cache()
