"""Voltage-controlled oscillators at audio rate."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from nebula_tune.synth.lfo import running_phase
from nebula_tune.synth.parameters import Parameter

# Semitones and radians.
VCO_KNOBS = (
    Parameter("tuning", -24.0, 24.0, unit="semitones"),
    Parameter("mod_depth", -96.0, 96.0, curve=0.2, symmetric=True, unit="semitones"),
    Parameter("initial_phase", -math.pi, math.pi, unit="rad"),
)
SQUARE_SAW_KNOBS = (*VCO_KNOBS, Parameter("shape", 0.0, 1.0))

LOWEST_MIDI, HIGHEST_MIDI = 0.0, 127.0


def midi_to_hz(midi: Tensor) -> Tensor:
    """Equal temperament, A4 (69) = 440 Hz."""
    return 440.0 * torch.exp2((midi - 69.0) / 12.0)


def vco_phase(knobs: Mapping[str, Tensor], midi_f0: Tensor, pitch: Tensor, sample_rate: int) -> Tensor:
    """Phase (sounds, samples) in radians of an oscillator whose pitch is moved by ``pitch`` (sounds, samples).

    ``knobs`` are those of VCO_KNOBS by name, (sounds, 1) each; ``midi_f0`` (sounds, 1) is the note in MIDI,
    ``sample_rate`` in Hz.
    """
    midi = (midi_f0 + knobs["tuning"] + knobs["mod_depth"] * pitch).clamp(LOWEST_MIDI, HIGHEST_MIDI)
    return running_phase(2 * math.pi * midi_to_hz(midi) / sample_rate, knobs["initial_phase"])


def sine_vco(knobs: Mapping[str, Tensor], midi_f0: Tensor, pitch: Tensor, sample_rate: int) -> Tensor:
    """Sine oscillator, (sounds, samples).

    ``knobs``, ``midi_f0``, ``pitch`` and ``sample_rate`` are as :func:`vco_phase` has them.
    """
    return torch.cos(vco_phase(knobs, midi_f0, pitch, sample_rate))


def square_saw_vco(knobs: Mapping[str, Tensor], midi_f0: Tensor, pitch: Tensor, sample_rate: int) -> Tensor:
    """Oscillator between square (shape 0) and saw (shape 1), (sounds, samples).

    A sine through tanh; how hard depends on the highest pitch the modulation asks for (not clamped), which keeps the
    partials below some 12 kHz. ``knobs`` are those of SQUARE_SAW_KNOBS; they, ``midi_f0``, ``pitch`` and
    ``sample_rate`` are as :func:`vco_phase` has them.
    """
    phase = vco_phase(knobs, midi_f0, pitch, sample_rate)
    highest = midi_to_hz(midi_f0 + knobs["tuning"] + knobs["mod_depth"].clamp(min=0))
    partials = 12000.0 / (highest * torch.log10(highest))
    square = torch.tanh(math.pi * partials * torch.sin(phase) / 2)
    shape = knobs["shape"]
    return (1 - shape / 2) * square * (1 + shape * torch.cos(phase))
