"""What every synth does on a GPU before it renders: random draws, and raw values mapped to human ones.

Nothing here needs a GPU to be imported: :func:`ready` says whether the kernels (``gpu_seeds``) can run.
"""

from __future__ import annotations

import importlib.util
from functools import lru_cache

import torch
from torch import Tensor

WARPS = 4


@lru_cache
def ready() -> bool:
    """Whether Triton is installed."""
    return importlib.util.find_spec("triton") is not None


def draw(first: Tensor, sounds: int, order: Tensor) -> Tensor:
    """The first ``len(order)`` numbers of each sound, (sounds, numbers) float32, on the device of ``order``.

    ``first`` holds the first sound's index, (1,) int64 on that device. Column ``order[k]`` takes the k-th. Bit for bit
    what :func:`nebula_tune.synth.synth1b1.draw` gives.
    """
    from nebula_tune.synth import gpu_seeds as kernels

    count, lanes = len(order), 32
    states = torch.empty((count + 1, sounds), dtype=torch.int32, device=order.device)
    out = torch.empty((sounds, count), dtype=torch.float32, device=order.device)
    if sounds:
        kernels.draw[(-(-sounds // lanes),)](first, order, states, out, sounds, count, lanes, num_warps=1)
    return out


def to_human(raw: Tensor, ends: tuple[Tensor, Tensor], curves: Tensor, symmetric: Tensor) -> Tensor:
    """Human values (sounds, parameters) float64 of raw ones, ``ends`` being each knob's minimum and maximum.

    ``curves`` and ``symmetric`` are the nebula's, (parameters,).
    """
    from nebula_tune.synth import gpu_seeds as kernels

    raw = raw.contiguous()
    human = torch.empty(raw.shape, dtype=torch.float64, device=raw.device)
    if raw.numel():
        kernels.to_human[(-(-raw.numel() // 256),)](
            raw, *ends, curves, symmetric, human, raw.numel(), raw.shape[1], 256, num_warps=WARPS
        )
    return human
