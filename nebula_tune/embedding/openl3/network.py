"""OpenL3's audio network for inference: eight 3x3 convolutions, folded and laid out for speed."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch
from torch import Tensor
from torch.nn import functional

from nebula_tune.embedding.openl3.frontend import REPRESENTATIONS
from nebula_tune.embedding.openl3.weights import Weights
from nebula_tune.errors import EmbeddingError

SIZES = (512, 6144)
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
BATCH_NORMALISATION_EPSILON = 1e-3
CHANNELS = 512  # of the last convolution
CELLS = (4, 3)  # (frequency, time) that 6144 = 4 x 3 x 512 is made of; 512 is the largest of the twelve
WINDOWS_AT_ONCE = {"cpu": 1, "cuda": 64}


class Network:
    """Vectors (windows, size) float32 of images (windows, frequencies, times).

    Batch normalisations that follow a convolution are folded into it, in float64. The first one is not: zeros are
    padded after it. Weights and maps are channels-last, the fastest layout on CPUs and on tensor cores.

    A window's vector does not depend on its neighbours: the network is always run on the same number of windows, one
    on a CPU (where that is also fastest) and 64 on a GPU, the last batch filled up.

    ``precision="bfloat16"`` halves the time where the processor has such arithmetic; the relative L2 error is about
    3e-3. Raises EmbeddingError for an unknown size or precision.
    """

    def __init__(self, weights: Weights, representation: str, size: int, precision: str, device: torch.device) -> None:
        if size not in SIZES:
            raise EmbeddingError(f"OpenL3's size is 512 or 6144, not {size!r}")
        if precision not in PRECISIONS:
            raise EmbeddingError(f"no precision {precision!r}; known: {', '.join(PRECISIONS)}")
        self.size = size
        self.device = device
        self.dtype = PRECISIONS[precision]
        self.windows_at_once = WINDOWS_AT_ONCE.get(device.type, 1)
        picture = REPRESENTATIONS[representation]
        self._pool = (picture.frequencies // 8 // CELLS[0], picture.times // 8 // CELLS[1])
        scales = [scale_and_shift(*layer) for layer in weights.layers[0::2]]
        self._input_scale, self._input_shift = (float(value) for value in scales[0])
        unit = (torch.ones(CHANNELS, dtype=torch.float64), torch.zeros(CHANNELS, dtype=torch.float64))
        self._convolutions = []
        for (kernel, bias), (scale, shift) in zip(weights.layers[1::2], [*scales[1:], unit], strict=True):
            folded = torch.from_numpy(kernel).double().permute(3, 2, 0, 1) * scale[:, None, None, None]
            moved = torch.from_numpy(bias).double() * scale + shift
            # The first reads the image itself, where bfloat16 would cost accuracy and save nothing.
            dtype = self.dtype if self._convolutions else torch.float32
            folded = folded.to(device, dtype, memory_format=torch.channels_last)
            self._convolutions.append((folded, moved.to(device, dtype)))

    def __call__(self, images: Tensor) -> Tensor:
        result = torch.empty(len(images), self.size, device=self.device)
        with torch.inference_mode(), exact_convolutions():
            for begin in range(0, len(images), self.windows_at_once):
                batch = images[begin : begin + self.windows_at_once]
                missing = self.windows_at_once - len(batch)
                full = functional.pad(batch, (0, 0, 0, 0, 0, missing))
                result[begin : begin + len(batch)] = self._forward(full)[: len(batch)]
        return result

    def _forward(self, images: Tensor) -> Tensor:
        maps = (images.double() * self._input_scale + self._input_shift).float()[:, None]
        maps = maps.contiguous(memory_format=torch.channels_last)
        for number, (kernel, bias) in enumerate(self._convolutions):
            maps = functional.conv2d(maps.to(kernel.dtype), kernel, bias, padding=1)
            if number == len(self._convolutions) - 1:
                break
            if number % 2:  # the largest of four, then ReLU: the same as the other way round, at a quarter of the cost
                maps = functional.max_pool2d(maps, 2)
            maps = maps.relu_()
        cells = functional.max_pool2d(maps, self._pool).permute(0, 2, 3, 1).float()
        if self.size == CHANNELS:
            return cells.amax(dim=(1, 2))
        return cells.reshape(len(images), self.size)


def scale_and_shift(gamma: object, beta: object, mean: object, variance: object) -> tuple[Tensor, Tensor]:
    """What a batch normalisation multiplies by and adds at inference, float64."""
    values = [torch.as_tensor(value, dtype=torch.float64) for value in (gamma, beta, mean, variance)]
    scale = values[0] / (values[3] + BATCH_NORMALISATION_EPSILON).sqrt()
    return scale, values[1] - values[2] * scale


def exact_convolutions() -> AbstractContextManager[None]:
    """On NVIDIA GPUs: float32 means float32 (not TF32), and algorithms are the same each time."""
    return torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
