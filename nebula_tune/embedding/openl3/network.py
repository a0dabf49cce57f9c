"""OpenL3's audio network for inference: eight 3x3 convolutions, folded and laid out for speed."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from nebula_tune.embedding.convolution import fold, scale_and_shift
from nebula_tune.embedding.openl3.frontend import REPRESENTATIONS
from nebula_tune.embedding.openl3.weights import Weights
from nebula_tune.errors import EmbeddingError

SIZES = (512, 6144)
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
EPSILON = 1e-3  # of the batch normalisations
CHANNELS = 512  # of the last convolution
CELLS = (4, 3)  # (frequency, time) that 6144 = 4 x 3 x 512 is made of; 512 is the largest of the twelve
WINDOWS_AT_ONCE = {"cpu": 1, "cuda": 64}


class Network:
    """Vectors (windows, size) float32 of images (windows, frequencies, times).

    Batch normalisations that follow a convolution are folded into it, in float64. The first one is not: zeros are
    padded after it. Weights and maps are channels-last, the fastest layout on CPUs and on tensor cores. To be run by
    ``in_equal_batches`` of WINDOWS_AT_ONCE: one window at a time is also fastest on a CPU.

    ``precision="bfloat16"`` halves the time where the processor has such arithmetic; the relative L2 error is about
    3e-3. Raises EmbeddingError for an unknown size or precision.
    """

    def __init__(self, weights: Weights, representation: str, size: int, precision: str, device: torch.device) -> None:
        if size not in SIZES:
            raise EmbeddingError(f"OpenL3's size is 512 or 6144, not {size!r}")
        if precision not in PRECISIONS:
            raise EmbeddingError(f"no precision {precision!r}; known: {', '.join(PRECISIONS)}")
        self.size = size
        picture = REPRESENTATIONS[representation]
        self._pool = (picture.frequencies // 8 // CELLS[0], picture.times // 8 // CELLS[1])
        layers = [tuple(torch.from_numpy(array) for array in layer) for layer in weights.layers]
        first, *rest = layers[0::2]
        self._input_scale, self._input_shift = (float(value) for value in scale_and_shift(first, EPSILON))
        self._convolutions = []
        for number, (kernel, bias) in enumerate(layers[1::2]):
            kernel = kernel.permute(3, 2, 0, 1)  # from (frequency, time, inputs, outputs)
            if number < len(rest):
                kernel, bias = fold(kernel, bias, rest[number], EPSILON)
            # The first reads the image itself, where bfloat16 would cost accuracy and save nothing.
            dtype = PRECISIONS[precision] if number else torch.float32
            kernel = kernel.to(device, dtype, memory_format=torch.channels_last)
            self._convolutions.append((kernel, bias.to(device, dtype)))

    def __call__(self, images: Tensor) -> Tensor:
        maps = (images.double() * self._input_scale + self._input_shift).float()[:, None]
        maps = maps.contiguous(memory_format=torch.channels_last)
        last = len(self._convolutions) - 1
        for number, (kernel, bias) in enumerate(self._convolutions):
            maps = functional.conv2d(maps.to(kernel.dtype), kernel, bias, padding=1)
            if number % 2 and number < last:
                maps = functional.max_pool2d(maps, 2)  # before the ReLU: the same, at a quarter of the cost
            if number < last:
                maps = maps.relu_()
        cells = functional.max_pool2d(maps, self._pool).permute(0, 2, 3, 1).float()
        if self.size == CHANNELS:
            return cells.amax(dim=(1, 2))
        return cells.reshape(len(images), self.size)
