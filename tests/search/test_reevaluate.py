"""Re-evaluation of the best trials."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from nebula_tune.search import Reevaluation


def run(again: Reevaluation, means: np.ndarray, noise: float = 0.0) -> Counter[int]:
    """Repeats that each candidate got."""
    random, repeats, seen = np.random.default_rng(0), Counter[int](), set()
    while pairs := again.ask():
        assert not seen & set(pairs), "no pair twice"
        seen |= set(pairs)
        repeats.update(candidate for candidate, _ in pairs)
        again.tell([means[candidate] + noise * random.standard_normal() for candidate, _ in pairs])
    assert sum(repeats.values()) == again.total
    return repeats


def test_the_papers_25_by_30_scores_each_candidate_30_times() -> None:
    again = Reevaluation(25, 30)
    assert set(run(again, np.arange(25.0)[::-1]).values()) == {30} and again.total == 750
    assert again.result() == 24


def test_halving_spends_its_repeats_on_the_best() -> None:
    again = Reevaluation(25, 30, halving=True)
    repeats = run(again, np.arange(25.0))
    # 25 candidates twice, 13 to 4 times, 7 to 8, 4 to 15, 2 to 30
    assert [repeats[k] for k in (0, 1, 2, 3, 4, 6, 7, 12, 13, 24)] == [30, 30, 15, 15, 8, 8, 4, 4, 2, 2]
    assert again.total < 750 / 4 and again.result() == 0


@pytest.mark.parametrize("candidates", [1, 2, 3, 27])
@pytest.mark.parametrize("repeats", [1, 2, 4, 30])
@pytest.mark.parametrize("halving", [False, True])
def test_the_best_is_found_whatever_the_numbers(candidates: int, repeats: int, halving: bool) -> None:
    again = Reevaluation(candidates, repeats, halving)
    means = np.random.default_rng(3).permutation(candidates).astype(float)
    assert run(again, means)[int(means.argmin())] == repeats
    assert again.result() == means.argmin()


def test_under_noise_halving_picks_nearly_as_well_as_all_repeats() -> None:
    means = np.linspace(0, 2, 25)
    lost = [[], []]
    for seed in range(200):
        for halving in (False, True):
            again, random = Reevaluation(25, 16, halving), np.random.default_rng(seed)
            shared = 2 * random.standard_normal((25, 16))
            while pairs := again.ask():
                again.tell([means[c] + shared[c, r] for c, r in pairs])
            lost[halving].append(means[again.result()])
    exact, halved = (np.mean(values) for values in lost)
    assert exact < 0.3 and halved < exact + 0.2


def test_of_equals_the_first_wins() -> None:
    again = Reevaluation(4, 3)
    run(again, np.zeros(4))
    assert again.result() == 0
