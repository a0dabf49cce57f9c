"""Low frequency oscillators at control rate."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from nebula_tune.synth.parameters import Parameter

SHAPES = ("sin", "tri", "saw", "rsaw", "sqr")

# Frequencies in Hz, phase in radians; one level for each shape.
LFO_KNOBS = (
    Parameter("frequency", 0.0, 20.0, curve=0.25, unit="Hz"),
    Parameter("mod_depth", -10.0, 20.0, curve=0.5, symmetric=True, unit="Hz"),
    Parameter("initial_phase", -math.pi, math.pi, unit="rad"),
    *(Parameter(shape, 0.0, 1.0) for shape in SHAPES),
)

# Levels are raised to this power before they share the output (a soft mode selector).
SELECTOR_EXPONENT = 2.718281828


def lfo(knobs: Mapping[str, Tensor], rate_envelope: Tensor, control_rate: float) -> Tensor:
    """Unipolar modulation (sounds, frames) in 0..1; ``rate_envelope`` (sounds, frames) moves its frequency."""
    frequency = (knobs["frequency"] + knobs["mod_depth"] * rate_envelope).clamp(min=0)
    phase = running_phase(2 * math.pi * frequency / control_rate, knobs["initial_phase"])

    cosine = torch.cos(phase + math.pi)
    saw = torch.remainder(phase, 2 * math.pi) / (2 * math.pi)
    triangle = 2 * saw
    waves = {
        "sin": (cosine + 1) / 2,
        "tri": torch.where(triangle > 1, 2 - triangle, triangle),
        "saw": saw,
        "rsaw": 1 - saw,
        "sqr": (torch.sign(cosine) + 1) / 2,
    }
    weights = shape_weights(torch.cat([knobs[shape] for shape in SHAPES], dim=1))
    return torch.stack([weights[:, k : k + 1] * waves[shape] for k, shape in enumerate(SHAPES)]).sum(dim=0)


def shape_weights(levels: Tensor) -> Tensor:
    """What each shape contributes, from the shapes' levels, (sounds, shapes); the weights of a sound add up to 1.

    Levels are taken relative to the largest. It cancels out, but without it small levels would vanish when raised
    to their power, and all of them together would be 0 / 0, as in torchsynth. If all are 0 the shapes share alike.
    """
    largest = levels.amax(dim=1, keepdim=True)
    powers = torch.where(largest > 0, levels / largest, torch.ones_like(levels)).pow(SELECTOR_EXPONENT)
    return powers / powers.sum(dim=1, keepdim=True)


def running_phase(increments: Tensor, initial_phase: Tensor) -> Tensor:
    """Phase in radians of an oscillator: the running sum of its increments, first one included.

    The sum runs in float64 on every device, then is rounded once a sample. torchsynth does the same on a CPU;
    on a GPU its float32 sum drifts.
    """
    return torch.cumsum(increments, dim=1, dtype=torch.float64).to(increments.dtype) + initial_phase
