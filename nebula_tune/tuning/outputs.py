"""Where a run writes: every place is told apart from the others, tried out, and claimed before the first trial."""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import socket
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from nebula_tune.errors import SettingsError
from nebula_tune.files import constellation_path, make_folder, not_for_all, provenance_path
from nebula_tune.report.page import report_path
from nebula_tune.storage.address import normalise_url
from nebula_tune.storage.paths import database_file, default_artifacts, default_log
from nebula_tune.tuning.options import Options

DATABASE, LOG, ARTIFACTS = "the database", "the log", "the folder of artifacts"
SQLITE_FILES = ("", "-wal", "-shm", "-journal")


def files_of(out: Path, *, constellation: bool, page: bool) -> dict[str, Path]:
    """What a study's result is written to, by what each is; ``out`` is the nebula's file."""
    files = {"the nebula": out, "its provenance": provenance_path(out)}
    files |= {"its constellation": constellation_path(out)} if constellation else {}
    return files | ({"its report": report_path(out)} if page else {})


def given(paths: Mapping[str, str | Path | None]) -> dict[str, Path]:
    """The paths that were given, by what each is."""
    return {what: Path(path) for what, path in paths.items() if path}


def kept_at(options: Options) -> dict[str, Path]:
    """Log and artifacts of a run."""
    output = options.output
    url = normalise_url(output.storage)
    return {
        LOG: Path(output.log) if output.log else default_log(url),
        ARTIFACTS: Path(output.artifacts) if output.artifacts else default_artifacts(url),
    }


def read_by(options: Options) -> dict[str, Path]:
    """Files that a run reads, which none of its own may replace."""
    study = options.study
    return given(
        {
            "the target": study.target,
            "the study's file": study.study,
            "the nebula to start from": study.start,
            "the weights": study.weights,
            "the second corpus": study.against,
        }
    )


def database_files(url: str) -> dict[str, Path]:
    """The files of a database that is kept in one, with those that SQLite writes beside it."""
    file = database_file(normalise_url(url))
    ends = () if file is None else SQLITE_FILES
    return {f"{DATABASE}'s {end}" if end else DATABASE: Path(f"{file}{end}") for end in ends}


def refuse_one_file(written: Mapping[str, Path], read: Mapping[str, Path]) -> None:
    """Raise SettingsError where two of the places written to, or one of them and one that is read, are one file."""
    places = {what: _place(path) for what, path in read.items()}
    for what, path in written.items():
        place = _place(path)
        for other, taken in places.items():
            if taken & place:
                raise SettingsError(f"{path}: it would be {other} and {what} at once; give each a file of its own")
        places[what] = place


def _place(path: Path) -> set[object]:
    """What a path stands for: where it leads, and the file that is there, which may have other names."""
    place: set[object] = {os.path.realpath(path)}
    with suppress(OSError, ValueError):
        status = path.stat()
        if not path.is_char_device():  # /dev/null eats nothing
            place.add((status.st_dev, status.st_ino))
    return place


def try_out(files: Iterable[tuple[str, Path]]) -> None:
    """See that files can be written, each with its temporary name, and leave what is there as it is.

    Raises SettingsError naming the first that cannot be, with the reason.
    """
    for what, path in files:
        with _refusing(f"{what}, {path}", "place"):
            _refuse_other_than_file(path)
            make_folder(path.parent)
            _write_and_remove(path.with_name(f".{path.name}.{secrets.token_hex(4)}"))


def try_out_database(url: str) -> None:
    """See that a database which is a file, and is not there yet, can be made. Raises SettingsError.

    A folder that cannot be made, and a disk that is full or may not be written, the database tells itself.
    """
    file = database_file(normalise_url(url))
    if file is None:
        return
    with _refusing(f"database {file}", "--storage", but=(errno.EROFS, errno.ENOSPC)):
        _refuse_other_than_file(file)
        if file.exists():
            return
        with suppress(OSError):
            make_folder(file.parent)
        if file.parent.is_dir():
            _write_and_remove(Path(f"{file}{max(SQLITE_FILES, key=len)}"))


def try_out_log(path: Path) -> None:
    """See that lines can be added to a log. Raises SettingsError."""
    with _refusing(f"log {path}", "--log"):
        make_folder(path.parent)
        with open(path, "ab", opener=not_for_all):
            pass


def try_out_folder(path: Path) -> None:
    """See that a folder is there or can be made, and takes files. Raises SettingsError."""
    with _refusing(f"to folder {path}", "--artifacts"):
        make_folder(path)
        _write_and_remove(path / f".{secrets.token_hex(18)}")


@contextmanager
def _refusing(what: str, way: str, but: tuple[int, ...] = ()) -> Iterator[None]:
    """Whatever goes wrong inside, ``but`` for some errnos, is a SettingsError that asks for another ``way``."""
    try:
        yield
    except (OSError, ValueError) as error:
        if getattr(error, "errno", None) not in but:
            reason = getattr(error, "strerror", None) or error
            raise SettingsError(f"cannot write {what}: {reason}; give another {way}") from error


def _refuse_other_than_file(path: Path) -> None:
    """Raises OSError for what is there and no plain file."""
    if path.exists() and not path.is_file():
        raise IsADirectoryError(None, "it is there and no plain file")


def _write_and_remove(draft: Path) -> None:
    try:
        with open(draft, "xb") as file:
            file.write(b"tried")
            file.flush()
            os.fsync(file.fileno())
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)


@contextmanager
def claimed(out: Path, study: str, identity: str) -> Iterator[None]:
    """This study alone writes a nebula and what lies beside it: its claim is a file that the system locks.

    The lock goes with the process, however it ends. Where the same study has it, the lease decides which process goes
    on. Where the file system has no locks, only the look before writing is left.

    Args:
        out: the nebula's file.
        study: the study's name.
        identity: of the study, whatever its name.

    Raises:
        SettingsError: another study writes there now.
    """
    claim = out.with_name(f".{out.stem}.claim")
    descriptor = _locked(claim)
    if descriptor is None:
        with suppress(OSError):
            owner, _, words = claim.read_text(errors="replace").partition(" ")
            if owner != identity:
                by = words or "another run"
                raise SettingsError(f"{out} is being written by {by}; give another --out, or wait for it")
        yield
        return
    try:
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{identity} study {study}, process {os.getpid()} on {socket.gethostname()}".encode())
        yield
    finally:
        with suppress(OSError):
            claim.unlink()
        os.close(descriptor)


def _locked(claim: Path) -> int | None:
    """A claim's file, open and locked; None where another process has it."""
    while True:
        try:
            make_folder(claim.parent)
            descriptor = os.open(claim, os.O_RDWR | os.O_CREAT, 0o664)
        except OSError as error:
            raise SettingsError(f"cannot write {claim}: {error.strerror}; give another --out") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except OSError:  # no locks here
            return descriptor
        with suppress(OSError):
            if os.path.samestat(os.fstat(descriptor), claim.stat()):
                return descriptor
        os.close(descriptor)  # whoever had it has removed it just now
