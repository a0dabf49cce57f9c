"""amsynth, a subtractive synthesizer with thousands of presets in plain text, hosted by DawDreamer."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from nebula_tune.errors import SettingsError
from nebula_tune.ranking.instruments.instrument import (
    HELD,
    SAMPLE_RATE,
    SECONDS,
    Instrument,
    PlayedSounds,
    bank_content,
    note,
)

BANKS = Path("/usr/share/amsynth/banks")
PLUGIN = Path("/usr/lib/vst/amsynth_vst.so")
BUFFER = 512  # samples
# Ends of those parameters that do not run from 0 to 1, as amsynth 1.13 tells its hosts.
ENDS: dict[str, tuple[float, float]] = {
    **dict.fromkeys(("amp_attack", "amp_decay", "amp_release"), (0.0, 2.5)),
    **dict.fromkeys(("filter_attack", "filter_decay", "filter_release"), (0.0, 2.5)),
    **dict.fromkeys(("osc1_waveform", "osc2_waveform", "filter_type"), (0.0, 4.0)),
    **dict.fromkeys(("osc2_detune", "osc_mix", "filter_mod_amount", "amp_mod_amount"), (-1.0, 1.0)),
    **dict.fromkeys(("keyboard_mode", "freq_mod_osc"), (0.0, 2.0)),
    "filter_resonance": (0.0, 0.97),
    "filter_env_amount": (-16.0, 16.0),
    "filter_cutoff": (-0.5, 1.5),
    "lfo_freq": (0.0, 7.5),
    "lfo_waveform": (0.0, 6.0),
    "osc2_range": (-3.0, 4.0),
    "osc2_pitch": (-12.0, 12.0),
    "freq_mod_amount": (0.0, 2 ** (1 / 3)),
    "distortion_crunch": (0.0, 0.9),
}
DRY = {"reverb_wet": 0.0, "reverb_roomsize": 0.0, "amp_release": 0.0}  # under which the last note dies away soon
PAUSE = 1.0  # seconds of that between notes


class AmSynth(Instrument):
    """Presets of amsynth's banks. Its free-running oscillators make no two renders alike bit for bit.

    Raises SettingsError where DawDreamer, the plug-in or the banks are missing.
    """

    name: ClassVar[str] = "amsynth"
    kinds: ClassVar[Sequence[str]] = ("pitch",)

    def __init__(self, banks: Path | None = None) -> None:
        try:
            import dawdreamer
        except ImportError as error:
            raise SettingsError("amsynth needs DawDreamer: pip install 'nebula-tune[amsynth]'") from error
        if not PLUGIN.is_file():
            raise SettingsError(f"no {PLUGIN}: install Debian's package amsynth")
        self._presets = read_banks(banks or BANKS)
        self._engine = dawdreamer.RenderEngine(SAMPLE_RATE, BUFFER)
        with _quiet():
            self._plugin = self._engine.make_plugin_processor("amsynth", str(PLUGIN))
        self._engine.load_graph([(self._plugin, [])])
        described = self._plugin.get_parameters_description()
        self._index = {parameter["name"]: parameter["index"] for parameter in described}
        self._initial = {name: self._plugin.get_parameter(k) for name, k in self._index.items()}

    @property
    def settings(self) -> Mapping[str, Any]:
        return {"plugin": str(PLUGIN)}

    def presets(self, seed: int) -> Iterable[str]:
        names = list(self._presets)
        return [names[k] for k in np.random.default_rng(seed).permutation(len(names))]

    def sounds(self, preset: str, kind: str, ranks: Sequence[int]) -> PlayedSounds:
        values = self._initial | {name: _share(name, value) for name, value in self._presets[preset].items()}
        rendered = []
        for rank in ranks:
            self._set(values | DRY)
            self._plugin.clear_midi()
            self._engine.render(PAUSE)
            self._set(values)
            pitch, velocity = note(kind, rank)
            self._plugin.add_midi_note(pitch, velocity, 0.0, HELD)
            self._engine.render(SECONDS)
            rendered.append(self._engine.get_audio().mean(axis=0))
        return np.stack(rendered).astype(np.float32)

    def _set(self, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            if name in self._index:
                self._plugin.set_parameter(self._index[name], value)


@contextmanager
def _quiet() -> Iterator[None]:
    """What the plug-in's own code prints while it loads is nobody's business; Python's streams cannot stop it."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(1), os.dup(2)]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        yield
    finally:
        for number, copy in enumerate(kept, start=1):
            os.dup2(copy, number)
            os.close(copy)
        os.close(nowhere)


def read_banks(folder: Path) -> dict[str, dict[str, float]]:
    """Values of each preset by ``BANK-NUMBER-NAME``; a preset that is in several banks is taken once."""
    presets: dict[tuple[tuple[str, float], ...], str] = {}
    for path in sorted(folder.glob("*.bank")):
        parts = bank_content(path).decode("utf-8", "replace").split("<preset>")[1:]
        for number, text in enumerate(parts, start=1):
            title = re.sub(r"[^A-Za-z0-9]+", "-", text.partition("<name>")[2].partition("\n")[0]).strip("-")
            values = re.findall(r"<parameter>\s+(\w+)\s+(\S+)", text)
            bank = path.name.partition(".")[0]
            presets.setdefault(tuple((name, float(value)) for name, value in values), f"{bank}-{number:03d}-{title}")
    if not presets:
        raise SettingsError(f"no amsynth banks (.bank) in {folder}: install Debian's package amsynth, or give --banks")
    return {name: dict(values) for values, name in presets.items()}


def _share(name: str, value: float) -> float:
    low, high = ENDS.get(name, (0.0, 1.0))
    return min(max((value - low) / (high - low), 0.0), 1.0)
