"""Cost of `compare`'s trials: quadratic forms on one matrix of distances, beside the rank look-up for every trial.

    python benchmarks/compare.py [--sounds 2000] [--corpora 4] [--trials 1000] [--peer-trials 5] [--dimensions 480]

The peer is our own l1 MMD by sorting (`l1_mmd`), the fastest way to one MMD; scipy's energy distance, dimension
by dimension, is a second one. Also (--embed): rendering and embedding as many sounds with logmel. All in CPU seconds.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from scipy.stats import energy_distance

from nebula_tune.corpus.groups import GroupBy
from nebula_tune.corpus.prepare import prepare
from nebula_tune.distance import l1_mmd, make_distance
from nebula_tune.embedding import make_embedding
from nebula_tune.embedding.embed import Embedded
from nebula_tune.evaluate.compare import ComparedCorpus, measure
from nebula_tune.evaluate.comparison import Protocol
from nebula_tune.synth import Voice


def seconds(work: Callable[[], object], repeats: int = 3) -> float:
    """CPU seconds, all threads together, which a busy machine does not stretch; the median of a few."""
    found = []
    for _ in range(repeats):
        began = time.process_time()
        work()
        found.append(time.process_time() - began)
    return float(np.median(found))


def corpus(number: int, sounds: int, dimensions: int) -> ComparedCorpus:
    vectors = np.random.default_rng(number).normal(number / 10, 1, size=(sounds, dimensions)).astype(np.float32)
    names = tuple(f"{number}-{k}" for k in range(sounds))
    return ComparedCorpus(
        str(number), Embedded(vectors, names, names, ("",) * sounds, ()), GroupBy.FILE, np.arange(sounds)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, value in (("sounds", 2000), ("corpora", 4), ("trials", 1000), ("peer-trials", 5), ("dimensions", 480)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--embed", action="store_true", help="also embed so many sounds of the Voice")
    arguments = parser.parse_args()
    corpora = [corpus(k, arguments.sounds, arguments.dimensions) for k in range(arguments.corpora)]
    pairs = arguments.corpora * (arguments.corpora + 1) // 2
    how = Protocol(sounds=arguments.sounds, trials=arguments.trials)
    ours = seconds(lambda: measure(corpora, make_distance("l1"), how, lambda done, total: None), 1)
    print(f"compare, once embedded: {pairs} rows of {arguments.trials} trials and all intervals in {ours:.1f} CPU s")

    half = arguments.sounds // 2
    x, y = (one.embedded.vectors[:half] for one in corpora[:2])
    sort = seconds(lambda: l1_mmd(x, y), arguments.peer_trials)
    scipys = seconds(lambda: [energy_distance(x[:, k], y[:, k]) for k in range(arguments.dimensions)], 3)
    for name, one in (("the rank look-up", sort), ("scipy's energy_distance", scipys)):
        whole = one * pairs * arguments.trials
        print(f"{name}: {one:.3f} s a trial, {whole:.0f} s for as many: {whole / ours:.0f} times as long")

    if arguments.embed:
        ear, voice = make_embedding("logmel"), Voice("default", 32, 32000, 2.5)
        began = time.process_time()
        for start in range(0, arguments.sounds, 32):
            audio = voice.render(voice.draw(start, 32), start)
            ear.embed_batch(prepare(audio, ear.samples))
        print(f"render and embed {arguments.sounds} sounds with logmel: {time.process_time() - began:.1f} s")
    print(f"torch threads: {torch.get_num_threads()}")


if __name__ == "__main__":
    main()
