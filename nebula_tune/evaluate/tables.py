"""What `compare` and `rank` show: tables for a terminal, and csv files."""

from __future__ import annotations

import csv
import io
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console

from nebula_tune.evaluate.comparison import Comparison, Distances
from nebula_tune.evaluate.telling import EYES
from nebula_tune.files import write_atomically
from nebula_tune.terminal import Sheet, SheetColumn, plain_console, say
from nebula_tune.words import all_printable

WIDTH = 120  # columns where there is no terminal

Report = Mapping[str, Any]


def print_comparison(report: Comparison) -> None:
    """One embedding's Table 3, with the unbiased figures beside the paper's."""
    console = _console()
    title = f"{report.embedding}, {report.distance}, {report.protocol.trials} trials"
    short = short_names(report)
    judged = report.protocol.told_apart
    names = (SheetColumn("corpus 1", "left", folds=True), SheetColumn("corpus 2", "left", folds=True))
    figures = ["eq. 2", "std", "n", "unbiased", "95 % interval", "p"] + (["network AUC", "linear"] if judged else [])
    sheet = _sheet((*names, *map(SheetColumn, figures)), title)
    for row in report.rows:
        low, high = row.ci95 or (None, None)
        sheet.add(
            short[row.a],
            short[row.b],
            _figure(row.mmd_mean),
            _figure(row.mmd_std),
            str(row.n),
            _figure(row.mmd_unbiased),
            "-" if low is None else f"{_figure(low)} … {_figure(high)}",
            _share(row.p_value),
            *(_share(value) for value in (_told_apart(row).values() if judged else [])),
        )
    sheet.show(console)
    for corpus in report.corpora:
        say(console, f"{corpus.name}: {corpus.sounds} sounds in {corpus.groups} groups, by {corpus.grouped_by}")


def short_names(report: Comparison) -> dict[str, str]:
    """What to call corpora in little room: the last part of a path, where that tells them apart."""
    names = [corpus.name for corpus in report.corpora]
    last = [Path(name).name for name in names]
    return {name: part if part and last.count(part) == 1 else name for name, part in zip(names, last, strict=True)}


def print_ranking(report: Report) -> None:
    """One data set's Table 2: experiments, their intervals, and how far each row is behind the best."""
    console = _console()
    kind = f" ({report['kind']})" if report["kind"] else ""
    title = f"{report['dataset']}{kind}: {report['presets']} presets, {report['sounds']} sounds"
    figures = map(SheetColumn, ("Spearman", "behind the best", "DCG", "s a sound"))
    sheet = _sheet((SheetColumn("representation", "left", folds=True), *figures), title)
    best = report["rows"][0]["representation"]
    for row in report["rows"]:
        sheet.add(
            row["representation"],
            _interval(row["spearman"]),
            _behind(report, best, row["representation"]),
            _interval(row["dcg"]),
            f"{row['seconds_a_sound']:.4f}",
        )
    sheet.show(console)
    chance = f"by chance: Spearman {report['spearman_by_chance']:.3f}, DCG {report['dcg_by_chance']:.3f}"
    say(console, f"a ruler that knows the ranks: Spearman {report['ceiling']:.3f}; {chance}")


MEASURES = ("anchor", "triplets", "pairs")  # of people's agreement


def print_people(report: Report) -> None:
    """How far each ear agrees with people's ratings, and people with each other."""
    console = _console()
    sounds, pairs = (sum(each[size] for each in report["sets"]) for size in ("sounds", "pairs"))
    title = f"{report['people']}: {len(report['sets'])} sets, {sounds} sounds, {pairs} rated pairs"
    figures = map(SheetColumn, (*MEASURES, "Mantel p"))
    sheet = _sheet((SheetColumn("ear", "left", folds=True), *figures), title)
    for row in report["rows"]:
        cells = (_with_ends(row["agreement"][each], (row["ci95"] or {}).get(each)) for each in MEASURES)
        sheet.add(row["ear"], *cells, _share(row["mantel_p"]))
    if report["ceiling"] is not None:
        of_sets = report["ceiling_sets"]
        name = f"one listener, by the others ({of_sets} set{'s' if of_sets > 1 else ''})"
        sheet.add(name, *(_share(report["ceiling"][each]) for each in MEASURES))
    sheet.show(console)
    say(console, "anchor, pairs: Spearman with people's ratings; triplets: share ordered as people do (0.5 by chance)")
    if len(report["sets"]) > 1:
        say(console, "in brackets 95 % of means over resampled sets")


def save_people(report: Report, path: Path) -> None:
    """Each ear over all sets and in each, then people with each other, as csv."""
    rows = []
    for row in report["rows"]:
        ends = row["ci95"] or {}
        rows.append(_agreement("all", row["ear"], row["agreement"], row["mantel_p"], ends))
        rows += [_agreement(each["set"], row["ear"], each["agreement"], each["mantel_p"], {}) for each in row["sets"]]
    ceilings = [("all", report["ceiling"]), *((each["set"], each["ceiling"]) for each in report["sets"])]
    rows += [_agreement(name, "listeners", ceiling, None, {}) for name, ceiling in ceilings if ceiling]
    _save(rows, path)


def _agreement(name: str, ear: str, agreement: Report, p_value: float | None, ends: Report) -> Report:
    cells: dict[str, Any] = {"set": name, "ear": ear}
    for measure in MEASURES:
        low, high = ends.get(measure) or (None, None)
        cells |= {measure: agreement[measure], f"{measure}_ci95_low": low, f"{measure}_ci95_high": high}
    return cells | {"mantel_p": p_value}


def _with_ends(value: float | None, ends: Sequence[float] | None) -> str:
    return _share(value) if ends is None else f"{_share(value)} ({ends[0]:.3f} … {ends[1]:.3f})"


def _console() -> Console:
    asked = sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdigit()
    return plain_console(width=None if asked else WIDTH)


def _sheet(columns: Sequence[SheetColumn], title: str) -> Sheet:
    return Sheet(columns, title, SIMPLE_HEAD, (0, 1, 0, 0))


def _figure(value: float | None) -> str:
    """A distance with tenths at most, and fewer digits than :func:`nebula_tune.results.figure` has."""
    if value is None:
        return "-"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.1f}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _told_apart(row: Distances) -> dict[str, float | None]:
    """Each judge's verdict; None where a corpus has too few groups for halves."""
    return {judge: (row.told_apart or {}).get(judge) for judge in EYES}


def _interval(value: Report) -> str:
    return f"{value['mean']:.3f} ± {(value['ci95'][1] - value['ci95'][0]) / 2:.3f}"


def _behind(report: Report, best: str, label: str) -> str:
    """The paired difference in Spearman, with its interval."""
    for row in report["differences"]:
        if {row["a"], row["b"]} == {best, label}:
            difference = dict(row["spearman"])
            difference["mean"] *= 1 if row["a"] == best else -1
            return _interval(difference)
    return "-"


def save_comparisons(reports: Sequence[Comparison], path: Path) -> None:
    """All embeddings' rows as csv."""
    rows = []
    for report in reports:
        judged = report.protocol.told_apart
        for row in report.rows:
            low, high = row.ci95 or (None, None)
            sizes = {corpus.name: corpus for corpus in report.corpora}
            rows.append(
                {
                    "embedding": report.embedding,
                    "distance": report.distance,
                    "corpus_1": row.a,
                    "corpus_2": row.b,
                    "mmd_mean": row.mmd_mean,
                    "mmd_std": row.mmd_std,
                    "n": row.n,
                    "trials": report.protocol.trials,
                    "mmd_unbiased": row.mmd_unbiased,
                    "ci95_low": low,
                    "ci95_high": high,
                    "p_value": row.p_value,
                    "sounds_1": sizes[row.a].sounds,
                    "sounds_2": sizes[row.b].sounds,
                    "groups_1": sizes[row.a].groups,
                    "groups_2": sizes[row.b].groups,
                }
                | {f"told_apart_{judge}": value for judge, value in (_told_apart(row) if judged else {}).items()}
            )
    _save(rows, path)


def save_files(reports: Sequence[Comparison], path: Path) -> None:
    """Each sound's contribution to each distance as csv, farthest first."""
    _save([{"embedding": report.embedding, **vars(file)} for report in reports for file in report.files], path)


def save_ranking(report: Report, path: Path) -> None:
    """A ranking's rows as csv."""
    rows = []
    for row in report["rows"]:
        figures = {
            f"{measure}{part}": value
            for measure in ("spearman", "dcg")
            for part, value in zip(
                ("", "_ci95_low", "_ci95_high"), (row[measure]["mean"], *row[measure]["ci95"]), strict=True
            )
        }
        kept = {key: row[key] for key in ("embedding", "normed")} | figures
        rows.append(
            {"dataset": report["dataset"], "kind": report["kind"]}
            | kept
            | {key: row[key] for key in ("dimensions", "seconds_a_sound")}
        )
    _save(rows, path)


def _save(rows: Iterable[Mapping[str, Any]], path: Path) -> None:
    cells = all_printable(list(rows))
    text = io.StringIO()
    writer = csv.DictWriter(text, list(cells[0]) if cells else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(cells)
    write_atomically(path, text.getvalue().encode())
