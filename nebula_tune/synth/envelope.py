"""ADSR envelopes at control rate."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from nebula_tune.synth.parameters import Parameter

# Seconds; sustain is a level; alpha bends every segment.
ADSR_KNOBS = (
    Parameter("attack", 0.0, 2.0, curve=0.5, unit="s"),
    Parameter("decay", 0.0, 2.0, curve=0.5, unit="s"),
    Parameter("sustain", 0.0, 1.0),
    Parameter("release", 0.0, 5.0, curve=0.5, unit="s"),
    Parameter("alpha", 0.1, 6.0),
)

EPSILON = 1e-6


def adsr(knobs: Mapping[str, Tensor], duration: Tensor, frames: Tensor, control_rate: float) -> Tensor:
    """Envelope (sounds, frames) in 0..1 of a note held for ``duration`` seconds, (sounds, 1).

    ``frames`` are the control frame numbers, (frames,). A note shorter than its attack squeezes the attack into the
    note; after the release the envelope is exactly 0. ``knobs`` are those of ADSR_KNOBS by name, (sounds, 1) each;
    ``control_rate`` is in Hz.
    """
    attack = torch.minimum(knobs["attack"], duration)
    decay = torch.minimum((duration - attack).clamp(min=0), knobs["decay"])
    alpha = knobs["alpha"]

    def ramp(length: Tensor, start: Tensor | None, falling: bool) -> Tensor:
        elapsed = frames if start is None else (frames - control_rate * start).clamp(min=0)
        span = control_rate * length
        moving = span > 0  # as in torchsynth, a segment of no length stays at 1
        rise = ((elapsed + EPSILON) / torch.where(moving, span, 1) + EPSILON).clamp(max=1)
        level = torch.where(moving, 1 - rise if falling else rise, 1)
        up = level > 0  # the power of 0 has no finite slope where alpha is below 1
        return torch.where(up, torch.where(up, level, 1).pow(alpha), 0)

    sustain = knobs["sustain"]
    held = ramp(attack, None, falling=False) * ((1 - sustain) * ramp(decay, attack, falling=True) + sustain)
    return held * ramp(knobs["release"], duration, falling=True)
