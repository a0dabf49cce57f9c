"""Ranked data sets made here: an instrument's presets, each with one thing swept.

Files are ``<root>/<preset>/<rank>.flac``, with ``dataset.json`` beside the presets. As in the paper (section 4.1.1),
sounds of a preset that are equal sample for sample are kept once.
"""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from nebula_tune.corpus.prepare import SILENT
from nebula_tune.documents import read_json
from nebula_tune.errors import CorpusError, SettingsError
from nebula_tune.files import write_atomically
from nebula_tune.ranking.instruments.instrument import SAMPLE_RATE, Instrument, PlayedSounds

MANIFEST = "dataset.json"
LEAST_SOUNDS = 3  # of a preset: experiment 1 needs one below and one above (section 4.2.1)


@dataclass(frozen=True)
class Sweep:
    """What a data set is of: the resolved settings that ``dataset.json`` holds."""

    kind: str
    instrument: str
    settings: dict[str, Any]
    ranks: list[int]
    presets: int
    seed: int


def write_dataset(
    instrument: Instrument, sweep: Sweep, folder: Path, progress: Callable[[int, int], None]
) -> dict[str, Any]:
    """Render presets until there are as many as wanted, and return the manifest.

    A preset's folder appears when it is whole: an interrupted call is finished by the same call. Presets with fewer
    than three different sounds, or that cannot be rendered, are left out and named in the manifest.

    Args:
        instrument: what plays the presets.
        sweep: what is swept, and how many presets there are to be.
        folder: the root of the data set.
        progress: called with the presets that are done and how many are wanted.

    Raises:
        CorpusError: for a folder that holds something else.
        SettingsError: for a number of presets that cannot be.
    """
    if sweep.presets < 1:
        raise SettingsError(f"--presets {sweep.presets}: at least 1")
    _claim(folder, sweep)
    whole: dict[str, list[int]] = {}
    left_out: list[dict[str, str]] = []
    for preset in instrument.presets(sweep.seed):
        if len(whole) == sweep.presets:
            break
        if not (folder / preset).is_dir():
            sounds = instrument.sounds(preset, sweep.kind, sweep.ranks)
            kept = _different(sounds)
            if len(kept) < LEAST_SOUNDS:
                left_out.append({"preset": preset, "reason": f"{len(kept)} different sounds"})
                continue
            sounds /= max(1.0, float(np.abs(sounds[kept]).max()))  # all of a preset alike: nothing is clipped
            _write(folder / preset, {sweep.ranks[k]: sounds[k] for k in kept})
        whole[preset] = sorted(int(path.stem) for path in (folder / preset).glob("*.flac"))
        progress(len(whole), sweep.presets)
    manifest = {**vars(sweep), "sounds": whole, "left_out": left_out}
    write_atomically(folder / MANIFEST, (json.dumps(manifest, indent=1) + "\n").encode())
    return manifest


def _claim(folder: Path, sweep: Sweep) -> None:
    """Say in the folder what it is for; refuse one that is for something else."""
    manifest = folder / MANIFEST
    if manifest.exists():
        try:
            content = read_json(manifest)
            differing = [key for key, value in vars(sweep).items() if content[key] != value and key != "presets"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CorpusError(f"{manifest} cannot be read as a data set's; give another --out") from error
        if differing:
            raise CorpusError(f"{folder} holds a data set with another {', '.join(differing)}; give another --out")
    elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CorpusError(f"{folder} holds something else; give an empty or new folder with --out")
    else:
        write_atomically(manifest, (json.dumps(vars(sweep), indent=1) + "\n").encode())


def _different(sounds: PlayedSounds) -> list[int]:
    """Numbers of the sounds that are finite, not silent, and unlike those before them."""
    seen: dict[bytes, int] = {}
    for k, sound in enumerate(sounds):
        if np.isfinite(sound).all() and np.abs(sound).max() >= SILENT:
            seen.setdefault(sound.tobytes(), k)
    return list(seen.values())


def _write(folder: Path, sounds: dict[int, PlayedSounds]) -> None:
    """A preset's files: 24 bits, so that quiet sounds stay clean when they are levelled."""
    temporary = folder.with_name(f".{folder.name}")
    shutil.rmtree(temporary, ignore_errors=True)
    for rank, sound in sounds.items():
        write_atomically(temporary / f"{rank}.flac", _flac(sound))
    temporary.replace(folder)


def _flac(sound: PlayedSounds) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, sound, SAMPLE_RATE, format="FLAC", subtype="PCM_24")
    return buffer.getvalue()
