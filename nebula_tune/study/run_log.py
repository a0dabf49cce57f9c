"""The log of a run: one JSON line an event, in a file; warnings go to the terminal too."""

from __future__ import annotations

import json
import logging
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from nebula_tune.errors import StorageError
from nebula_tune.files import make_folder, not_for_all
from nebula_tune.notices import instead_of_stderr
from nebula_tune.words import all_printable, printable

ROOT = "nebula_tune"


class JsonLines(logging.Formatter):
    """A record as one line of JSON: time (UTC), level, event, study, host, process, and the record's own fields."""

    def __init__(self, study: str, scrubbed: Callable[[str], str]) -> None:
        super().__init__()
        self._scrubbed = scrubbed
        self._common = {"study": study, "host": socket.gethostname(), "process": os.getpid()}

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {"time": time, "level": record.levelname.lower(), "event": record.getMessage(), **self._common}
        line |= getattr(record, "fields", {})
        if record.exc_info and record.exc_info[1]:
            line["error"] = repr(record.exc_info[1])
        if "error" in line:
            line["error"] = self._scrubbed(str(line["error"]))
        return json.dumps(all_printable(line), default=lambda other: printable(str(other)))


class _ToReporter(logging.Handler):
    """Warnings for the user to read."""

    def __init__(self, note: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._note = note

    def emit(self, record: logging.LogRecord) -> None:
        self._note(record.getMessage())


@contextmanager
def run_log(
    path: Path, study: str, note: Callable[[str], None], scrubbed: Callable[[str], str] = str
) -> Iterator[None]:
    """Everything nebula-tune logs while inside goes to the file (appended), its warnings also to ``note``.

    Args:
        path: the file.
        study: the study's name.
        note: told each warning.
        scrubbed: takes out of an error's words what nobody should read.

    Raises:
        StorageError: where the file cannot be written.
    """
    try:
        make_folder(path.parent)
        open(path, "ab", opener=not_for_all).close()
        file = logging.FileHandler(path, encoding="utf-8")
    except OSError as error:
        raise StorageError(f"cannot write log {path}: {error.strerror}; give another --log") from error
    file.setFormatter(JsonLines(study, scrubbed))
    root = logging.getLogger(ROOT)
    before = root.level
    root.setLevel(logging.INFO)
    root.addHandler(file)
    try:
        with instead_of_stderr(_ToReporter(note)):
            yield
    finally:
        root.removeHandler(file)
        root.setLevel(before)
        file.close()
