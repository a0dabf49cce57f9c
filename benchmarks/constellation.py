"""Constellations: quality against pool size, spread and rounds; seconds of each stage; columns on demand against dense.

    python benchmarks/constellation.py quality NEBULA [--pool 1536 --pool 6144] [--rounds 2]
    python benchmarks/constellation.py weights NEBULA [--pool 1536 --pool 6144 --pool 100000] [--dense 24576]

Reads the study from NEBULA.provenance.json and splits its target as the study did. Excess is the unbiased held-out MMD
above the floor, as a share of the tuned nebula's. Give NEBULA_TUNE_CACHE an empty folder, or the seconds of rendering
are those of reading a cache.
"""

from __future__ import annotations

import argparse
import json
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from nebula_tune.corpus.source import Source
from nebula_tune.distance import L1, mmd
from nebula_tune.embedding import make_embedding
from nebula_tune.execution.inline import InlineExecutor
from nebula_tune.fitting.fit import Fitter, TargetSounds
from nebula_tune.fitting.sound_pool import PoolRenderer, SoundCounter
from nebula_tune.fitting.weights import Aim, fit_weights
from nebula_tune.nebula import Nebula
from nebula_tune.scoring import Request, ScorerSpec
from nebula_tune.study.plan import Plan
from nebula_tune.study.settings import ConstellationSettings
from nebula_tune.study.target import SplitTarget
from nebula_tune.synth.indices import Purpose, first_index

FRESH = 1024
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


class Bench:
    """One tuned nebula, its target, and workers in this process."""

    def __init__(self, path: Path, target: str | None) -> None:
        provenance = json.loads(path.with_name(f"{path.stem}.provenance.json").read_text())
        self.plan = Plan.read(provenance["settings"])
        settings = self.plan.settings
        embeddings = [make_embedding(one.name, **one.options, device=DEVICE) for one in settings.heard]
        source = Source.parse(target or provenance["origin"]["target"]["source"])
        self.target = SplitTarget.load(source, self.plan, embeddings)
        heard = [{"name": one.name, **one.options} for one in settings.heard]
        self.executor = InlineExecutor(ScorerSpec(self.plan.synth_name, heard, settings.prepare, None, DEVICE))
        self.point = self.plan.point(Nebula.load(path))
        self.seconds = 0.0
        self.renderer = PoolRenderer(
            self.executor,
            self.plan,
            embeddings,
            self.point,
            device=DEVICE,
            progress=SoundCounter(0, lambda *_: None),
            check=lambda: None,
        )

    def fitter(self, pool: int, rounds: int) -> Fitter:
        return Fitter(self.renderer, L1(), ConstellationSettings(pool=pool, rounds=rounds), self.plan, self.point)

    @contextmanager
    def timed(self) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self.seconds = time.perf_counter() - began


def quality(bench: Bench, pools: list[int], rounds: int, shrinkage: float) -> None:
    (held_in, groups_in), (held_out, groups_out) = bench.target.held_in, bench.target.held_out
    request = Request(bench.point, first_index(Purpose.SCORE_CARD, bench.plan.seed), FRESH)

    def excess(raw: np.ndarray | None) -> float:
        vectors = bench.executor.vectors(replace(request, raw=raw))
        return mmd(vectors, held_out, groups_y=groups_out).mmd_unbiased - floor

    heard = TargetSounds(held_in)
    floor = mmd(held_in, held_out, groups_x=groups_in, groups_y=groups_out).mmd_unbiased
    tuned = excess(None)
    spreads = ConstellationSettings().spreads
    print(f"tuned nebula: excess {tuned:.1f} over a floor of {floor:.1f}; {len(held_in)} sounds fitted\n")
    print("| pool | round | effective atoms | " + " | ".join(f"spread {s:g}" for s in spreads) + " | s |")
    print("| --- " * (4 + len(spreads)) + "|")
    for pool in pools:
        fitter = bench.fitter(pool, rounds)
        for number in range(1, rounds + 1):
            with bench.timed():
                stages = fitter.stages(heard, [shrinkage] * number)
            shares = []
            for spread in spreads:
                made = fitter.constellation(stages[-1], spread)
                shares.append(excess(PoolRenderer.draws(bench.plan, made, request)) / tuned)
            row = [str(pool), str(number), f"{stages[-1].weights.effective:.0f}", *(f"{s:.3f}" for s in shares)]
            print(f"| {' | '.join(row)} | {bench.seconds:.1f} |", flush=True)


def weights(bench: Bench, pools: list[int], largest_dense: int) -> None:
    y = torch.from_numpy(bench.target.held_in[0])
    distance = L1()
    within = float(distance.within(y).sum()) / len(y) ** 2
    print("| pool | render, s | distances to the target, s | weights, s | columns | state, MB | dense, s | dense, MB |")
    print("| --- " * 8 + "|")
    for pool in pools:
        with bench.timed():
            x = torch.from_numpy(bench.renderer.nebula(first_index(Purpose.POOL, bench.plan.seed), pool).vectors)
        rendering = bench.seconds
        with bench.timed():
            aim = Aim((distance.corpus(y).sums(x) / len(y)).numpy(), within)
        looking = bench.seconds
        with bench.timed():
            found = fit_weights(aim, lambda i, x=x: distance.column(x, i).numpy())
        fitting = bench.seconds
        tracemalloc.start()
        fit_weights(aim, lambda i, x=x: distance.column(x, i).numpy())
        state = tracemalloc.get_traced_memory()[1] / 1e6
        tracemalloc.stop()
        row = [str(pool), f"{rendering:.1f}", f"{looking:.2f}", f"{fitting:.2f}", str(found.columns), f"{state:.0f}"]
        if pool <= largest_dense:
            with bench.timed():
                matrix = distance.pairwise(x, x).numpy()
                dense = fit_weights(aim, lambda i, matrix=matrix: matrix[i])
            assert abs(dense.value - found.value) <= 0.02 * found.value
            row += [f"{bench.seconds:.2f}", f"{matrix.nbytes / 1e6:.0f}"]
        else:
            row += ["-", f"({4 * pool**2 / 1e6:.0f})"]
        print(f"| {' | '.join(row)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["quality", "weights"])
    parser.add_argument("nebula", type=Path)
    parser.add_argument("--target", help="where the study's target is, if not where it was")
    parser.add_argument("--pool", type=int, action="append")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--shrinkage", type=float, default=0.0)
    parser.add_argument("--dense", type=int, default=12288, help="largest pool for which the matrix is made")
    arguments = parser.parse_args()
    bench = Bench(arguments.nebula, arguments.target)
    pools = arguments.pool or [1536, 3072, 6144]
    if arguments.what == "quality":
        quality(bench, pools, arguments.rounds, arguments.shrinkage)
    else:
        weights(bench, pools, arguments.dense)
    bench.executor.close()


if __name__ == "__main__":
    main()
