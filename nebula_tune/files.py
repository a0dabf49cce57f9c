"""Files: atomic writing, and where shipped studies and nebulae are."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from nebula_tune.errors import StorageError

LONGEST_STEM = 226  # bytes of a nebula's name: 255, less ".constellation.json", less 10 of a temporary name
PACKAGE = Path(__file__).resolve().parent


def shipped(kind: str) -> Path:
    """Folder of what comes with nebula-tune: ``studies`` or ``nebulae``.

    A wheel carries them inside the package, a checkout beside it.
    """
    packaged = PACKAGE / "shipped" / kind
    return packaged if packaged.is_dir() else PACKAGE.parent / kind


def provenance_path(nebula: Path) -> Path:
    """Where a nebula's provenance is: beside its file."""
    return nebula.with_name(f"{nebula.stem}.provenance.json")


def constellation_path(nebula: Path) -> Path:
    """Where the constellation fitted on a nebula is: beside its file."""
    return nebula.with_name(f"{nebula.stem}.constellation.json")


def create_atomically(path: Path, content: bytes) -> bool:
    """Write a file where there is none, whole or not at all; False where there is one. Raises StorageError."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
    write_atomically(draft, content)
    try:
        os.link(draft, path)
    except FileExistsError:
        return False
    except OSError:  # a file system without links
        if path.exists():
            return False
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return True


def make_folder(path: Path) -> None:
    """Make a folder where there is none, and those above it; not all may write in them, whatever the umask."""
    if not path.parent.exists():
        make_folder(path.parent)
    path.mkdir(0o775, exist_ok=True)


def not_for_all(path: str, flags: int) -> int:
    """Opens a file, as ``open`` takes it: one that is new may be written by its user and group, whatever the umask."""
    return os.open(path, flags, 0o664)


def write_atomically(path: str | Path, content: bytes | Callable[[BinaryIO], None]) -> None:
    """Write a file under a temporary name, fsync it, and rename it into place.

    ``content`` is the bytes, or a function that writes them to an open file. Raises StorageError.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        make_folder(path.parent)
        with open(temporary, "xb", opener=not_for_all) as file:
            if callable(content):
                content(file)
            else:
                file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
