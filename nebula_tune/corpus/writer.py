"""Sounds of a nebula as audio files, with their parameters in one table."""

from __future__ import annotations

import io
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from nebula_tune.errors import SettingsError
from nebula_tune.files import write_atomically
from nebula_tune.machine import cores
from nebula_tune.synth import Synth, synth1b1

FORMATS = ("wav", "flac")
BATCH = 64  # sounds
TABLE, ARCHIVE, NEBULA = "parameters.parquet", "parameters.npz", "nebula.json"


def write_sounds(
    synth: Synth, first_index: int, count: int, folder: Path, *, kind: str, progress: Callable[[int, int], None]
) -> Path:
    """Write sounds ``first_index`` .. + ``count`` - 1 as ``INDEX.wav`` (16 bit), and their table beside them.

    A file that is there already is left as it is, so an interrupted call is finished by the same call. Returns the
    table's path (:func:`write_parameters`).

    Args:
        synth: what draws and renders the sounds.
        first_index: index of the first sound.
        count: how many, at least 1.
        folder: where the files go.
        kind: wav or flac.
        progress: called with the sounds that are done and how many there are.

    Raises:
        UserInputError: for another kind, or where there are no such sounds.
    """
    check(synth, first_index, count)
    if kind not in FORMATS:
        raise SettingsError(f"--format {kind!r}: it is {' or '.join(FORMATS)}")

    def write(path: Path, sound: NDArray[np.float32]) -> None:
        buffer = io.BytesIO()
        soundfile.write(buffer, sound, synth.sample_rate, format=kind.upper(), subtype="PCM_16")
        write_atomically(path, buffer.getvalue())

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
            pending = [pool.submit(write, paths[i], sounds[i - start]) for i in missing]
        for done in pending:
            done.result()
    progress(count, count)
    return write_parameters(synth, first_index, count, folder)


def check(synth: Synth, first_index: int, count: int) -> None:
    """Raise UserInputError unless there are such sounds."""
    if count < 1:
        raise SettingsError(f"--count {count}: at least 1")
    synth1b1.check(first_index, count)


def write_parameters(synth: Synth, first_index: int, count: int, folder: Path, archive: bool = False) -> Path:
    """Write ``parameters.parquet``, a row a sound; with ``archive`` also ``parameters.npz``, the same as arrays.

    Columns: ``index``; ``raw.NAME`` and then ``human.NAME`` for each parameter in registration order (float32 and
    float64); ``is_train``. The archive has ``index``, ``names``, ``raw`` and ``human`` (sounds, parameters) and
    ``is_train``; with it comes ``nebula.json``, under which the raw values mean the human ones.
    Returns the table's path.

    Args:
        synth: what draws the parameters.
        first_index: index of the first sound.
        count: how many sounds, at least 1.
        folder: where the files go.
        archive: whether to write ``parameters.npz`` and ``nebula.json`` too.

    Raises:
        UserInputError: where there are no such sounds.
    """
    import pyarrow
    from pyarrow import parquet

    check(synth, first_index, count)
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
    write_atomically(path, lambda file: parquet.write_table(table, file))
    if archive:
        names = np.array(synth.parameter_names)
        buffer = io.BytesIO()
        np.savez_compressed(buffer, index=index, names=names, raw=raw, human=human, is_train=train)
        write_atomically(folder / ARCHIVE, buffer.getvalue())
        synth.nebula.save(folder / NEBULA)
    return path
