"""Banks of triangular filters, for what hears in bands, most on the mel scale.

Of equal area, as librosa and kapre have them, or of equal sum.
"""

from __future__ import annotations

import numpy as np

from nebula_tune.arrays import Array, Floats


def triangles(edges: Array, places: Array) -> Floats:
    """Triangles of height 1 over places, (places, len(edges) - 2), each from one edge over the next to the one after.

    ``edges`` rise; they and ``places`` are in one unit: Hz, or mel.
    """
    rise = (places[:, None] - edges[None, :-2]) / (edges[1:-1] - edges[:-2])
    fall = (edges[None, 2:] - places[:, None]) / (edges[2:] - edges[1:-1])
    heights: Floats = np.clip(np.minimum(rise, fall), 0, None)
    return heights


def mel_filters(sample_rate: int, fft_size: int, count: int, htk: bool) -> np.ndarray:
    """Triangles of equal area over FFT bins, (count, fft_size // 2 + 1), rounded to float32 as the official ones.

    The edges are ``count + 2`` frequencies equally spaced in mel (HTK's or Slaney's) from 0 to the Nyquist frequency.
    A triangle narrower than an FFT bin may contain none (at 48 kHz and FFTs of 2048, rows 0 and 7 of the HTK bank of
    256): it is always at the floor.

    Args:
        sample_rate: Hz.
        fft_size: samples.
        count: of triangles.
        htk: whether the scale is HTK's; else it is Slaney's.
    """
    edges = mel_to_hz(np.linspace(0.0, highest_mel(sample_rate, htk), count + 2), htk)
    bins = np.arange(fft_size // 2 + 1) * (sample_rate / fft_size)
    areas_of_one = 2.0 / (edges[2:] - edges[:-2])
    return np.ascontiguousarray((triangles(edges, bins) * areas_of_one).T, dtype=np.float32)


def averaging_filters(sample_rate: int, fft_size: int, count: int, lowest: float, highest: float) -> np.ndarray:
    """Triangles on HTK's mel scale, each summing to 1 over the FFT's bins: (fft_size // 2 + 1, count) float64.

    Args:
        sample_rate: Hz.
        fft_size: samples.
        count: of triangles.
        lowest: Hz, where the first triangle begins.
        highest: Hz, where the last one ends; half the sample rate at most.
    """
    edges = mel_to_hz(np.linspace(htk_mel(lowest), htk_mel(highest), count + 2), htk=True)
    # Edges closer together than an FFT bin would leave a band empty: spread them to a bin at least.
    width = sample_rate / fft_size
    for k in range(1, len(edges)):
        edges[k] = max(edges[k], edges[k - 1] + width)
    edges = np.minimum(edges, sample_rate / 2)
    filters = triangles(edges, np.arange(fft_size // 2 + 1) * width)
    return np.asarray(filters / filters.sum(axis=0))


def mel_to_hz(mel: np.ndarray, htk: bool) -> np.ndarray:
    """Frequencies (Hz) of mel numbers, by HTK's formula or by Slaney's (linear to 1 kHz, then logarithmic)."""
    if htk:
        return np.asarray(700.0 * (10.0 ** (mel / 2595.0) - 1.0))
    return np.where(mel < 15, mel * 200 / 3, 1000.0 * np.exp(np.log(6.4) / 27 * (np.maximum(mel, 15) - 15)))


def highest_mel(sample_rate: int, htk: bool) -> float:
    """Mel number of the Nyquist frequency, which is over 1 kHz."""
    nyquist = sample_rate / 2
    if htk:
        return htk_mel(nyquist)
    return float(15 + 27 * np.log(nyquist / 1000) / np.log(6.4))


def htk_mel(hz: float) -> float:
    """Mel number of a frequency (Hz) by HTK's formula."""
    return float(2595.0 * np.log10(1.0 + hz / 700.0))
