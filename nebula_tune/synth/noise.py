"""White noise that is the same in every run."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from nebula_tune.synth import synth1b1

ROWS = 32
SEED = 13


@lru_cache(maxsize=4)
def noise_rows(samples: int) -> np.ndarray:
    """The 32 rows of noise in [-1, 1), (32, samples) float32; sound g plays row g mod 32."""
    return synth1b1.uniform(SEED, ROWS * samples).reshape(ROWS, samples) * np.float32(2) - np.float32(1)
