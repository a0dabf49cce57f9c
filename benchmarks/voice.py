"""How much CPU time and memory a sound of the Voice costs, against torchsynth 1.0.2 and SynthAX 0.2.2.

    python benchmarks/voice.py            # prints the tables of voice.md
    python benchmarks/voice.py --quick    # batch 32 only, no memory
    python benchmarks/voice.py --synthax ENV/bin/python    # with SynthAX, from an environment of its own that has it

Each contestant lives in a process of its own, with one thread, and they take turns, so that a busy machine slows them
all alike. What is timed is a whole batch: draw, parameter mapping, audio. torchsynth runs twice: as it is, and
with glibc told to keep its memory (see MALLOC), which is what its time on large batches mostly depends on. SynthAX's
Voice is compiled as a whole, parameters and audio in one function; CPU time counts all threads it starts.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
SECONDS = 4.0
REPEATS = 7
MALLOC = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "20000000000",
    "MALLOC_TOP_PAD_": "268435456",
}
CONTESTANTS: dict[str, tuple[str, dict[str, str]]] = {
    "torchsynth": ("torchsynth", {}),
    "torchsynth, malloc tuned": ("torchsynth", MALLOC),
    "nebula-tune reference": ("reference", {}),
    "nebula-tune fast": ("fast", {}),
}


INTERPRETERS: dict[str, str] = {}  # of contestants that need an environment of their own


def make(kind: str, batch: int) -> Callable[[int], Any]:
    """A function that renders batch number k."""
    if kind == "synthax":
        return make_synthax(batch)
    import torch

    torch.set_num_threads(1)
    if kind == "torchsynth":
        from tests.synth.torchsynth_peer import voice

        return voice("default", batch)
    from nebula_tune.synth import Voice

    return Voice("default", batch, backend=kind, threads=1)


def make_synthax(batch: int) -> Callable[[int], Any]:
    import jax
    from synthax.config import SynthConfig
    from synthax.synth import Voice

    voice = Voice(config=SynthConfig(batch_size=batch, sample_rate=44100, buffer_size_seconds=SECONDS))
    play = jax.jit(lambda key: voice.init_with_output(key)[0])
    return lambda k: play(jax.random.PRNGKey(k)).block_until_ready()


def peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def serve(kind: str, batch: int) -> None:
    """In a contestant's own process: render a batch for each line on stdin, answer with CPU seconds and memory."""
    sys.path.insert(0, str(ROOT))
    play = make("fast" if kind == "fast" else kind, batch)
    if kind == "fast":
        make(kind, 1)(0)  # compile before memory is looked at
    before = peak_megabytes()
    for k, _ in enumerate(sys.stdin):
        start = time.process_time()
        play(k)
        seconds = time.process_time() - start
        print(json.dumps({"seconds": seconds, "megabytes": peak_megabytes() - before}), flush=True)


class Contestant:
    """A contestant's process."""

    def __init__(self, name: str, batch: int) -> None:
        kind, extra = CONTESTANTS[name]
        self.batch = batch
        self.process = subprocess.Popen(
            [INTERPRETERS.get(kind, sys.executable), __file__, "--serve", kind, "--batch", str(batch)],
            env=os.environ | extra,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def play(self) -> dict[str, float]:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        answer: dict[str, float] = json.loads(self.process.stdout.readline())
        return answer

    def close(self) -> None:
        self.process.communicate()


def time_batches(batch: int) -> None:
    contestants = {name: Contestant(name, batch) for name in CONTESTANTS}
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for repeat in range(REPEATS + 1):
        for name, contestant in contestants.items():
            answer = contestant.play()
            if repeat:  # the first is for warming up
                times[name].append(answer["seconds"] / batch)
    for contestant in contestants.values():
        contestant.close()
    medians = {name: statistics.median(values) for name, values in times.items()}
    print(f"\nBatch {batch}, {SECONDS:g} seconds at 44,100 Hz, median of {REPEATS}:\n")
    print("| | CPU-ms a sound | times real time a core | times torchsynth | times torchsynth, malloc tuned |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for name, seconds in medians.items():
        stock, tuned = (medians[peer] / seconds for peer in ("torchsynth", "torchsynth, malloc tuned"))
        print(f"| {name} | {1e3 * seconds:.2f} | {SECONDS / seconds:,.0f} | {stock:.1f} | {tuned:.1f} |")


def weigh_batches(name: str, batches: list[int]) -> None:
    for batch in batches:
        contestant = Contestant(name, batch)
        contestant.play()
        megabytes = contestant.play()["megabytes"]
        contestant.close()
        audio = batch * 44100 * SECONDS * 4 / 2**20
        print(f"| {name} | {batch} | {megabytes:,.0f} | {audio:,.0f} | {megabytes / audio:.1f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="batch 32 only, no memory")
    parser.add_argument("--synthax", help="Python interpreter of an environment with SynthAX")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--batch", type=int, default=32, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.serve, arguments.batch)
        return
    if arguments.synthax:
        CONTESTANTS["SynthAX"] = ("synthax", {"JAX_PLATFORMS": "cpu"})
        INTERPRETERS["synthax"] = arguments.synthax
    print(f"{processor()}, Python {platform.python_version()}, one thread each.")
    for batch in [32] if arguments.quick else [32, 128]:
        time_batches(batch)
    if not arguments.quick:
        print("\nPeak memory over what the process had before the first batch, two batches:\n")
        print("| | batch | MiB | MiB of audio | ratio |\n| --- | ---: | ---: | ---: | ---: |")
        weigh_batches("nebula-tune fast", [32, 128, 256, 1024])
        weigh_batches("torchsynth", [32, 128])


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()}, {len(names) or os.cpu_count()} cores"


if __name__ == "__main__":
    main()
