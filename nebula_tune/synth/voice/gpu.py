"""The Voice's renderer for float32 on a GPU; the kernels themselves are in ``gpu_kernels``.

Nothing here needs a GPU to be imported.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from nebula_tune.synth.backends import interval_starts

CHUNK = 512  # control frames a program works out at a time
BLOCK = 1024  # samples a program plays
WARPS = 4


class GpuVoice:
    """Renders sounds of the Voice with fused kernels; a batch needs a quarter more memory than its audio.

    Args:
        frames: control frames of a sound, at least 2.
        sample_rate: Hz of the audio.
        noise: the rows of noise, (rows, samples) float32, on the device.

    The kernels are compiled in the first call on a machine (some seconds); later processes load what was made.
    """

    def __init__(self, frames: int, sample_rate: int, noise: Tensor) -> None:
        self.sample_rate, self.frames, self.samples = sample_rate, frames, noise.shape[1]
        self._noise = noise.contiguous()
        device = noise.device
        self._starts = torch.from_numpy(interval_starts(frames, self.samples).astype(np.int32)).to(device)
        # Where each block begins, in control frames: the whole part and the rest.
        begins = np.arange(0, self.samples, BLOCK, dtype=np.int64) * (frames - 1)
        self._block_frames = torch.from_numpy((begins // (self.samples - 1)).astype(np.int32)).to(device)
        self._span = 1 << (BLOCK * (frames - 1) // (self.samples - 1) + 2).bit_length()  # intervals a block may touch
        rest = begins % (self.samples - 1) / (self.samples - 1)
        self._block_offsets = torch.from_numpy(rest.astype(np.float32)).to(device)

    def __call__(self, human: Tensor, first_index: int) -> Tensor:
        """Audio (sounds, samples) float32 of human values (sounds, parameters)."""
        from nebula_tune.synth.voice import gpu_kernels as kernels

        knobs = human.detach().double().contiguous()
        sounds, parameters = knobs.shape
        frames, samples, rate = self.frames, self.samples, self.sample_rate
        intervals, blocks, rows = frames - 1, len(self._block_frames), len(self._noise)

        def empty(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
            return torch.empty(shape, dtype=dtype, device=knobs.device)

        out = empty(sounds, samples)
        if not sounds:
            return out
        controls = empty(sounds, 5, frames, dtype=torch.float64)
        sounding, voicing, peaks = empty(sounds, dtype=torch.int32), empty(sounds, 2), empty(sounds)
        lines, sweeps = empty(sounds, 3, 2, intervals), empty(sounds, 2, 3, intervals)
        pieces = empty(sounds, 2, intervals, dtype=torch.int32)
        kernels.trace[(sounds,)](knobs, controls, sounding, voicing, peaks, frames, parameters, CHUNK, num_warps=WARPS)
        kernels.plan[(3 * sounds,)](
            knobs, controls, sounding, self._starts, lines, sweeps, pieces, frames, samples, rate, parameters, CHUNK,
            num_warps=WARPS,
        )  # fmt: skip
        kernels.play[(blocks * sounds,)](
            self._noise, first_index % rows, sounding, self._starts, self._block_frames, self._block_offsets,
            lines, sweeps, pieces, voicing, peaks, out, frames, samples, rate, blocks, rows, self._span, BLOCK,
            num_warps=WARPS,
        )  # fmt: skip
        kernels.normalise[(blocks * sounds,)](
            sounding, self._starts, peaks, out, frames, samples, blocks, BLOCK, num_warps=WARPS
        )
        return out
