"""torch's and numpy's settings that a caller may have changed: ours do not depend on them, and stay as they were.

Settings of a thread are set aside by :func:`own_numerics`. Those of the whole process (the default dtype, say) are left
alone: what is computed names its dtype and device.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
import torch


@contextmanager
def own_numerics() -> Iterator[None]:
    """This thread's settings are those of a fresh process while inside, but for gradients, which stay as they are.

    That is: numpy raises no floating-point errors, tensors are made on the CPU where no device is named, are no
    inference tensors, and nothing is cast to another precision.
    """
    with ExitStack() as stack:
        stack.enter_context(np.errstate(all="ignore"))
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        if torch.is_inference_mode_enabled():
            stack.enter_context(torch.inference_mode(False))
            stack.enter_context(torch.no_grad())
        for kind in ("cpu", "cuda"):
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        yield
