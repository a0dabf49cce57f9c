"""Ways of computing the same sounds: the readable reference, and renderers made for one kind of hardware.

A renderer stands in for an architecture's ``play`` where it can (:meth:`nebula_tune.synth.architecture.Synth.renderer`
says when). It must give the same sounds as the reference does in float64, at least as closely as the reference does
in float32, and must work each sound out alone: a sound's bits may not depend on the others of its batch.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np
from torch import Tensor

BACKENDS = ("auto", "reference", "fast")

SOUNDS_AT_A_TIME = 4  # taken by a thread, then it comes back for more


class Renderer(Protocol):
    """Audio (sounds, samples) of human values (sounds, parameters), float64; noise rows count from ``first_index``."""

    def __call__(self, human: Tensor, first_index: int) -> Tensor: ...


def interval_starts(frames: int, samples: int) -> np.ndarray:
    """First sample of each interval between control frames, (frames,) int64; the last entry is ``samples``.

    Control frame k falls on sample k * (samples - 1) / (frames - 1), as linear upsampling with aligned ends has it.
    """
    k = np.arange(frames)
    starts = -((-k * (samples - 1)) // (frames - 1))
    starts[-1] = samples
    return starts


def spread(task: Callable[[int, int], None], sounds: int, threads: int) -> None:
    """Run ``task(begin, end)`` on ranges that cover ``sounds``, on so many threads; in this one if that is 1."""
    if threads == 1 or sounds <= 1:
        task(0, sounds)
        return
    step = min(SOUNDS_AT_A_TIME, -(-sounds // threads))
    begins = range(0, sounds, step)
    with ThreadPoolExecutor(min(threads, len(begins))) as pool:
        list(pool.map(lambda begin: task(begin, min(begin + step, sounds)), begins))
