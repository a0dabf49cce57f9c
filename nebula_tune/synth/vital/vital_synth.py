"""Vital behind the interface of every synth: a panel says which of its controls a nebula draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import ClassVar

import torch
from torch import Tensor

from nebula_tune.errors import UserInputError
from nebula_tune.machine import cpu_kind
from nebula_tune.synth.architecture import Synth
from nebula_tune.synth.backends import Renderer
from nebula_tune.synth.named_panel import NamedPanel
from nebula_tune.synth.parameters import Controls, Panel
from nebula_tune.synth.sounding import SMALLEST_LEVEL, Sounding
from nebula_tune.synth.vital.controls import vital_controls
from nebula_tune.synth.vital.panel_file import DEFAULT, ON, FreeRange, PanelFile, dotted, load_panel, read_panel
from nebula_tune.synth.vital.player import described
from nebula_tune.synth.vital.preset import PresetMaker
from nebula_tune.synth.vital.rendering import VitalRenderer

OSCILLATORS = ("osc_1", "osc_2", "osc_3")
MOVES_PITCH = {"transpose": 1.0, "tune": 0.01}  # semitones of a unit
MIDDLE_C = 60.0  # MIDI: what an oscillator plays that does not follow the keyboard


class Vital(Synth):
    """Vital under a panel; :meth:`under` gives the class of one. It renders on a CPU, whatever the device.

    A sound depends on the panel, its parameters and (its noise) its index alone: every sound is played by an instrument
    that has played nothing before. The same bits are promised under one version of vita on one kind of CPU.
    """

    written: ClassVar[PanelFile]
    maker: ClassVar[PresetMaker]
    differentiable = False
    preset_suffix = "vital"
    study = "vital-drum"
    dearness = 16

    @classmethod
    def written_panel(cls, source: str | None) -> NamedPanel:
        """The panel of a name or file; None is vital-drum. Raises SettingsError."""
        return load_panel(source or DEFAULT)

    @classmethod
    def under(cls, panel: NamedPanel | None) -> type[Vital]:
        """The architecture of a panel, the same class each time. Raises SettingsError for one that cannot be played."""
        return _under(panel or load_panel(DEFAULT))

    @classmethod
    def versions(cls) -> Mapping[str, str]:
        return {"vita": described()["version"], "cpu": cpu_kind()}

    def renderer(self, threads: int | None) -> Renderer:
        return VitalRenderer(self.maker, self.samples, self.sample_rate, threads)

    def presets(self, human: Tensor, indices: Sequence[int]) -> list[bytes]:
        rows = human.detach().cpu().numpy()
        return [
            self.maker.preset(row, index, f"{index:010d}").encode() for row, index in zip(rows, indices, strict=True)
        ]

    def play(self, controls: Controls, noise: Tensor) -> Tensor:
        """There is no patch in torch. Raises UserInputError."""
        raise UserInputError("Vital renders by itself alone: it has no gradients and no backend 'reference'")

    @classmethod
    def sounding(cls, human: Tensor) -> Sounding:
        """Pitches of the oscillators by their levels; noise (the sample) has none."""
        note = cls._human("keyboard.midi_f0", human)
        levels, pitches, sweeps = [], [], []
        everywhere = cls._sweep("voice", human)
        for name in OSCILLATORS:
            levels.append(cls._level(name, human))
            follows = cls._control(f"{name}_midi_track", human)
            interval = cls._control(f"{name}_transpose", human) + 0.01 * cls._control(f"{name}_tune", human)
            pitches.append(torch.where(follows >= ON, note, MIDDLE_C) + interval)
            sweeps.append(everywhere + cls._sweep(name, human))
        level, noise = torch.stack(levels, dim=1), cls._level("sample", human)
        share = level / (level.sum(dim=1) + noise).clamp(min=SMALLEST_LEVEL).unsqueeze(1)
        return Sounding(share, torch.stack(pitches, dim=1), torch.stack(sweeps, dim=1))

    @classmethod
    def _human(cls, parameter: str, human: Tensor) -> Tensor:
        return human[:, cls.panel.index[parameter]].double()

    @classmethod
    def _control(cls, name: str, human: Tensor) -> Tensor:
        """A control's value in human units, (sounds,): drawn, fixed, or Vital's default."""
        if name in cls.written.free or name in cls.written.switches:
            return cls._human(dotted(name), human)
        control = vital_controls()[name]
        value = (
            control.value(cls.written.fixed[name]) if name in cls.written.fixed else control.to_human(control.default)
        )
        return human.new_full((len(human),), value, dtype=torch.float64)

    @classmethod
    def _level(cls, name: str, human: Tensor) -> Tensor:
        """How loud an oscillator or the sample can get, (sounds,): 0 where it is off."""
        level = f"{name}_level"
        most = cls._control(level, human).sqrt() + cls._moved(level, human).clamp(
            min=0
        )  # Vital's own scale is the root
        return (cls._control(f"{name}_on", human) >= ON) * most.clamp(0, 1).square()

    @classmethod
    def _sweep(cls, name: str, human: Tensor) -> Tensor:
        """How far routes can move a pitch, in semitones, (sounds,)."""
        total = human.new_zeros(len(human), dtype=torch.float64)
        for knob, semitones in MOVES_PITCH.items():
            low, high = vital_controls()[f"{name}_{knob}"].ends
            total = total + cls._moved(f"{name}_{knob}", human).abs() * (high - low) * semitones
        return total

    @classmethod
    def _moved(cls, control: str, human: Tensor) -> Tensor:
        """How far all routes together can move a control, as a share of its range, (sounds,)."""
        total = human.new_zeros(len(human), dtype=torch.float64)
        for route in cls.written.routes:
            if route.to == control:
                amount = route.amount
                total = total + (cls._human(route.parameter, human) if isinstance(amount, FreeRange) else amount)
        return total


@cache
def _under(panel: NamedPanel) -> type[Vital]:
    written = read_panel(panel)
    origin = {"synth": "vital", "panel": panel.name, "panel_sha256": panel.digest}
    ends = Panel(written.parameters(), origin)
    # what names a synth's sounds in caches and folders is the name of its class
    name = f"Vital-{described()['version']}-{panel.digest[:16]}"
    return type(name, (Vital,), {"panel": ends, "written": written, "maker": PresetMaker(written, ends.names)})
