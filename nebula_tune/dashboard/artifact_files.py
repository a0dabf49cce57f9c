"""The sounds and pictures that the dashboard serves: where they lie, and how a browser may use them.

Their keys, kinds and names come from the database, and so from others: a key leads to a plain file below a folder or
nowhere, and whatever a file is, a browser that opens it runs nothing of it.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment
from wsgiref.util import FileWrapper

from optuna.storages import BaseStorage

from nebula_tune.errors import StorageError
from nebula_tune.files import write_atomically
from nebula_tune.serving import plain
from nebula_tune.words import printable

PLACE = re.compile(r"/artifacts/(\d{1,18})/(?:(\d{1,18})/)?([0-9a-f-]+)")  # study, trial, key: rows and a file
KEY = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
SHOWN = re.compile(r"audio/[\w.+-]+|image/(png|jpeg|gif|webp)")  # an SVG is a document, with scripts
KIND = re.compile(r"[\w.+-]+/[\w.+-]+", re.ASCII)
POLICY = "sandbox; default-src 'none'; media-src 'self'; img-src 'self'; style-src 'unsafe-inline'"
PIECE = 65536  # bytes that are read at a time
LARGEST = 64 * 2**20  # bytes of a file that is taken from a browser


class ArtifactFolder:
    """A folder of artifacts, as Optuna's dashboard takes it (an ArtifactStore)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, key: str) -> Path:
        """Where an artifact is. Raises StorageError for a key that is none."""
        if not KEY.fullmatch(key):
            raise StorageError(f"no key of a sound or picture: {printable(key)!r}")
        return self.folder / key

    def open_reader(self, artifact_id: str) -> BinaryIO:
        """An artifact's file, open. Raises OSError, also for what is no plain file; StorageError."""
        descriptor = os.open(self.path(artifact_id), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        file = os.fdopen(descriptor, "rb")
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            file.close()
            raise OSError(None, "no plain file")
        return file

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        """Keep an artifact. Raises StorageError, also for one that is too large."""
        path, content = self.path(artifact_id), content_body.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise StorageError(f"larger than {LARGEST // 2**20} MB")
        write_atomically(path, content)

    def remove(self, artifact_id: str) -> None:
        """Remove an artifact, where it is here: another's may lie elsewhere. Raises StorageError, OSError."""
        self.path(artifact_id).unlink(missing_ok=True)


class ArtifactPages:
    """Answers for ``/artifacts/``, in place of Optuna's; everything else is the application's.

    Args:
        app: Optuna's dashboard.
        storage: names the artifacts of each study.
        folders: gives the folders where their files may be, the first before the others.
    """

    def __init__(
        self, app: WSGIApplication, storage: BaseStorage, folders: Callable[[], Iterable[ArtifactFolder]]
    ) -> None:
        self._app, self._storage, self._folders = app, storage, folders

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """A file; 404 and one line where it is not to be had."""
        if not environ["PATH_INFO"].startswith("/artifacts/") or environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return self._app(environ, start_response)
        place = PLACE.fullmatch(environ["PATH_INFO"])
        described = self._described(int(place[1]), int(place[2]) if place[2] else None, place[3]) if place else None
        if place is None or described is None:
            return plain(start_response, "404 Not Found", "no study here has such a sound or picture")
        file = self._opened(place[3])
        if file is None:
            looked = " and ".join(printable(str(each.folder)) for each in self._folders())
            line = f"this sound or picture cannot be read in {looked}; --artifacts FOLDER says where they are"
            return plain(start_response, "404 Not Found", line)
        start_response("200 OK", _headers(described, os.fstat(file.fileno()).st_size))
        if environ["REQUEST_METHOD"] == "HEAD":
            file.close()
            return []
        return FileWrapper(file, PIECE)

    def _described(self, study: int, trial: int | None, key: str) -> tuple[str, str] | None:
        """Kind and name of an artifact that a study, or one of its trials, says it has."""
        names: list[tuple[Callable[[int], Mapping[str, str]], int, str]]
        names = [(self._storage.get_study_system_attrs, study, f"artifacts:{key}")]
        if trial is not None:
            names = [
                (self._storage.get_study_system_attrs, study, f"dashboard:artifacts:{trial}:{key}"),
                (self._storage.get_trial_system_attrs, trial, f"artifacts:{key}"),  # of an upload, or of Optuna's own
            ]
        for attributes, row, name in names:
            with suppress(KeyError, ValueError, TypeError):  # no such study or trial, or no such description
                described = json.loads(attributes(row)[name])
                kind, filename = described["mimetype"], described["filename"]
                return (kind if KIND.fullmatch(kind) else "application/octet-stream"), printable(str(filename))
        return None

    def _opened(self, key: str) -> BinaryIO | None:
        for folder in self._folders():
            with suppress(OSError, StorageError):
                return folder.open_reader(key)
        return None


def _headers(described: tuple[str, str], size: int) -> list[tuple[str, str]]:
    """How a browser may use a file of this kind and name, of ``size`` bytes."""
    kind, filename = described
    headers = [
        ("Content-Type", kind),
        ("Content-Length", str(size)),  # or a player cannot show where it is
        ("Content-Security-Policy", POLICY),
    ]
    if not SHOWN.fullmatch(kind):
        headers.append(("Content-Disposition", f"attachment; filename*=UTF-8''{quote(filename, safe='')}"))
    return headers
