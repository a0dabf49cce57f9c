"""Groups, and the split that keeps them together."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from nebula_tune.corpus.groups import HELD_OUT_LEAST, GroupBy, hold_out
from nebula_tune.embedding.embed import Embedded
from nebula_tune.errors import CorpusError

sizes = st.lists(st.integers(1, 12), min_size=1, max_size=60)


def named(sizes: list[int]) -> list[str]:
    return [f"group-{k}" for k, size in enumerate(sizes) for _ in range(size)]


@settings(max_examples=150, deadline=None)
@given(sizes, st.integers(0, 1000), st.randoms(use_true_random=False))
def test_whole_groups_are_held_out_whatever_the_order(sizes: list[int], seed: int, random: object) -> None:
    groups = named(sizes)
    try:
        held = hold_out(groups, seed)
    except CorpusError:
        return
    chosen = {group for group, out in zip(groups, held, strict=True) if out}
    kept = {group for group, out in zip(groups, held, strict=True) if not out}
    assert not chosen & kept and len(chosen) >= 2 and len(kept) >= 2
    wanted = max(HELD_OUT_LEAST, round(0.2 * len(groups)))
    # enough, and without the last group taken not enough (or not two groups)
    assert held.sum() >= wanted
    assert held.sum() < wanted + max(sizes) or len(chosen) == 2
    order = list(range(len(groups)))
    random.shuffle(order)
    again = hold_out([groups[i] for i in order], seed)
    assert again.tolist() == held[order].tolist()


@settings(max_examples=60, deadline=None)
@given(st.integers(16, 500), st.integers(0, 2**31 - 1))
def test_of_single_files_a_fifth_and_at_least_8_are_held_out(sounds: int, seed: int) -> None:
    held = hold_out([f"{k}" for k in range(sounds)], seed)
    assert held.sum() == max(8, round(sounds / 5))
    assert held.dtype == bool and held.shape == (sounds,)


def test_the_split_changes_with_the_seed_and_every_sound_has_its_turn() -> None:
    groups = [f"{k}" for k in range(100)]
    splits = np.stack([hold_out(groups, seed) for seed in range(200)])
    assert np.array_equal(splits[3], hold_out(groups, 3))
    assert len(np.unique(splits, axis=0)) == 200
    counts = splits.sum(axis=0)  # each is binomial (200, 0.2)
    assert counts.min() > 15 and counts.max() < 70


def test_one_group_that_is_most_of_the_corpus_is_fitted_not_held_out() -> None:
    for seed in range(20):
        assert 32 <= hold_out(named([100, 15, 15, 15, 15]), seed).sum() <= 45


@pytest.mark.parametrize("sizes", [[1, 1, 1], [100], [100, 5], [3, 3, 3], [50, 50, 50], [1] * 9])
def test_too_few_groups_are_refused(sizes: list[int]) -> None:
    with pytest.raises(CorpusError, match=f"{sum(sizes)} sounds in {len(sizes)} groups"):
        hold_out(named(sizes), 0)


def embedded(folders: list[str], keys: list[str], names: list[str] | None = None) -> Embedded:
    names = names or [f"{folder}/{key}.wav" for folder, key in zip(folders, keys, strict=True)]
    return Embedded(np.zeros((len(keys), 1), np.float32), tuple(keys), tuple(names), tuple(folders), ())


@pytest.mark.parametrize(("folders", "expected"), [(29, GroupBy.FILE), (30, GroupBy.FOLDER)])
def test_auto_groups_by_folder_where_30_folders_hold_several(folders: int, expected: GroupBy) -> None:
    names = [f"kit-{k}" for k in range(folders) for _ in range(2)] + [f"single-{k}" for k in range(50)]
    assert GroupBy.AUTO.resolve(names) is expected
    assert GroupBy.FILE.resolve(names) is GroupBy.FILE and GroupBy.FOLDER.resolve(names) is GroupBy.FOLDER


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 7), min_size=20, max_size=40), st.sampled_from([GroupBy.FILE, GroupBy.FOLDER]))
def test_the_split_does_not_depend_on_the_names_of_files_and_folders(kits: list[int], by: GroupBy) -> None:
    assume(len(set(kits)) > 6)
    keys = [f"{k * 2654435761 % 2**32:08x}" for k in range(len(kits))]
    here = embedded([f"kit-{kit}" for kit in kits], keys)
    there = embedded([f"renamed/{7 - kit}" for kit in kits], keys, [f"{k}.flac" for k in range(len(kits))])
    assert here.content == there.content
    groups, others = here.groups(by)[1], there.groups(by)[1]
    assert groups == others
    assert sorted(Counter(groups).values()) == sorted(Counter(kits if by is GroupBy.FOLDER else keys).values())
    try:
        held = hold_out(groups, 1)
    except CorpusError:
        return
    assert held.tolist() == hold_out(others, 1).tolist()
