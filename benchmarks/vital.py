"""What a sound of Vital costs, against the Voice, and how that scales over processes: prints the tables of vital.md.

    python benchmarks/vital.py                # CPU-seconds a sound, then sounds a second by threads
    python benchmarks/vital.py --sounds 16    # quicker, rougher
    python benchmarks/vital.py --picture vital.png    # docs/vital.png: sounds 0 to 13 of each panel

Both ways to a fresh instrument take turns (a copy of one that has played nothing, and a new one), so that a busy
machine slows them alike; medians of the rounds. CPU time is that of all processes, the players' too.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from nebula_tune.corpus.prepare import Prepare
from nebula_tune.corpus.source import NebulaSounds
from nebula_tune.embedding import make_embedding
from nebula_tune.embedding.embed import embed_source
from nebula_tune.machine import cores, cpu_kind
from nebula_tune.synth import Synth, architecture
from nebula_tune.synth.vital.player import IDLE, VitalProcess

SECONDS = 1.05  # of a sound in a trial of `vital-drum`
ROUNDS = 5
PANELS = ("vital-drum", "vital-synth")


def cpu_seconds() -> float:
    """Of this process, and of those that it started and that have ended."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def cost(work: Callable[[], object]) -> tuple[float, float]:
    """CPU-seconds and seconds of some work."""
    began, clock = cpu_seconds(), time.monotonic()
    work()
    return cpu_seconds() - began, time.monotonic() - clock


def of_vital(synth: Synth, sounds: int, copies: bool) -> float:
    """CPU-seconds a sound: what so many sounds cost more than one does, for a process takes time to start."""

    def play(count: int) -> Callable[[], None]:
        def work() -> None:
            IDLE._processes.append(VitalProcess(copies))
            synth.render(synth.draw(0, count))
            IDLE.close()

        return work

    return (cost(play(sounds + 1))[0] - cost(play(1))[0]) / sounds


def picture(out: Path, columns: int = 14) -> None:
    """Spectrograms (the network judge's pictures) of each panel's first sounds, a row a panel."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    ear = make_embedding("picture")
    figure, axes = pyplot.subplots(len(PANELS), columns, figsize=(columns, 1.05 * len(PANELS)))
    for panel, row in zip(PANELS, axes, strict=True):
        kind = architecture("vital", panel)
        start = NebulaSounds("default", kind.resolve("default"))
        embedded = embed_source(start, ear, Prepare.ONSET, kind, 0, sounds=columns)
        for axis, sound in zip(row, embedded.vectors, strict=True):
            axis.imshow(sound.reshape(-1, 64).T, origin="lower", aspect="auto", cmap="magma", vmin=0, vmax=1)
            axis.set(xticks=[], yticks=[])
        row[0].set_ylabel(panel, fontsize=8)
    figure.subplots_adjust(0.02, 0.01, 0.999, 0.99, 0.03, 0.05)
    figure.savefig(out, dpi=80)
    print(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sounds", type=int, default=48)
    parser.add_argument("--picture", type=Path)
    asked = parser.parse_args()
    if asked.picture:
        picture(asked.picture)
        return
    sounds = asked.sounds
    torch.set_num_threads(1)
    voice = architecture("voice")("default", sounds, 44100, SECONDS, threads=1)
    voice(0)
    print(f"{cpu_kind()}; {SECONDS} s a sound, ms of CPU a sound\n")
    print("| panel | copied instrument | new instrument | the Voice |\n| --- | ---: | ---: | ---: |")
    for panel in PANELS:
        synth = architecture("vital", panel)("default", sounds, 44100, SECONDS, threads=1)
        rounds = [
            (of_vital(synth, sounds, True), of_vital(synth, sounds, False), cost(lambda: voice(0))[0] / sounds)
            for _ in range(ROUNDS)
        ]
        copied, new, peer = (1000 * statistics.median(column) for column in zip(*rounds, strict=True))
        print(f"| `{panel}` | {copied:.1f} | {new:.1f} | {peer:.2f} |")
    print("\n| threads, a process each | sounds a second | times one |\n| ---: | ---: | ---: |")
    rates: list[float] = []
    for threads in sorted({1, max(1, cores() // 2), cores()}):
        synth = architecture("vital")("default", sounds, 44100, SECONDS, threads=threads)
        raw = synth.draw(0, sounds)
        synth.render(raw[:threads])
        rates.append(sounds / statistics.median(cost(lambda: synth.render(raw))[1] for _ in range(ROUNDS)))  # noqa: B023
        print(f"| {threads} | {rates[-1]:.1f} | {rates[-1] / rates[0]:.2f} |")


if __name__ == "__main__":
    main()
