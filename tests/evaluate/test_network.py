"""The network judge: chance for one law, certainty for different ones, nothing learnt of the groups it judges."""

from __future__ import annotations

import numpy as np
import pytest

from nebula_tune.evaluate import network
from nebula_tune.evaluate.network import told_apart_by_network

pytestmark = pytest.mark.usefixtures("quick")

FRAMES = 16  # pictures as small as the network takes, to be quick


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A short training of one network, over fewer folds."""
    for name, value in (("NETWORKS", 1), ("FOLDS", 3), ("EPOCHS", 6), ("LEAST_STEPS", 30)):
        monkeypatch.setattr(network, name, value)


def stripes(rng: np.random.Generator, sounds: int, period: float) -> np.ndarray:
    """Pictures (sounds, FRAMES, 64) of noise with some stripes over the bands."""
    phase = rng.uniform(0, 2 * np.pi, size=(sounds, 1, 1))
    lines = 0.25 * np.sin(2 * np.pi * np.arange(64) / period + phase)
    return np.clip(0.5 + lines + rng.normal(0, 0.1, size=(sounds, FRAMES, 64)), 0, 1).astype(np.float32)


def files(pictures: np.ndarray) -> list[str]:
    """Groups, where every sound is its own."""
    return [f"f{k}" for k in range(len(pictures))]


def test_two_draws_of_one_law_cannot_be_told_apart() -> None:
    rng = np.random.default_rng(0)
    x, y = stripes(rng, 60, 6), stripes(rng, 60, 6)
    assert 0.35 < told_apart_by_network(x, y, files(y), seeds=(0, 1)) < 0.65


def test_different_laws_always_can() -> None:
    rng = np.random.default_rng(1)
    x, y = stripes(rng, 40, 6), stripes(rng, 50, 9)
    found = told_apart_by_network(x, y, files(y))
    assert found > 0.95
    flat = [side.reshape(len(side), -1) for side in (x, y)]
    assert told_apart_by_network(*flat, files(y)) == found, "vectors as the cache has them"
