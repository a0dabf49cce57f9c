"""What a sound's knobs say of its pitch, before anything is rendered."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

SMALLEST_LEVEL = 1e-12  # levels are divided by no less: where every channel is shut, no oscillator has a share


@dataclass(frozen=True)
class Sounding:
    """Each oscillator of each sound, (sounds, oscillators).

    Attributes:
        share: of the sound's level, in 0..1; what is missing to 1 has no pitch (noise).
        pitch: at rest, after keyboard and tuning, in MIDI notes.
        sweep: how far envelopes and LFOs can move it from there, in semitones.
    """

    share: Tensor
    pitch: Tensor
    sweep: Tensor
