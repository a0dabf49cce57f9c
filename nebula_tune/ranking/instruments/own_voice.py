"""nebula-tune's own Voice, one knob of it swept: needs nothing but nebula-tune."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch

from nebula_tune.errors import SettingsError
from nebula_tune.ranking.instruments.instrument import RANKS, SAMPLE_RATE, SECONDS, Instrument, PlayedSounds
from nebula_tune.synth import Voice

PITCH_KNOB = "keyboard.midi_f0"
TIMBRE_KNOB = "vco_2.shape"  # from square to saw


class VoiceInstrument(Instrument):
    """Presets are synth1B1's sounds, by index; all of a preset stays as it was, the noise too, but for one knob.

    ``parameter`` is the knob that ``timbre`` sweeps, linearly through its human range.
    """

    name: ClassVar[str] = "voice"
    kinds: ClassVar[Sequence[str]] = ("pitch", "timbre")

    def __init__(self, parameter: str | None = None) -> None:
        self.parameter = parameter or TIMBRE_KNOB
        if self.parameter not in Voice.panel.index:
            raise SettingsError(f"--parameter {self.parameter!r}: the Voice has no such knob, as adsr_1.decay is one")
        self._voice = Voice("default", 1, SAMPLE_RATE, SECONDS, threads=1)

    @property
    def settings(self) -> Mapping[str, Any]:
        return {"parameter": self.parameter}

    def presets(self, seed: int) -> Iterable[str]:
        return (f"{seed * 10**6 + i:010d}" for i in range(10**6))

    def sounds(self, preset: str, kind: str, ranks: Sequence[int]) -> PlayedSounds:
        index = int(preset)
        k = self._voice.panel.index[PITCH_KNOB if kind == "pitch" else self.parameter]
        knob = self._voice.panel.parameters[k]
        human = self._voice.to_human(self._voice.draw(index, 1))
        rendered = []
        for rank in ranks:
            share = rank / RANKS["timbre"][-1]
            human[:, k] = rank if kind == "pitch" else knob.minimum + share * (knob.maximum - knob.minimum)
            with torch.no_grad():
                rendered.append(self._voice.render_human(human, index)[0].numpy())
        return np.stack(rendered)
