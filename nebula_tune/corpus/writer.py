"""Sounds of a nebula as audio files, with their parameters in one table."""

from __future__ import annotations

import io
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from nebula_tune.corpus.cache import digest
from nebula_tune.corpus.claim import claim_folder
from nebula_tune.corpus.source import content_of
from nebula_tune.errors import CorpusError, NebulaError, SettingsError
from nebula_tune.files import create_atomically, write_atomically
from nebula_tune.machine import cores
from nebula_tune.nebula import Nebula
from nebula_tune.synth import Synth, synth1b1

FORMATS = ("wav", "flac")
BATCH = 64  # sounds
TABLE, ARCHIVE, NEBULA = "parameters.parquet", "parameters.npz", "nebula.json"
CLAIM = "render.json"  # what a folder of sounds is for


def write_sounds(
    synth: Synth,
    first_index: int,
    count: int,
    folder: Path,
    *,
    kind: str,
    progress: Callable[[int, int], None],
    only: str | None = None,
) -> Path:
    """Write sounds ``first_index`` .. + ``count`` - 1 as ``INDEX.wav`` (16 bit), and their table beside them.

    The folder is claimed first. A file that is there already is left as it is, so an interrupted call is finished by
    the same call, and a call for other indices adds to the folder. Returns the path of the table
    (:func:`write_parameters`), which has all of the folder's sounds.

    Args:
        synth: what draws and renders the sounds.
        first_index: index of the first sound.
        count: how many, at least 1.
        folder: where the files go.
        kind: wav or flac.
        progress: called with the sounds that are done and how many there are.
        only: the class of a constellation's atoms that the sounds are of; None: all.

    Raises:
        UserInputError: for another kind, where there are no such sounds, or for a folder that is for others.
    """
    check(synth, first_index, count)
    if kind not in FORMATS:
        raise SettingsError(f"--format {kind!r}: it is {' or '.join(FORMATS)}")
    _claim(synth, folder, kind, only)

    pending: list[Future[None]] = []
    with ThreadPoolExecutor(max(4, cores())) as pool:  # more than cores: a file waits for the disk
        for start in range(0, count, BATCH):
            stop = min(start + BATCH, count)
            paths = {i: folder / f"{first_index + i:010d}.{kind}" for i in range(start, stop)}
            missing = [i for i, path in paths.items() if not path.exists()]
            audio = (
                synth.render(synth.draw(first_index + start, stop - start), first_index + start) if missing else None
            )
            for done in pending:  # the batch before was written while this one was rendered
                done.result()
            progress(start, count)
            sounds = audio.cpu().numpy() if audio is not None else ()
            pending = [pool.submit(write_audio, paths[i], sounds[i - start], synth.sample_rate, kind) for i in missing]
        for done in pending:
            done.result()
    progress(count, count)
    return write_parameters(synth, first_index, count, folder)


def write_presets(synth: Synth, first_index: int, count: int, folder: Path, only: str | None = None) -> None:
    """Write sounds ``first_index`` .. + ``count`` - 1 as presets that the instrument itself opens, as ``INDEX.vital``.

    The folder is claimed first, as by :func:`write_sounds`. How each sound is played (note, velocity, duration) is in
    its parameters.

    Args:
        synth: what draws the sounds.
        first_index: index of the first sound.
        count: how many, at least 1.
        folder: where the files go.
        only: the class of a constellation's atoms that the sounds are of; None: all.

    Raises:
        UserInputError: for a synth without presets, where there are no such sounds, or for a folder that is for others.
    """
    check(synth, first_index, count)
    synth.presets(synth.to_human(synth.draw(first_index, 0)), [])
    _claim(synth, folder, synth.preset_suffix, only)
    for start in range(first_index, first_index + count, BATCH):
        indices = range(start, min(start + BATCH, first_index + count))
        human = synth.to_human(synth.draw(start, len(indices)))
        for index, content in zip(indices, synth.presets(human, indices), strict=True):
            write_atomically(folder / f"{index:010d}.{synth.preset_suffix}", content)


def write_audio(path: Path, sound: NDArray[np.float32], rate: int, kind: str = "wav") -> None:
    """Write one sound in 16 bits. Raises StorageError.

    Args:
        path: of the file.
        sound: (samples,).
        rate: Hz.
        kind: wav or flac.
    """
    buffer = io.BytesIO()
    soundfile.write(buffer, sound, rate, format=kind.upper(), subtype="PCM_16")
    write_atomically(path, buffer.getvalue())


def _claim(synth: Synth, folder: Path, kind: str, only: str | None) -> None:
    """Say in the folder which sounds it is for; refuse one that is for others."""
    settings = {
        "nebula": digest(content_of(synth.constellation or synth.nebula, type(synth))),
        "synth": type(synth).__name__,
        "sample_rate": synth.sample_rate,
        "seconds": synth.samples / synth.sample_rate,
        "format": kind,
        "class": only,
    }
    claim_folder(folder / CLAIM, settings, holds="sounds")


def check(synth: Synth, first_index: int, count: int) -> None:
    """Raise UserInputError unless there are such sounds."""
    if count < 1:
        raise SettingsError(f"--count {count}: at least 1")
    synth1b1.check(first_index, count)


def write_parameters(synth: Synth, first_index: int, count: int, folder: Path, archive: bool = False) -> Path:
    """Write ``parameters.parquet``, a row a sound; with ``archive`` also ``parameters.npz``, the same as arrays.

    Columns: ``index``; ``raw.NAME`` and then ``human.NAME`` for each parameter in registration order (float32 and
    float64); ``is_train``. The archive has ``index``, ``names``, ``raw`` and ``human`` (sounds, parameters) and
    ``is_train``; with it comes ``nebula.json``, under which the raw values mean the human ones. Without it, a table
    that is there keeps its rows of other sounds.
    Returns the table's path.

    Args:
        synth: what draws the parameters.
        first_index: index of the first sound.
        count: how many sounds, at least 1.
        folder: where the files go.
        archive: whether to write ``parameters.npz`` and ``nebula.json`` too.

    Raises:
        UserInputError: where there are no such sounds, or for a folder that is for something else.
    """
    import pyarrow
    from pyarrow import parquet

    check(synth, first_index, count)
    if archive:
        _claim_archive(synth, folder)
    tensor = synth.draw(first_index, count)
    raw, human = tensor.cpu().numpy(), synth.to_human(tensor).cpu().numpy()
    index, train = first_index + np.arange(count), synth1b1.is_train(first_index, count)
    columns = {"index": index}
    columns |= {f"raw.{name}": raw[:, k] for k, name in enumerate(synth.parameter_names)}
    columns |= {f"human.{name}": human[:, k] for k, name in enumerate(synth.parameter_names)}
    table = pyarrow.table(
        {name: np.ascontiguousarray(values) for name, values in (columns | {"is_train": train}).items()}
    )
    path = folder / TABLE
    if not archive and path.exists():
        table = _with_others(table, path)
    write_atomically(path, lambda file: parquet.write_table(table, file))
    if archive:
        names = np.array(synth.parameter_names)
        buffer = io.BytesIO()
        np.savez_compressed(buffer, index=index, names=names, raw=raw, human=human, is_train=train)
        write_atomically(folder / ARCHIVE, buffer.getvalue())
    return path


def _claim_archive(synth: Synth, folder: Path) -> None:
    """Write the nebula first: it says what a folder of parameters is for. Refuse one that is for something else."""
    nebula = folder / NEBULA
    if (folder / CLAIM).exists():
        raise CorpusError(f"{folder} holds sounds; give another --out for parameters only")
    if folder.exists() and (not folder.is_dir() or {path.name for path in folder.iterdir()} - {TABLE, ARCHIVE, NEBULA}):
        raise CorpusError(f"{folder} holds something else; give an empty or new folder with --out")
    if not create_atomically(nebula, synth.nebula.to_json().encode()):
        try:
            same = Nebula.load(nebula).as_json() == synth.nebula.as_json()
        except NebulaError as error:
            raise CorpusError(f"{nebula} cannot be read as a nebula; give another --out") from error
        if not same:
            raise CorpusError(f"{folder} holds parameters with another nebula; give another --out")


def _with_others(table: Any, path: Path) -> Any:
    """A table with the rows of one that is there already, of other sounds of the same folder; by index."""
    import pyarrow
    from pyarrow import compute, parquet

    try:
        there = parquet.read_table(path).select(table.column_names).cast(table.schema)
    except (OSError, KeyError, pyarrow.ArrowException):
        return table  # damaged: what this call knows is written again
    others = there.filter(compute.invert(compute.is_in(there["index"], value_set=table["index"].combine_chunks())))
    if not len(others):
        return table
    return pyarrow.concat_tables([others, table]).sort_by("index").combine_chunks()
