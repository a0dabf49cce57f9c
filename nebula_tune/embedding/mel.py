"""Filters on the mel scale, for what hears in bands."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor


def mel_filters(sample_rate: int, fft_size: int, bands: int, lowest: float, highest: float) -> Tensor:
    """Triangles on the mel scale (HTK's formula), each of area 1: (bins, bands) float32.

    Args:
        sample_rate: Hz.
        fft_size: samples; of its fft_size / 2 + 1 bins.
        lowest: Hz, where the first triangle begins.
        highest: Hz, where the last one ends; half the sample rate at most.
    """

    def mel(hz: np.ndarray | float) -> Any:
        return 2595 * np.log10(1 + np.asarray(hz) / 700)

    edges = 700 * (10 ** (np.linspace(mel(lowest), mel(highest), bands + 2) / 2595) - 1)
    # Edges closer together than an FFT bin would leave a band empty: spread them to a bin at least.
    width = sample_rate / fft_size
    for k in range(1, len(edges)):
        edges[k] = max(edges[k], edges[k - 1] + width)
    edges = np.minimum(edges, sample_rate / 2)
    bins = np.arange(fft_size // 2 + 1) * width
    rise = (bins[:, None] - edges[None, :-2]) / (edges[1:-1] - edges[:-2])
    fall = (edges[None, 2:] - bins[:, None]) / (edges[2:] - edges[1:-1])
    triangles = np.clip(np.minimum(rise, fall), 0, None)
    return torch.from_numpy(triangles / triangles.sum(axis=0)).to(torch.float32)
