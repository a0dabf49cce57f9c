"""Yamaha's DX7, six operators wired in 32 ways, by the emulation Dexed (dexed-py, GPL-3, an extra).

Parameters have the names and numbers of the instrument's own display, rounded to its steps (DX7 manual, "Voice
parameters"). Left out, at what an initial voice has: keyboard scaling, which says nothing about a single note, the
operators' last level, 0, so that every note dies away, and transposition. Dexed gives a voice and a note the same bits
whatever was played before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nebula_tune.arrays import Floats
from nebula_tune.errors import SettingsError, UserInputError
from nebula_tune.machine import cores
from nebula_tune.synth.architecture import Synth
from nebula_tune.synth.backends import Renderer, spread
from nebula_tune.synth.hosted import RATE, fitted
from nebula_tune.synth.named_panel import NamedPanel
from nebula_tune.synth.parameters import Controls, Panel, Parameter
from nebula_tune.synth.sounding import SMALLEST_LEVEL, Sounding

OPERATORS = range(1, 7)
ON = 0.5  # the switch's value from which it is on
STEP_DB = 0.75  # of an operator's output level

KEYBOARD_KNOBS = (
    Parameter("midi_f0", 12.0, 108.0, unit="MIDI note"),
    Parameter("velocity", 0.0, 1.0),
    Parameter("duration", 0.01, 4.0, curve=0.5, unit="s"),
)
RATES = tuple(Parameter(f"rate_{k}", 0.0, 99.0) for k in range(2, 5))
OPERATOR_KNOBS = (
    Parameter("rate_1", 0.0, 99.0, curve=3.0),
    *RATES,
    Parameter("level_1", 0.0, 99.0, curve=3.0),
    Parameter("level_2", 0.0, 99.0),
    Parameter("level_3", 0.0, 99.0, curve=0.5),
    Parameter("output", 0.0, 99.0, curve=3.0),
    Parameter("coarse", 0.0, 31.0, curve=0.25, unit="× note"),
    Parameter("fine", 0.0, 99.0, curve=0.3, unit="% more"),
    Parameter("detune", -7.0, 7.0, curve=0.5, symmetric=True),
    Parameter("fixed", 0.0, 1.0, curve=0.15, unit=f"on from {ON:g}"),
    Parameter("velocity_sensitivity", 0.0, 7.0, curve=0.5),
    Parameter("rate_scaling", 0.0, 7.0, curve=0.5),
    Parameter("amplitude_sensitivity", 0.0, 3.0, curve=0.3),
)
PITCH_KNOBS = (
    Parameter("rate_1", 0.0, 99.0),
    *RATES,
    *(Parameter(f"level_{k}", 1.0, 99.0, curve=0.2, symmetric=True) for k in range(1, 5)),  # 50: the note itself
)
LFO_KNOBS = (
    Parameter("speed", 0.0, 99.0),
    Parameter("delay", 0.0, 99.0, curve=0.5),
    Parameter("pitch_depth", 0.0, 99.0, curve=0.3),
    Parameter("amplitude_depth", 0.0, 99.0, curve=0.3),
    Parameter("wave", 0.0, 5.0, unit="triangle, saw down, saw up, square, sine, sample and hold"),
    Parameter("pitch_sensitivity", 0.0, 7.0, curve=0.5),
)
VOICE_KNOBS = (Parameter("algorithm", 1.0, 32.0), Parameter("feedback", 0.0, 7.0))

# Where a voice of 155 bytes has what (DX7 manual, "MIDI data format"): operators begin with the sixth.
OPERATOR_SIZE = 21
OPERATOR_BYTES = {
    **{f"rate_{k}": k - 1 for k in range(1, 5)},
    **{f"level_{k}": k + 3 for k in range(1, 4)},
    "rate_scaling": 13, "amplitude_sensitivity": 14, "velocity_sensitivity": 15, "output": 16,
    "fixed": 17, "coarse": 18, "fine": 19, "detune": 20,
}  # fmt: skip
VOICE_BYTES = {
    **{f"pitch.rate_{k}": 125 + k for k in range(1, 5)},
    **{f"pitch.level_{k}": 129 + k for k in range(1, 5)},
    "main.algorithm": 134, "main.feedback": 135,
    "lfo.speed": 137, "lfo.delay": 138, "lfo.pitch_depth": 139, "lfo.amplitude_depth": 140, "lfo.wave": 142,
    "lfo.pitch_sensitivity": 143,
}  # fmt: skip
TO_STEPS = {"main.algorithm": -1, **{f"op_{k}.detune": 7 for k in OPERATORS}}  # added to what the display shows
NAME = slice(145, 155)
LFO_BEGINS_WITH_KEY = 141
HEAD, END, CHECKSUM_BITS = bytes([0xF0, 0x43, 0x00, 0x00, 0x01, 0x1B]), bytes([0xF7]), 0x7F  # of a dump of one voice

# Measured, of a sine under a constant level: semitones from the note, and those of the LFO at full depth.
PITCH_LEVELS = (1, 2, 4, 6, 8, 10, 13, 17, 83, 87, 90, 92, 94, 96, 98, 99)
PITCH_SEMITONES = (
    -43.5, -39.0, -31.9, -25.5, -21.0, -18.4, -15.4, -12.4, 12.4, 15.0, 18.4, 21.8, 27.4, 34.5, 43.1, 47.6
)  # fmt: skip
LFO_SEMITONES = (0.0, 0.47, 0.93, 1.54, 2.57, 4.29, 7.15, 11.9)  # by pitch sensitivity

VoiceBytes = NDArray[np.uint8]


class DX7(Synth):
    """The DX7, played by Dexed on a CPU, whatever the device. It has no noise: a sound's index changes nothing."""

    panel = Panel(
        {
            "keyboard": KEYBOARD_KNOBS,
            **{f"op_{k}": OPERATOR_KNOBS for k in OPERATORS},
            "pitch": PITCH_KNOBS,
            "lfo": LFO_KNOBS,
            "main": VOICE_KNOBS,
        },
    )
    differentiable = False
    preset_suffix = "syx"
    dearness = 6

    @classmethod
    def under(cls, panel: NamedPanel | None) -> type[DX7]:
        """Itself, the version of Dexed in its name. Raises SettingsError for a panel, or where there is no Dexed."""
        super().under(panel)
        _dexed()
        return _of_version(version("dexed-py"))

    @classmethod
    def versions(cls) -> Mapping[str, str]:
        return {"dexed-py": version("dexed-py")}

    def renderer(self, threads: int | None) -> Renderer:
        dexed = _dexed()

        def render(human: Tensor, first_index: int) -> Tensor:
            values = human.detach().cpu().numpy()
            voices, notes = self._voices(values), self._notes(values)
            output = np.zeros((len(values), self.samples), dtype=np.float32)

            def play(begin: int, end: int) -> None:
                synth = dexed.DexedSynth(RATE)
                for k in range(begin, end):
                    synth.load_patch(dexed.Patch.from_raw(voices[k]))
                    sound = fitted(
                        synth.render(*notes[k], self.samples / self.sample_rate), self.sample_rate, self.samples
                    )
                    output[k, : len(sound)] = sound

            spread(play, len(values), threads or cores())
            return torch.from_numpy(output).to(human.device)

        return render

    def presets(self, human: Tensor, indices: Sequence[int]) -> list[bytes]:
        dumps = []
        for voice, index in zip(self._voices(human.detach().cpu().numpy()), indices, strict=True):
            voice[NAME] = np.frombuffer(f"{index % 10**10:010d}".encode(), dtype=np.uint8)
            content = voice.tobytes()
            dumps.append(HEAD + content + bytes([-sum(content) & CHECKSUM_BITS]) + END)
        return dumps

    def play(self, controls: Controls, noise: Tensor) -> Tensor:
        """There is no patch in torch. Raises UserInputError."""
        raise UserInputError("the DX7 renders by itself alone: it has no gradients and no backend 'reference'")

    @classmethod
    def sounding(cls, human: Tensor) -> Sounding:
        """Pitches of the operators that are heard, by their output levels."""
        column = {name: human[:, k].double() for name, k in cls.panel.index.items()}
        note, levels, pitches = column["keyboard.midi_f0"].round(), [], []
        heard = _carriers()[column["main.algorithm"].round().long().cpu() - 1].to(human.device)
        for k in OPERATORS:
            coarse, fine, fixed, output = (
                column[f"op_{k}.{knob}"].round() for knob in ("coarse", "fine", "fixed", "output")
            )
            ratio = torch.where(coarse < 1, 0.5, coarse) * (1 + fine / 100)
            hertz = 10 ** (coarse % 4 + fine / 100)
            pitches.append(torch.where(fixed >= ON, 69 + 12 * (hertz / 440).log2(), note + 12 * ratio.log2()))
            levels.append(heard[:, k - 1] * 10 ** ((output - 99) * STEP_DB / 20))
        level = torch.stack(levels, dim=1)
        share = level / level.sum(dim=1, keepdim=True).clamp(min=SMALLEST_LEVEL)
        moved = torch.stack([column[f"pitch.level_{k}"] for k in range(1, 5)], dim=1).round()
        envelope = np.abs(np.interp(moved.cpu().numpy(), PITCH_LEVELS, PITCH_SEMITONES)).max(axis=1)
        by_lfo = torch.tensor(LFO_SEMITONES, dtype=torch.float64, device=human.device)
        vibrato = by_lfo[column["lfo.pitch_sensitivity"].round().long()] * column["lfo.pitch_depth"] / 99
        sweep = torch.from_numpy(envelope).to(human.device) + vibrato
        return Sounding(share, torch.stack(pitches, dim=1), sweep[:, None].expand_as(share))

    @classmethod
    def _voices(cls, human: Floats) -> VoiceBytes:
        """Voices (sounds, 155) of human values (sounds, parameters)."""
        voices: VoiceBytes = np.tile(_initial(), (len(human), 1))
        for name, place in _bytes():
            voices[:, place] = np.rint(human[:, cls.panel.index[name]]) + TO_STEPS.get(name, 0)
        return voices

    @classmethod
    def _notes(cls, human: Floats) -> list[tuple[int, int, float]]:
        """Key, velocity (1 to 127) and seconds that the key is held, of human values (sounds, parameters)."""
        pitch, velocity, held = (
            human[:, cls.panel.index[f"keyboard.{name}"]].tolist() for name in ("midi_f0", "velocity", "duration")
        )
        return [
            (round(key), max(1, round(127 * hard)), long) for key, hard, long in zip(pitch, velocity, held, strict=True)
        ]


@cache
def _of_version(number: str) -> type[DX7]:
    # what names a synth's sounds in caches and folders is the name of its class
    return type(f"DX7-{number}", (DX7,), {})


def _bytes() -> Iterator[tuple[str, int]]:
    """Each parameter that is a byte of a voice, and which."""
    for k in OPERATORS:
        yield from ((f"op_{k}.{knob}", OPERATOR_SIZE * (6 - k) + place) for knob, place in OPERATOR_BYTES.items())
    yield from VOICE_BYTES.items()


def _dexed() -> Any:
    """The package. Raises SettingsError where there is none."""
    try:
        import dexed
    except ImportError as error:
        raise SettingsError("the DX7 needs dexed-py (GPL-3): pip install 'nebula-tune[dx7]'") from error
    return dexed


@cache
def _initial() -> VoiceBytes:
    """An initial voice (155,), but with an LFO that begins with each key, as its oscillators do."""
    voice: VoiceBytes = _dexed().Patch("NEBULATUNE").to_raw()
    voice[LFO_BEGINS_WITH_KEY] = 1
    return voice


@cache
def _carriers() -> Tensor:
    """Which operators are heard, (32 algorithms, 6) of 0 and 1."""
    heard = torch.zeros(32, 6, dtype=torch.float64, device="cpu")
    for algorithm in range(32):
        heard[algorithm, _dexed().get_carriers(algorithm)] = 1
    return heard
