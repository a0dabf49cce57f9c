"""Constellations of the Voice for tests."""

from __future__ import annotations

import numpy as np

from nebula_tune.constellation import Constellation
from nebula_tune.synth import Voice


def constellation(atoms: int = 5, spread: float = 0.2, seed: int = 0, **more: object) -> Constellation:
    """Atoms drawn from the base nebula, unequal weights."""
    random = np.random.default_rng(seed)
    places = random.normal(size=(atoms, len(Voice.panel)))
    weights = random.uniform(0.5, 1.5, atoms)
    return Constellation(Voice.panel.default_nebula, Voice.panel.names, places, weights, spread, **more)  # type: ignore[arg-type]
