"""What users see while a command works: progress on stderr, score cards and tables."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, SpinnerColumn, TimeRemainingColumn
from rich.text import Text

from nebula_tune.results import figure
from nebula_tune.terminal import Sheet, SheetColumn, plain_console, plain_text, say
from nebula_tune.words import json_text, printable

FIRST_FEW = 5
# What guards count, and how it is called in a table.
SHARES = {
    "silent": "silent",
    "clipped": "clipped",
    "under_midi_24": "under MIDI 24",
    "over_midi_108": "over MIDI 108",
    "wide_sweep": "wide sweep",
}
REFRESH = 5.0  # seconds between looks at what is watched
LINE_EVERY = 15.0  # seconds between progress lines where there is no terminal
ROOM_FOR_BAR = 72  # columns; where there are fewer, figures have them
SOUNDS_OF = SheetColumn("sounds of", "left", folds=True)


def _progress(console: Console, *extra: str) -> Progress:
    columns: list[ProgressColumn] = [plain_text("{task.description}"), MofNCompleteColumn()]
    if console.width >= ROOM_FOR_BAR:
        spinner = SpinnerColumn("dots" if console.encoding.startswith("utf") else "line")
        columns = [spinner, columns[0], BarColumn(), columns[1], *map(plain_text, extra), TimeRemainingColumn()]
    return Progress(
        *columns,
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


def note(text: str) -> None:
    """A line for the user, on stderr."""
    print(printable(text), file=sys.stderr, flush=True)


def print_skipped(where: str, skipped: Sequence[Mapping[str, str]], verbose: bool) -> None:
    """What of a corpus is not used, with ``name`` and ``reason``: the first few, or all; nothing where all is used."""
    for line in _listed_files(skipped, f"{where}: ", "left out", "used, but not as they are", verbose):
        note(line)


def _listed_files(
    files: Sequence[Mapping[str, Any]], where: str, left_out: str, used: str, verbose: bool
) -> Iterator[str]:
    """Files that are left out, and those that are used otherwise than as they are (``files`` is 0), under headings."""
    skipped = [file for file in files if file.get("files", 1)]
    changed = [file for file in files if not file.get("files", 1)]
    if skipped:
        yield f"{where}{sum(file.get('files', 1) for file in skipped)} {left_out}:"
        yield from _listed(skipped, verbose)
    if changed:
        yield f"{where}{len(changed)} {used}:"
        yield from _listed(changed, verbose)


def _listed(skipped: Sequence[Mapping[str, str]], verbose: bool) -> Iterator[str]:
    shown = skipped if verbose else skipped[:FIRST_FEW]
    yield from (f"  {file['name']}: {file['reason']}" for file in shown)
    if len(shown) < len(skipped):
        yield f"  … and {len(skipped) - len(shown)} more (-v lists all)"


@contextmanager
def counting(what: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on stderr, moved by calling it with (done, total)."""
    console = plain_console(stderr=True)
    with _progress(console) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


class RunConsole:
    """Reporter of a run: notes, a bar for each phase with best, rate and time left, and the score card."""

    def __init__(self, quiet: bool, verbose: bool) -> None:
        self._console = plain_console(stderr=True)
        self._out = self._console if quiet else plain_console()
        self._verbose = verbose
        self._bar = _progress(self._console, "{task.fields[best]}", "{task.fields[rate]}")
        self._task: Any = None
        self._loading: Any = None
        self._rendering: Any = None
        self._last_line = time.monotonic()

    def __enter__(self) -> RunConsole:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def note(self, text: str) -> None:
        """A line the user should read."""
        say(self._console, text)

    def loading(self, done: int, total: int) -> None:
        """The target's sounds are being embedded."""
        if self._loading is None:
            self._loading = self._bar.add_task("target", total=total, best="", rate="")
        self._bar.update(self._loading, completed=done, visible=done < total)

    def rendering(self, done: int, total: int) -> None:
        """A constellation's sounds are being rendered."""
        if self._rendering is None:
            if self._task is not None:
                self._bar.update(self._task, visible=False)
            self._rendering = self._bar.add_task("constellation", total=total, best="", rate="")
            self.note("fitting a constellation on the tuned nebula")
        self._bar.update(self._rendering, completed=done, total=total, visible=done < total)

    def skipped(self, files: Sequence[Mapping[str, str]]) -> None:
        """Files of the target that are not used, or not as they are: the first few, or all of them."""
        used = "files of the target are used, but not as they are"
        for line in _listed_files(files, "", "files of the target were skipped", used, self._verbose):
            self.note(line)

    def phase(self, name: str, done: int, total: int) -> None:
        """A phase begins."""
        if self._task is not None:
            self._bar.update(self._task, visible=False)
        self._name, self._done, self._from, self._total = name, done, done, total
        self._began = time.monotonic()
        self._task = self._bar.add_task(name, total=total, completed=done, best="", rate="")

    def scored(self, done: int, best: float | None) -> None:
        """More trials of the phase are scored."""
        self._done += done
        now = time.monotonic()
        rate = (self._done - self._from) / max(now - self._began, 1e-9)
        shown = "" if best is None else f"best {figure(best)}"
        self._bar.update(self._task, completed=self._done, best=shown, rate=f"{rate:.2f} trials/s")
        if not self._console.is_terminal and now - self._last_line > LINE_EVERY:
            self._last_line = now
            left = (self._total - self._done) / rate
            self.note(f"{self._name} {self._done}/{self._total} {shown} {rate:.2f} trials/s, {left:.0f} s left")

    def ended_early(self, name: str, trials: int, total: int) -> None:
        """A phase ended before its last trial."""
        if self._task is not None:
            self._bar.update(self._task, total=trials)
        self.note(f"{name} ended after {trials} of {total} trials: the score no longer moves")

    def finish(self, report: Mapping[str, Any]) -> None:
        """The score card, and where the nebula is."""
        self._bar.stop()
        if verdicts := report.get("told_apart"):
            self._told_apart(verdicts)
        for line in report.get("doubts", ()):
            say(self._out, f"against it: {line}")
        if other := report.get("other"):
            self._other(other)
        if choice := report.get("chosen"):
            taken = choice["candidates"][choice["chosen"]]
            say(
                self._out,
                f"chosen among {len(choice['candidates'])} nebulae of the search by {choice['by']}, which no trial "
                f"heard: phase {taken['phase']}, after {taken['trials']} trials",
            )
        if report["heldout"]:
            self._score_card(report)
        if report.get("reach"):
            say(self._out, _reached(report["reach"]))
        if report.get("spread"):
            self._spread(report["spread"])
        if not report.get("improves", True):
            fresh = "held-out sounds" if report["heldout"] else "fresh sounds"
            self._out.print(f"no improvement on {fresh}: the tuned nebula does no better than the start")
        say(self._out, f"nebula: {report['nebula']}")
        if constellation := report.get("constellation"):
            self._constellation(constellation)
        if "page" in report:
            say(self._out, f"report: {report['page']}")

    def _score_card(self, report: Mapping[str, Any]) -> None:
        rows: Mapping[str, Mapping[str, Any]] = report["heldout"]
        about = report["target"]
        measure = report["embedding"] + ("" if report["distance"] == "l1" else f", {report['distance']}")
        title = f"distance to {about['held_out']} held-out sounds ({{}}, by {about['grouped_by']})"
        self._distances(title.format(measure), rows)
        for part in rows["floor"].get("parts", ()):
            self._distances(title.format(f"{part} alone"), {name: row["parts"][part] for name, row in rows.items()})
        self._shares({name: row["shares"] for name, row in rows.items() if "shares" in row})
        if report["gap_closed"] is not None:
            self._out.print(f"gap closed: {report['gap_closed']:.3f} of the way from start to floor")

    def _told_apart(self, verdicts: Mapping[str, Any]) -> None:
        """What the judges say, first of all."""
        title = f"told from {verdicts['real_sounds']} real sounds ({verdicts['real']}); 0.5 = cannot, 1 = always"
        sheet = Sheet((SOUNDS_OF, SheetColumn("network (AUC)"), SheetColumn("linear classifier")), title)
        for name, auc in verdicts["network"].items():
            sheet.add(name, f"{auc:.3f}", f"{verdicts['linear'][name]:.3f}")
        sheet.show(self._out)

    def _other(self, other: Mapping[str, Any]) -> None:
        """What an embedding says that nothing was tuned on."""
        title = f"distance to held-out sounds under {other['embedding']}, which nothing was tuned on"
        self._distances(title, other["heldout"])
        if verdicts := other.get("told_apart"):  # a study finished before there was a network judge
            shares = ", ".join(f"{name} {value:.2f}" for name, value in verdicts.items() if not name.startswith("real"))
            say(
                self._out,
                f"told from {verdicts['real_sounds']} real sounds ({verdicts['real']}) by a linear classifier, "
                f"0.5 = it cannot: {shares}",
            )

    def _constellation(self, constellation: Mapping[str, Any]) -> None:
        say(self._out, f"constellation: {constellation['file']}")
        new = constellation["novelty"]
        say(
            self._out,
            f"  {constellation['atoms']} atoms, as varied as {constellation['effective_atoms']:.0f} equal ones; spread "
            f"{constellation['spread']:g}; {constellation['rounds']} rounds; "
            f"shrunk by {constellation['shrinkage']:.0%} towards the nebula",
        )
        say(
            self._out,
            f"  nearest fitted sound: {figure(new['to_target'])} from its sounds, {figure(new['among_real'])} from "
            f"held-out ones; {new['copies']:.1%} nearer than all but 5 % of those",
        )

    def _distances(self, title: str, rows: Mapping[str, Mapping[str, Any]]) -> None:
        sheet = Sheet((SOUNDS_OF, *map(SheetColumn, ("eq. 2", "unbiased", "95 % interval", "n", "m"))), title)
        for name, row in rows.items():
            low, high = row["ci95"]
            figures = (figure(row["mmd"]), figure(row["mmd_unbiased"]), f"{figure(low)} … {figure(high)}")
            sheet.add(name, *figures, str(row["n"]), str(row["m"]))
        sheet.show(self._out)

    def _spread(self, spread: Mapping[str, Mapping[str, Any]]) -> None:
        sheet = Sheet(
            (SOUNDS_OF, SheetColumn("mean distance"), SheetColumn("95 % interval")), "spread of 1024 fresh sounds"
        )
        for name, row in spread.items():
            low, high = row["ci95"]
            sheet.add(name, figure(row["value"]), f"{figure(low)} … {figure(high)}")
        sheet.show(self._out)
        self._shares(spread)

    def _shares(self, rows: Mapping[str, Mapping[str, float]]) -> None:
        sheet = Sheet((SOUNDS_OF, *map(SheetColumn, SHARES.values())), "shares of these sounds")
        for name, row in rows.items():
            sheet.add(name, *(f"{100 * row[share]:.1f} %" if share in row else "-" for share in SHARES))
        sheet.show(self._out)


def print_embeddings(embeddings: Sequence[Mapping[str, Any]]) -> None:
    """Embeddings as a table, and what makes the others ready."""
    console = plain_console()
    timed = any("seconds_a_sound" in embedding for embedding in embeddings)
    columns = [
        SheetColumn("embedding", "left", folds=True),
        *map(SheetColumn, ("dimensions", "Hz", "seconds")),
        SheetColumn("weights", "left", folds=True),
        SheetColumn("ready", "left"),
    ]
    sheet = Sheet(columns + ([SheetColumn("seconds a sound", "left")] if timed else []), box=None)
    for embedding in embeddings:
        cost = embedding.get("seconds_a_sound")
        row = [
            embedding["name"],
            str(embedding["dimensions"]),
            str(embedding["sample_rate"]),
            str(embedding["seconds"]),
            embedding["licence"].partition(" (")[0],
        ]
        row += ["yes" if embedding["ready"] else "no"] + ([f"{cost:.4f}" if cost else "-"] if timed else [])
        sheet.add(*row)
    sheet.show(console)
    if not all(embedding["ready"] for embedding in embeddings):
        console.print("to make one ready: nebula-tune embeddings --fetch NAME; licences in full: --json")


def print_reach(reach: Mapping[str, Any]) -> None:
    """How near a pool of sounds comes to a target, cluster by cluster."""
    console = plain_console()
    figures = map(SheetColumn, ("cluster", "sounds", "unreached", "median ratio"))
    sheet = Sheet(
        (*figures, SheetColumn("farthest", "left", folds=True)),
        f"{reach['target']} from {reach['pool']} sounds of {reach['nebula']}",
    )
    for cluster in reach["clusters"]:
        sheet.add(
            str(cluster["cluster"]),
            str(cluster["size"]),
            str(cluster["unreached"]),
            f"{cluster['median_ratio']:.2f}",
            ", ".join(cluster["examples"][:2]),
        )
    sheet.show(console)
    say(console, _reached(reach))


def _reached(reach: Mapping[str, Any]) -> str:
    return (
        f"out of reach: {100 * reach['unreached']:.0f} % of the target's sounds are farther from the nearest of "
        f"{reach['pool']} sounds than from another target sound (median ratio {reach['median_ratio']:.2f})"
    )


def print_study(study: Mapping[str, Any]) -> None:
    """One study's status, line by line."""
    console = plain_console()
    for key, value in study.items():
        say(console, f"{key.replace('_', ' ')}: {'-' if value is None else value}")


def print_studies(studies: Sequence[Mapping[str, Any]]) -> None:
    """All studies as a table."""
    columns = [SheetColumn("study", "left", folds=True)]
    columns += [SheetColumn(name, "left") for name in ("state", "phase", "trials", "best", "trials/s")]
    sheet = Sheet([*columns, SheetColumn("owner", "left", folds=True)])
    for study in studies:
        total = "-" if study["total"] is None else study["total"]
        best = "-" if study["best"] is None else figure(study["best"])
        trials, rate = f"{study['complete']}/{total}", f"{study['trials_per_second']:.2f}"
        sheet.add(study["study"], study["state"], study["phase"], trials, best, rate, study["owner"] or "-")
    sheet.show(plain_console())


def refreshing(show: Callable[[], None], in_place: bool) -> None:
    """Show something again and again, until Ctrl-C, which ends it well.

    Args:
        show: prints it, to stdout.
        in_place: in a terminal, each time in the place of the time before.
    """
    console = plain_console()
    with suppress(KeyboardInterrupt):
        if not (in_place and console.is_terminal):
            while True:
                show()
                time.sleep(REFRESH)
        with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
            while True:
                text = io.StringIO()
                with redirect_stdout(text):
                    show()
                live.update(Text(text.getvalue().rstrip("\n")), refresh=True)
                time.sleep(REFRESH)


def print_test(test: Mapping[str, str], as_json: bool) -> None:
    """Where a listening test is, and what it can show."""
    if as_json:
        print(json_text(test))
        return
    console = plain_console()
    for line in (
        f"page: {test['page']}",
        f"key: {test['key']} (tells which is which: leave it closed until the last ballot is in)",
        test["power"],
    ):
        say(console, line)


def print_analysis(analysis: Mapping[str, Any], as_json: bool) -> None:
    """What ballots say: power first, then a table for each test, then strengths over all."""
    if as_json:
        print(json_text(analysis))
        return
    console = plain_console()
    for test in analysis["tests"]:
        _print_listeners(console, test)
    for test in analysis["among"]:
        _print_among(console, test)
    several = len(analysis["tests"]) + len(analysis["among"]) > 1
    if several and max(len(rows) for rows in analysis["strengths"].values()) > 2:
        for question, rows in analysis["strengths"].items():
            figures = (SheetColumn(name, "left") for name in ("strength", "95 % interval", "chosen", "linked set"))
            sheet = Sheet((SheetColumn("nebula", "left", folds=True), *figures), f"Bradley-Terry strengths: {question}")
            for row in rows:
                low, high = row["ci95"]
                cells = (f"{row['strength']:+.2f}", f"{low:+.2f} … {high:+.2f}", f"{row['wins']} of {row['n']}")
                sheet.add(row["name"], *cells, str(row["set"] + 1))
            sheet.show(console)


def _print_among(console: Console, test: Mapping[str, Any]) -> None:
    """One test among several: its listeners, then the nebulae in order by each question."""
    passed_over = ", ".join(f"{each['name']} {each['passed_over']}" for each in test["nebulae"])
    say(console, f"silent or unreadable sounds passed over: {passed_over}")
    names = SheetColumn("listener", "left", folds=True)
    figures = map(SheetColumn, ("pairs", "repeats alike (like, keep)", "catches failed"))
    sheet = Sheet((names, *figures), f"{len(test['nebulae'])} nebulae, {test['pairs']} pairs")
    for listener in test["listeners"]:
        repeats, catches = listener["repeats"], listener["catches"]
        alike = f"{repeats['like']}, {repeats['keep']} of {repeats['n']}"
        name = listener["listener"] + ("" if listener["finished"] else " (unfinished)")
        sheet.add(name, str(listener["n"]), alike, f"{catches['failed']} of {catches['n']}")
    sheet.show(console)
    for question, text in (("like", f"more like {test['target_kind']}"), ("keep", "keep")):
        figures = map(SheetColumn, ("strength", "95 % interval", "strongest in", "chosen"))
        sheet = Sheet((SheetColumn("nebula", "left", folds=True), *figures), f"Bradley-Terry strengths: {text}")
        for row in test["ranked"][question]:
            low, high = row["ci95"]
            strength = (f"{row['strength']:+.2f}", f"{low:+.2f} … {high:+.2f}", f"{100 * row['strongest']:.0f} %")
            sheet.add(row["name"], *strength, f"{row['wins']} of {row['n']}")
        sheet.show(console)


def _print_listeners(console: Console, test: Mapping[str, Any]) -> None:
    """One test's power and table."""
    a, b = test["a"], test["b"]
    say(console, f"power, said beforehand: {test['power_text']}")
    passed_over = ", ".join(f"{side['name']} {side['passed_over']}" for side in (a, b))
    say(console, f"silent or unreadable sounds passed over: {passed_over}")
    figures = map(SheetColumn, ("A chosen", "share", "95 % (Wilson)", "p", "repeats alike", "catches failed"))
    names = (SheetColumn("listener", "left", folds=True), SheetColumn("question", "left", folds=True))
    sheet = Sheet((*names, *figures, SheetColumn("set kept", folds=True)), f"{a['name']} (A) against {b['name']} (B)")
    questions = {"like": f"more like {test['target_kind']}", "keep": "keep"}
    for listener in test["listeners"]:
        name = listener["listener"] + ("" if listener["finished"] else " (unfinished)")
        for question, text in questions.items():
            repeats, catches = listener["repeats"], listener["catches"]
            extra = (f"{repeats[question]} of {repeats['n']}", f"{catches['failed']} of {catches['n']}")
            vote = {"A": a["name"], "B": b["name"], None: "-"}[listener["browse"]]
            sheet.add(name, text, *_count(listener[question]), *extra, vote)
    pooled = test["pooled"]
    for question, text in questions.items():
        sheet.add("all", text, *_count(pooled[question]))
    if "without_failed_catches" in pooled:
        for question, text in questions.items():
            sheet.add("all without a failed catch", text, *_count(pooled["without_failed_catches"][question]))
    sheet.show(console)


def _count(count: Mapping[str, Any]) -> tuple[str, str, str, str]:
    """A binomial count's cells."""
    if not count["n"]:
        return "0 of 0", "-", "-", "-"
    low, high = count["ci95"]
    return (
        f"{count['wins']} of {count['n']}",
        f"{count['share']:.2f}",
        f"{low:.2f} … {high:.2f}",
        f"{count['p_value']:.2g}",
    )
