"""How loops for the CPU are compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from numba import njit

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """Compile with numba, without the interpreter's lock, and keep the machine code on disk where that is possible.

    Products and sums may fuse, and no comparison relies on NaN or on the sign of zero; nothing is reordered.
    """
    options: Any = {"nogil": True, "error_model": "numpy", "fastmath": {"contract", "nnan", "nsz"}}
    try:
        result: F = njit(cache=True, **options)(function)
    except RuntimeError:  # neither the package nor the user's cache folder can be written
        result = njit(**options)(function)
    return result
