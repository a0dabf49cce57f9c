"""The Voice: torchsynth 1.0's instrument, the one behind synth1B1 (the paper, section 3.2 and Figure 3)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property, partial

import torch
from torch import Tensor

from nebula_tune.synth import gpu_draw, synth1b1
from nebula_tune.synth.architecture import Synth
from nebula_tune.synth.backends import Renderer
from nebula_tune.synth.envelope import adsr
from nebula_tune.synth.lfo import lfo
from nebula_tune.synth.oscillators import HIGHEST_MIDI, LOWEST_MIDI, sine_vco, square_saw_vco
from nebula_tune.synth.parameters import Controls
from nebula_tune.synth.sounding import SMALLEST_LEVEL, Sounding
from nebula_tune.synth.voice.cpu import FastVoice
from nebula_tune.synth.voice.gpu import GpuVoice, Recording
from nebula_tune.synth.voice.panel import DESTINATIONS, PANEL, SOURCES


class Voice(Synth):
    """Keyboard, six envelopes, two LFOs, a modulation matrix, two oscillators, noise, and a mixer."""

    panel = PANEL
    hand_made = "drum"

    def renderer(self, threads: int | None) -> Renderer | None:
        """Fused loops for float32: compiled for a CPU, as Triton's kernels for a GPU where Triton is installed."""
        if self.dtype != torch.float32:
            return None
        if self.device.type == "cpu":
            return FastVoice(len(self.control_frames), self.sample_rate, self._noise, threads)
        if self.device.type == "cuda" and gpu_draw.ready():
            return GpuVoice(len(self.control_frames), self.sample_rate, self._noise)
        return None

    @cached_property
    def _recording(self) -> Recording | None:
        """On a GPU a nebula's batches are recorded: they differ in their first sound alone. None for others."""
        renderer, columns = self._renderer, self._columns[: len(self.panel)]
        if not isinstance(renderer, GpuVoice) or not (self.constellation is None or self.constellation.is_base):
            return None
        draw = partial(gpu_draw.draw, sounds=self.batch_size, order=columns)
        return Recording(renderer, draw, self.to_human, self.device)

    def _batch(self, first_index: int) -> tuple[Tensor, Tensor]:
        if self._recording is None or torch.cuda.is_current_stream_capturing():
            return super()._batch(first_index)
        synth1b1.check(first_index, self.batch_size)
        return self._recording(first_index)

    @classmethod
    def sounding(cls, human: Tensor) -> Sounding:
        """Pitches of the two VCOs.

        A channel's level is its mixer level times all that the matrix can send to its amplitude. The pitch modulation
        is taken at its largest: each source at 1, times its way through the matrix.
        """
        controls = Controls(cls.panel, human)
        patched = dict(
            zip(DESTINATIONS, modulation_matrix(controls["mod_matrix"]).sum(dim=2).unbind(dim=1), strict=True)
        )
        levels = [controls["mixer"][name][:, 0] * patched[f"{name}_amp"] for name in ("vco_1", "vco_2", "noise")]
        level = torch.stack(levels, dim=1)
        rest, moved = [], []
        for name in ("vco_1", "vco_2"):
            at_rest = controls["keyboard"]["midi_f0"][:, 0] + controls[name]["tuning"][:, 0]
            swing = controls[name]["mod_depth"][:, 0] * patched[f"{name}_pitch"]
            rest.append(at_rest.clamp(LOWEST_MIDI, HIGHEST_MIDI))
            moved.append((at_rest + swing).clamp(LOWEST_MIDI, HIGHEST_MIDI))
        pitch = torch.stack(rest, dim=1)
        share = level[:, :2] / level.sum(dim=1, keepdim=True).clamp(min=SMALLEST_LEVEL)
        return Sounding(share, pitch, (torch.stack(moved, dim=1) - pitch).abs())

    def play(self, controls: Controls, noise: Tensor) -> Tensor:
        """The patch: from knobs to audio (sounds, samples)."""
        keyboard = controls["keyboard"]
        rate, frames = self.control_rate, self.control_frames

        def envelope(name: str) -> Tensor:
            return adsr(controls[name], keyboard["duration"], frames, rate)

        def oscillate(name: str) -> Tensor:
            return lfo(controls[name], envelope(f"{name}_rate_adsr"), rate) * envelope(f"{name}_amp_adsr")

        sources = torch.stack([envelope("adsr_1"), envelope("adsr_2"), oscillate("lfo_1"), oscillate("lfo_2")], dim=1)
        patched = self.upsample(torch.matmul(modulation_matrix(controls["mod_matrix"]), sources))
        modulation = dict(zip(DESTINATIONS, patched.unbind(dim=1), strict=True))

        midi_f0 = keyboard["midi_f0"]
        vco_1 = sine_vco(controls["vco_1"], midi_f0, modulation["vco_1_pitch"], self.sample_rate)
        vco_2 = square_saw_vco(controls["vco_2"], midi_f0, modulation["vco_2_pitch"], self.sample_rate)
        return mix(
            controls["mixer"],
            {
                "vco_1": vco_1 * modulation["vco_1_amp"],
                "vco_2": vco_2 * modulation["vco_2_amp"],
                "noise": noise * modulation["noise_amp"],
            },
        )


def modulation_matrix(knobs: Mapping[str, Tensor]) -> Tensor:
    """How much of each source reaches each destination, (sounds, destinations, sources)."""
    rows = [torch.cat([knobs[f"{s}->{d}"] for s in SOURCES], dim=1) for d in DESTINATIONS]
    return torch.stack(rows, dim=1)


def mix(levels: Mapping[str, Tensor], channels: Mapping[str, Tensor]) -> Tensor:
    """Weighted sum of channels (sounds, samples); a sound that exceeds 1 is scaled down to its own peak."""
    total = torch.stack([levels[name] * channel for name, channel in channels.items()]).sum(dim=0)
    peak = total.abs().amax(dim=1, keepdim=True)
    return total / peak.clamp(min=1)
