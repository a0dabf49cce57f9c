"""The one preparation of sounds, alike for a target's files and a synth's output."""

from __future__ import annotations

from enum import StrEnum

import torch
from torch import Tensor

ONSET_DB = -40.0  # the onset is where a sound first comes within this of its peak
SILENT_DB = -80.0  # a sound whose peak (full scale 1) stays below this is silent
SILENT = 10 ** (SILENT_DB / 20)
BLOCK = 4096  # samples looked at together for an onset
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
    peak = peak_of(audio)
    silent = peak < SILENT
    prepared = audio.new_zeros(len(audio), samples)
    onsets = _onsets(audio, peak * 10 ** (ONSET_DB / 20)) if style is Prepare.ONSET else [0] * len(audio)
    for k, (onset, skip) in enumerate(zip(onsets, silent.tolist(), strict=True)):
        if not skip:
            part = audio[k, onset : onset + samples]
            prepared[k, : len(part)] = part
    rms = torch.linalg.vector_norm(prepared, dim=1, keepdim=True) / samples**0.5
    return prepared.mul_(torch.where(rms > 0, LEVEL_RMS / rms, 0.0))


def peak_of(audio: Tensor) -> Tensor:
    """(sounds,) largest absolute sample of sounds (sounds, samples)."""
    return torch.maximum(-audio.amin(dim=1), audio.amax(dim=1))


def is_silent(audio: Tensor) -> Tensor:
    """(sounds,) bool: whether the peak stays under -80 dB of full scale."""
    return peak_of(audio) < SILENT


def _onsets(audio: Tensor, threshold: Tensor) -> list[int]:
    """First sample of each sound at or over its threshold, looked for block by block: most are in the first."""
    onset = torch.full_like(threshold, -1, dtype=torch.int64)
    for start in range(0, audio.shape[1], BLOCK):
        loud = audio[:, start : start + BLOCK].abs() >= threshold[:, None]
        first = start + loud.to(torch.uint8).argmax(dim=1)  # of equals, argmax takes the first
        onset = torch.where((onset < 0) & loud.any(dim=1), first, onset)
        if bool((onset >= 0).all()):
            break
    return onset.tolist()
