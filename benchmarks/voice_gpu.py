"""How fast the Voice renders on a GPU, against the device's own memory.

    python benchmarks/voice_gpu.py            # prints the tables of voice.md
    python benchmarks/voice_gpu.py --check    # only that the sounds are right

What is timed is a whole batch: draw, parameter mapping, audio, train flags; by the wall clock, many batches after one
another, and by kernel. A copy of a large tensor in the same run tells what the memory can do, bytes read and written.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from nebula_tune.nebula import Nebula
from nebula_tune.synth import Voice, synth1b1

SECONDS, RATE = 4.0, 44100
BATCHES = (32, 128, 1024)
REPEATS = 7
SETTINGS = [
    ("default", 44100, 4.0), ("drum", 44100, 4.0), ("default", 48000, 10.0), ("random", 44100, 4.0),
    ("random", 16000, 0.5), ("drum", 16000, 1.0), ("default", 44100, 0.5),
]  # fmt: skip


def nebula(name: str) -> Nebula:
    if name != "random":
        return Nebula.load(name)
    rng = np.random.default_rng(0)
    count = len(Voice.panel)
    return Voice.panel.nebula(np.exp2(rng.uniform(-4, 4, count)), rng.random(count) < 0.25)


def snr(audio: torch.Tensor, truth: torch.Tensor) -> np.ndarray[Any, Any]:
    noise = (audio.double().cpu() - truth).square().mean(dim=1)
    signal = truth.square().mean(dim=1)
    return (10 * torch.log10((signal + 1e-30) / (noise + 1e-14 * signal + 1e-30))).numpy()


def bits_equal(a: torch.Tensor, b: torch.Tensor) -> bool:
    return torch.equal(a.view(torch.int32), b.view(torch.int32))


def check() -> None:
    check_recorded()
    for first in (0, 4711, 2**32 - 128):
        raw, coins = Voice(batch_size=1, seconds=0.1, device="cuda").draw_with_coins(first, 128)
        numbers = synth1b1.draw(first, 128, 2 * len(Voice.panel))
        order = Voice.panel.draw_order
        assert np.array_equal(raw.cpu().numpy(), numbers[:, order]), first
        assert np.array_equal(coins.cpu().numpy(), numbers[:, len(order) + order]), first
    print("draws: the bits of synth1b1.draw\n")
    print(
        "| nebula | Hz | seconds | fused: median | 10th percentile | least | float32 reference: median | 10th | least |"
    )
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name, rate, seconds in SETTINGS:
        fast = Voice(nebula(name), 64, rate, seconds, "cuda", backend="fast")
        plain = Voice(nebula(name), 64, rate, seconds, "cuda", backend="reference")
        exact = Voice(nebula(name), 32, rate, seconds, "cpu", dtype=torch.float64)
        whole, raw, _ = fast(3)
        assert torch.isfinite(whole).all() and whole.abs().max() <= 1
        for begin, end in [(0, 1), (0, 32), (17, 18), (7, 40), (63, 64)]:
            assert bits_equal(fast.render(raw[begin:end], 192 + begin), whole[begin:end]), (name, begin, end)
        truth = torch.cat([exact.render(raw[k : k + 16].cpu(), 192 + k) for k in range(0, 64, 16)])
        figures = []
        for audio in (whole, plain.render(raw, 192)):
            ratios = snr(audio, truth)
            figures += [np.median(ratios), np.percentile(ratios, 10), ratios.min()]
        print(f"| {name} | {rate} | {seconds:g} | " + " | ".join(f"{figure:.0f}" for figure in figures) + " |")
        del fast, plain, exact, whole
    many = Voice("drum", 1024, RATE, 1.0, "cuda")
    few = Voice("drum", 128, RATE, 1.0, "cuda")
    assert bits_equal(many(1)[0], torch.cat([few(8 + k)[0] for k in range(8)]))
    scale = Voice.panel.ends(torch.device("cpu"))
    plain = Voice("drum", 1, seconds=0.1)
    raw = plain.draw(0, 512)
    difference = (many.to_human(raw.cuda()).cpu() - plain.to_human(raw)) / (scale[1] - scale[0])
    assert difference.abs().max() < 1e-13
    print("\nA chunk has the bits of the whole; batches of 128 and 1024 the same.")


def check_recorded() -> None:
    """Recorded batches, from streams in turn and far ahead of the device, have the bits of ones that are not."""
    voice = Voice("drum", 32, 16000, 1.0, "cuda")
    streams = [torch.cuda.Stream() for _ in range(3)]
    batches = []
    for k in range(60):
        with torch.cuda.stream(streams[k % 3]):
            batches.append(voice(k))
    torch.cuda.synchronize()
    for k, (audio, raw, train) in enumerate(batches):
        numbers = voice.draw(32 * k, 32)
        assert bits_equal(raw, numbers) and bits_equal(audio, voice.render(numbers, 32 * k)), k
        assert np.array_equal(train.cpu().numpy(), synth1b1.is_train(32 * k, 32)), k
    print("recorded batches: the bits of plain ones\n")


def wall(task: Callable[[int], Any], number: int) -> float:
    """Seconds a call, many calls queued one after another; the median."""
    for k in range(3):
        task(k)
    torch.cuda.synchronize()
    times = []
    for _ in range(REPEATS):
        begin = time.perf_counter()
        for k in range(number):
            task(k)
        torch.cuda.synchronize()
        times.append((time.perf_counter() - begin) / number)
    return statistics.median(times)


def copy_rate() -> float:
    """Bytes a second of a device copy, read and written."""
    source = torch.rand(1 << 29, device="cuda")
    target = torch.empty_like(source)
    return 2 * source.nbytes / wall(lambda _: target.copy_(source), 20)


def kernel_times(voice: Voice, batch: int) -> dict[str, float]:
    """Seconds of device time a batch, by kernel."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as trace:
        for k in range(10):
            voice(k)
        torch.cuda.synchronize()
    times: dict[str, float] = {}
    for event in trace.key_averages():
        known = event.key in ("draw", "to_human", "trace", "plan", "play", "normalise")
        name = event.key if known else "other"
        times[name] = times.get(name, 0.0) + event.self_device_time_total / 10 / 1e6
    return times


def measure() -> None:
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}.\n")
    rate = copy_rate()
    print(f"A device copy moves {rate / 1e12:.2f} TB/s (read and written).\n")
    print("| | batch | us a sound | times real time | GB/s of audio written | of the copy | MiB a batch | of audio |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for backend in ("fast", "reference"):
        for batch in BATCHES if backend == "fast" else BATCHES[:2]:
            voice = Voice("default", batch, RATE, SECONDS, "cuda", backend=backend)
            voice(0)
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            voice(1)
            torch.cuda.synchronize()
            peak = torch.cuda.max_memory_allocated() - before
            seconds = wall(voice, 4096 // batch if backend == "fast" else 4) / batch
            audio = RATE * SECONDS * 4
            print(
                f"| {backend} | {batch} | {1e6 * seconds:.3f} | {SECONDS / seconds:,.0f} | {audio / seconds / 1e9:.0f} "
                f"| {audio / seconds / rate:.2f} | {peak / 2**20:,.0f} | {peak / audio / batch:.2f} |"
            )
            del voice
    print("\nDevice time a sound at batch 1024, ns:\n")
    times = kernel_times(Voice("default", 1024, RATE, SECONDS, "cuda"), 1024)
    print("| " + " | ".join(times) + " | all |\n|" + " ---: |" * (len(times) + 1))
    print("| " + " | ".join(f"{1e9 * t / 1024:.0f}" for t in [*times.values(), sum(times.values())]) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="only that the sounds are right")
    if not parser.parse_args().check:
        measure()
        print()
    check()


if __name__ == "__main__":
    main()
