"""OpenL3's audio network for inference: eight 3x3 convolutions, folded and laid out for speed."""

from __future__ import annotations

from contextlib import suppress

import torch
from torch import Tensor
from torch.nn import functional

from nebula_tune.embedding.convolution import fold, scale_and_shift
from nebula_tune.embedding.openl3.frontend import REPRESENTATIONS
from nebula_tune.embedding.openl3.keras_file import KerasWeights
from nebula_tune.embedding.openl3.winograd import LEAST_OUTPUTS, WinogradConvolution
from nebula_tune.errors import EmbeddingError

SIZES = (512, 6144)
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
EPSILON = 1e-3  # of the batch normalisations
CHANNELS = 512  # of the last convolution
CELLS = (4, 3)  # (frequency, time) that 6144 = 4 x 3 x 512 is made of; 512 is the largest of the twelve
WINDOWS_AT_ONCE = {"cpu": 1, "cuda": 64}


class Convolution:
    """A convolution (outputs, inputs, 3, 3) with bias, stride 1 and a border of zeros, then ReLU; channels-last.

    ``size`` is the height and width of the maps to come. On a CPU the kernel is kept in oneDNN's own order for them,
    which torch would otherwise bring it into each time (3 % of the time; the result is the same). ``kernel``, ``bias``
    and maps are of type ``dtype``.
    """

    def __init__(self, kernel: Tensor, bias: Tensor, dtype: torch.dtype, size: tuple[int, int]) -> None:
        self._kernel = kernel.to(dtype, memory_format=torch.channels_last)
        self._bias = bias.to(dtype)
        self._packed: Tensor | None = None
        packing = getattr(torch.ops.mkldnn, "_reorder_convolution_weight", None)  # not of torch's public interface
        if kernel.device.type == "cpu" and packing and hasattr(torch.ops.mkldnn, "_convolution_pointwise"):
            # A processor without any bfloat16 arithmetic refuses that; torch then has a slower way of its own.
            with torch.inference_mode(), suppress(RuntimeError):
                self._packed = packing(self._kernel, [1, 1], [1, 1], [1, 1], 1, [1, kernel.shape[1], *size])

    def __call__(self, maps: Tensor, pool: bool, relu: bool) -> Tensor:
        """Maps (images, outputs, height, width); ``pool`` takes the largest of each 2x2."""
        maps = maps.to(self._kernel.dtype)
        late = None
        if self._packed is not None:
            then = "relu" if relu and not pool else "none"
            maps = torch.ops.mkldnn._convolution_pointwise(
                maps, self._packed, self._bias, [1, 1], [1, 1], [1, 1], 1, then, [], ""
            )
            relu = relu and pool
        elif maps.is_cuda and relu and not pool:
            return torch.cudnn_convolution_relu(maps, self._kernel, self._bias, (1, 1), (1, 1), (1, 1), 1)
        else:
            late = self._bias[:, None, None] if maps.is_cuda and pool else None
            maps = functional.conv2d(maps, self._kernel, self._bias if late is None else None, padding=1)
        # What comes after the pool is the same there, at a quarter of the cost: rounding keeps the order of numbers.
        if pool:
            maps = functional.max_pool2d(maps, 2)
        if late is not None:
            maps = maps.add_(late)
        return maps.relu_() if relu else maps


class Network:
    """Vectors (windows, size) float32 of images (windows, frequencies, times).

    Batch normalisations that follow a convolution are folded into it, in float64. The first one is not: zeros are
    padded after it. Weights and maps are channels-last, the fastest layout on CPUs and on tensor cores. To be run by
    ``in_equal_batches`` of WINDOWS_AT_ONCE: one window at a time is also fastest on a CPU.

    ``precision="bfloat16"`` halves the time where the processor has such arithmetic; the relative L2 error is about
    5e-3. ``weights`` are those for a ``representation`` (mel256, mel128 or linear); ``size`` is 512 or 6144, ``device``
    where it runs.
    """

    def __init__(
        self, weights: KerasWeights, representation: str, size: int, precision: str, device: torch.device
    ) -> None:
        self.size = size
        picture = REPRESENTATIONS[representation]
        self._pool = (picture.frequencies // 16 // CELLS[0], picture.times // 16 // CELLS[1])
        layers = [tuple(torch.from_numpy(array) for array in layer) for layer in weights.layers]
        first, *rest = layers[0::2]
        self._input_scale, self._input_shift = (float(value) for value in scale_and_shift(first, EPSILON))
        if device.type == "cpu":
            # glibc hands freed memory back to the system, and page faults are 8 % of the time, until a block about as
            # large as it ever keeps has been freed once.
            torch.empty(31 * 2**20, dtype=torch.uint8, device="cpu")
        self._layers: list[Convolution | WinogradConvolution] = []
        for number, (kernel, bias) in enumerate(layers[1::2]):
            kernel = kernel.permute(3, 2, 0, 1)  # from (frequency, time, inputs, outputs)
            if number < len(rest):
                kernel, bias = fold(kernel, bias, rest[number], EPSILON)
            # The first reads the image itself, where bfloat16 would cost accuracy and save nothing.
            dtype = PRECISIONS[precision] if number else torch.float32
            faster = device.type == "cpu" and dtype == torch.bfloat16 and len(kernel) >= LEAST_OUTPUTS
            shape = (picture.frequencies >> number // 2, picture.times >> number // 2)
            kind = WinogradConvolution if faster else Convolution
            self._layers.append(kind(kernel.to(device), bias.to(device), dtype, shape))

    def __call__(self, images: Tensor) -> Tensor:
        maps = (images.double() * self._input_scale + self._input_shift).float()[:, None]
        maps = maps.contiguous(memory_format=torch.channels_last)
        for number, convolution in enumerate(self._layers):
            # The last one has no ReLU, and a pool larger than 2x2 that can begin with 2x2.
            maps = convolution(maps, pool=number % 2 == 1, relu=number < len(self._layers) - 1)
        cells = functional.max_pool2d(maps, self._pool).permute(0, 2, 3, 1).float()
        if self.size == CHANNELS:
            return cells.amax(dim=(1, 2))
        return cells.reshape(len(images), self.size)


def check(size: int, precision: str) -> None:
    """Raises EmbeddingError for a size or precision that is not there."""
    if size not in SIZES:
        raise EmbeddingError(f"OpenL3's size is 512 or 6144, not {size!r}")
    if precision not in PRECISIONS:
        raise EmbeddingError(f"no precision {precision!r}; known: {', '.join(PRECISIONS)}")
