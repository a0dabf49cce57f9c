"""Pictures of comparisons and rankings, by matplotlib."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from nebula_tune.errors import SettingsError
from nebula_tune.evaluate.comparison import Comparison
from nebula_tune.evaluate.tables import short_names
from nebula_tune.files import write_atomically
from nebula_tune.words import printable

KINDS = (".png", ".svg", ".pdf")


def check_picture(path: Path) -> None:
    """Raise SettingsError, before any work, for a picture that could not be made."""
    if path.suffix not in KINDS:
        raise SettingsError(f"--out {path}: its name must end in {', '.join(KINDS)}")
    if find_spec("matplotlib") is None:
        raise SettingsError("pictures need matplotlib: pip install 'nebula-tune[pictures]'")


def save_heat_map(reports: Sequence[Comparison], path: Path) -> None:
    """A map for each embedding: eq. 2 of each two corpora as colour (logarithmic) and figure; below it, unbiased."""
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure

    names = [corpus.name for corpus in reports[0].corpora]
    side = 1.6 + 1.1 * len(names)
    figure = Figure(figsize=(side * len(reports), side), layout="constrained")
    for number, report in enumerate(reports):
        axes: Any = figure.add_subplot(1, len(reports), number + 1)
        values, texts = np.full((len(names),) * 2, np.nan), {}
        for row in report.rows:
            place = names.index(row.a), names.index(row.b)
            for i, j in {place, place[::-1]}:
                values[i, j] = max(row.mmd_mean, 1e-9)
                unbiased = "" if row.mmd_unbiased is None else f"\n{row.mmd_unbiased:.1f}"
                texts[i, j] = f"{row.mmd_mean:.1f}{unbiased}"
        norm = LogNorm(values.min(), values.max())
        axes.imshow(values, norm=norm, cmap="viridis")
        for (i, j), text in texts.items():
            dark = norm(values[i, j]) < 0.6
            axes.text(j, i, text, ha="center", va="center", fontsize=8, color="white" if dark else "black")
        short = [plain_label(name) for name in short_names(report).values()]
        axes.set_xticks(range(len(names)), short, rotation=30, ha="right")
        axes.set_yticks(range(len(names)), short)
        axes.set_title(f"{report.embedding}: eq. 2, and unbiased", fontsize=10)
    _save(figure, path)


def save_ranking_picture(report: Mapping[str, Any], path: Path) -> None:
    """Spearman and DCG of each representation with their intervals; chance and the most to be had as lines."""
    from matplotlib.figure import Figure

    rows = report["rows"][::-1]
    figure = Figure(figsize=(9, 1.4 + 0.35 * len(rows)), layout="constrained")
    panels = (
        ("spearman", "Spearman within a preset", (report["spearman_by_chance"], report["ceiling"])),
        ("dcg", "DCG across presets", (report["dcg_by_chance"], 1.0)),
    )
    for number, (measure, title, ends_of_scale) in enumerate(panels):
        axes: Any = figure.add_subplot(1, 2, number + 1)
        means = np.array([row[measure]["mean"] for row in rows])
        ends = np.array([row[measure]["ci95"] for row in rows])
        axes.errorbar(means, range(len(rows)), xerr=[means - ends[:, 0], ends[:, 1] - means], fmt="o", capsize=3)
        for end in ends_of_scale:
            axes.axvline(end, linestyle=":", color="grey")
        axes.set_yticks(range(len(rows)), [plain_label(row["representation"]) for row in rows] if number == 0 else [])
        axes.set_title(title, fontsize=10)
        axes.grid(axis="x", alpha=0.3)
    title = plain_label(Path(report["dataset"]).name)
    figure.suptitle(f"{title}: {report['presets']} presets", fontsize=10)
    _save(figure, path)


def save_people_picture(report: Mapping[str, Any], path: Path) -> None:
    """Each ear's agreement with people, its interval and (small) its sets; people's with each other as a line."""
    from matplotlib.figure import Figure

    rows = report["rows"][::-1]
    figure = Figure(figsize=(11, 1.4 + 0.35 * len(rows)), layout="constrained")
    titles = {"anchor": "Spearman by anchor sound", "triplets": "triplets as people", "pairs": "Spearman over pairs"}
    for number, (measure, title) in enumerate(titles.items()):
        axes: Any = figure.add_subplot(1, 3, number + 1)
        for place, row in enumerate(rows):
            of_sets = [each["agreement"][measure] for each in row["sets"]]
            of_sets = [value for value in of_sets if value is not None]
            axes.plot(of_sets, [place] * len(of_sets), "|", color="grey", alpha=0.6)
            if row["ci95"] is not None:
                axes.plot(row["ci95"][measure], [place] * 2, color="C0")
            if row["agreement"][measure] is not None:
                axes.plot([row["agreement"][measure]], [place], "o", color="C0")
        if report["ceiling"] is not None and report["ceiling"][measure] is not None:
            axes.axvline(report["ceiling"][measure], linestyle=":", color="grey")
        axes.set_yticks(range(len(rows)), [plain_label(row["ear"]) for row in rows] if number == 0 else [])
        axes.set_ylim(-0.5, len(rows) - 0.5)
        axes.set_title(title, fontsize=10)
        axes.grid(axis="x", alpha=0.3)
    listeners = " (dotted: one listener, by the others)" if report["ceiling"] is not None else ""
    figure.suptitle(f"{plain_label(Path(report['people']).name)}: {len(report['sets'])} sets{listeners}", fontsize=10)
    _save(figure, path)


def plain_label(name: str) -> str:
    """A name as matplotlib shows it: what stands between two dollars would be a formula."""
    return printable(name).replace("$", r"\$")


def _save(figure: Any, path: Path) -> None:
    buffer = io.BytesIO()
    figure.savefig(buffer, format=path.suffix[1:], dpi=110)
    write_atomically(path, buffer.getvalue())
