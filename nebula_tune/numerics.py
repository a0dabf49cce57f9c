"""torch's and numpy's settings that a caller may have changed: ours do not depend on them, and stay as they were.

:func:`own_numerics` sets aside those of a thread, and those of the process that no call can name for itself. The
default dtype is left alone: what is computed names its dtype and device.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from threading import Lock

import numpy as np
import torch

HIGHEST = "highest"  # float32 is multiplied as float32

_lock = Lock()
_inside: list[ExitStack] = []  # one for each that is inside; the first puts back what it found when the last leaves


@contextmanager
def own_numerics() -> Iterator[None]:
    """Settings are those of a fresh process while inside, but for gradients, which stay as they are.

    That is: numpy raises no floating-point errors, tensors are made on the CPU where no device is named, are no
    inference tensors, nothing is cast to another precision or multiplied in one, and torch chooses its algorithms.
    """
    with ExitStack() as stack:
        stack.enter_context(_of_process())
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


@contextmanager
def _of_process() -> Iterator[None]:
    """Settings of the whole process, for as long as any thread is inside."""
    with _lock:
        _inside.append(_inside[0] if _inside else _set_aside())
    try:
        yield
    finally:
        with _lock:
            before = _inside.pop()
            if not _inside:
                before.close()


def _set_aside() -> ExitStack:
    """Set what is not as in a fresh process; what is given puts it back when it is closed."""
    before = ExitStack()
    with suppress(RuntimeError):  # where it was set by more than one of torch's ways, torch does not tell
        precision = torch.get_float32_matmul_precision()
        if precision != HIGHEST:
            torch.set_float32_matmul_precision(HIGHEST)
            before.callback(torch.set_float32_matmul_precision, precision)
    if torch.are_deterministic_algorithms_enabled():
        only_warns = torch.is_deterministic_algorithms_warn_only_enabled()
        torch.use_deterministic_algorithms(False)
        before.callback(torch.use_deterministic_algorithms, True, warn_only=only_warns)
    return before
