"""Where sounds come from: a folder, a nebula or constellation, or white noise."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nebula_tune.constellation import Constellation, load_sounds
from nebula_tune.nebula import Nebula, find_nebula
from nebula_tune.synth import Synth, synth1b1

WHITE_NOISE = "white-noise"


@dataclass(frozen=True)
class Source:
    """What to embed: a folder, a nebula or constellation, or white noise. Made by :meth:`parse`."""

    text: str
    nebula: Nebula | Constellation | None = None
    folder: Path | None = None

    @classmethod
    def parse(cls, text: str) -> Source:
        """A folder, a nebula's or constellation's file, a shipped nebula's name, or ``white-noise``.

        An existing path wins over a name.
        """
        path = Path(text)
        if path.is_dir():
            return cls(text, folder=path)
        if text == WHITE_NOISE and not path.exists():
            return cls(text)
        if find_nebula(text) is not None and (path.suffix == ".json" or not path.exists()):
            return cls(text, nebula=load_sounds(text))
        return cls(text, folder=path)  # whose reading says what is wrong with it

    @property
    def name(self) -> str:
        """A short name for a study of it."""
        return Path(self.text).stem.removesuffix(".constellation") if self.nebula else Path(self.text).resolve().name


def content_of(nebula: Nebula | Constellation, synth: type[Synth]) -> Any:
    """What a nebula's or constellation's sounds depend on, as JSON."""
    resolved = synth.resolve_sounds(nebula)
    if isinstance(resolved, Nebula):
        return resolved.entries()
    content = resolved.as_json()
    del content["provenance"]
    return content


def white_noise(indices: Iterable[int], samples: int) -> torch.Tensor:
    """White noise in [-1, 1), a pure function of each index, (sounds, samples)."""
    return torch.from_numpy(np.stack([synth1b1.uniform(index, samples) for index in indices]) * np.float32(2) - 1)
