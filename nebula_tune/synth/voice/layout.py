"""Where the Voice's knobs are, for the loops that are compiled: columns of its parameter array."""

from __future__ import annotations

import numpy as np

from nebula_tune.synth.lfo import SHAPES
from nebula_tune.synth.parameters import CONTROL_RATE
from nebula_tune.synth.voice.panel import DESTINATIONS, PANEL


def _first(module: str) -> int:
    return next(k for k, p in enumerate(PANEL.parameters) if p.module == module)


RATE = CONTROL_RATE
DURATION = PANEL.index["keyboard.duration"]
MIDI_F0 = PANEL.index["keyboard.midi_f0"]
MATRIX, MIXER = _first("mod_matrix"), _first("mixer")
HEARD_ENVELOPES = ("adsr_1", "adsr_2", "lfo_1_amp_adsr", "lfo_2_amp_adsr")
RATE_ENVELOPES = ("lfo_1_rate_adsr", "lfo_2_rate_adsr")
ENVELOPES = np.array([_first(name) for name in HEARD_ENVELOPES + RATE_ENVELOPES])
LFOS, VCOS = np.array([_first("lfo_1"), _first("lfo_2")]), np.array([_first("vco_1"), _first("vco_2")])
RELEASE = 3  # column of an envelope's release
TUNING, DEPTH, PHASE, SHAPE = 0, 1, 2, 3  # columns of a VCO; DEPTH and PHASE are an LFO's too
LEVELS = 3  # column of an LFO's first shape level
N_SHAPES, N_DESTINATIONS = len(SHAPES), len(DESTINATIONS)
