"""Human values to a preset of Vital's, the JSON of a ``.vital`` file, and to the note that it is played by."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Mapping
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from nebula_tune.arrays import Floats
from nebula_tune.synth.noise import ROWS, noise_rows
from nebula_tune.synth.vital.controls import vital_controls
from nebula_tune.synth.vital.panel_file import KEYBOARD_CONTROL, ON, FreeRange, PanelFile, dotted
from nebula_tune.synth.vital.player import PlayedNote, described

VERSION = "1.5.5"  # of Vital: the one whose presets these are
NOISE_RATE = 44100  # Hz; a second of it is looped
FULL_SCALE = 29000  # of 16 bits
WAVE = 2048  # samples of one period
FRAMES = 256  # the last place of a wavetable


class PresetMaker:
    """Makes a sound's preset from the human values of a panel's parameters.

    Args:
        written: the panel.
        names: of the columns of human values, dotted.
    """

    def __init__(self, written: PanelFile, names: tuple[str, ...]) -> None:
        self._column = {name: k for k, name in enumerate(names)}
        controls = vital_controls()
        settings = json.loads(described()["preset"])["settings"]
        self._fixed: dict[str, float] = {name: settings[name] for name in controls}
        self._fixed |= {name: 0.0 for name in controls if name.endswith("_random_phase")}
        self._fixed |= {name: controls[name].to_internal(controls[name].value(v)) for name, v in written.fixed.items()}
        self._drawn: dict[str, tuple[int, Callable[[float], float]]] = {
            name: (self._column[dotted(name)], controls[name].to_internal) for name in written.free
        }
        self._drawn |= {
            name: (self._column[dotted(name)], lambda value: float(value >= ON)) for name in written.switches
        }
        for number, route in enumerate(written.routes, start=1):
            amount, bipolar = f"modulation_{number}_amount", f"modulation_{number}_bipolar"
            self._fixed[bipolar] = float(route.bipolar)
            if isinstance(route.amount, FreeRange):
                self._drawn[amount] = (self._column[route.parameter], float)
            else:
                self._fixed[amount] = route.amount
        routes = [{"source": route.source, "destination": route.to} for route in written.routes]
        routes += [{"source": "", "destination": ""}] * (len(settings["modulations"]) - len(routes))
        tables = [
            shapes_table() if written.wavetables.get(f"osc_{k + 1}") == "shapes" else table  # type: ignore[call-overload]
            for k, table in enumerate(settings["wavetables"])
        ]
        self._others = json.dumps({"lfos": settings["lfos"], "modulations": routes})[1:-1]
        self._tables = json.dumps({"wavetables": tables})[1:-1]

    def note(self, human: Floats) -> PlayedNote:
        """The note of human values (parameters,); what it has between two keys is the preset's."""
        pitch, velocity, held = (
            human[self._column[f"keyboard.{name}"]] for name in ("midi_f0", "velocity", "duration")
        )
        return PlayedNote(_key(pitch), float(velocity), float(held))

    def values(self, human: Floats) -> Mapping[str, float]:
        """Each control's value in Vital's own scale, of human values (parameters,)."""
        pitch = human[self._column["keyboard.midi_f0"]]
        drawn = {name: float(internal(float(human[column]))) for name, (column, internal) in self._drawn.items()}
        return self._fixed | drawn | {KEYBOARD_CONTROL: float(pitch) - _key(pitch)}

    @cached_property
    def shared(self) -> str:
        """A whole preset, whose wavetables are those of all others."""
        return self.preset(np.zeros(len(self._column)), 0)

    def preset(self, human: Floats, index: int, name: str = "", *, whole: bool = True) -> str:
        """Text of the ``.vital`` file of human values (parameters,).

        Args:
            human: of the sound.
            index: of the sound: it decides which row of noise its sample is.
            name: what the preset is called.
            whole: also with its wavetables, which all presets of the panel share.
        """
        others = f"{self._others}, {self._tables}" if whole else self._others
        values = json.dumps(self.values(human))[1:-1]
        about = json.dumps({"author": "nebula-tune", "comments": "", "preset_name": name, "preset_style": ""})[1:-1]
        return (
            f'{{{about}, "settings": {{{values}, "sample": {noise_sample(index % ROWS)}, {others}}}, '
            f'"synth_version": "{VERSION}"}}'
        )


def _key(pitch: float) -> int:
    """The key nearest to a pitch."""
    return min(max(math.floor(pitch + 0.5), 0), 127)


@lru_cache(maxsize=ROWS)
def noise_sample(row: int) -> str:
    """A second of white noise as the sample of a preset, JSON: Vital's own is another each time it starts."""
    sound = (noise_rows(NOISE_RATE)[row] * FULL_SCALE).astype("<i2")
    sample = {"length": len(sound), "name": f"Noise {row + 1}", "sample_rate": NOISE_RATE}
    return json.dumps(sample | {"samples": base64.b64encode(sound.tobytes()).decode()})


def shapes_table() -> Any:
    """A wavetable from sine by triangle and saw to square and a narrow pulse, band-limited by Vital."""
    phase = np.arange(WAVE) / WAVE
    shapes = [
        np.sin(2 * np.pi * phase),
        1 - 4 * np.abs((phase + 0.25) % 1 - 0.5),
        1 - 2 * ((phase + 0.5) % 1),
        np.where(phase < 0.5, 1.0, -1.0),
        np.where(phase < 0.125, 1.0, -0.142857),
    ]
    frames = [
        {
            "position": round(FRAMES * k / (len(shapes) - 1)),
            "wave_data": base64.b64encode(shape.astype("<f4").tobytes()).decode(),
        }
        for k, shape in enumerate(shapes)
    ]
    source = {"interpolation": 1, "interpolation_style": 1, "keyframes": frames, "type": "Wave Source"}
    about = {"author": "nebula-tune", "name": "Shapes", "full_normalize": True, "remove_all_dc": True}
    return about | {"version": VERSION, "groups": [{"components": [source]}]}
