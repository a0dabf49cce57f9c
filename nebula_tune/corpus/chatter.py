"""What C libraries print on their own: libmpg123, for one, a line for each fault of a damaged mp3."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class _Stderr:
    """C's variable ``stderr``, turned away for as long as anybody wants it so.

    File descriptor 2 is left alone: what Python, its threads and child processes print comes through, and so do C++'s
    streams and the C library's last words. Only what C code prints to ``stderr`` in that time does not.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._before: int | None = None
        library = ctypes.CDLL(None)
        self._variable: ctypes.c_void_p | None = None
        if hasattr(library, "gnu_get_libc_version"):  # elsewhere it may be a constant
            library.fopen.restype = ctypes.c_void_p
            self._nowhere: int | None = library.fopen(b"/dev/null", b"we")
            if self._nowhere is not None:
                self._variable = ctypes.c_void_p.in_dll(library, "stderr")

    def turn_away(self) -> None:
        with self._lock:
            self._users += 1
            if self._variable is not None and self._users == 1:
                self._before, self._variable.value = self._variable.value, self._nowhere

    def turn_back(self) -> None:
        with self._lock:
            self._users -= 1
            if self._variable is not None and self._users == 0:
                self._variable.value = self._before


_stderr = _Stderr()


@contextmanager
def without_chatter() -> Iterator[None]:
    """Nothing that a C library prints to stderr is shown, under the GNU C library; in any number of threads."""
    _stderr.turn_away()
    try:
        yield
    finally:
        _stderr.turn_back()
