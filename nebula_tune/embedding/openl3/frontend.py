"""OpenL3's picture of a sound: 1-s windows of 48 kHz audio to decibel images, in float64.

Official OpenL3 has three frontends whose numbers differ (by 13 to 24 % of the embedding with real weights):

========  =============================================================================================
legacy    kapre 0.1.4, of openl3 up to 0.3.1: what the weights were trained with. Mel filters on the HTK
          scale over the power spectrum, then the square root; frames centred in the window.
kapre     openl3 0.4's default: Slaney's mel scale over magnitudes, no padding in front.
librosa   openl3 0.4's other: as kapre, frames centred by zeros (librosa 0.10; it reflected before).
========  =============================================================================================

``linear`` images are the same in all three. The official code computes in float32, whose FFT noise is above the
floor of 80 dB under the peak; float64 is reproducible from machine to machine and costs little beside the network.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from nebula_tune.embedding.mel import mel_filters
from nebula_tune.errors import EmbeddingError

SAMPLE_RATE = 48000  # Hz
WINDOW = 48000  # samples of one window, 1 s
HOP = 242  # samples between frames of an image
AMPLITUDE_FLOOR = 1e-10  # of magnitudes, before the logarithm
RANGE_DB = 80.0  # an image reaches from -80 to 0


@dataclass(frozen=True)
class ImageSize:
    """Sizes of one representation's images: FFT length, frequency rows, time columns."""

    fft_size: int
    frequencies: int
    times: int

    @property
    def is_mel(self) -> bool:
        return self.frequencies != self.fft_size // 2 + 1


REPRESENTATIONS = {
    "linear": ImageSize(512, 257, 197),
    "mel128": ImageSize(2048, 128, 199),
    "mel256": ImageSize(2048, 256, 199),
}

# Zeros before each window; zeros after it fill the last frame. kapre 0.1.4 pads as TensorFlow's SAME does: in all
# (199 - 1) * 242 + 2048 - 48000 = 1964, half of it in front.
ZEROS_BEFORE = {"legacy": 982, "kapre": 0, "librosa": 1024}
FRONTENDS = tuple(ZEROS_BEFORE)


class Frontend:
    """Images of 1-s windows: ``frontend(windows)`` is (windows, frequencies, times) float64 in [-80, 0] dB.

    Each image is relative to its own largest value, so a window's gain does not matter and its noise, if there is
    nothing else, fills the picture. A window of zeros gives an image of zeros: full level everywhere.
    Raises EmbeddingError for an unknown representation or frontend.
    """

    def __init__(self, representation: str, frontend: str, device: torch.device) -> None:
        if representation not in REPRESENTATIONS:
            raise EmbeddingError(f"no representation {representation!r}; known: {', '.join(REPRESENTATIONS)}")
        if frontend not in FRONTENDS:
            raise EmbeddingError(f"no frontend {frontend!r}; known: {', '.join(FRONTENDS)}")
        self.picture = picture = REPRESENTATIONS[representation]
        self.legacy = frontend == "legacy"
        self._hann = torch.hann_window(picture.fft_size, periodic=True, dtype=torch.float64, device=device)
        before, after = 0, 0
        self._filters: Tensor | None = None
        if picture.is_mel:
            before = ZEROS_BEFORE[frontend]
            after = (picture.times - 1) * HOP + picture.fft_size - WINDOW - before
            filters = mel_filters(SAMPLE_RATE, picture.fft_size, picture.frequencies, htk=self.legacy)
            self._filters = torch.from_numpy(filters.T.astype(np.float64)).to(device)
        self._padding = (before, after)

    def __call__(self, windows: Tensor) -> Tensor:
        padded = torch.nn.functional.pad(windows.double(), self._padding)
        frames = padded.unfold(-1, self.picture.fft_size, HOP)[:, : self.picture.times]
        spectrum = torch.fft.rfft(frames * self._hann)
        power = spectrum.real.square() + spectrum.imag.square()
        if self._filters is None:
            magnitude = power.sqrt()
        elif self.legacy:
            magnitude = (power @ self._filters).sqrt()
        else:
            magnitude = power.sqrt() @ self._filters
        # The factor is 10, not 20, though these are magnitudes: so it was when the weights were trained.
        decibels = 10 * torch.log10(magnitude.clamp(min=AMPLITUDE_FLOOR))
        decibels -= decibels.amax(dim=(1, 2), keepdim=True)
        return decibels.clamp(min=-RANGE_DB).transpose(1, 2)
