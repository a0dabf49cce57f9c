"""The log of a run: one JSON line an event, in a file; warnings go to the terminal too."""

from __future__ import annotations

import json
import logging
import os
import socket
import sys
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


class _LogFile(logging.FileHandler):
    """The file. That it cannot be written, on a full disk say, is one line to the user, and the run goes on."""

    def __init__(self, path: Path, note: Callable[[str], None]) -> None:
        super().__init__(path, encoding="utf-8")
        self._note, self._failed = note, False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # logging's name
        error = sys.exception()
        if isinstance(error, OSError):
            self._tell(error)
        else:
            super().handleError(record)

    def close(self) -> None:
        try:
            super().close()
        except OSError as error:  # what was still to be written
            self._tell(error)

    def _tell(self, error: OSError) -> None:
        if not self._failed:
            self._failed = True
            reason = error.strerror or error
            self._note(
                f"warning: log {self.baseFilename} cannot be written ({reason}); the run goes on, lines are missing"
            )


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
        file = _LogFile(path, note)
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
