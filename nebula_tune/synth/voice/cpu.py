"""The Voice's renderer for float32 on a CPU; the loops themselves are in ``cpu_kernels``."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from nebula_tune.machine import cores
from nebula_tune.synth.backends import interval_starts, spread


class FastVoice:
    """Renders sounds of the Voice with compiled loops, one thread a sound.

    Args:
        frames: control frames of a sound, at least 2.
        sample_rate: Hz of the audio.
        noise: the rows of noise, (rows, samples) float32.
        threads: sounds worked out at a time; None for one a core. It cannot change a bit of the audio.

    The compiler runs in the first call on a machine (a few seconds); later processes load what it made.
    """

    def __init__(self, frames: int, sample_rate: int, noise: Tensor, threads: int | None) -> None:
        self.sample_rate = sample_rate
        self.threads = threads
        self._noise = noise.numpy()
        samples = self._noise.shape[1]
        # ``offsets`` is how far after its control frame an interval's first sample is.
        self._starts = interval_starts(frames, samples)
        self._offsets = self._starts * ((frames - 1) / (samples - 1)) - np.arange(frames)

    def __call__(self, human: Tensor, first_index: int) -> Tensor:
        """Audio (sounds, samples) float32 of human values (sounds, parameters)."""
        from nebula_tune.synth.voice.cpu_kernels import render_sounds

        knobs = np.ascontiguousarray(human.detach().numpy(), dtype=np.float64)
        rows = (first_index + np.arange(len(knobs))) % len(self._noise)
        output = np.empty((len(knobs), self._noise.shape[1]), dtype=np.float32)  # numpy asks for large memory pages

        def render(begin: int, end: int) -> None:
            part = slice(begin, end)
            render_sounds(
                knobs[part], rows[part], self._noise, self._starts, self._offsets, self.sample_rate, output[part]
            )

        spread(render, len(knobs), self.threads or cores())
        return torch.from_numpy(output)
