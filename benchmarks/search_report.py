"""Medians over seeds, tables and a picture of what benchmarks/search.py found."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

Found = dict[tuple[str, str, str], list[dict[str, Any]]]  # (target, space, method): one a seed

COLUMNS = (25, 50, 100, 200, 300, 400, 600, 800, 1000)
BY_RESULT = ("cmaes", "witness", "laptop")  # what they stand for is their own result; else the best trial so far
COLOURS = {
    "random": "#9a9a9a", "paper": "#c0392b", "cmaes": "#e67e22", "tpe": "#8e44ad",
    "witness-100": "#7fb3e6", "witness-200": "#154a80", "laptop": "#1e8449",
}  # fmt: skip
NAMES = {
    "random": "random grid",
    "paper": "grid + CMA-ES (the paper)",
    "cmaes": "separable CMA-ES alone",
    "tpe": "TPE (Optuna)",
    "laptop": "study `laptop`",
}


def write_report(results: Path, to: Path) -> None:
    """Report on a folder of results, which are kept beside it in one file; or on that file."""
    if results.is_file():
        each = [json.loads(line) for line in results.read_text().splitlines()]
    else:
        each = [json.loads(path.read_text()) for path in sorted(results.glob("*.json"))]
    if not each:
        raise SystemExit(f"{results} holds no results; make some with: python benchmarks/search.py run --out {results}")
    if not results.is_file():
        lines = [json.dumps(_short({key: one[key] for key in one if key != "nebula"})) for one in each]
        to.with_suffix(".jsonl").write_text("\n".join(lines) + "\n")
    found: Found = defaultdict(list)
    for one in each:
        found[one["target"], one["space"], one["method"]].append(one)
    compared = [t for t in _targets(found) if any(key[0] == t and key[2] == "paper" for key in found)]
    picture = to.with_suffix(".svg")
    draw(found, compared, picture)
    lines = [
        "# Ways to search, on equal terms",
        "",
        "Made by `python benchmarks/search.py run` and `report`. Unbiased l1 MMD under `logmel` of 1024 fresh sounds",
        "against held-out sounds of the target; medians over seeds, the range in brackets. 256 sounds a trial, start",
        "`default`, flags searched; curves in [0.1, 10] (`paper`) or [0.003, 50] (`wide`). A column is the best trial",
        "so far; for CMA-ES alone, witness and `laptop` it is the sampler's own result. The paper's CMA-ES has",
        "Optuna's population and first deviation, and its result is the best of 25 by 30 re-evaluations.",
        "",
        f"![held-out distance against trials]({picture.name})",
    ]  # fmt: skip
    for target in compared:
        lines += ["", f"## {target}", "", *references(found, target), "", *comparison(found, target)]
    lines += [
        "",
        "## A hundred trials of the witness beside a thousand of the paper's protocol",
        "",
        "A share of medians; the median of the shares seed by seed, each judged by one split, with their range.",
        "",
        *ratios(found, compared),
    ]
    lines += ["", "## Each target: start, tuned, floor", "", *improvements(found)]
    to.write_text("\n".join(lines) + "\n")
    print(to.read_text())


def _short(part: Any) -> Any:
    """The same with numbers of one decimal."""
    if isinstance(part, dict):
        return {key: _short(value) for key, value in part.items()}
    if isinstance(part, list):
        return [_short(value) for value in part]
    return round(part, 1) if isinstance(part, float) else part


def _targets(found: Found) -> list[str]:
    return list(dict.fromkeys(target for target, _, _ in found))


def _figure(values: Sequence[float], digits: int = 1) -> str:
    if not values:
        return ""
    middle, low, high = (f"{value:.{digits}f}" for value in (median(values), min(values), max(values)))
    return f"{middle} ({low} … {high})" if len(values) > 1 else middle


def at(runs: Sequence[Mapping[str, Any]], trials: int | str, key: str = "mmd_unbiased") -> list[float]:
    """One figure a seed: what the search stood for after so many trials, or its row ``end`` or ``re-evaluated``."""
    values = []
    for one in runs:
        what = "result" if one["method"].startswith(BY_RESULT) else "best"
        rows = [r for r in one["rows"] if r["what"] == trials or (r["trials"] == trials and r["what"] == what)]
        values += [row[key] for row in rows[-1:]]
    return values


def references(found: Found, target: str) -> list[str]:
    runs = found[target, "wide", "references"]
    names = [name for name in ("start", "drum", "floor") if runs and name in runs[0]["rows"]]
    rows = [
        f"| {name} | {_figure([r['rows'][name]['mmd_unbiased'] for r in runs])} "
        f"| {_figure([r['rows'][name]['mmd'] for r in runs])} |"
        for name in names
    ]
    return ["| | unbiased | eq. 2 |", "| --- | --- | --- |", *rows]


def comparison(found: Found, target: str) -> list[str]:
    columns = [str(count) for count in COLUMNS]
    lines = [f"| search | space | seeds | {' | '.join(columns)} | re-evaluated |", "| --- " * (len(columns) + 4) + "|"]
    for method in COLOURS:
        for space in ("paper", "wide"):
            runs = found.get((target, space, method), [])
            if runs:
                figures = [_figure(at(runs, count)) for count in COLUMNS]
                again = _figure(at(runs, "re-evaluated"))
                name = NAMES.get(method, method)
                lines.append(f"| {name} | {space} | {len(runs)} | {' | '.join(figures)} | {again} |")
    return lines


def ratios(found: Found, targets: Sequence[str]) -> list[str]:
    """The witness after 100 trials as a share of the paper's result after 1000 and of the hand-made nebula's.

    Of medians over all seeds that both were worked out for; then the median (and range) of shares seed by seed, for
    those of a seed are judged by the same held-out sounds.
    """
    lines = ["| target | space | of the paper's, same space | of the paper's, its own space | of `drum` |"]
    lines.append("| --- " * 5 + "|")
    for target in targets:
        hand_made = [(one, one["rows"]["drum"]["mmd_unbiased"]) for one in found[target, "wide", "references"]]
        for space in ("paper", "wide"):
            reached = {one["seed"]: at([one], "end")[0] for one in found[target, space, "witness-100"]}
            papers = (found[target, where, "paper"] for where in (space, "paper"))
            others = [[(one, at([one], "re-evaluated")[0]) for one in runs] for runs in papers]
            shares = []
            for other in (*others, hand_made):
                both = [(reached[one["seed"]], value) for one, value in other if one["seed"] in reached]
                if not both:
                    shares.append("")
                    continue
                ratio = median(ours for ours, _ in both) / median(theirs for _, theirs in both)
                by_seed = [ours / theirs for ours, theirs in both]
                shares.append(f"{ratio:.2f}; {_figure(by_seed, 2)}, {len(both)} seeds")
            lines.append(f"| {target} | {space} | {' | '.join(shares)} |")
    return lines


def improvements(found: Found) -> list[str]:
    lines = ["| target | search | start | tuned | floor | gap closed | improves |", "| --- " * 7 + "|"]
    for target in _targets(found):
        references = {one["seed"]: one["rows"] for one in found[target, "wide", "references"]}
        for method in ("witness-100", "witness-200", "laptop", "paper"):
            runs = [one for one in found.get((target, "wide", method), []) if one["seed"] in references]
            if not runs:
                continue
            tuned = [one["rows"][-1]["mmd_unbiased"] for one in runs]
            start, floor = (
                [references[one["seed"]].get(name, {}).get("mmd_unbiased", 0.0) for one in runs]
                for name in ("start", "floor")
            )
            gaps = [(s - t) / (s - f) for s, t, f in zip(start, tuned, floor, strict=True)]
            better = sum(t < s for s, t in zip(start, tuned, strict=True))
            told = "" if target == "diversity" else _figure(gaps, 4)
            figures = [_figure(values) for values in (start, tuned, floor)]
            figures[2] = "" if target == "diversity" else figures[2]
            lines.append(f"| {target} | {method} | {' | '.join(figures)} | {told} | {better} of {len(runs)} |")
    return lines


def draw(found: Found, targets: Sequence[str], path: Path) -> None:
    """A panel for each target and each of the two estimates; solid lines for the wide space, dashed for the paper's."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(
        max(len(targets), 1), 2, figsize=(13, 4.6 * max(len(targets), 1)), squeeze=False, layout="constrained"
    )
    for row, target in zip(panels, targets, strict=False):
        for panel, key, name in zip(row, ("mmd_unbiased", "mmd"), ("unbiased", "eq. 2"), strict=True):
            _panel(panel, found, target, key)
            panel.set(xscale="log", yscale="log", title=f"{target}: held-out l1 MMD, {name}", xlabel="trials")
            panel.grid(alpha=0.3, which="both", linewidth=0.4)
    panels[0, 1].legend(fontsize=7, ncols=2)
    figure.savefig(path)
    plt.close(figure)


def _panel(panel: Any, found: Found, target: str, key: str) -> None:
    for method, colour in COLOURS.items():
        for space, line in (("wide", "-"), ("paper", "--")):
            runs = found.get((target, space, method), [])
            points = [(count, median(at(runs, count, key))) for count in COLUMNS if runs and at(runs, count, key)]
            drawn = [(x, y) for x, y in points if y > 0]
            if drawn:
                label = f"{method}, {space}"
                panel.plot(*zip(*drawn, strict=True), line, color=colour, marker=".", label=label, linewidth=1.4)
    runs = found.get((target, "wide", "references"), [])
    for name, style in (("drum", ":"), ("floor", "-.")):
        values = [one["rows"][name][key] for one in runs if name in one["rows"]]
        if values and median(values) > 0:
            panel.axhline(median(values), color="black", linestyle=style, linewidth=0.8, label=name)
