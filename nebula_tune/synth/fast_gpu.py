"""The Voice on a GPU in float32: draws, mapping and audio, by the kernels of ``gpu_seeds`` and ``gpu_kernels``.

Nothing here needs a GPU to be imported: :func:`ready` says whether the kernels can run.
"""

from __future__ import annotations

import importlib.util
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from nebula_tune.synth.backends import interval_starts

CHUNK = 512  # control frames a program works out at a time
BLOCK = 1024  # samples a program plays
WARPS = 4
MOST_NUMBERS = 227  # of one generator; later ones need new state


@lru_cache
def ready() -> bool:
    """Whether Triton is installed."""
    return importlib.util.find_spec("triton") is not None


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
        from nebula_tune.synth import gpu_kernels as kernels

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


def draw(first_index: int, sounds: int, order: Tensor) -> Tensor:
    """The first ``len(order)`` numbers of each sound, (sounds, numbers) float32, on the device of ``order``.

    Column ``order[k]`` takes the k-th. Bit for bit what :func:`nebula_tune.synth.synth1b1.draw` gives.
    """
    from nebula_tune.synth import gpu_seeds as kernels

    count, lanes = len(order), 32
    states = torch.empty((count + 1, sounds), dtype=torch.int32, device=order.device)
    out = torch.empty((sounds, count), dtype=torch.float32, device=order.device)
    if sounds:
        kernels.draw[(-(-sounds // lanes),)](first_index, order, states, out, sounds, count, lanes, num_warps=1)
    return out


def to_human(raw: Tensor, ends: tuple[Tensor, Tensor], curves: Tensor, symmetric: Tensor) -> Tensor:
    """Human values (sounds, parameters) float64 of raw ones, ``ends`` being each knob's minimum and maximum."""
    from nebula_tune.synth import gpu_seeds as kernels

    raw = raw.contiguous()
    human = torch.empty(raw.shape, dtype=torch.float64, device=raw.device)
    if raw.numel():
        kernels.to_human[(-(-raw.numel() // 256),)](
            raw, *ends, curves, symmetric, human, raw.numel(), raw.shape[1], 256, num_warps=WARPS
        )
    return human
