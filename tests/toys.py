"""A synth of six knobs and an embedding of one frame: smooth, and worked out in microseconds."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from nebula_tune.embedding import Embedding
from nebula_tune.synth.architecture import Synth
from nebula_tune.synth.parameters import Controls, Panel, Parameter
from nebula_tune.synth.sounding import Sounding


@lru_cache
def mixing(rows: int, columns: int) -> Tensor:
    """A fixed random matrix (rows, columns)."""
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(rows + 1000 * columns))


class ToySynth(Synth):
    """Each sample is a smooth function of the knobs, between 0.5 and 1.5: never silent, its onset at 0."""

    panel = Panel(
        {
            "tone": tuple(Parameter(name, 0.0, 2.0) for name in ("pitch", "colour", "bend")),
            "level": (Parameter("gain", -1.0, 1.0), Parameter("decay", 0.0, 3.0, curve=2.0), Parameter("noise", 0, 1)),
        }
    )

    @classmethod
    def sounding(cls, human: Tensor) -> Sounding:
        """One oscillator of half the level, from MIDI 0 to 127, that sweeps over four octaves at most."""
        pitch, bend = human[:, :1] / 2, human[:, 2:3] / 2
        return Sounding(torch.full_like(pitch, 0.5), 127 * pitch, 48 * bend)

    def draw(self, first_index: int, sounds: int) -> Tensor:
        return drawn(len(self.panel), first_index, sounds)[0]

    def draw_with_coins(self, first_index: int, sounds: int) -> tuple[Tensor, Tensor]:
        return drawn(len(self.panel), first_index, sounds)

    def play(self, controls: Controls, noise: Tensor) -> Tensor:
        knobs = torch.cat([controls[p.module][p.name] for p in self.panel.parameters], dim=1)
        return 1 + 0.5 * torch.tanh(knobs @ mixing(len(self.panel), self.samples).to(knobs.dtype))


@lru_cache(maxsize=64)
def drawn(parameters: int, first_index: int, sounds: int) -> tuple[Tensor, Tensor]:
    """Draws and coins of the same sounds are asked for again and again."""
    from nebula_tune.synth import synth1b1

    numbers = torch.from_numpy(synth1b1.draw(first_index, sounds, 2 * parameters))
    return numbers[:, :parameters], numbers[:, parameters:]


class ToyEar(Embedding):
    """Twelve smooth functions of all samples; zeros for silence."""

    name = "toy"

    def __init__(self, sample_rate: int = 1000, seconds: float = 0.008) -> None:
        self.sample_rate, self.seconds = sample_rate, seconds

    @property
    def settings(self) -> dict[str, Any]:
        return {"name": self.name, "sample_rate": self.sample_rate, "seconds": self.seconds}

    def embed_batch(self, audio: Tensor) -> Tensor:
        # A product a sound: a matrix product's bits may depend on how many rows it has.
        heard = (audio[:, :, None] * mixing(self.samples, 12)).sum(dim=1)
        return 10 * torch.tanh(heard)[:, None, :]
