"""Fetching weights: into a cache folder, whole and verified or not at all."""

from __future__ import annotations

import hashlib
import urllib.error
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from nebula_tune.corpus.cache import cache_folder, is_there
from nebula_tune.embedding.screen import bar, tell, usual_console
from nebula_tune.errors import EmbeddingError, StorageError
from nebula_tune.files import write_atomically

if TYPE_CHECKING:
    from rich.console import Console

TIMEOUT = 30.0  # seconds without a byte
CHUNK = 1 << 18
LARGEST = 512 * 2**20  # bytes; what is being fetched has 25 MB


@dataclass(frozen=True)
class WeightsAddress:
    """Where a weight file comes from and how to know it: a SHA-256, or the id git gives to its content."""

    file: str
    url: str
    licence: str
    citation: str
    sha256: str | None = None
    git_blob: str | None = None


def weights_folder() -> Path:
    """Where fetched weights are kept."""
    return cache_folder() / "weights"


def fetch_source(source: WeightsAddress, console: Console | None = None) -> Path:
    """Download a file into the weights folder, with progress, and say its licence. Returns its path.

    A file that is there already is left alone. An interrupted download leaves nothing behind and is started again.
    Raises EmbeddingError if the file cannot be had or is not the one expected, StorageError if it cannot be kept.
    """
    path = weights_folder() / source.file
    if is_there(path):
        return path
    console = console or usual_console()
    content = downloaded(source.url, source.file, console)
    verify(source, content)
    keep(path, content)
    tell(console, str(path))
    tell(console, f"Licence: {source.licence}. Please cite: {source.citation}")
    return path


def keep(path: Path, content: bytes) -> None:
    """Put verified content into the cache, all of it or none. Raises StorageError."""
    try:
        write_atomically(path, content)
    except (OSError, StorageError) as error:
        reason = getattr(error.__cause__, "strerror", None) or getattr(error, "strerror", None) or error
        room = f"free {len(content) >> 20} MB there or set NEBULA_TUNE_CACHE to another folder"
        raise StorageError(f"cannot write {path}: {reason}; {room}") from error


def downloaded(url: str, label: str, console: Console | None) -> bytes:
    """The content of an address. Raises EmbeddingError saying what happened."""
    request = urllib.request.Request(url, headers={"User-Agent": "nebula-tune"})  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:  # noqa: S310
            return received(answer, url, label, console)
    except urllib.error.HTTPError as error:
        raise EmbeddingError(f"{url} answers {error.code} {error.reason}") from error
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        host = urlsplit(url).netloc
        raise EmbeddingError(f"{host} cannot be reached or broke off ({reason}): try again when online") from error


def received(answer: HTTPResponse, url: str, label: str, console: Console | None) -> bytes:
    """The body of an answer, all of it, with a progress bar on ``console``.

    ``url`` is what errors name, ``label`` what the bar is called. Raises EmbeddingError for a body that breaks off or
    is too large.
    """
    header = answer.headers.get("Content-Length", "")
    total = int(header) if header.isdigit() else None
    content = bytearray()
    with bar(console, label, total) as done:
        while chunk := answer.read(CHUNK):
            content += chunk
            done(len(content))
            if len(content) > LARGEST:
                raise EmbeddingError(f"{url} sends over {LARGEST >> 20} MB: these are not the weights expected")
    if total is not None and len(content) < total:
        raise EmbeddingError(f"{url} broke off after {len(content)} of {total} bytes: try again")
    return bytes(content)


def git_blob_id(content: bytes) -> str:
    """The id git gives to a file of that content (``git hash-object``)."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def verify(source: WeightsAddress, content: bytes) -> None:
    """Check content against what is known of the file. Raises EmbeddingError; nothing has been kept by then."""
    known = []
    if source.sha256 is not None:
        known.append(("SHA-256", source.sha256, hashlib.sha256(content).hexdigest()))
    if source.git_blob is not None:
        known.append(("git blob id", source.git_blob, git_blob_id(content)))
    for kind, expected, actual in known:
        if actual != expected:
            raise EmbeddingError(
                f"{source.url} does not match its published {kind} ({expected[:12]}..., not {actual[:12]}...) and was "
                "not kept: something between here and there changed it; try another network"
            )
