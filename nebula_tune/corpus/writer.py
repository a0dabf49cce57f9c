"""Sounds of a nebula as audio files, with their parameters."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile

from nebula_tune.errors import SettingsError
from nebula_tune.files import write_atomically
from nebula_tune.synth import Synth, synth1b1

FORMATS = ("wav", "flac")
BATCH = 32  # sounds


def write_sounds(
    synth: Synth, first_index: int, count: int, folder: Path, kind: str, progress: Callable[[int, int], None]
) -> Path:
    """Write sounds ``first_index`` .. + ``count`` - 1 as ``INDEX.wav`` (16 bit), and ``parameters.npz`` beside them.

    The archive holds ``index``, ``names``, ``raw`` and ``human`` (sounds, parameters) and ``is_train``. A file that is
    there already is left as it is, so an interrupted call is finished by the same call. Returns the archive's path.
    """
    if kind not in FORMATS:
        raise SettingsError(f"--format {kind!r}: it is {' or '.join(FORMATS)}")
    if count < 1:
        raise SettingsError(f"--count {count}: at least 1")
    raw = synth.draw(first_index, count)
    human = synth.to_human(raw)
    for start in range(0, count, BATCH):
        stop = min(start + BATCH, count)
        paths = [folder / f"{first_index + i:010d}.{kind}" for i in range(start, stop)]
        if not all(path.exists() for path in paths):
            audio = synth.render(raw[start:stop], first_index + start).cpu().numpy()
            for path, sound in zip(paths, audio, strict=True):
                buffer = io.BytesIO()
                soundfile.write(buffer, sound, synth.sample_rate, format=kind.upper(), subtype="PCM_16")
                write_atomically(path, buffer.getvalue())
        progress(stop, count)
    archive = io.BytesIO()
    np.savez_compressed(
        archive,
        index=first_index + np.arange(count),
        names=np.array(synth.parameter_names),
        raw=raw.cpu().numpy(),
        human=human.cpu().numpy(),
        is_train=synth1b1.is_train(first_index, count),
    )
    path = folder / "parameters.npz"
    write_atomically(path, archive.getvalue())
    return path
