"""Two-sample classifier, novelty, and parts to validate on."""

from __future__ import annotations

import numpy as np
import pytest

from nebula_tune.corpus.groups import VALIDATION_ENOUGH, folds
from nebula_tune.distance import L1
from nebula_tune.evaluate.classifier_test import classifier_test
from nebula_tune.evaluate.novelty import nearest, novelty


def normal(sounds: int, shift: float = 0.0, seed: int = 0, dimensions: int = 30) -> np.ndarray:
    return np.random.default_rng(seed).normal(shift, 1, size=(sounds, dimensions)).astype(np.float32)


def test_the_classifier_cannot_tell_one_law_from_itself_and_can_tell_others() -> None:
    names = [str(i) for i in range(200)]
    assert abs(classifier_test(normal(200), normal(200, seed=1), names) - 0.5) < 0.12
    assert classifier_test(normal(200), normal(200, 1.0, seed=1), names) > 0.95
    assert 0.6 < classifier_test(normal(200), normal(200, 0.25, seed=1), names) < 0.9


def test_more_dimensions_than_sounds_and_constant_ones_do_no_harm() -> None:
    x, y = normal(40, dimensions=3000), normal(60, 0.3, seed=1, dimensions=3000)
    x[:, :5] = y[:, :5] = 1
    assert classifier_test(x, y, [str(i) for i in range(60)]) > 0.9
    assert classifier_test(np.ones_like(x), np.ones_like(x), [str(i) for i in range(40)]) <= 0.5


def test_sounds_of_one_group_do_not_tell_on_each_other() -> None:
    """20 groups of copies on either side, all of one law: a copy in the training part would give it away."""
    x, y = (np.repeat(normal(20, seed=seed), 8, axis=0) for seed in (0, 1))
    own = np.repeat(np.arange(20), 8).astype(str)
    alone = np.arange(160).astype(str)
    assert classifier_test(x, y, alone, alone) > 0.8
    assert abs(classifier_test(x, y, own, own) - 0.5) < 0.25


def test_novelty_sees_copies() -> None:
    real, other = normal(100), normal(50, seed=1)
    fresh = normal(80, seed=2)
    fresh[:20] = real[:20]
    told = novelty(fresh, normal(30, seed=3), real, other, L1())
    assert told.copies == pytest.approx(0.25, abs=0.06)
    assert told.to_target == pytest.approx(told.among_real, rel=0.15)
    assert np.array_equal(nearest(real[:5], real, L1()), np.zeros(5))
    assert nearest(real, None, L1()).min() > 0


@pytest.mark.parametrize("sounds", [12, 89, 4 * VALIDATION_ENOUGH + 10])
def test_parts_to_validate_on_keep_groups_whole(sounds: int) -> None:
    groups = [f"g{i // 3}" for i in range(sounds)]
    parts = folds(groups, 0)
    assert len(parts) == (1 if sounds > 4 * VALIDATION_ENOUGH else min(4, len(set(groups))))
    assert sum(parts).max() == 1  # type: ignore[union-attr]
    for part in parts:
        inside = {g for g, held in zip(groups, part, strict=True) if held}
        outside = {g for g, held in zip(groups, part, strict=True) if not held}
        assert inside and outside and not inside & outside
    if len(parts) > 1:
        assert sum(part.sum() for part in parts) == sounds
    assert not all(np.array_equal(a, b) for a, b in zip(parts, folds(groups, 1), strict=True))
