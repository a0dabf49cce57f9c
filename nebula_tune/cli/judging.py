"""Commands about judging sounds: parse, one call, print."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from nebula_tune.cli.studies import opened
from nebula_tune.cli.types import Csv, DistanceOption, Json, PanelOption, Seed, Storage, WeightsOption
from nebula_tune.storage.paths import DEFAULT_URL
from nebula_tune.words import json_text, printable


def compare(
    *,
    corpora: Annotated[
        list[str],
        typer.Argument(help="Two or more: folders of audio, nebulae (file or name), constellations, white-noise."),
    ],
    embedding: Annotated[
        list[str] | None, typer.Option(help="Embedding to hear with; repeatable. [default: logmel]")
    ] = None,
    weights: WeightsOption = None,
    csv: Csv = None,
    indiv: Annotated[
        Path | None, typer.Option(help="Write each file's contribution to each distance to this csv file.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Picture to write: a heat map (.png, .svg, .pdf).")] = None,
    group_by: Annotated[
        str,
        typer.Option(
            help="Sounds that belong together: folder, file, or auto (folder where at least 30 hold several)."
        ),
    ] = "auto",
    sounds: Annotated[int, typer.Option(help="Sounds of each corpus at most; as many of a nebula or noise.")] = 2000,
    n: Annotated[
        int | None, typer.Option(help="Sounds a trial. [default: 1000, or half of the smaller corpus]")
    ] = None,
    trials: Annotated[int, typer.Option(help="Trials a pair, and halvings of each corpus.")] = 1000,
    distance: DistanceOption = "l1",
    prepare: Annotated[
        str, typer.Option(help="onset (trim to the onset, level), or rms-only (level), as in the paper.")
    ] = "onset",
    synth: Annotated[str, typer.Option(help="The synth's architecture, of nebulae.")] = "voice",
    panel: PanelOption = None,
    told_apart: Annotated[
        bool,
        typer.Option(
            "--told-apart", help="Also how easily a network and a linear classifier tell the corpora apart; slower."
        ),
    ] = False,
    seed: Seed = 0,
    as_json: Json = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="List every skipped file.")] = False,
) -> None:
    """Distances between corpora, each with each and with itself: Table 3 of the paper.

    Eq. 2 of 1000 sounds against 1000, mean and standard deviation over 1000 trials, as in the paper; beside it the
    unbiased estimate, its 95 % interval, and the p-value of both being one.
    """
    from nebula_tune.cli.console import counting, note, print_skipped
    from nebula_tune.evaluate.compare import compare as compared
    from nebula_tune.evaluate.comparison import Protocol
    from nebula_tune.evaluate.ears import Ears
    from nebula_tune.evaluate.plots import check_picture, save_heat_map
    from nebula_tune.evaluate.tables import print_comparison, save_comparisons, save_files
    from nebula_tune.tuning.outputs import given, refuse_one_file

    if out is not None:
        check_picture(out)
    refuse_one_file(
        given({"the table": csv, "the files' table": indiv, "the picture": out}),
        given({f"corpus {name}": Path(name) for name in corpora}),
    )
    ears = Ears(tuple(embedding or ["logmel"]), weights, prepare, distance)
    how = Protocol(sounds, n, trials, group_by, synth, seed, told_apart, panel)
    with counting("comparing") as progress:
        reports = compared(corpora, ears, how, note, progress)
    for corpus in reports[0].corpora:
        print_skipped(corpus.name, [file.as_json() for file in corpus.skipped], verbose)
    if csv is not None:
        save_comparisons(reports, csv)
    if indiv is not None:
        save_files(reports, indiv)
    if out is not None:
        save_heat_map(reports, out)
    if as_json:
        print(json_text([report.to_json() for report in reports]))
    else:
        for report in reports:
            print_comparison(report)


def rank(
    *,
    dataset: Annotated[
        Path | None, typer.Argument(help="Folder of <preset>/<rank>.<ext>; a rank is an integer.", show_default=False)
    ] = None,
    people: Annotated[
        Path | None,
        typer.Option(
            help="In place of DATASET: a folder of sets that people rated, <set>/sounds/ and <set>/dissimilarity.csv."
        ),
    ] = None,
    embedding: Annotated[
        list[str] | None,
        typer.Option(
            help="Embedding to judge; repeatable. With --people also several as one, like logmel+modulation. "
            "[default: logmel, mss; with --people all that need no weights]"
        ),
    ] = None,
    weights: WeightsOption = None,
    csv: Csv = None,
    out: Annotated[Path | None, typer.Option(help="Picture to write (.png, .svg, .pdf).")] = None,
    presets: Annotated[int | None, typer.Option(help="Presets a trial of experiment 2. [default: 200]")] = None,
    trials: Annotated[int | None, typer.Option(help="Trials of experiment 2. [default: 600]")] = None,
    apart: Annotated[
        int | None,
        typer.Option(help="Ranks between the two sounds of experiment 2. [default: 6 for pitches made here, else any]"),
    ] = None,
    distance: DistanceOption = "l1",
    prepare: Annotated[
        str | None,
        typer.Option(
            help="rms-only (level) or onset (also trim to the onset). [default: rms-only, as in the paper; with "
            "--people onset]"
        ),
    ] = None,
    seed: Seed = 0,
    as_json: Json = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="List everything left out.")] = False,
) -> None:
    """How well embeddings order the sounds of a preset, and tell presets apart: Table 2 of the paper.

    Each embedding as it is and scaled to length 1 (normed), all with the same random choices. With --people: how well
    embeddings, and several of them together, agree with people's ratings.
    """
    from nebula_tune.cli.console import counting, note, print_skipped
    from nebula_tune.errors import SettingsError
    from nebula_tune.evaluate.ears import Ears
    from nebula_tune.evaluate.plots import check_picture, save_people_picture, save_ranking_picture
    from nebula_tune.evaluate.tables import print_people, print_ranking, save_people, save_ranking
    from nebula_tune.ranking import people as by_people
    from nebula_tune.ranking import rank as ranking
    from nebula_tune.tuning.outputs import given, refuse_one_file

    if out is not None:
        check_picture(out)
    refuse_one_file(given({"the table": csv, "the picture": out}), given({"the weights": weights}))
    if (dataset is None) == (people is None):
        raise SettingsError("rank takes a DATASET or --people FOLDER, one of the two")
    if people is not None:
        for option, value in (("--presets", presets), ("--trials", trials), ("--apart", apart)):
            if value is not None:
                raise SettingsError(f"{option} is for a DATASET, not for --people")
        together = by_people.parse_ears(embedding or by_people.WEIGHTLESS)
        ears = Ears(by_people.embeddings_of(together), weights, prepare or "onset", distance)
        with counting("embedding") as progress:
            rated = by_people.rank_people(people, together, ears, seed=seed, note=note, counting=progress)
        report, save, draw, show = rated.to_json(), save_people, save_people_picture, print_people
    else:
        assert dataset is not None
        ears = Ears(tuple(embedding or ["logmel", "mss"]), weights, prepare or "rms-only", distance)
        experiments = ranking.Experiments(
            200 if presets is None else presets, 600 if trials is None else trials, apart, seed
        )
        with counting("ranking") as progress:
            report = ranking.rank(dataset, ears, experiments, note, progress)
        print_skipped(str(dataset), report["skipped"], verbose)
        save, draw, show = save_ranking, save_ranking_picture, print_ranking
    if csv is not None:
        save(report, csv)
    if out is not None:
        draw(report, out)
    if as_json:
        print(json_text(report))
    else:
        show(report)


def reach(
    *,
    target: Annotated[str, typer.Argument(help="A folder of audio, a nebula or constellation, or white-noise.")],
    nebula: Annotated[
        str, typer.Option(help="Whose sounds: a nebula's or constellation's file, or a nebula's name.")
    ] = "default",
    pool: Annotated[int, typer.Option(help="How many of its sounds.")] = 6144,
    embedding: Annotated[str, typer.Option(help="The ear, by name.")] = "logmel",
    distance: Annotated[str, typer.Option(help="l1, euclidean or gaussian.")] = "l1",
    group_by: Annotated[str, typer.Option(help="Sounds not compared with each other: of a folder, file, or auto.")] = (
        "auto"
    ),
    synth: Annotated[str, typer.Option(help="The synth's architecture.")] = "voice",
    panel: PanelOption = None,
    out: Annotated[Path | None, typer.Option(help="Write everything as JSON to this file.")] = None,
    as_json: Json = False,
) -> None:
    """Is it the distance or the voice? Which of a target's sounds the synth comes near, and which it cannot play.

    For each target sound: how far the nearest of a large pool of the nebula's sounds is, against the nearest other
    target sound.
    """
    from nebula_tune.cli.console import counting, print_reach
    from nebula_tune.evaluate.reach import diagnose
    from nebula_tune.files import write_atomically
    from nebula_tune.tuning.outputs import given, refuse_one_file

    refuse_one_file(given({"the answer": out}), given({"the target": target, "the nebula": nebula}))
    with counting("embedding") as progress:
        reach = diagnose(
            target,
            nebula,
            pool=pool,
            embedding=embedding,
            distance=distance,
            group_by=group_by,
            synth=synth,
            panel=panel,
            progress=progress,
        )
    text = json_text(reach)
    if out is not None:
        write_atomically(out, f"{text}\n".encode())
    if as_json:
        print(text)
    else:
        print_reach(reach)


def embeddings(
    *,
    fetch: Annotated[str | None, typer.Option(help="Fetch the weights of this embedding into the cache.")] = None,
    cost: Annotated[bool, typer.Option("--cost", help="Also measure seconds a sound on this machine.")] = False,
    as_json: Json = False,
) -> None:
    """Embeddings there are: size, rate, licence, whether they are ready; or fetch the weights of one."""
    from nebula_tune.cli.console import print_embeddings
    from nebula_tune.embedding import catalogue, make_embedding

    if fetch is not None:
        path = catalogue.fetch(fetch)
        print(printable(f"{fetch}: {path or 'needs no weights'}"))
        return
    rows = []
    for entry in catalogue.entries():
        seconds = catalogue.seconds_a_sound(make_embedding(entry.name)) if cost and entry.ready else None
        rows.append(asdict(entry) | ({"seconds_a_sound": seconds} if cost else {}))
    if as_json:
        print(json_text(rows))
    else:
        print_embeddings(rows)


def listen(
    *,
    what: Annotated[
        list[str],
        typer.Argument(
            metavar="A B",
            help="Two folders, nebulae, or white-noise; with --among: 2 to 12; with --among-candidates: a study; "
            "with --analyse: ballots.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="The page; its key is written beside it.")] = Path("listen.html"),
    target_kind: Annotated[
        str | None, typer.Option(help="What the target's sounds are, in your words, like 'drum hits'.")
    ] = None,
    pairs: Annotated[int, typer.Option(help="Pairs of a sound of each; among several, all pairs together.")] = 64,
    among: Annotated[bool, typer.Option("--among", help="Rank several: sounds of any two meet in pairs.")] = False,
    among_candidates: Annotated[
        bool,
        typer.Option("--among-candidates", help="Rank the nebulae that a study chose its result from (see report)."),
    ] = False,
    seed: Annotated[
        int | None, typer.Option(help="Sounds, order and sides follow from it. [default: one nobody knows]")
    ] = None,
    analyse: Annotated[bool, typer.Option("--analyse", help="Unblind and analyse ballots.")] = False,
    key: Annotated[
        list[Path] | None, typer.Option(help="With --analyse: the key of a test. Repeatable, for several tests.")
    ] = None,
    synth: Annotated[str, typer.Option(help="The synth's architecture.")] = "voice",
    panel: PanelOption = None,
    storage: Storage = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Make a blinded listening test of A against B, one page; or, with --analyse, tell what its ballots say.

    The page plays pairs of sounds, order and sides drawn by lot, and gives a ballot to download. Its key is a file of
    its own: do not open it before the last ballot is in.
    """
    from nebula_tune.cli.console import print_analysis, print_test
    from nebula_tune.corpus.source import Source
    from nebula_tune.errors import SettingsError
    from nebula_tune.listening.command import analyse_ballots, candidates, make_among_test, make_test
    from nebula_tune.synth import architecture as of_name

    if analyse + among + among_candidates > 1:
        raise SettingsError("--analyse, --among and --among-candidates: one of them at a time")
    if analyse:
        print_analysis(analyse_ballots(what, key or []), as_json)
        return
    if among or among_candidates:
        if among_candidates:
            sources, architecture = candidates(opened(storage, reading=True), what)
        else:
            sources, architecture = list(map(Source.parse, what)), of_name(synth, panel)
        test = make_among_test(sources, architecture, out, target_kind=target_kind, pairs=pairs, seed=seed, keys=key)
    else:
        test = make_test(what, of_name(synth, panel), out, target_kind=target_kind, pairs=pairs, seed=seed, keys=key)
    print_test(test, as_json)
