"""The order of a blinded test."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from nebula_tune.listening.design import Design


@pytest.fixture(params=range(20))
def design(request: pytest.FixtureRequest) -> Design:
    return Design(64, np.random.default_rng(request.param))


def test_64_pairs_8_repeats_4_catches_each_balanced(design: Design) -> None:
    kinds = {kind: [t for t in design.trials if t.kind == kind] for kind in ("pair", "repeat", "catch")}
    assert {kind: len(trials) for kind, trials in kinds.items()} == {"pair": 64, "repeat": 8, "catch": 4}
    assert Counter(t.left for t in kinds["pair"]) == {"A": 32, "B": 32}
    assert Counter(t.left for t in kinds["repeat"]) == {"A": 4, "B": 4}
    assert Counter(t.left == "wrong" for t in kinds["catch"]) == {True: 2, False: 2}
    assert Counter(t.right if t.left == "wrong" else t.left for t in kinds["catch"]) == {"A": 2, "B": 2}


def test_every_a_meets_one_b_at_random(design: Design) -> None:
    met = [dict(design.plays[t.id]) for t in design.trials if t.kind == "pair"]
    assert sorted(pair["A"] for pair in met) == sorted(pair["B"] for pair in met) == list(range(64))
    assert sum(pair["A"] == pair["B"] for pair in met) < 8


def test_a_repeat_comes_later_with_its_sides_swapped(design: Design) -> None:
    place = {t.id: k for k, t in enumerate(design.trials)}
    for trial in design.trials:
        if trial.kind == "repeat":
            assert trial.of is not None
            assert design.plays[trial.id] == design.plays[trial.of][::-1]
            assert place[trial.id] > place[trial.of]


def test_the_seed_decides_and_seeds_differ() -> None:
    one, same, other = (Design(64, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert one.trials == same.trials and one.first_owner == same.first_owner
    assert [t.left for t in one.trials] != [t.left for t in other.trials]
    assert 5 < sum(Design(8, np.random.default_rng(seed)).first_owner == "A" for seed in range(30)) < 25


@pytest.mark.parametrize("pairs", [8, 9, 15, 33, 88])
def test_other_numbers_of_pairs_are_as_balanced_as_can_be(pairs: int) -> None:
    design = Design(pairs, np.random.default_rng(3))
    left = Counter(t.left for t in design.trials if t.kind == "pair")
    assert abs(left["A"] - left["B"]) == pairs % 2
    assert sum(t.kind == "repeat" for t in design.trials) == pairs // 8
    assert sum(t.kind == "catch" for t in design.trials) == max(1, pairs // 16)
