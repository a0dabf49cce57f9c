"""OpenL3 as an embedding: windows of 1 s, their pictures, and the network's vector of each."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nebula_tune.embedding.base import Embedding
from nebula_tune.embedding.convolution import in_equal_batches
from nebula_tune.embedding.openl3.frontend import SAMPLE_RATE, WINDOW, Frontend
from nebula_tune.embedding.openl3.keras_file import read_weights
from nebula_tune.embedding.openl3.network import WINDOWS_AT_ONCE, Network, check
from nebula_tune.embedding.openl3.resampling import resample
from nebula_tune.embedding.openl3.weight_files import find_or_fetch, stem
from nebula_tune.errors import EmbeddingError

GFLOP_A_WINDOW = {"linear": 20.3, "mel128": 10.2, "mel256": 20.4}
ACTIVE_DB = -60.0  # a window's peak against the sound's: quieter windows hold no sound
TIMED_WINDOWS = 2


@dataclass(frozen=True)
class Cost:
    """What embedding some sounds takes, at most: silent windows cost nothing."""

    windows: int
    tflop: float
    seconds: float  # on this device, measured


class OpenL3(Embedding):
    """Cramer, Wu, Salamon and Bello's "Look, Listen and Learn More" (ICASSP 2019), as official openl3 computes it.

    >>> ear = OpenL3()                                   # needs weights: see nebula_tune.embedding.openl3.weight_files
    >>> vectors = ear.embed(audio, sample_rate=44100)    # (frames, 512) float32

    ``representation`` mel256, mel128 or linear, ``content`` music or env (what it was trained on), ``size`` 512 or
    6144. ``frontend`` legacy (the default: what the weights were trained with, and what was there to be used when
    "One Billion Audio Sounds" was written), kapre or librosa: see ``frontend``. A frame is 1 s; frames start every
    ``hop`` seconds; ``center`` puts half a second of zeros before the sound, so that frame t is centred on t * hop.
    ``weights`` is a weight file (.h5, .h5.gz) in place of the official one. ``precision`` float32 or bfloat16.
    ``device`` is torch's name of where it runs; sounds are prepared to ``seconds``.

    ``active=True`` departs from the paper: a window whose peak is more than 60 dB under the sound's is taken for
    digital silence, in place of a picture of its inaudible remains at full level. So two sounds that are both over by
    then do not differ there. See docs/embeddings.md.

    Raises EmbeddingError for settings that are not there and for weights that are missing or wrong, StorageError
    if fetched weights cannot be kept.
    """

    name: str  # type: ignore[misc]  # one class, twelve names
    sample_rate = SAMPLE_RATE
    gpu_chunk = 16  # 576 windows at most: half a second of an H100, and a trial is something to do for 16 of them

    def __init__(
        self,
        representation: str = "mel256",
        content: str = "music",
        size: int = 512,
        *,
        frontend: str = "legacy",
        hop: float = 0.1,
        center: bool = True,
        weights: str | Path | None = None,
        device: str = "cpu",
        active: bool = False,
        precision: str = "float32",
        seconds: float = 4.0,
    ) -> None:
        check(size, precision)
        if not isinstance(center, bool) or not isinstance(active, bool) or not seconds > 0:
            raise EmbeddingError(
                f"OpenL3 takes center and active true or false and seconds over 0, not {center}, {active}, {seconds}"
            )
        self.representation, self.content, self.size = representation, content, size
        self.frontend, self.hop, self.center, self.active, self.precision = frontend, hop, center, active, precision
        self.device = torch.device(device)
        self.seconds = seconds
        self._hop = hop_samples(hop)
        self._image_of = Frontend(representation, frontend, self.device)
        official = stem(representation, content)
        self.name = f"openl3-{content}-{representation}-{size}"
        read = read_weights(find_or_fetch(official) if weights is None else weights)
        self._weights_sha256 = read.sha256
        self._at_once = WINDOWS_AT_ONCE.get(self.device.type, 1)
        self._vector_of = Network(read, representation, size, precision, self.device)

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "version": 1,
            "sample_rate": self.sample_rate,
            "seconds": self.seconds,
            "frontend": self.frontend,
            "hop": self.hop,
            "center": self.center,
            "active": self.active,
            "precision": self.precision,
            "weights": self._weights_sha256,
        }

    def frames(self, samples: int) -> int:
        """Frames of a sound of that many samples at 48 kHz."""
        return 1 + max(0, -(-(samples + self._zeros_before - WINDOW) // self._hop))

    def cost(self, sounds: int) -> Cost:
        """Cost of embedding that many sounds, none of whose windows is silent; times two windows to tell."""
        windows = sounds * self.frames(self.samples)
        noise = torch.from_numpy(np.random.default_rng(0).standard_normal((TIMED_WINDOWS, WINDOW)))
        at_once = noise.repeat(-(-self._at_once // TIMED_WINDOWS), 1).to(self.device)
        self._vectors(at_once).sum().item()
        start = time.perf_counter()
        self._vectors(at_once).sum().item()
        seconds = (time.perf_counter() - start) / len(at_once) * windows
        return Cost(windows, windows * GFLOP_A_WINDOW[self.representation] / 1000, seconds)

    def cost_note(self, sounds: int) -> str:
        cost = self.cost(sounds)
        return (
            f"{self.name}: {cost.windows:,} windows of 1 s and {cost.tflop:,.0f} TFLOP at most (silent windows cost "
            f"nothing), up to {cost.seconds / 60:,.0f} minutes in one process on this {self.device.type}"
        )

    def embed(self, audio: np.ndarray, sample_rate: int) -> np.ndarray:
        """Vectors (frames, size) float32 of one sound (samples,) or (samples, channels), as official openl3 has them.

        Channels are averaged, other rates than 48 kHz resampled; the level is left as it is. Frame t starts at
        ``t * hop`` seconds, less half a second if centred. Raises EmbeddingError for audio that is not such an array.
        """
        audio = np.asarray(audio)
        if audio.ndim not in (1, 2) or audio.size == 0 or audio.dtype.kind not in "fiu":
            raise EmbeddingError(
                f"audio is (samples,) or (samples, channels) of numbers, not {audio.shape} {audio.dtype}"
            )
        audio = audio.astype(np.float64)
        if not np.isfinite(audio).all():
            raise EmbeddingError("audio has samples that are not finite")
        if sample_rate <= 0 or sample_rate != int(sample_rate):
            raise EmbeddingError(f"a sample rate is a whole number of Hz over 0, not {sample_rate}")
        mono = audio.mean(axis=1) if audio.ndim == 2 else audio
        mono = resample(mono, int(sample_rate))
        if not len(mono):
            raise EmbeddingError("audio is shorter than one sample at 48 kHz")
        return self.embed_batch(torch.from_numpy(mono)[None])[0].cpu().numpy()

    def embed_batch(self, audio: Tensor) -> Tensor:
        audio = audio.to(self.device)
        sounds, samples = audio.shape
        frames = self.frames(samples)
        whole = WINDOW + (frames - 1) * self._hop
        padded = torch.nn.functional.pad(audio, (self._zeros_before, whole - self._zeros_before - samples))
        windows = padded.unfold(1, WINDOW, self._hop)
        peaks = padded.abs().unfold(1, WINDOW, self._hop).amax(dim=-1)
        quiet = peaks.amax(dim=1, keepdim=True) * 10 ** (ACTIVE_DB / 20) if self.active else 0.0
        audible = peaks > quiet
        # Silent windows are all alike: their vector is worked out once, for all sounds there will ever be.
        vectors = self._silence.expand(sounds, frames, self.size).clone()
        where = audible.nonzero()
        for some in torch.split(where, self._at_once):
            sound, frame = some.unbind(1)
            vectors[sound, frame] = self._vectors(windows[sound, frame])
        return vectors

    def _vectors(self, windows: Tensor) -> Tensor:
        """Vectors (windows, size) of windows (windows, 48000)."""
        return in_equal_batches(lambda some: self._vector_of(self._image_of(some)), windows, self._at_once)

    @cached_property
    def _silence(self) -> Tensor:
        return self._vectors(torch.zeros(1, WINDOW, dtype=torch.float32, device=self.device))[0]

    @property
    def _zeros_before(self) -> int:
        return WINDOW // 2 if self.center else 0


def hop_samples(hop: float) -> int:
    """Samples from one window to the next: rounded down, as upstream does. Raises EmbeddingError."""
    if not 0 < hop <= 60 or int(hop * SAMPLE_RATE) < 1:
        raise EmbeddingError(f"hop is the seconds between frames, over 0 (0.1 is usual), not {hop}")
    return int(hop * SAMPLE_RATE)
