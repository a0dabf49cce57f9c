"""Human values to audio: presets, played many at a time, mixed to one channel."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from nebula_tune.machine import cores
from nebula_tune.synth.backends import spread
from nebula_tune.synth.hosted import fitted
from nebula_tune.synth.vital.player import IDLE
from nebula_tune.synth.vital.preset import PresetMaker

FADE = 0.02  # seconds: Vital fades a rendering out at its end, which is left off


class VitalRenderer:
    """Renders a panel's sounds.

    Args:
        maker: of presets.
        samples: of a sound.
        sample_rate: Hz of the audio; Vital's own rate is resampled to it.
        threads: sounds played at a time; None for one a core. It cannot change a bit of the audio.
    """

    def __init__(self, maker: PresetMaker, samples: int, sample_rate: int, threads: int | None) -> None:
        self._maker, self._samples, self._rate, self._threads = maker, samples, sample_rate, threads

    def __call__(self, human: Tensor, first_index: int) -> Tensor:
        """Audio (sounds, samples) float32 of human values (sounds, parameters), on their device."""
        values = human.detach().cpu().numpy()
        output = np.zeros((len(values), self._samples), dtype=np.float32)
        seconds = self._samples / self._rate + FADE

        def render(begin: int, end: int) -> None:
            with IDLE.process() as process:
                for k in range(begin, end):
                    preset = self._maker.preset(values[k], first_index + k, whole=False)
                    note = self._maker.note(values[k])
                    stereo = process.play(preset, note, seconds, shared=self._maker.shared)
                    sound = fitted(stereo.mean(axis=0, dtype=np.float32), self._rate, self._samples)
                    output[k, : len(sound)] = sound

        spread(render, len(values), self._threads or cores())
        return torch.from_numpy(output).to(human.device)
