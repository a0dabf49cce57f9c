"""A pool of random sounds as the first ear hears them: quick rather than exact, for it only says where to look.

Sounds are rendered at the ear's own rate, which saves the resampling, as version 1 of the preparation did; those that
come into question are heard again as files are. Parts are kept by content in the user's cache.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from nebula_tune.arrays import Raw, Vectors
from nebula_tune.corpus.cache import VectorCache, digest
from nebula_tune.corpus.prepare import Prepare
from nebula_tune.embedding.base import own_device
from nebula_tune.execution.where import Where
from nebula_tune.matching.hearing import Hearing, MatchEar, MatchPrior

QUICK = Prepare.ONSET_1
PART = 2048  # sounds rendered and kept together


@dataclass(frozen=True)
class Pool:
    """Random sounds: raw parameters (sounds, parameters), vectors (sounds, D), and the index of the first."""

    raw: Raw
    vectors: Vectors
    first_index: int

    def __len__(self) -> int:
        return len(self.raw)


def draw_pool(
    prior: MatchPrior,
    ear: MatchEar,
    first_index: int,
    sounds: int,
    *,
    where: Where,
    note: Callable[[str], None],
    progress: Callable[[int, int], None],
) -> Pool:
    """So many sounds from an index on, as one ear hears them.

    Args:
        prior: what they are drawn from.
        ear: that hears them.
        first_index: of the first sound.
        sounds: how many.
        where: on which executor they are rendered.
        note: told what a user should know of the workers.
        progress: called with the sounds that are done and how many there are.
    """
    raw = prior.draw(first_index, sounds)
    cache = VectorCache({"match": ear.embedding.settings, "prepare": QUICK})
    what = [prior.synth_name, prior.panel and prior.panel.digest, prior.nebula.entries(), own_device()]
    begins = range(0, sounds, PART)
    keys = [digest([*what, first_index + k, hashlib.sha256(raw[k : k + PART].tobytes()).hexdigest()]) for k in begins]
    parts: list[Vectors | None] = [cache.get(key) for key in keys]
    missing = [k for k, part in enumerate(parts) if part is None]
    if missing:
        progress(sounds - PART * len(missing), sounds)
        with Hearing(prior, [ear], QUICK, where, note) as hearing:
            for number, k in enumerate(missing, 1):
                begin = begins[k]
                part = hearing.vectors(raw[begin : begin + PART], first_index + begin)
                cache.put(keys[k], part)
                parts[k] = part
                progress(sounds - PART * (len(missing) - number), sounds)
    whole: Sequence[Vectors] = [part for part in parts if part is not None]
    return Pool(raw, np.concatenate(whole), first_index)
