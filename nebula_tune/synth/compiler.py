"""How loops for the CPU are compiled."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
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
    except (RuntimeError, OSError):  # neither the package nor the user's cache folder can be written
        result = njit(**options)(function)
    _forgive(getattr(result, "_cache", None))
    return result


def _forgive(cache: Any) -> None:
    """Let numba go on where its cache can be written when it looks, and not when it keeps machine code: a full disk."""
    save = getattr(cache, "save_overload", None)
    if save is None:
        return

    def saved_if_possible(*arguments: Any) -> None:
        with suppress(OSError):
            save(*arguments)

    cache.save_overload = saved_if_possible
