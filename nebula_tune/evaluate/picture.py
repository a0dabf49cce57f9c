"""Log-mel pictures of sounds: what the network judge looks at (:mod:`nebula_tune.evaluate.network_judge`)."""

from __future__ import annotations

from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor

from nebula_tune.embedding.base import Embedding
from nebula_tune.embedding.mel import averaging_filters

# Bands, window and floor are those of the judge by which ears were first measured (specs/ear.md, section 4).
BANDS = 64
LOWEST_HZ = 50.0
HIGHEST_HZ = 11000.0
WINDOW = 512  # samples: 23 ms
FFT_SIZE = 1024
HOP = 128  # samples: 5.8 ms
RANGE_DB = 60.0  # below the picture's own peak; quieter is 0


class Picture(Embedding):
    """64 mel bands from 50 Hz to 11 kHz every 5.8 ms of a second at 22,050 Hz: 173 frames of 64 dimensions.

    Values are decibels against the picture's own peak, from 0 (60 dB below or less) to 1 (the peak); so the level of
    the audio does not matter, and a silent sound is 0 everywhere. Frame t is centred at sample 128 t.
    """

    name: ClassVar[str] = "picture"

    def __init__(self, device: str = "cpu") -> None:
        self.sample_rate = 22050
        self.seconds = 1.0
        self.device = torch.device(device)

    @property
    def settings(self) -> dict[str, Any]:
        return {"name": self.name, "version": 1}

    @property
    def frames(self) -> int:
        """Frames of a picture."""
        return 1 + self.samples // HOP

    def embed_batch(self, audio: Tensor) -> Tensor:
        audio = audio.to(self.device, torch.float32)
        # Sound by sound: products of several at once may differ in their last bits.
        return torch.stack([self._picture(sound) for sound in audio])

    def _picture(self, sound: Tensor) -> Tensor:
        """(frames, BANDS) of a sound (samples,)."""
        padded = torch.nn.functional.pad(sound, (WINDOW // 2, (self.frames - 1) * HOP + WINDOW // 2 - len(sound)))
        spectrum = torch.fft.rfft(padded.unfold(0, WINDOW, HOP) * self._window, FFT_SIZE)
        power = (spectrum.real.square() + spectrum.imag.square()) @ self._filters
        peak = power.amax()
        share = power / torch.where(peak > 0, peak, 1.0)
        return (10 / RANGE_DB * torch.log10(share) + 1).clamp(min=0)

    @cached_property
    def _window(self) -> Tensor:
        return torch.hann_window(WINDOW, dtype=torch.float32, device=self.device)

    @cached_property
    def _filters(self) -> Tensor:
        triangles = averaging_filters(self.sample_rate, FFT_SIZE, BANDS, LOWEST_HZ, HIGHEST_HZ)
        return torch.from_numpy(triangles).to(self.device, torch.float32)
