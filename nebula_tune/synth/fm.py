"""A synth of four sine operators that modulate each other's phase, the second the paper announces.

After the idea of Ableton's Operator: each operator has its own envelope, ratio to the note, and level; one hears
itself (feedback); how the operators are wired is one of a few algorithms. Here the wiring is a weighted mean of all of
them, where a large weight leaves the others little to say, so that it can be learned like any other parameter.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from nebula_tune.synth.architecture import Synth
from nebula_tune.synth.envelope import ADSR_KNOBS, adsr
from nebula_tune.synth.lfo import running_phase, shape_weights
from nebula_tune.synth.oscillators import midi_to_hz
from nebula_tune.synth.parameters import Controls, Panel, Parameter
from nebula_tune.synth.sounding import SMALLEST_LEVEL, Sounding

OPERATORS = ("operator_1", "operator_2", "operator_3", "operator_4")
KEYBOARD_KNOBS = (
    Parameter("midi_f0", 0.0, 127.0, unit="MIDI note"),
    Parameter("duration", 0.01, 4.0, curve=0.5, unit="s"),
)
# How far an operator's pitch falls after the attack, semitones, and how fast: drums need it.
PITCH_KNOBS = (Parameter("depth", -48.0, 48.0, curve=0.2, symmetric=True, unit="semitones"), *ADSR_KNOBS)
OPERATOR_KNOBS = (
    Parameter("ratio", 0.25, 16.0, curve=0.5, unit="× note"),
    Parameter("detune", -0.5, 0.5, curve=0.3, symmetric=True, unit="semitones"),
    Parameter("level", 0.0, 1.0),
    Parameter("initial_phase", -math.pi, math.pi, unit="rad"),
    *ADSR_KNOBS,
)
FEEDBACK_KNOBS = (Parameter("amount", 0.0, 1.0, curve=0.5),)

# Each algorithm: (modulator, modulated) pairs, and the operators that are heard. Modulators have the higher numbers.
ALGORITHMS: dict[str, tuple[tuple[tuple[int, int], ...], tuple[int, ...]]] = {
    "stack": (((4, 3), (3, 2), (2, 1)), (1,)),
    "pair_on_stack": (((4, 2), (3, 2), (2, 1)), (1,)),
    "branches": (((4, 3), (3, 1), (2, 1)), (1,)),
    "two_stacks": (((4, 3), (2, 1)), (1, 3)),
    "one_on_three": (((4, 3), (4, 2), (4, 1)), (1, 2, 3)),
    "additive": ((), (1, 2, 3, 4)),
}
ALGORITHM_KNOBS = tuple(Parameter(name, 0.0, 1.0) for name in ALGORITHMS)
SHARPNESS = 3.0  # weights are raised to this power on top of the selector's own, so that one algorithm mostly leads
DEPTH = 4.0  # radians an operator at full level moves another's phase by, at most
FEEDBACK_TURNS = 2  # how often an operator that hears itself is put into itself


class FM(Synth):
    """Keyboard, pitch envelope, four operators, feedback on the fourth, and a choice of wirings."""

    panel = Panel(
        {
            "keyboard": KEYBOARD_KNOBS,
            "pitch": PITCH_KNOBS,
            **dict.fromkeys(OPERATORS, OPERATOR_KNOBS),
            "feedback": FEEDBACK_KNOBS,
            "algorithm": ALGORITHM_KNOBS,
        }
    )

    @classmethod
    def sounding(cls, human: Tensor) -> Sounding:
        """Pitches of the operators, by how much each is heard itself; all move with the note."""
        controls = Controls(cls.panel, human)
        weights = wirings(controls["algorithm"])
        level = torch.cat(
            [loudness(weights, k) * controls[name]["level"] for k, name in enumerate(OPERATORS, 1)], dim=1
        )
        intervals = [12 * controls[name]["ratio"].log2() + controls[name]["detune"] for name in OPERATORS]
        note = controls["keyboard"]["midi_f0"]
        sweep = ((note + controls["pitch"]["depth"]).clamp(0, 127) - note).abs()
        share = level / level.sum(dim=1, keepdim=True).clamp(min=SMALLEST_LEVEL)
        return Sounding(share, note + torch.cat(intervals, dim=1), sweep.expand_as(share))

    def play(self, controls: Controls, noise: Tensor) -> Tensor:
        """The patch: from knobs to audio (sounds, samples). The noise is not used."""
        keyboard, pitch = controls["keyboard"], controls["pitch"]

        def envelope(name: str) -> Tensor:
            return adsr(controls[name], keyboard["duration"], self.control_frames, self.control_rate)

        traced = self.upsample(torch.stack([envelope(name) for name in ("pitch", *OPERATORS)], dim=1))
        note = (keyboard["midi_f0"] + pitch["depth"] * traced[:, 0]).clamp(0, 127)
        amplitudes, phases = {}, {}
        for number, name in enumerate(OPERATORS, start=1):
            knobs = controls[name]
            hertz = midi_to_hz(note + knobs["detune"]) * knobs["ratio"]
            # above half the sample rate an operator would fold back: it is silent there, and fades out below
            headroom = ((0.5 - hertz / self.sample_rate) * 10).clamp(0, 1)
            amplitudes[number] = knobs["level"] * traced[:, number] * headroom
            phases[number] = running_phase(2 * math.pi * hertz / self.sample_rate, knobs["initial_phase"])

        weights = wirings(controls["algorithm"])
        waves: dict[int, Tensor] = {}
        for number in (4, 3, 2, 1):
            phase = phases[number]
            for modulator in range(number + 1, 5):
                phase = phase + DEPTH * wired(weights, modulator, number) * waves[modulator]
            if number == 4:
                phase = fed_back(phase, controls["feedback"]["amount"])
            waves[number] = amplitudes[number] * torch.sin(phase)
        total = torch.stack([loudness(weights, number) * waves[number] for number in waves]).sum(dim=0)
        return total / total.abs().amax(dim=1, keepdim=True).clamp(min=1)


def wirings(knobs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What each algorithm contributes, (sounds, 1) each; they add up to 1."""
    levels = torch.cat([knobs[name] for name in ALGORITHMS], dim=1)
    shares = shape_weights(levels.pow(SHARPNESS))
    return {name: shares[:, k : k + 1] for k, name in enumerate(ALGORITHMS)}


def wired(weights: dict[str, Tensor], modulator: int, modulated: int) -> Tensor:
    """How much one operator moves another, (sounds, 1): the share of the algorithms that wire them so."""
    parts = [weights[name] * ((modulator, modulated) in wires) for name, (wires, _) in ALGORITHMS.items()]
    return torch.stack(parts).sum(dim=0)


def loudness(weights: dict[str, Tensor], operator: int) -> Tensor:
    """How much of an operator is heard, (sounds, 1); an algorithm's carriers share its loudness."""
    parts = [weights[name] * ((operator in carriers) / len(carriers)) for name, (_, carriers) in ALGORITHMS.items()]
    return torch.stack(parts).sum(dim=0)


def fed_back(phase: Tensor, amount: Tensor) -> Tensor:
    """Phase of an operator that modulates itself, without a sample of delay: the fixed point, approached."""
    result = phase
    for _ in range(FEEDBACK_TURNS):
        result = phase + amount * torch.sin(result)
    return result
