"""Onset-aligned log-mel spectrogram: needs no weights and hears attacks, the laptop's embedding."""

from __future__ import annotations

from functools import cached_property
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from nebula_tune.embedding.base import Embedding
from nebula_tune.embedding.convolution import in_equal_batches
from nebula_tune.embedding.mel import averaging_filters

BANDS = 40
TIME_BINS = 12
LOWEST_HZ = 30.0
WIDE_BIN = 16  # frames
ON_GPU = 64  # sounds heard together
FLOOR_DB = -60.0  # below the sound's own mean power; quieter is taken as silence


class LogMel(Embedding):
    """40 mel bands x 12 time bins that widen from one frame at the onset to most of a second at the end.

    Values are decibels against the sound's own mean power, not under -60; so the level of the audio does not
    matter, and a silent sound is -60 everywhere. One frame of 480 dimensions a sound.
    """

    name: ClassVar[str] = "logmel"
    fft_size = 1024
    hop = 256

    def __init__(self, sample_rate: int = 32000, seconds: float = 2.0, device: str = "cpu") -> None:
        self.sample_rate = sample_rate
        self.seconds = seconds
        self.device = torch.device(device)

    @property
    def settings(self) -> dict[str, Any]:
        return {"name": self.name, "version": 2, "sample_rate": self.sample_rate, "seconds": self.seconds}

    @cached_property
    def _window(self) -> Tensor:
        return torch.hann_window(self.fft_size, dtype=torch.float32, device=self.device)

    @cached_property
    def _filters(self) -> Tensor:
        triangles = averaging_filters(self.sample_rate, self.fft_size, BANDS, LOWEST_HZ, self.sample_rate / 2)
        return torch.from_numpy(triangles).to(self.device, torch.float32)

    @cached_property
    def _time_bins(self) -> list[tuple[int, int, int]]:
        """Each time bin as (hop in samples, first frame, last frame + 1): geometric, one frame at least.

        Wide bins are averages of many frames, for which a hop of half a window is as good and half the work.
        """
        frames = 1 + self.samples // self.hop
        edges = [0]
        for edge in np.geomspace(1, frames, TIME_BINS):
            edges.append(max(round(float(edge)), edges[-1] + 1))
        bins = []
        for first, last in pairwise(edges):
            stride = 2 if last - first >= WIDE_BIN else 1
            bins.append((stride * self.hop, first // stride, -(-last // stride)))
        return bins

    def embed_batch(self, audio: Tensor) -> Tensor:
        audio = audio.to(self.device, torch.float32)
        # A GPU's last bits depend on how many sounds come together; one thread of a CPU's do not.
        return in_equal_batches(self._vectors, audio, ON_GPU) if self.device.type == "cuda" else self._vectors(audio)

    def _vectors(self, audio: Tensor) -> Tensor:
        power = audio.square().mean(dim=1, keepdim=True)
        half, longest = self.fft_size // 2, max(hop * last for hop, _, last in self._time_bins)
        padded = torch.nn.functional.pad(audio, (half, max(half, longest + half - audio.shape[1])))
        pooled = torch.stack([self._mean_power(padded, *frames) for frames in self._time_bins], dim=1)
        relative = pooled @ self._filters / torch.where(power > 0, power, 1.0)[:, :, None]
        decibels = 10 * torch.log10(relative.clamp(min=10 ** (FLOOR_DB / 10)))
        return decibels.flatten(1)[:, None, :]

    def _mean_power(self, padded: Tensor, hop: int, first: int, last: int) -> Tensor:
        """Mean power spectrum (sounds, bins) of some frames, scaled so that white noise of power 1 has 1 everywhere."""
        part = padded[:, first * hop : (last - 1) * hop + self.fft_size]
        spectrum = torch.fft.rfft(part.unfold(1, self.fft_size, hop) * self._window)
        energy = spectrum.real.square().mean(dim=1) + spectrum.imag.square().mean(dim=1)
        scaled: Tensor = energy / self._window.square().sum()
        return scaled
