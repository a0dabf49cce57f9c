"""What a sound costs under the embeddings of studies and judges, beside its rendering, as ratios to logmel.

    python benchmarks/embeddings.py [--sounds 16] [--repeats 9]    # prints the tables of embeddings.md

CPU time of one thread (time.process_time, which a busy machine hardly stretches); on a GPU, where there is one, the
wall clock of whole batches. Contestants take turns repeat by repeat, each on the drum nebula's sounds as a trial
prepares them; what is told is the median of the repeats and their range.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

from nebula_tune.corpus.prepare import RENDER_RATE, Prepare, as_read, prepare
from nebula_tune.embedding import make_embedding
from nebula_tune.synth import Voice

SECONDS = 2.5  # rendered where logmel is heard: its 2 s, and half a second to trim
LONGEST = 4.5  # for aisfx, likewise
EARS: dict[str, dict[str, Any]] = {
    "logmel": {"name": "logmel"},
    "modulation": {"name": "modulation"},
    "mss": {"name": "mss"},
    "mss, 22,050 Hz, 1 s": {"name": "mss", "sample_rate": 22050, "seconds": 1.0},
    "scattering": {"name": "scattering"},
    "aisfx": {"name": "aisfx"},
    "picture (the network judge's)": {"name": "picture"},
}
Work = Callable[[], object]


def contestants(device: str, sounds: int) -> dict[str, Work]:
    """A batch of each kind of work, by name."""
    audio = player(device, sounds, LONGEST)()
    found: dict[str, Work] = {}
    for called, named in EARS.items():
        ear = make_embedding(**named, device=device)
        heard = as_read(audio, RENDER_RATE, ear.sample_rate, Prepare.ONSET)
        found[called] = partial(ear.embed_batch, prepare(heard, ear.samples))
    short = audio[:, : round(SECONDS * RENDER_RATE)].contiguous()
    found[f"Voice, {SECONDS:g} s at {RENDER_RATE:,} Hz"] = player(device, sounds, SECONDS)
    for rate in (32000, 22050):
        found[f"{SECONDS:g} s resampled to {rate:,} Hz"] = partial(as_read, short, RENDER_RATE, rate, Prepare.ONSET)
    return found


def player(device: str, sounds: int, seconds: float) -> Callable[[], torch.Tensor]:
    voice = Voice("drum", sounds, RENDER_RATE, seconds, device, threads=1)
    return lambda: voice.render(voice.draw(0, sounds), 0)


def milliseconds(work: Work, device: str) -> float:
    """Of one batch: CPU time, or on a GPU the wall clock once it is done."""
    clock = time.process_time if device == "cpu" else time.perf_counter
    began = clock()
    work()
    if device != "cpu":
        torch.cuda.synchronize()
    return 1000 * (clock() - began)


def table(device: str, sounds: int, repeats: int) -> str:
    works = contestants(device, sounds)
    for work in works.values():  # compiles, loads, fills what is kept
        work()
    taken = np.array([[milliseconds(work, device) / sounds for work in works.values()] for _ in range(repeats)])
    unit = "CPU-ms" if device == "cpu" else "ms"
    lines = [f"| | {unit} a sound | range | times logmel |", "| --- | ---: | ---: | ---: |"]
    for name, one in zip(works, taken.T, strict=True):
        ratio = np.median(one / taken[:, 0])
        lines.append(f"| {name} | {np.median(one):.3f} | {one.min():.3f} to {one.max():.3f} | {ratio:,.1f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sounds", type=int, default=16, help="of a batch on a CPU: a trial's chunk")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--gpu", action="store_true", help="only the GPU's table")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{os.cpu_count()} cores, torch {torch.__version__}; median of {asked.repeats}")
    if not asked.gpu:
        print(f"\nOne thread of a CPU, batches of {asked.sounds}:\n\n{table('cpu', asked.sounds, asked.repeats)}")
    if torch.cuda.is_available():
        print(f"\n{torch.cuda.get_device_name()}, batches of 256:\n\n{table('cuda', 256, asked.repeats)}")
    else:
        print("\nNo GPU was there.")


if __name__ == "__main__":
    main()
