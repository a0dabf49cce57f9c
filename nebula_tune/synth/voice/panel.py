"""The Voice's parameters: modules, their knobs, and what the modulation matrix connects (the paper, section 3.2)."""

from __future__ import annotations

from nebula_tune.synth.envelope import ADSR_KNOBS
from nebula_tune.synth.lfo import LFO_KNOBS
from nebula_tune.synth.oscillators import SQUARE_SAW_KNOBS, VCO_KNOBS
from nebula_tune.synth.parameters import Panel, Parameter

KEYBOARD_KNOBS = (
    Parameter("midi_f0", 0.0, 127.0, unit="MIDI note"),
    Parameter("duration", 0.01, 4.0, curve=0.5, unit="s"),
)
SOURCES = ("adsr_1", "adsr_2", "lfo_1", "lfo_2")
DESTINATIONS = ("vco_1_pitch", "vco_1_amp", "vco_2_pitch", "vco_2_amp", "noise_amp")
MATRIX_KNOBS = tuple(Parameter(f"{s}->{d}", 0.0, 1.0, curve=0.5) for s in SOURCES for d in DESTINATIONS)
MIXER_KNOBS = (
    Parameter("vco_1", 0.0, 1.0),
    Parameter("vco_2", 0.0, 1.0),
    Parameter("noise", 0.0, 1.0, curve=0.025),
)

PANEL = Panel(
    {
        "keyboard": KEYBOARD_KNOBS,
        "adsr_1": ADSR_KNOBS,
        "adsr_2": ADSR_KNOBS,
        "lfo_1": LFO_KNOBS,
        "lfo_2": LFO_KNOBS,
        "lfo_1_amp_adsr": ADSR_KNOBS,
        "lfo_2_amp_adsr": ADSR_KNOBS,
        "lfo_1_rate_adsr": ADSR_KNOBS,
        "lfo_2_rate_adsr": ADSR_KNOBS,
        "mod_matrix": MATRIX_KNOBS,
        "vco_1": VCO_KNOBS,
        "vco_2": SQUARE_SAW_KNOBS,
        "mixer": MIXER_KNOBS,
    }
)
