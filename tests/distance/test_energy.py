"""The l1 MMD by sorting, against direct double sums and scipy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import energy_distance

from nebula_tune.distance import L1, SortedCorpus, energy, l1_mmd, mean_within
from nebula_tune.errors import UserInputError
from nebula_tune.testing import direct

# Few values, so that ties and whole duplicates are common; or any at all, of very different sizes.
few = st.sampled_from([-1.0, 0.0, 0.5, 2.0])
any_size = st.floats(-1e4, 1e4, width=32)
Corpora = tuple[np.ndarray, np.ndarray]

pytestmark = pytest.mark.usefixtures("one_thread")


@st.composite
def two_corpora(draw: st.DrawFn, least: int = 2) -> Corpora:
    dimensions, elements = draw(st.integers(1, 4)), draw(st.sampled_from([few, any_size]))

    def one() -> np.ndarray:
        return draw(arrays(np.float32, (draw(st.integers(least, 8)), dimensions), elements=elements))

    return one(), one()


def near(value: float, x: np.ndarray, y: np.ndarray) -> object:
    return pytest.approx(value, rel=1e-9, abs=1e-11 * scale(x, y))


def scale(x: np.ndarray, y: np.ndarray) -> float:
    return 1 + float(np.abs(x).max() + np.abs(y).max())


@settings(max_examples=150, deadline=None)
@given(two_corpora())
def test_eq_2_and_the_unbiased_estimate_are_the_direct_double_sums(corpora: Corpora) -> None:
    x, y = corpora
    result = l1_mmd(x, y)
    assert result.mmd == near(direct.mmd(x, y), x, y)
    assert result.mmd_unbiased == near(direct.unbiased(x, y), x, y)
    assert (result.n, result.m) == (len(x), len(y))


@settings(max_examples=100, deadline=None)
@given(two_corpora())
def test_eq_2_is_scipys_energy_distance_summed_over_dimensions(corpora: Corpora) -> None:
    x, y = (corpus.astype(np.float64) for corpus in corpora)
    expected = sum(energy_distance(x[:, k], y[:, k]) ** 2 for k in range(x.shape[1]))
    # scipy's is a root, so its square has the rounding of the largest values
    assert l1_mmd(x, y).mmd == pytest.approx(expected, rel=1e-6, abs=1e-9 * scale(x, y))


@settings(max_examples=100, deadline=None)
@given(two_corpora())
def test_the_witness_is_made_of_each_sounds_own_sums(corpora: Corpora) -> None:
    x, y = corpora
    to_x = direct.distances(x, x).sum(axis=1) / (len(x) - 1)
    expected = 2 * direct.distances(x, y).mean(axis=1) - 2 * to_x
    np.testing.assert_allclose(l1_mmd(x, y).witness, expected, rtol=1e-9, atol=1e-7)


@settings(max_examples=100, deadline=None)
@given(two_corpora(least=4), st.data())
def test_sounds_of_one_group_are_never_compared(corpora: Corpora, data: st.DataObject) -> None:
    x, y = corpora
    groups = []
    for corpus in corpora:
        names = data.draw(st.lists(st.sampled_from("abc"), min_size=len(corpus) - 2, max_size=len(corpus) - 2))
        groups.append([*names, "a", "z"])  # at least two groups
    result = l1_mmd(x, y, *groups)
    assert result.mmd_unbiased == near(direct.unbiased(x, y, *groups), x, y)
    assert result.mmd == near(direct.mmd(x, y), x, y), "eq. 2 knows no groups"
    assert mean_within(x, groups[0]) == near(direct.between(x, groups[0]), x, y)


def test_equal_corpora_are_at_distance_0_and_duplicates_change_nothing_in_eq_2() -> None:
    x = np.random.default_rng(0).normal(size=(20, 5)).astype(np.float32)
    y = np.random.default_rng(1).normal(size=(9, 5)).astype(np.float32)
    assert l1_mmd(x, x[::-1]).mmd == pytest.approx(0, abs=1e-12)
    assert l1_mmd(np.repeat(x, 3, axis=0), y).mmd == pytest.approx(l1_mmd(x, y).mmd)
    assert l1_mmd(y, x).mmd == pytest.approx(l1_mmd(x, y).mmd)


def test_sums_are_exact_where_float32_sums_are_not() -> None:
    # a large offset costs float32 most digits of a sum of 5,000 values, and float64 none that matter
    rng = np.random.default_rng(2)
    x, y = (rng.normal(1000, 1, size=(n, 3)).astype(np.float32) for n in (50, 5000))
    np.testing.assert_allclose(
        SortedCorpus(torch.from_numpy(y)).sums(torch.from_numpy(x)).numpy(),
        direct.distances(x, y).sum(axis=1),
        rtol=1e-11,
    )


@pytest.mark.parametrize("numbers", [1, 60, 130])
def test_sums_are_the_same_over_many_slices_of_dimensions(monkeypatch: pytest.MonkeyPatch, numbers: int) -> None:
    rng = np.random.default_rng(3)
    x, y = (torch.from_numpy(rng.normal(size=(n, 13)).astype(np.float32)) for n in (9, 20))
    whole = SortedCorpus(y).sums(x)
    monkeypatch.setattr(energy, "SLICE", numbers)
    assert len(energy._slices(13, 29)) > 1
    torch.testing.assert_close(SortedCorpus(y).sums(x), whole, rtol=1e-13, atol=0)


def test_frames_count_as_dimensions() -> None:
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(5, 3, 4)), rng.normal(size=(6, 3, 4))
    assert l1_mmd(x, y).mmd == l1_mmd(x.reshape(5, 12), y.reshape(6, 12)).mmd


def test_256_sounds_against_10000_in_512_dimensions() -> None:
    rng = np.random.default_rng(5)
    x, y = (rng.standard_normal((n, 512), dtype=np.float32) for n in (256, 10_000))
    result = l1_mmd(x, y)
    some = [0, 100, 255]
    to_x = L1().within(torch.from_numpy(x)).numpy()[some] / 255
    assert to_x == pytest.approx([direct.distances(x[i : i + 1], x).sum() / 255 for i in some])
    expected = [2 * direct.distances(x[i : i + 1], y).mean() - 2 * d for i, d in zip(some, to_x, strict=True)]
    assert result.witness[some] == pytest.approx(expected, rel=1e-9, abs=1e-8)
    # one law: the unbiased estimate is near 0 beside a mean distance of 512 * 2 / sqrt(pi)
    assert abs(result.mmd_unbiased) < 0.5
    assert result.mmd - result.mmd_unbiased == pytest.approx(512 * 2 / np.sqrt(np.pi) * (1 / 256 + 1e-4), rel=0.02)


GOOD = np.zeros((4, 2))


@pytest.mark.parametrize(
    ("x", "y", "groups", "message"),
    [
        (3.0, GOOD, None, "x must be"),
        (np.zeros(4), GOOD, None, "x must be"),
        (GOOD, np.zeros((1, 2)), None, "y must be"),
        (np.zeros((0, 2)), GOOD, None, "x must be"),
        (np.zeros((4, 0)), np.zeros((4, 0)), None, "x must be"),
        ([[1, 2], [3]], GOOD, None, "x must be numbers"),
        ([["a", "b"], ["c", "d"]], GOOD, None, "x must be numbers"),
        (np.zeros((4, 3)), GOOD, None, "3 dimensions and y has 2"),
        (GOOD, np.array([[0, 1], [np.nan, 0]]), None, "y holds numbers that are not finite"),
        (np.array([[0, 1], [np.inf, 0]]), GOOD, None, "x holds numbers that are not finite"),
        (GOOD, GOOD, ["a"] * 4, "at least two groups"),
        (GOOD, GOOD, ["a", "b"], "one group for each sound"),
        (GOOD, GOOD, [], "one group for each sound"),
    ],
)
def test_what_cannot_be_compared_is_refused(x: object, y: object, groups: object, message: str) -> None:
    with pytest.raises(UserInputError, match=message) as caught:
        l1_mmd(x, y, groups)
    assert "\n" not in str(caught.value)
    if groups is not None:
        with pytest.raises(UserInputError, match="groups of y"):
            l1_mmd(x, y, None, groups)
