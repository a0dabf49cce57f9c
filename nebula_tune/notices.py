"""What a user should know of work that goes on all the same: each line once, by whoever shows log warnings."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

log = logging.getLogger(__name__)
ROOT = logging.getLogger("nebula_tune")
_told: set[str] = set()
_lock = threading.Lock()


def warn_once(text: str) -> None:
    """Log a warning, unless this process did so already: within a run its reporter shows it, else it is on stderr."""
    with _lock:
        new = text not in _told
        _told.add(text)
    if new:
        log.warning("%s", text)


class OnStderr(logging.Handler):
    """Warnings as plain lines, where no run's reporter shows them."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)

    def emit(self, record: logging.LogRecord) -> None:
        print(record.getMessage(), file=sys.stderr, flush=True)


@contextmanager
def on_stderr() -> Iterator[None]:
    """Warnings go to stderr while inside."""
    handler = OnStderr()
    ROOT.addHandler(handler)
    try:
        yield
    finally:
        ROOT.removeHandler(handler)


@contextmanager
def instead_of_stderr(handler: logging.Handler) -> Iterator[None]:
    """Warnings go to a handler while inside, and not to stderr too."""
    others = [other for other in ROOT.handlers if isinstance(other, OnStderr)]
    for other in others:
        ROOT.removeHandler(other)
    ROOT.addHandler(handler)
    try:
        yield
    finally:
        ROOT.removeHandler(handler)
        for other in others:
            ROOT.addHandler(other)
