"""Ways to search for a nebula, on equal terms: held-out distance against trials.

    python benchmarks/search.py run --out results [--jobs 16] [--minutes 9] [--seeds 3] [--methods ...] [--targets ...]
    python benchmarks/search.py prepare vectors.npz         # where the corpora are: embed them once
    python benchmarks/search.py run --vectors vectors.npz   # where they are not
    python benchmarks/search.py report results              # tables and a picture, into benchmarks/search.md and .svg

Same target, objective (l1 MMD under logmel), start (`default`), sounds a trial and space for all; CMA-ES begins at the
best grid point. Every (target, space, method, seed) is worked out by one thread and kept as a JSON file as soon as it
is done, so a run that was stopped goes on. At some numbers of trials what the search would stand for is judged by
1024 fresh sounds against sounds of the target that no trial saw: the best trial so far, and the sampler's own result
(the mean of CMA-ES's distribution, the hardened nebula of a witness).
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
from tpe import Tpe

from nebula_tune.corpus.groups import GroupBy, hold_out
from nebula_tune.corpus.source import Folder, NebulaSounds, Source, WhiteNoise
from nebula_tune.distance import l1_mmd
from nebula_tune.embedding import Embedding, make_embedding
from nebula_tune.embedding.embed import Embedded
from nebula_tune.files import write_atomically
from nebula_tune.machine import cores
from nebula_tune.nebula import Nebula
from nebula_tune.scoring import Request, Scorer, ScorerSpec
from nebula_tune.search import Reevaluation, Sampler
from nebula_tune.study.plan import Plan
from nebula_tune.study.settings import StudySettings, load_study
from nebula_tune.study.target import SplitTarget, embed_corpus
from nebula_tune.study.yardstick import Yardstick
from nebula_tune.synth import architecture
from nebula_tune.synth.indices import Purpose, first_index
from nebula_tune.trial import Point, Score

HYDROGEN = "/usr/share/hydrogen/data/drumkits"
SPACES = {"paper": (0.1, 10.0), "wide": (0.003, 50.0)}
CHECKPOINTS = (1, 25, 50, 100, 200, 300, 400, 600, 800, 1000)
FRESH = 1024  # sounds that judge
SECONDS_A_TRIAL = 0.1  # guessed before the first cell is done

EMBEDDING = {"name": "logmel"}
SEARCHES: dict[str, list[dict[str, Any]]] = {
    "random": [{"sampler": "grid", "trials": 1000}],
    "paper": [phase.model_dump() for phase in load_study("paper").search],
    "cmaes": [{"sampler": "cmaes", "trials": 1000}],
    "tpe": [{"sampler": "grid", "trials": 300}],  # its number of trials; Optuna proposes
    **{f"witness-{n}": [{"sampler": "witness", "trials": n, "patience": None}] for n in (100, 200)},
    "laptop": [phase.model_dump() for phase in load_study("laptop").search],
}
REFERENCES = "references"  # a method that searches nothing: start, hand-made and floor


@dataclass(frozen=True)
class Corpus:
    """A target: a folder, of which names match; a nebula's sounds; white noise; or (no source) diversity."""

    source: str | None
    names: tuple[str, ...] = ("*",)
    synth: str = "voice"

    @property
    def folder(self) -> Path | None:
        return Path(self.source) if self.source and "/" in self.source else None


TARGETS = {
    "drums": Corpus("examples/drums"),
    "kits": Corpus(HYDROGEN),
    "recovery": Corpus("drum"),
    "white-noise": Corpus("white-noise"),
    "kicks": Corpus(HYDROGEN, ("*kick*", "*bd*", "*bassdrum*")),
    "hats": Corpus(HYDROGEN, ("*hat*", "*hh*", "*hi-hat*")),
    "pitched": Corpus("default", synth="fm"),  # FM tones: an instrument the voice is not
    "nebula": Corpus("random"),  # another nebula, drawn at random
    "diversity": Corpus(None),
}
COMPARED = ("drums", "kits")  # every method in both spaces; elsewhere these, in the wide one
RECOVERY = ("paper", "cmaes", "witness-100", "witness-200", "laptop")
OTHERS = ("witness-100", "witness-200", "laptop")


@dataclass(frozen=True)
class Cell:
    """One search, done once."""

    target: str
    space: str
    method: str
    seed: int

    @property
    def file(self) -> str:
        return f"{self.target}.{self.space}.{self.method}.{self.seed}.json"

    @property
    def work(self) -> int:
        """About how many trials' work it is, for order and time."""
        if self.method == REFERENCES:
            return 20
        again = load_study(self.method).reevaluate if self.method in ("paper", "laptop") else None
        searched = sum(phase["trials"] for phase in SEARCHES[self.method])
        judged = 8 * sum(count <= searched for count in CHECKPOINTS)
        return searched * (3 if self.method == "tpe" else 1) + judged + (again.top * again.repeats if again else 0)


def cells(targets: Iterable[str], methods: Sequence[str], spaces: Sequence[str], seeds: int) -> Iterator[Cell]:
    for seed in range(seeds):
        for target in targets:
            yield Cell(target, "wide", REFERENCES, seed)
            fitting = SEARCHES if target in COMPARED else RECOVERY if target == "recovery" else OTHERS
            for method in methods:
                for space in spaces:
                    if method in fitting and (space == "wide" or target in COMPARED):
                        yield Cell(target, space, method, seed)


# Targets


def plan_of(cell: Cell, sounds: int = 256) -> Plan:
    search = SEARCHES.get(cell.method, SEARCHES["random"])
    settings = StudySettings.model_validate(
        {
            "objective": "match" if TARGETS[cell.target].source else "diversity",
            "embedding": EMBEDDING,
            "sounds": sounds,
            "space": {"curve": SPACES[cell.space]},
            "search": tuple(search),
            "reevaluate": load_study(cell.method).reevaluate if cell.method in ("paper", "laptop") else {"repeats": 0},
        }
    )
    return Plan(settings, "voice", architecture("voice").resolve("default"), (), (), cell.seed, "file", 2000)


def random_nebula(seed: int) -> Nebula:
    """Curves log-uniform in the paper's range, flags by coin."""
    random = np.random.default_rng(seed)
    panel = architecture("voice").panel
    curves = np.exp(random.uniform(np.log(0.1), np.log(10), len(panel)))
    return panel.nebula(curves, random.random(len(panel)) < 0.5)


def embedded(corpus: Corpus, plan: Plan, ears: Sequence[Embedding], vectors: Path | None) -> tuple[Source, Embedded]:
    """A corpus's vectors: of a folder from ``vectors`` where that is given."""
    if corpus.folder:
        source = Folder(str(corpus.source), corpus.folder)
        found = read_vectors(vectors, str(corpus.source)) if vectors else None
        return source, only(found or embed_corpus(source, plan, ears, Purpose.TARGET), corpus.names)
    if corpus.source == "random":
        source = NebulaSounds("random", random_nebula(plan.seed))
    elif corpus.source == "white-noise":
        source = WhiteNoise("white-noise")
    else:
        source = NebulaSounds(str(corpus.source), architecture(corpus.synth).resolve(str(corpus.source)))
    return source, embed_corpus(source, replace(plan, synth_name=corpus.synth), ears, Purpose.TARGET)


def only(whole: Embedded, names: Sequence[str]) -> Embedded:
    """The sounds whose file names match."""
    kept = [i for i, name in enumerate(whole.names) if any(fnmatch(Path(name).name.lower(), n) for n in names)]
    keys, files, folders = (tuple(part[i] for i in kept) for part in (whole.keys, whole.names, whole.folders))
    return Embedded(whole.vectors[kept], keys, files, folders, ())


def write_vectors(path: Path) -> None:
    """Embed the folders; names, keys and vectors go into one file."""
    plan = plan_of(Cell("drums", "wide", "random", 0))
    parts: dict[str, Any] = {}
    for folder in sorted({str(corpus.source) for corpus in TARGETS.values() if corpus.folder}):
        source = Folder(folder, Path(folder))
        whole = embed_corpus(source, plan, [make_embedding(**EMBEDDING)], Purpose.TARGET)
        parts |= {f"{folder}|vectors": whole.vectors}
        parts |= {f"{folder}|{field}": np.array(getattr(whole, field)) for field in ("keys", "names", "folders")}
        print(f"{folder}: {len(whole.keys)} sounds")
    np.savez_compressed(path, **parts)
    print(f"{path}: {path.stat().st_size / 2**20:.1f} MB")


def read_vectors(path: Path, folder: str) -> Embedded:
    with np.load(path, allow_pickle=False) as file:
        keys, names, folders = (tuple(file[f"{folder}|{field}"].tolist()) for field in ("keys", "names", "folders"))
        return Embedded(file[f"{folder}|vectors"], keys, names, folders, ())


# One cell


class Bench:
    """Scores and judges points of a plan, with one thread."""

    def __init__(self, plan: Plan, corpus: Corpus, vectors: Path | None = None, device: str = "cpu") -> None:
        self.plan = plan
        heard = [{"name": one.name, **one.options} for one in plan.settings.heard]
        ears = [make_embedding(**one, device=device) for one in heard]
        self.target: SplitTarget | None = None
        path = None
        if corpus.source:
            source, whole = embedded(corpus, plan, ears, vectors)
            by, groups = whole.groups(GroupBy(plan.group_by))
            self.target = SplitTarget(source, whole, by, np.array(groups), hold_out(groups, plan.seed))
            yardstick = Yardstick.frozen_on(plan.settings, ears, *self.target.held_in)
            path = str(self.target.save_for_workers(plan, ears, yardstick))
        self.scorer: Scorer = ScorerSpec(plan.synth_name, heard, plan.settings.prepare, path, device).build()
        self.chunk = self.scorer.chunk_sounds

    def score(self, point: Point, first: int, phase: int | None = None) -> Score:
        curvature = phase is not None and self.plan.has_curvature(phase)
        request = Request(point, first, self.plan.settings.sounds, curvature=curvature)
        return self.scorer.reduce(request, self._chunks(request))

    def _chunks(self, request: Request) -> list[Any]:
        return [self.scorer.chunk(request, k) for k in range(-(-request.sounds // self.chunk))]

    def judge(self, point: Point, interval: bool = False) -> dict[str, Any]:
        """Fresh sounds of a point against the held-out ones; without a target, minus their spread."""
        request = Request(point.hardened(), first_index(Purpose.SCORE_CARD, self.plan.seed), FRESH)
        chunks = self._chunks(request)
        if self.target is None:
            score = self.scorer.reduce(request, chunks)
            return {"mmd": score.mmd, "mmd_unbiased": score.value}
        return self._against_held_out(np.concatenate([chunk.vectors for chunk in chunks]), None, interval)

    def _against_held_out(self, vectors: Any, groups: Sequence[str] | None, interval: bool) -> dict[str, Any]:
        assert self.target is not None
        result = l1_mmd(vectors, self.target.held_out[0], groups, self.target.held_out[1])
        row: dict[str, Any] = {"mmd": result.mmd, "mmd_unbiased": result.mmd_unbiased, "m": result.m}
        return row | ({"ci95": list(result.ci95)} if interval else {})

    def references(self) -> dict[str, Any]:
        drum = self.plan.point(Nebula.load("drum"))
        rows = {"start": self.judge(self.plan.space.start, True), "drum": self.judge(drum, True)}
        if self.target is not None:
            rows["floor"] = self._against_held_out(*self.target.held_in, True)
        return rows

    def search(self, tpe: bool = False) -> Iterator[tuple[int, str, Point]]:
        """The search, yielding (trials, what, point) at each checkpoint, and the re-evaluated result at last."""
        ends: list[Point] = []
        ranked: list[tuple[float, int, Point]] = []
        start, done = self.plan.space.start, 0
        for number, phase in enumerate(self.plan.settings.search):
            sampler: Sampler = self.plan.sampler(number, self.plan.space, start)
            if tpe:
                sampler = Tpe(self.plan.space, phase.trials, self.plan.seed)
            while candidates := sampler.ask():
                scores = []
                for c in candidates:
                    scores.append(self.score(c.point, self.plan.trial_index(number, c.draw), number))
                    done += 1
                    if not c.point.relaxed:
                        ranked.append((scores[-1].value, done, c.point))
                    if done in CHECKPOINTS and ranked:
                        yield done, "best", min(ranked, key=lambda r: r[:2])[2]
                before = done - len(candidates)
                sampler.tell(scores)
                if any(before < count <= done for count in CHECKPOINTS):
                    yield done, "result", sampler.result()
            start = sampler.result()
            ends.append(start)
        yield done, "end", start
        again = self.plan.settings.reevaluate
        if again.repeats:
            best = [point for _, _, point in sorted(ranked, key=lambda r: r[:2])[: again.top]]
            yield done, "re-evaluated", self.reevaluate([*reversed(ends), *best])

    def reevaluate(self, candidates: Sequence[Point]) -> Point:
        again, sounds = Reevaluation(len(candidates), self.plan.settings.reevaluate.repeats), self.plan.settings.sounds
        while pairs := again.ask():
            first = first_index(Purpose.REEVALUATION, self.plan.seed)
            again.tell([self.score(candidates[c], first + r * sounds).value for c, r in pairs])
        return candidates[again.result()]


def work(cell: Cell, options: argparse.Namespace) -> float:
    """Do one cell and write its file; returns seconds."""
    import torch

    torch.set_num_threads(1)
    began = time.monotonic()
    bench = Bench(plan_of(cell, options.sounds), TARGETS[cell.target], options.vectors, options.device)
    found: dict[str, Any] = {**vars(cell), "sounds": options.sounds}
    if cell.method == REFERENCES:
        found["rows"] = bench.references()
    else:
        points = list(bench.search(tpe=cell.method == "tpe"))
        found["rows"] = [
            {"trials": trials, "what": what, **bench.judge(point, interval=what in ("end", "re-evaluated"))}
            for trials, what, point in points
        ]
        last = points[-1][2]
        found["nebula"] = {"curves": last.curves.tolist(), "symmetric": last.symmetric.tolist()}
    seconds = time.monotonic() - began
    found["seconds"] = round(seconds, 1)
    write_atomically(options.out / cell.file, (json.dumps(found, indent=1) + "\n").encode())
    return seconds


def run(todo: Sequence[Any], work: Callable[[Any, argparse.Namespace], float], options: argparse.Namespace) -> None:
    """All of ``todo`` that have no file yet, seed by seed, the longest first, ``jobs`` at a time.

    Each has a ``file``, a ``seed`` and its ``work`` in trials; none begins that would end after ``minutes``.
    """
    options.out.mkdir(parents=True, exist_ok=True)
    waiting = sorted((c for c in todo if not (options.out / c.file).exists()), key=lambda c: (c.seed, -c.work))
    print(f"{len(waiting)} of {len(todo)} to do", flush=True)
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[variable] = "1"  # for the processes to come: each does its work with one thread
    deadline = time.monotonic() + 60 * options.minutes
    rates, running = [SECONDS_A_TRIAL], dict[Future[float], Any]()
    spawn = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
    with ProcessPoolExecutor(options.jobs, mp_context=spawn) as pool:
        while waiting or running:
            left = (deadline - time.monotonic()) / max(rates[-20:])
            late = [one for one in waiting if one.work > left]
            if late:
                print(f"no time for {len(late)} of those left: they are for the next run", flush=True)
                waiting = [one for one in waiting if one.work <= left]
            while waiting and len(running) < options.jobs:
                one = waiting.pop(0)
                running[pool.submit(work, one, options)] = one
            for future in wait(running, return_when=FIRST_COMPLETED).done if running else ():
                one, seconds = running.pop(future), future.result()
                if one.work > 50:
                    rates.append(seconds / one.work)
                print(f"{one.file}: {seconds:.0f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    prepare = commands.add_parser("prepare", help="embed the folders once, into a file for other machines")
    prepare.add_argument("file", type=Path)
    search = commands.add_parser("run", help="search; goes on where it was stopped")
    search.add_argument("--out", type=Path, required=True, help="folder of results")
    search.add_argument("--jobs", type=int, default=cores())
    search.add_argument("--minutes", type=float, default=float("inf"), help="begin nothing that would end later")
    search.add_argument("--seeds", type=int, default=3)
    search.add_argument("--sounds", type=int, default=256)
    search.add_argument("--methods", nargs="+", default=list(SEARCHES), choices=SEARCHES)
    search.add_argument("--targets", nargs="+", default=list(TARGETS), choices=TARGETS)
    search.add_argument("--spaces", nargs="+", default=list(SPACES), choices=SPACES)
    search.add_argument("--device", default="cpu")
    search.add_argument("--vectors", type=Path, help="what `prepare` wrote, where the folders are not")
    report = commands.add_parser("report", help="tables and a picture")
    report.add_argument("out", type=Path, help="folder of results, or search.jsonl")
    report.add_argument("--to", type=Path, default=Path(__file__).with_suffix(".md"))
    options = parser.parse_args()
    if options.command == "prepare":
        write_vectors(options.file)
    elif options.command == "run":
        run(list(cells(options.targets, options.methods, options.spaces, options.seeds)), work, options)
    else:
        from search_report import write_report

        write_report(options.out, options.to)


if __name__ == "__main__":
    main()
