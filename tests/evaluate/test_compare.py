"""Distances between corpora: what the rows promise, by direct sums and by simulation."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from nebula_tune.corpus.groups import GroupBy
from nebula_tune.distance import l1_mmd, make_distance
from nebula_tune.embedding.embed import Embedded
from nebula_tune.errors import SettingsError
from nebula_tune.evaluate.compare import ComparedCorpus, measure
from nebula_tune.evaluate.comparison import Distances, Protocol
from nebula_tune.testing import direct
from tests.distance.test_inference import deviation_of

pytestmark = pytest.mark.usefixtures("one_thread")


def corpus(name: str, vectors: np.ndarray, groups: np.ndarray | None = None) -> ComparedCorpus:
    names = tuple(f"{name}{k}" for k in range(len(vectors)))
    embedded = Embedded(vectors.astype(np.float32), names, names, ("",) * len(names), ())
    return ComparedCorpus(name, embedded, GroupBy.FILE, np.arange(len(vectors)) if groups is None else groups)


def rows(corpora: list[ComparedCorpus], distance: str = "l1", **how: int) -> dict[str, Distances]:
    found, _ = measure(corpora, make_distance(distance), Protocol(**{"trials": 20, **how}), lambda done, total: None)
    assert all(a.mmd_mean <= b.mmd_mean for a, b in pairwise(found)), "nearest first"
    return {f"{row.a}{row.b}": row for row in found}


def kits(rng: np.random.Generator, count: int, sounds: int, shift: float = 0) -> tuple[np.ndarray, np.ndarray]:
    """Sounds of kits that differ by more than the sounds of a kit do."""
    centres = rng.normal(shift, 1, size=(count, 1, 3))
    vectors = (centres + rng.normal(0, 0.3, size=(count, sounds, 3))).reshape(-1, 3)
    return vectors, np.repeat(np.arange(count), sounds)


def test_each_pair_and_each_corpus_with_itself() -> None:
    rng = np.random.default_rng(0)
    corpora = [corpus(name, rng.normal(shift, 1, size=(20 + 4 * shift, 3))) for shift, name in enumerate("abc")]
    found = rows(corpora)
    assert sorted(found) == ["aa", "ab", "ac", "bb", "bc", "cc"]
    assert [found[key].n for key in ("aa", "ab", "bc", "cc")] == [10, 10, 12, 14]
    assert found["aa"].p_value is None and found["ac"].p_value == 0.001
    assert [row.n for row in rows(corpora, n=5).values()] == [5] * 6
    with pytest.raises(SettingsError, match="--n 21: a trial takes no more than the 20 sounds"):
        rows(corpora, n=21)


@pytest.mark.parametrize("distance", ["l1", "euclidean"])
def test_the_unbiased_estimate_is_the_direct_double_sum(distance: str) -> None:
    rng = np.random.default_rng(1)
    (x, gx), (y, gy) = kits(rng, 5, 4), kits(rng, 4, 6, 0.5)
    found = rows([corpus("x", x, gx), corpus("y", y, gy)], distance)["xy"]
    if distance == "l1":
        assert found.mmd_unbiased == pytest.approx(direct.unbiased(x, y, gx, gy), rel=1e-5)
        result = l1_mmd(x, y, gx, gy)
        assert found.ci95 == pytest.approx(list(result.ci95), rel=1e-5)
        assert found.p_value == result.p_value
    else:
        assert found.mmd_unbiased != pytest.approx(direct.unbiased(x, y, gx, gy), rel=0.01)


@pytest.fixture
def few_permutations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nebula_tune.distance.inference.PERMUTATIONS", 99)


@pytest.mark.usefixtures("few_permutations")
def test_two_samples_of_one_law_cover_0_in_at_least_95_percent_of_200_repeats() -> None:
    rng = np.random.default_rng(2)
    found = [rows([corpus(name, rng.normal(size=(20, 2))) for name in "xy"], trials=2)["xy"] for _ in range(200)]
    assert np.mean([row.ci95[0] == 0 for row in found]) >= 0.95
    assert 0.01 <= np.mean([row.p_value <= 0.05 for row in found]) <= 0.10
    assert abs(np.mean([row.mmd_unbiased for row in found])) < 0.3 * np.std([r.mmd_unbiased for r in found])


@pytest.mark.usefixtures("few_permutations")
def test_kits_of_one_law_cover_0_by_group_only() -> None:
    rng = np.random.default_rng(3)
    grouped, single = [], []
    for _ in range(40):
        (x, gx), (y, gy) = kits(rng, 16, 4), kits(rng, 16, 4)
        grouped.append(rows([corpus("x", x, gx), corpus("y", y, gy)], trials=2)["xy"])
        single.append(rows([corpus("x", x), corpus("y", y)], trials=2)["xy"])
    assert np.mean([row.ci95[0] == 0 for row in grouped]) >= 0.95
    assert np.mean([row.ci95[0] == 0 for row in single]) < 0.7


@pytest.mark.usefixtures("few_permutations")
def test_a_shifted_law_is_found_and_its_distance_covered() -> None:
    rng = np.random.default_rng(4)
    truth = 20 * deviation_of(1)
    pairs = [(rng.normal(size=(30, 20)), rng.normal(1, 1, size=(30, 20))) for _ in range(100)]
    found = [rows([corpus("x", x), corpus("y", y)], trials=2)["xy"] for x, y in pairs]
    assert all(row.p_value <= 0.05 for row in found)
    assert np.mean([row.ci95[0] <= truth <= row.ci95[1] for row in found]) >= 0.9


def test_a_corpus_with_itself_shows_what_chance_makes_of_its_halves() -> None:
    rng = np.random.default_rng(5)
    x, groups = kits(rng, 10, 6)
    by_file, by_kit = rows([corpus("x", x)] * 2)["xx"], rows([corpus("x", x, groups)] * 2)["xx"]
    for row in (by_file, by_kit):
        assert row.ci95[0] == 0 < row.ci95[1] and abs(row.mmd_unbiased) < row.ci95[1] / 4
    assert by_kit.ci95[1] > 3 * by_file.ci95[1], "kits are few and differ"


def test_contributions_of_files_add_up_and_point_at_the_odd_one() -> None:
    rng = np.random.default_rng(6)
    x, y = rng.normal(size=(20, 3)), rng.normal(size=(25, 3))
    y[7] += 30
    corpora = [corpus("x", x), corpus("y", y)]
    found, files = measure(corpora, make_distance("l1"), Protocol(trials=5), lambda done, total: None)
    unbiased = next(row for row in found if row.a != row.b).mmd_unbiased
    assert len(files) == 45
    for name, other in (("x", "y"), ("y", "x")):
        own = [one for one in files if one.corpus == name]
        assert {one.against for one in own} == {other}
        assert np.mean([one.contribution for one in own]) == pytest.approx(unbiased, rel=1e-5)
        assert [one.contribution for one in own] == sorted((one.contribution for one in own), reverse=True)
    farthest = next(one for one in files if one.corpus == "y")
    assert farthest.file == "y7"
    assert farthest.distance_to_other == pytest.approx(direct.distances(x, y)[:, 7].mean(), rel=1e-5)


def test_contributions_add_up_by_group_too() -> None:
    rng = np.random.default_rng(7)
    (x, gx), (y, gy) = kits(rng, 5, 4), kits(rng, 4, 6, 0.5)
    corpora = [corpus("x", x, gx), corpus("y", y, gy)]
    found, files = measure(corpora, make_distance("l1"), Protocol(trials=5), lambda done, total: None)
    unbiased = next(row for row in found if row.a != row.b).mmd_unbiased
    for name in "xy":
        parts = [one.contribution for one in files if one.corpus == name]
        assert np.mean(parts) == pytest.approx(unbiased, rel=1e-5)


@pytest.mark.parametrize("how", [{"sounds": 5}, {"trials": 1}, {"n": 1}, {"group_by": "kit"}, {"seed": -1}])
def test_impossible_protocols_are_refused(how: dict) -> None:
    with pytest.raises(SettingsError, match=f"--{next(iter(how)).replace('_', '-')}"):
        Protocol(**how)
