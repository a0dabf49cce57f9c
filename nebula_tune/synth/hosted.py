"""Audio of instruments that render by themselves, at a rate of their own."""

from __future__ import annotations

import numpy as np
import soxr
from numpy.typing import NDArray

RATE = 44100  # Hz at which they render here
QUALITY = "HQ"  # soxr's, as for files


def fitted(sound: NDArray[np.float32], rate: int, samples: int) -> NDArray[np.float32]:
    """An instrument's audio (n,) at ``rate`` Hz, at most so many ``samples``; scaled down if over full scale."""
    if rate != RATE:
        sound = soxr.resample(sound, RATE, rate, quality=QUALITY)
    cut: NDArray[np.float32] = sound[:samples]
    return cut / np.float32(max(1.0, float(np.abs(cut).max(initial=0.0))))
