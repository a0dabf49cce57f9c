"""Running convolutional networks so that a vector depends on its own input alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock

import torch
from torch import Tensor
from torch.nn import functional

_settings = Lock()


def fold(kernel: Tensor, bias: Tensor, normalisation: tuple[Tensor, ...], epsilon: float) -> tuple[Tensor, Tensor]:
    """(kernel, bias) float64 of a convolution (outputs, inputs, h, w) followed by a batch normalisation.

    ``normalisation`` is its gamma, beta, moving mean and moving variance, each (outputs,). ``epsilon`` is added to the
    variance.
    """
    scale, shift = scale_and_shift(normalisation, epsilon)
    return kernel.double() * scale[:, None, None, None], bias.double() * scale + shift


def scale_and_shift(normalisation: tuple[Tensor, ...], epsilon: float) -> tuple[Tensor, Tensor]:
    """What a batch normalisation multiplies by and adds at inference, float64."""
    gamma, beta, mean, variance = (part.double() for part in normalisation)
    scale = gamma / (variance + epsilon).sqrt()
    return scale, beta - mean * scale


def in_equal_batches(network: Callable[[Tensor], Tensor], inputs: Tensor, at_once: int) -> Tensor:
    """``network(inputs)``, always run on ``at_once`` inputs: the algorithm chosen, and so the last bits, are the same
    whatever inputs come together. The last batch is filled up with zeros."""
    results = []
    with torch.inference_mode(), exact(inputs.device):
        for some in torch.split(inputs, at_once):
            missing = at_once - len(some)
            full = functional.pad(some, (0, 0) * (some.ndim - 1) + (0, missing)) if missing else some
            results.append(network(full)[: len(some)])
    return torch.cat(results)


@contextmanager
def exact(device: torch.device) -> Iterator[None]:
    """On NVIDIA GPUs: float32 means float32, not TF32, and algorithms do not vary. One thread at a time, for these
    are settings of the process."""
    if device.type != "cuda":
        yield
        return
    with _settings, torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
        yield
