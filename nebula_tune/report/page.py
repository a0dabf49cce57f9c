"""A study's report: one page that opens from disk, with its figures, its sounds, and no need of a network."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nebula_tune.errors import SettingsError, UserInputError
from nebula_tune.files import write_atomically
from nebula_tune.html import one_file
from nebula_tune.nebula import Nebula
from nebula_tune.report import charts, clouds, densities
from nebula_tune.report.view import View, usual_nebula
from nebula_tune.results import figure
from nebula_tune.storage.store import Stored
from nebula_tune.synth.indices import Purpose, first_index
from nebula_tune.words import all_printable

TEMPLATES = Path(__file__).resolve().parent / "templates"
MOST_CHANGED = 12  # parameters shown at once; the others open on a click
MOST_SKIPPED = 200  # files listed
MOST_CLUSTERS, MOST_EXAMPLES = 6, 3  # out of reach: how many clusters' farthest sounds play, and how many of each
KNOWN = ("mmd", "mmd_unbiased", "ci95", "n", "m", "p_value", "parts", "shares", "value")  # columns of their own
CONTENTS = {
    "target": "the target itself",
    "start": "the nebula the search began at",
    "drum": "the hand-made drum nebula",
    "tuned": "the tuned nebula",
    "constellation": "the constellation on the tuned nebula",
    "against": "the second real corpus",
    "floor": "the target's held-in part: as near as can be",
}


def report_path(nebula: Path) -> Path:
    """Where the report of an exported nebula goes: beside it."""
    return nebula.with_name(f"{nebula.stem}.report.html")


def write_report(view: View, out: Path | None = None) -> Path:
    """Write a study's report; by default where its nebula is by default, whatever a row says of where that is.

    Raises SettingsError for a file of another kind, StorageError where the page cannot be written.
    """
    path = out or report_path(usual_nebula(view.name))
    if path.suffix != ".html":
        raise SettingsError(f"--out {path}: a file that ends in .html")
    write_atomically(path, page(view))
    return path


def page(view: View) -> bytes:
    """The report as HTML."""
    try:
        shown_map, no_map = clouds.the_map(view), ""
    except UserInputError as error:
        shown_map, no_map = None, str(error)
    players = clouds.players(view)
    reach = view.result.get("reach")
    unreached = [cluster for cluster in reach["clusters"] if cluster["unreached"]][:MOST_CLUSTERS] if reach else []
    reach_players = clouds.of_target(
        view, [name for cluster in unreached for name in cluster["examples"][:MOST_EXAMPLES]]
    )
    changes = densities.changes(view.plan.synth.panel, view.plan.start, view.tuned)
    sounds = {
        "map": [{key: cloud[key] for key in ("name", "labels", "places", "audio")} for cloud in shown_map.clouds]
        if shown_map
        else [],
        "players": {group: [player.mp3 for player in group_players] for group, group_players in players.items()}
        | {"reach": [player.mp3 for player in reach_players.values()]},
    }
    listed = (view.target or {}).get("skipped", [])
    rows = view.result.get("heldout") or {}
    spread = view.result.get("spread") or {}
    return one_file(
        TEMPLATES,
        "report",
        view=view,
        summary=_summary(view),
        contents=CONTENTS,
        rows=rows,
        parts=_parts(rows),
        extras=_extras(rows or spread),
        spread=spread,
        figure=figure,
        gap=view.result.get("gap_closed"),
        chosen=view.result.get("chosen"),
        along=_along(view),
        told=view.result.get("told_apart"),
        doubts=view.result.get("doubts", ()),
        other=view.result.get("other"),
        made=view.result.get("constellation"),
        shares=list(rows["tuned"].get("shares", {})) if rows else [],
        first=first_index(Purpose.SCORE_CARD, view.plan.seed),
        bars=charts.bars(rows, "mmd_unbiased") if rows else charts.bars(spread, "value") if spread else None,
        convergence=charts.convergence(view.trials),
        map=shown_map,
        no_map=no_map,
        players=players,
        changes=changes[:MOST_CHANGED],
        others=changes[MOST_CHANGED:],
        bins=densities,
        reach=reach,
        reach_players=reach_players,
        reach_order={name: k for k, name in enumerate(reach_players)},
        provenance=all_printable(_provenance(view)),
        skipped=all_printable([file for file in listed if file.get("files", 1)][:MOST_SKIPPED]),
        skipped_count=sum(file.get("files", 1) for file in listed),
        changed=all_printable([file for file in listed if not file.get("files", 1)][:MOST_SKIPPED]),
        settings=json.dumps(view.plan.resolved()["study"], indent=1),
        nebula=_download(view.tuned),
        sounds=all_printable(sounds),
    )


def _summary(view: View) -> str:
    """The result in a sentence or two."""
    rows, state = view.result.get("heldout"), view.status["state"]
    if rows:
        tuned, start = rows["tuned"]["mmd_unbiased"], rows["start"]["mmd_unbiased"]
        text = ""
        if verdicts := view.result.get("told_apart"):
            tuned_auc, start_auc = verdicts["network"]["tuned"], verdicts["network"]["start"]
            text = (
                f"A network tells sounds of the tuned nebula from real ones with an AUC of {tuned_auc:.3f} "
                f"(0.5: it cannot; the nebula it began at: {start_auc:.3f}). "
            )
        text += (
            f"{rows['tuned']['n']:,} fresh sounds of the tuned nebula are {figure(tuned)} from sounds of the target "
            f"that no trial saw; those of the nebula it began at, {figure(start)}."
        )
        return text if view.result.get("improves", True) else f"{text} That is no improvement."
    if spread := view.result.get("spread"):
        return (
            f"The mean distance of two sounds is {figure(spread['tuned']['value'])} in the tuned nebula, "
            f"{figure(spread['start']['value'])} in the one it began at."
        )
    done, total, best = (view.status[key] for key in ("complete", "total", "best"))
    so_far = (
        "no trial is scored yet" if best is None else f"the best so far is {figure(best)}, on the trials' own sounds"
    )
    return f"This study is {state}: {done} of {total} trials; {so_far}. There is no score card before its end."


def _along(view: View) -> list[tuple[int, str, int, Mapping[str, float]]]:
    """Distances under each embedding where a study has several: of each phase's first, middle and last trial.

    As (phase from 1, sampler, trial of the phase from 1, distance by embedding).
    """
    by_phase: dict[int, list[Stored]] = {}
    for trial in sorted(view.trials, key=lambda trial: trial.key):
        if trial.score is not None and trial.score.by_embedding:
            by_phase.setdefault(trial.key[0], []).append(trial)
    return [
        (phase + 1, trials[place].sampler, place + 1, trials[place].score.by_embedding)  # type: ignore[union-attr]
        for phase, trials in by_phase.items()
        for place in sorted({0, len(trials) // 2, len(trials) - 1})
    ]


def _parts(rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The embeddings of which each row has figures of its own."""
    first: Mapping[str, Any] = next(iter(rows.values()), {})
    return list(first.get("parts") or {})


def _extras(rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Further figures that rows have: plain numbers under names of their own."""
    keys = dict.fromkeys(key for row in rows.values() for key, value in row.items() if isinstance(value, int | float))
    return [key for key in keys if key not in KNOWN]


def _provenance(view: View) -> list[tuple[str, str]]:
    settings, target = view.plan.settings, view.target
    lines = [("study", view.name), ("state", view.status["state"])]
    if target:
        lines += [
            (
                "target",
                target["source"] + ("" if view.source else " (this page has none of its sounds)"),
            ),
            ("its content (SHA-256)", target["content"]),
            (
                "usable sounds",
                f"{target['usable']}, of which {target['held_out']} are held out, by {target['grouped_by']}",
            ),
        ]
    counts = view.result.get("trials") or Counter(trial.sampler for trial in view.trials if trial.score)
    lines += [
        ("embedding", settings.heard_as),
        ("distance", settings.distance),
        ("trials", ", ".join(f"{count} {phase}" for phase, count in counts.items()) or "none yet"),
        ("sounds a trial", str(settings.sounds)),
        ("seed", str(view.plan.seed)),
        ("synth", f"{view.plan.synth_name}, panel {view.plan.panel.name}" if view.plan.panel else view.plan.synth_name),
    ]
    if "seconds" in view.result:
        lines.append(("time", f"{view.result['seconds']:.0f} seconds"))
    versions = view.origin.get("versions", {})
    return [*lines, ("versions", ", ".join(f"{what} {version}" for what, version in versions.items()))]


def _download(nebula: Nebula | None) -> str:
    """The nebula's file as a data address."""
    return "data:application/json;base64," + base64.b64encode(nebula.to_json().encode()).decode() if nebula else ""
