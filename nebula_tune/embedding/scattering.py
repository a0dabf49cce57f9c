"""Time scattering by kymatio: wavelet modulus, twice over, averaged in time (Anden and Mallat, 2014)."""

from __future__ import annotations

from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor

from nebula_tune.embedding.base import Embedding, library
from nebula_tune.embedding.convolution import in_equal_batches
from nebula_tune.errors import EmbeddingError
from nebula_tune.numerics import own_numerics

OCTAVES = 12  # J: averages over 2^12 samples, 128 ms at 32 kHz
WAVELETS_AN_OCTAVE = 8  # Q
TOGETHER = 8  # sounds a transform: beside 1 it halves the time; 16 are no faster
ON_GPU = 64  # likewise; a transform is some thousand launches, however many sounds it has
THRESHOLD = 1e-3  # against a sound of RMS 1; coefficients well below it do not count


class Scattering(Embedding):
    """log(1 + S / 0.001) of the first- and second-order coefficients S of a sound of RMS 1: 15 frames of 545 numbers.

    The second order hears rhythm and roughness that a spectrogram averages away. Sounds are brought to RMS 1 first, so
    their level does not matter. Raises EmbeddingError for fewer than 4096 samples.
    """

    name: ClassVar[str] = "scattering"

    def __init__(self, sample_rate: int = 32000, seconds: float = 2.0, device: str = "cpu") -> None:
        self.sample_rate = sample_rate
        self.seconds = seconds
        self.device = torch.device(device)
        if self.samples < 2**OCTAVES:
            raise EmbeddingError(f"scattering needs {2**OCTAVES} samples at least, not {self.samples}")

    @property
    def settings(self) -> dict[str, Any]:
        return {"name": self.name, "version": 1, "sample_rate": self.sample_rate, "seconds": self.seconds}

    @cached_property
    def _transform(self) -> Any:
        # Not kymatio.torch, which imports its 2-D and 3-D parts too: those break on scipy 1.15.
        kymatio = library("kymatio.scattering1d.frontend.torch_frontend", "scattering")
        with own_numerics():
            return kymatio.ScatteringTorch1D(J=OCTAVES, Q=WAVELETS_AN_OCTAVE, shape=self.samples).to(self.device)

    def _coefficients(self, sounds: Tensor) -> Tensor:
        """Several sounds a transform only where their bits stay those of one: one thread of a CPU, or equal batches."""
        if self.device.type == "cuda":
            return in_equal_batches(self._transform, sounds, ON_GPU)
        together = TOGETHER if torch.get_num_threads() == 1 else 1
        return torch.cat([self._transform(some) for some in torch.split(sounds, together)])

    def embed_batch(self, audio: Tensor) -> Tensor:
        audio = audio.to(self.device, torch.float32)
        power = audio.double().square().mean(dim=1, keepdim=True)
        level = torch.where(power > 0, power, torch.ones_like(power)).rsqrt()
        levelled = (audio * level).float()
        with torch.no_grad():
            # The first coefficient is the average of the wave itself, which is inaudible and may be negative.
            coefficients = self._coefficients(levelled)[:, 1:]
            return torch.log1p(coefficients.clamp(min=0) / THRESHOLD).transpose(1, 2)
