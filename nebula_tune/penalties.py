"""Guards: what no distance minds and a listener does, counted on every sound of a trial.

The paper's own results were unpleasant by extreme pitches and wide pitch sweeps (sections 6.1 and 6.2). A guard is a
penalty in 0..1 a sound. Its mean over a nebula's sounds is a share, so a weighted guard adds to the search's value
with a gradient for nothing: to that derivative a sound contributes its penalty as it does its witness.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nebula_tune.arrays import Floats
from nebula_tune.corpus.prepare import is_silent, peak_of
from nebula_tune.synth import Synth

LOWEST, HIGHEST = 24, 108  # MIDI: C1, near the bottom of a piano, and C8, its top
WIDE_SWEEP = 24  # semitones
FULL_SCALE = 1 - 1e-6

# What is counted, in this order; a study's guard "pitch" weighs both extremes.
SHARES = ("silent", "clipped", "under_midi_24", "over_midi_108", "wide_sweep")


def penalties(synth: type[Synth], audio: Tensor, human: Tensor) -> Floats:
    """Penalties (sounds, SHARES) of audio (sounds, samples) rendered from human values (sounds, parameters).

    * silent: 1 where the peak stays under -80 dB of full scale.
    * clipped: 1 where the peak reaches full scale: the mix was too loud, and the synth scaled it down to its peak.
    * under_midi_24, over_midi_108: the share of the sound's level that oscillators have which rest below, above.
    * wide_sweep: the share of the level that oscillators have whose pitch can be moved over 24 semitones.
    """
    sounding = synth.sounding(human)
    extreme_or_swept = (sounding.pitch < LOWEST, sounding.pitch > HIGHEST, sounding.sweep > WIDE_SWEEP)
    shares = [(sounding.share * which).sum(dim=1) for which in extreme_or_swept]
    columns = [is_silent(audio).double(), (peak_of(audio) >= FULL_SCALE).double(), *shares]
    return torch.stack(columns, dim=1).cpu().numpy()
