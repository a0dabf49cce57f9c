"""The one preparation of sounds, alike for a target's files and a synth's output."""

from __future__ import annotations

from enum import StrEnum

import torch
from torch import Tensor

from nebula_tune.corpus.resample import resampled

ONSET_DB = -40.0  # the onset is where a sound first comes within this of its peak
SILENT_DB = -80.0  # a sound whose peak (full scale 1) stays below this is silent
SILENT = 10 ** (SILENT_DB / 20)
BLOCK = 4096  # samples looked at together for an onset
LEVEL_RMS = 0.1  # -20 dB of full scale
RENDER_RATE = 44100  # Hz, at which synths are used: what an ear gets is made of that, as it is of files
LEAD_SECONDS = 0.5  # rendered beyond the wanted length, so that trimming an onset does not shorten a sound
STRETCHES = 16  # of a sound that a constant offset has to be the same in
SHORTEST_STRETCH = 16  # samples; a sound of shorter ones tells no offset from chance
STEADY = 4.0  # median deviations of the stretches' means that an offset exceeds
LEAST_OFFSET = 0.004  # share of a sound's peak; the onset's threshold is 0.01, so a smaller offset moves no onset


class Prepare(StrEnum):
    """What is done to every sound before it is embedded.

    A study stores the value. A user's ``onset`` means the newest version (:meth:`named`); a stored "onset" is version
    1.
    """

    ONSET = "onset-2"  # take out a constant offset, resample as files are, trim to the onset, cut or pad, level
    ONSET_1 = "onset"  # offset left in, a synth's sounds rendered at the ear's own rate: studies begun with version 1
    RMS_ONLY = "rms-only"  # cut or pad, level: as the paper did (section 4.1)

    @classmethod
    def named(cls, text: str) -> Prepare:
        """By the name that users write: onset, rms-only, or one version of onset. Raises ValueError for any other."""
        return {"onset": cls.ONSET, "onset-1": cls.ONSET_1}.get(text) or cls(text)

    @property
    def spelling(self) -> str:
        """The name that users write for this very version."""
        return "onset-1" if self is Prepare.ONSET_1 else self.value

    @property
    def trims(self) -> bool:
        """Whether a sound begins at its onset."""
        return self is not Prepare.RMS_ONLY

    def render_seconds(self, seconds: float) -> float:
        """How long a synth must render so that ``seconds`` are left."""
        return seconds + LEAD_SECONDS if self.trims else seconds

    def render_rate(self, sample_rate: int) -> int:
        """At how many Hz a synth must render for an ear at ``sample_rate`` Hz."""
        return RENDER_RATE if self is Prepare.ONSET else sample_rate


def as_read(audio: Tensor, rate: int, sample_rate: int, style: Prepare) -> Tensor:
    """A synth's sounds (sounds, samples) at ``rate`` Hz as a file of them would be read at ``sample_rate`` Hz.

    A filter at the edge of hearing is what a classifier finds first: rendered at an ear's own rate, sounds reach up to
    its Nyquist frequency, and files that were resampled do not.

    Args:
        audio: sounds as a synth rendered them, (sounds, samples).
        rate: Hz of these.
        sample_rate: Hz of those that come back.
        style: under ONSET a constant offset is taken out, as it is of files.
    """
    if style is Prepare.ONSET:
        audio = without_offset(audio)
    return resampled(audio, rate, sample_rate)


def prepare(audio: Tensor, samples: int, style: Prepare = Prepare.ONSET) -> Tensor:
    """Sounds (sounds, any length) trimmed to their onset, cut or zero-padded to ``samples``, and levelled to one RMS.

    Silent sounds come back as zeros; so does a constant, but for the paper's preparation and version 1 of ours.
    """
    if style is Prepare.ONSET:
        audio = without_offset(audio)
    peak = peak_of(audio)
    silent = peak < SILENT
    prepared = audio.new_zeros(len(audio), samples)
    onsets = _onsets(audio, peak * 10 ** (ONSET_DB / 20)) if style.trims else [0] * len(audio)
    for k, (onset, skip) in enumerate(zip(onsets, silent.tolist(), strict=True)):
        if not skip:
            part = audio[k, onset : onset + samples]
            prepared[k, : len(part)] = part
    rms = torch.linalg.vector_norm(prepared, dim=1, keepdim=True) / samples**0.5
    return prepared.mul_(torch.where(rms > 0, LEVEL_RMS / rms, 0.0))


def without_offset(audio: Tensor) -> Tensor:
    """Sounds (sounds, samples) less each one's constant offset; a sound without one comes back bit for bit.

    An offset is what stays the same through the whole sound: the median of the means of overlapping stretches (under
    Hann windows, which low notes hardly leak through), where it exceeds their median deviation
    :data:`STEADY` times, and where it is what the sound as a whole averages. Subtracting a constant changes nothing
    above 0 Hz and puts no energy before the onset, as a high-pass filter would that starts from silence.
    """
    hop = audio.shape[1] // STRETCHES
    if hop < SHORTEST_STRETCH:
        return audio
    window = torch.hann_window(2 * hop, dtype=audio.dtype, device=audio.device)
    halves = (window / window.sum()).view(2, hop).T
    # Sound by sound, each in memory of its own: products of several at once, or elsewhere aligned, may differ in their
    # last bits.
    parts = torch.stack([sound[: hop * STRETCHES].clone().view(STRETCHES, hop) @ halves for sound in audio])
    means = parts[:, :-1, 0] + parts[:, 1:, 1]
    offset = means.median(dim=1).values
    deviation = (means - offset[:, None]).abs().median(dim=1).values
    peak = torch.maximum(offset - audio.amin(dim=1), audio.amax(dim=1) - offset)  # of what is left
    size = offset.abs()
    far_from_mean = (means.mean(dim=1) - offset).abs() > torch.maximum(peak / 4, 1e-3 * size)
    kept = (size <= STEADY * deviation) | (size <= LEAST_OFFSET * peak) | far_from_mean
    if bool(kept.all()):
        return audio
    return audio - torch.where(kept, 0.0, offset)[:, None]


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
