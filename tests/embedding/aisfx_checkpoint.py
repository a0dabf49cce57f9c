"""A checkpoint in the format of aisfx 0.1.2's, with seeded numbers."""

from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch

CHANNELS = (1, 64, 128, 256, 512)


def tensors() -> OrderedDict[str, torch.Tensor]:
    random = np.random.RandomState(11)

    def normal(*shape: int) -> torch.Tensor:
        return torch.from_numpy(random.standard_normal(shape).astype(np.float32))

    state = OrderedDict()
    for block in range(1, 5):
        after = CHANNELS[block]
        for number, before in ((1, CHANNELS[block - 1]), (2, after)):
            prefix = f"embedding_net.conv_block{block}"
            state[f"{prefix}.conv{number}.weight"] = normal(after, before, 3, 3) * (2 / (9 * before)) ** 0.5
            state[f"{prefix}.bn{number}.weight"] = 1 + 0.1 * normal(after)
            state[f"{prefix}.bn{number}.bias"] = 0.1 * normal(after)
            state[f"{prefix}.bn{number}.running_mean"] = 0.1 * normal(after)
            state[f"{prefix}.bn{number}.running_var"] = 1 + 0.1 * normal(after).abs()
    return state


def write(path: Path) -> None:
    """Tensors and, as in the original, data sets by name with a numpy integer each."""
    torch.save((tensors(), {"a data set": (np.int64(0), 78)}), path)
