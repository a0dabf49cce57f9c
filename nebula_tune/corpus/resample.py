"""From one sample rate to another: files and a synth's sounds by the same filter, so that no ear tells them by it."""

from __future__ import annotations

import numpy as np
import soxr
import torch
from torch import Tensor

QUALITY = "HQ"  # soxr's
# Its response, measured: decibels by the share of the lower rate's Nyquist frequency; below the first it is 0.
RESPONSE = {
    0.92: 0.0,
    0.93: -0.1,
    0.94: -0.7,
    0.95: -2.9,
    0.96: -8.0,
    0.97: -17.5,
    0.98: -33.5,
    0.99: -60.0,
    1.0: -137.0,
}
PADDING = 0.01  # seconds of zeros behind a sound, over which the filter rings out


def resampled(audio: Tensor, rate: int, to: int) -> Tensor:
    """Sounds (sounds, samples) at ``rate`` Hz as sounds at ``to`` Hz: by soxr, or on a GPU by its response."""
    if rate == to or audio.shape[1] == 0:
        return audio
    if audio.device.type == "cuda":
        return by_transform(audio, rate, to)
    sounds = [soxr.resample(sound, rate, to, quality=QUALITY) for sound in audio.numpy()]
    return torch.from_numpy(np.stack(sounds))


def by_transform(audio: Tensor, rate: int, to: int) -> Tensor:
    """:func:`resampled` through one Fourier transform of the whole sound, on any device."""
    unit = rate // int(np.gcd(rate, to))  # samples that become a whole number of samples
    length = -(-(audio.shape[1] + round(PADDING * rate)) // unit) * unit
    wanted = length * to // rate
    spectrum = torch.fft.rfft(audio, n=length)
    bins = min(length, wanted) // 2 + 1
    places = np.arange(bins) / (min(length, wanted) / 2)
    decibels = np.interp(places, list(RESPONSE), list(RESPONSE.values()))
    response = torch.from_numpy(10 ** (decibels / 20) * (to / rate)).to(audio.device, audio.dtype)
    kept = -(-audio.shape[1] * to // rate)
    sounds: Tensor = torch.fft.irfft(spectrum[:, :bins] * response, n=wanted)[:, :kept]
    return sounds.contiguous()
