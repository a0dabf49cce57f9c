"""Multi-scale spectrogram, linear and logarithmic: the baseline of "One Billion Audio Sounds" (Table 2)."""

from __future__ import annotations

from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from nebula_tune.embedding.base import Embedding
from nebula_tune.embedding.convolution import in_equal_batches
from nebula_tune.errors import EmbeddingError

FFT_SIZES = (4096, 2048, 1024, 512, 256, 128, 64)  # Table 2: [4096 ... 64]
OVERLAP = 4  # frames start every FFT size / 4, as in DDSP (Engel et al., 2020)
LOG_FLOOR = 1e-5  # of magnitudes; DDSP's
ON_GPU = 16  # sounds transformed together: one at a time would wait for the process that launches
KINDS = ("linear+log", "linear", "log")


class MultiScaleSpectrogram(Embedding):
    """Magnitudes at seven resolutions, so scaled that the l1 distance of two vectors is the distance of the literature:
    the sum over scales of the mean absolute difference of magnitudes, plus that of their logarithms.

    ``kind`` is linear+log, linear or log. With ``pooled`` (the default) each scale is averaged over stretches of time,
    4096 / FFT size of them, so that every scale keeps some 2,000 numbers, fine in frequency or in time: 28,926
    dimensions in all. Without it every frame counts, as in the paper: 5 million dimensions for 4 s, to be used on small
    corpora. It hears the level of a sound, so sounds are to be prepared to the same level. Sounds are at
    ``sample_rate`` Hz and prepared to ``seconds``; ``device`` is torch's name of where it runs.
    """

    name: ClassVar[str] = "mss"

    def __init__(
        self,
        kind: str = "linear+log",
        pooled: bool = True,
        sample_rate: int = 44100,
        seconds: float = 4.0,
        device: str = "cpu",
    ) -> None:
        if kind not in KINDS:
            raise EmbeddingError(f"mss has no kind {kind!r}; known: {', '.join(KINDS)}")
        self.kind, self.pooled = kind, pooled
        self.sample_rate = sample_rate
        self.seconds = seconds
        self.device = torch.device(device)

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "version": 1,
            "kind": self.kind,
            "pooled": self.pooled,
            "sample_rate": self.sample_rate,
            "seconds": self.seconds,
        }

    def embed_batch(self, audio: Tensor) -> Tensor:
        audio = audio.to(self.device, torch.float32)
        if self.device.type == "cuda":
            return in_equal_batches(self._vectors, audio, ON_GPU)[:, None]
        # Sound by sound: transforms of several at once may differ in their last bits.
        return torch.stack([self._vectors(sound) for sound in audio])[:, None]

    def _vectors(self, audio: Tensor) -> Tensor:
        """Vectors (..., D) of sounds (..., samples)."""
        return torch.cat([self._scale(audio, size) for size in FFT_SIZES], dim=-1)

    def _scale(self, audio: Tensor, size: int) -> Tensor:
        """All numbers of one scale, divided by how many there are: (..., numbers)."""
        hop, samples = size // OVERLAP, audio.shape[-1]
        frames = 1 + max(0, -(-(samples - size) // hop))
        padded = functional.pad(audio, (0, (frames - 1) * hop + size - samples))
        magnitude = torch.fft.rfft(padded.unfold(-1, size, hop) * self._windows[size]).abs().mT  # (..., bins, frames)
        parts = []
        if self.kind != "log":
            parts.append(magnitude)
        if self.kind != "linear":
            parts.append(magnitude.clamp(min=LOG_FLOOR).log())
        if self.pooled:
            parts = [functional.adaptive_avg_pool1d(part, FFT_SIZES[0] // size) for part in parts]
        return torch.cat([part.flatten(-2) / part.shape[-2:].numel() for part in parts], dim=-1)

    @cached_property
    def _windows(self) -> dict[int, Tensor]:
        return {size: torch.hann_window(size, dtype=torch.float32, device=self.device) for size in FFT_SIZES}
