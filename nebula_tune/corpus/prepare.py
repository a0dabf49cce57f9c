"""The one preparation of sounds, alike for a target's files and a synth's output."""

from __future__ import annotations

from enum import StrEnum

import torch
from torch import Tensor

ONSET_DB = -40.0  # the onset is where a sound first comes within this of its peak
SILENT_DB = -80.0  # a sound whose peak (full scale 1) stays below this is silent
LEVEL_RMS = 0.1  # -20 dB of full scale
LEAD_SECONDS = 0.5  # rendered beyond the wanted length, so that trimming an onset does not shorten a sound


class Prepare(StrEnum):
    """What is done to every sound before it is embedded."""

    ONSET = "onset"  # trim to the onset, cut or pad, level
    RMS_ONLY = "rms-only"  # cut or pad, level: as the paper did (section 4.1)

    def render_seconds(self, seconds: float) -> float:
        """How long a synth must render so that ``seconds`` are left."""
        return seconds + LEAD_SECONDS if self is Prepare.ONSET else seconds


def prepare(audio: Tensor, samples: int, style: Prepare = Prepare.ONSET) -> Tensor:
    """Sounds (sounds, any length) trimmed to their onset, cut or zero-padded to ``samples``, and levelled to one RMS.

    Silent sounds come back as zeros.
    """
    peak = audio.abs().amax(dim=1, keepdim=True)
    silent = is_silent(audio)[:, None]
    if style is Prepare.ONSET:
        threshold = torch.where(silent, torch.inf, peak * 10 ** (ONSET_DB / 20))
        onset = (audio.abs() >= threshold).to(torch.uint8).argmax(dim=1, keepdim=True)  # the first maximum
        source = torch.arange(samples, device=audio.device) + onset
        inside = source < audio.shape[1]
        audio = torch.where(inside, audio.gather(1, source.clamp(max=audio.shape[1] - 1)), 0.0)
    elif audio.shape[1] >= samples:
        audio = audio[:, :samples]
    else:
        audio = torch.nn.functional.pad(audio, (0, samples - audio.shape[1]))
    rms = audio.square().mean(dim=1, keepdim=True, dtype=torch.float64).sqrt().float()
    return torch.where(silent | (rms == 0), 0.0, audio * (LEVEL_RMS / rms.clamp(min=1e-12)))


def is_silent(audio: Tensor) -> Tensor:
    """(sounds,) bool: whether the peak stays under -80 dB of full scale."""
    return audio.abs().amax(dim=1) < 10 ** (SILENT_DB / 20)
