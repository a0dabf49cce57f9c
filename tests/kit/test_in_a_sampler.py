"""Kits as a sampler plays them: MuseScore 3, whose SFZ player renders a score without a screen."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from nebula_tune.kit.write import write_kit
from nebula_tune.nebula import Nebula
from nebula_tune.synth import Voice

pytestmark = [pytest.mark.slow, pytest.mark.sampler]
RATE = 44100
BEAT = RATE // 2  # samples of a quarter note at 120 a minute
HEARD = int(0.9 * BEAT)
NOTE = "<Chord><durationType>quarter</durationType><Note><pitch>{}</pitch><tpc>{}</tpc></Note></Chord>"
SCORE = """<museScore version="3.01"><Score><Division>480</Division>
<Synthesizer><Zerberus><val id="0">kit.sfz</val></Zerberus></Synthesizer>
<Part><Staff id="1"></Staff><Instrument><Channel><synti>Zerberus</synti></Channel></Instrument></Part>
<Staff id="1"><Measure><voice><TimeSig><sigN>4</sigN><sigD>4</sigD></TimeSig>{notes}</voice></Measure></Staff>
</Score></museScore>"""


def played(home: Path, keys: Sequence[int]) -> list[np.ndarray]:
    """What four keys sound like, a quarter note each, of the kit in a home's folder for them."""
    program = shutil.which("mscore3")
    assert program, "make sampler-test installs MuseScore 3"
    assert len(keys) == 4
    notes = "".join(NOTE.format(key, 14 + 7 * key % 12) for key in keys)  # the second: its name, a place among fifths
    (home / "score.mscx").write_text(SCORE.format(notes=notes))
    environment = os.environ | {"HOME": str(home), "XDG_RUNTIME_DIR": str(home), "QT_QPA_PLATFORM": "offscreen"}
    subprocess.run([program, "-o", "out.wav", "score.mscx"], cwd=home, env=environment, check=True, timeout=300)
    sound, rate = soundfile.read(home / "out.wav")
    assert rate == RATE
    return [sound.mean(axis=1)[k * BEAT : k * BEAT + HEARD] for k in range(4)]


def likeness(heard: np.ndarray, sample: np.ndarray) -> float:
    """The largest normalised correlation of what was heard with a sample, moved by at most 50 ms."""
    sample, size = sample[:HEARD], 2 * HEARD
    product = np.fft.rfft(heard, size) * np.conj(np.fft.rfft(sample, size))
    return float(np.fft.irfft(product)[: RATE // 20].max() / np.linalg.norm(heard) / np.linalg.norm(sample))


def folder_for_kits(home: Path) -> Path:
    return home / "Documents" / "MuseScore3" / "SoundFonts" / "kit"


def samples(kit: Path) -> dict[str, np.ndarray]:
    return {path.name: soundfile.read(path)[0] for path in (kit / "samples").iterdir()}


def test_each_key_plays_its_own_hits_in_turn(tmp_path: Path) -> None:
    kit = folder_for_kits(tmp_path)
    write_kit(Voice, Nebula.load("drum"), kit, keys=4, seconds=1.0, robins=2)
    keys = (36, 36, 37, 38)
    heard, hits = played(tmp_path, keys), samples(kit)
    names = [max(hits, key=lambda name: likeness(sound, hits[name])) for sound in heard]
    assert [int(name[:3]) for name in names] == list(keys)
    assert names[0] != names[1]
    assert min(likeness(sound, hits[name]) for sound, name in zip(heard, names, strict=True)) > 0.8


def test_a_pitched_kit_is_stretched_between_its_zones(tmp_path: Path) -> None:
    kit = folder_for_kits(tmp_path)
    write_kit(Voice, Nebula.load("default"), kit, pitched=True, first_index=3, seconds=1.0)
    zones = {int(name[:3]): sound for name, sound in samples(kit).items()}
    root = min(zones, key=lambda key: abs(key - 60))
    heard = played(tmp_path, (root, root + 1, root - 1, root))
    stretched = {
        shift: soxr.resample(zones[root], RATE * 2 ** (shift / 12), RATE) for shift in (-2, -1, -0.5, 0, 0.5, 1, 2)
    }
    for sound, semitones in zip(heard, (0, 1, -1, 0), strict=True):
        alike = {shift: likeness(sound, sample) for shift, sample in stretched.items()}
        assert max(alike, key=lambda shift: alike[shift]) == semitones and alike[semitones] > 0.4
