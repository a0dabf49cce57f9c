"""Every distance against the contract, against scipy, and what each is for."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from scipy.stats import energy_distance

from nebula_tune.distance import (
    DISTANCES,
    L1,
    Distance,
    Euclidean,
    Gaussian,
    Joint,
    Part,
    kernel,
    l1_mmd,
    make_distance,
    mean_within,
    mmd,
)
from nebula_tune.distance.joint import terms
from nebula_tune.errors import UserInputError
from nebula_tune.testing import DistanceContract
from tests.contracts import under

pytestmark = pytest.mark.usefixtures("one_thread")


class TestL1(DistanceContract):
    distance = L1()

    def matrix(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return cdist(x.astype(np.float64), y.astype(np.float64), "cityblock")


class TestEuclidean(DistanceContract):
    distance = Euclidean()

    def matrix(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return cdist(x.astype(np.float64), y.astype(np.float64), "euclidean")


class TestGaussian(DistanceContract):
    distance = Gaussian(bandwidth=4.0)

    def matrix(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return 1 - np.exp(-cdist(x.astype(np.float64), y.astype(np.float64), "sqeuclidean") / (2 * 4.0**2))


class TestJoint(DistanceContract):
    distance = Joint([Part("a", 2, L1(), 0.5), Part("b", 5, Gaussian(4.0), 3.0)])

    def matrix(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return 0.5 * TestL1.matrix(None, x[:, :2], y[:, :2]) + 3 * TestGaussian.matrix(None, x[:, 2:], y[:, 2:])


def normals(seed: int, sounds: int, dimensions: int, shift: float = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(shift, 1, size=(sounds, dimensions)).astype(np.float32)


def test_every_distance_keeps_the_contract() -> None:
    assert {kind.distance.name for kind in under(DistanceContract, "distance")} >= set(DISTANCES)


@pytest.mark.parametrize("name", ["l1", "euclidean"])
def test_in_one_dimension_eq_2_is_scipys_energy_distance(name: str) -> None:
    x, y = normals(0, 50, 1), normals(1, 70, 1, shift=0.5)
    expected = energy_distance(x[:, 0], y[:, 0]) ** 2
    assert mmd(x, y, make_distance(name)).mmd == pytest.approx(expected, rel=1e-5)


def test_the_gaussian_distance_gives_the_squared_mmd_of_its_kernel() -> None:
    x, y = normals(0, 30, 3), normals(1, 40, 3, shift=1)

    def kernel_mean(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.exp(-cdist(a, b, "sqeuclidean") / (2 * 1.7**2)).mean())

    expected = kernel_mean(x, x) + kernel_mean(y, y) - 2 * kernel_mean(x, y)
    assert mmd(x, y, Gaussian(1.7)).mmd == pytest.approx(expected, rel=1e-5)


def test_what_l1_cannot_see_the_joint_distances_do() -> None:
    # the same two marginals: dimensions that go together, and dimensions that do not
    rng = np.random.default_rng(2)
    signs = rng.choice([-1.0, 1.0], size=(2, 400, 1))
    x = np.concatenate([signs[0], signs[0]], axis=1)
    y = np.concatenate([signs[1], rng.choice([-1.0, 1.0], size=(400, 1))], axis=1)
    assert l1_mmd(x, y).p_value > 0.01
    for distance in (Euclidean(), Gaussian(1.0)):
        assert mmd(x, y, distance).p_value == 1 / 1000


def test_the_bandwidth_is_the_median_distance_of_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    x = normals(3, 40, 5)
    pairs = cdist(x, x)[np.triu_indices(40, 1)]
    assert Gaussian().frozen_on(torch.from_numpy(x)).bandwidth == pytest.approx(np.median(pairs), rel=1e-2)
    assert Gaussian(2.0).frozen_on(torch.from_numpy(x)).bandwidth == 2.0
    monkeypatch.setattr(kernel, "MEDIAN_OF", 10)
    few = cdist(x[::4], x[::4])[np.triu_indices(10, 1)]
    assert Gaussian().frozen_on(torch.from_numpy(x)).bandwidth == pytest.approx(np.median(few), rel=5e-2)


@pytest.mark.parametrize(("copies", "expected"), [(5, 1.0), (4, 0.4 * 3)])
def test_a_reference_of_copies_still_has_a_bandwidth(copies: int, expected: float) -> None:
    x = torch.zeros(5, 1)
    x[copies:] = 3.0
    assert Gaussian().frozen_on(x).bandwidth == pytest.approx(expected)


def test_weights_compare_parts_whatever_their_units() -> None:
    x, y = normals(6, 50, 8), normals(7, 60, 8, shift=1)
    x[:, 3:] *= 1000
    y[:, 3:] *= 1000
    weights = Joint([Part("small", 3, L1(), 1.0), Part("large", 5, Euclidean(), 0.5)])
    joint = weights.frozen_on(torch.from_numpy(y))
    assert mean_within(y, None, joint) == pytest.approx(1.5), "the reference's own mean distance: the sum of weights"
    share = mmd(x[:, :3], y[:, :3]).mmd / mean_within(y[:, :3])
    large = mmd(x[:, 3:], y[:, 3:], Euclidean()).mmd / mean_within(y[:, 3:], None, Euclidean())
    assert mmd(x, y, joint).mmd == pytest.approx(share + 0.5 * large, rel=1e-5)


def test_terms_of_a_joint_distance_are_its_parts_and_add_up_to_its_sums() -> None:
    x, y = torch.from_numpy(normals(8, 50, 9)), torch.from_numpy(normals(9, 60, 9, shift=1))
    parts = [Part("a", 2, L1(), 0.5), Part("b", 3, Euclidean(), 2.0), Part("c", 4, Gaussian(3.0), 7.0)]
    corpus = Joint(parts).corpus(y)
    found = terms(corpus, x)
    assert found.shape == (3, 50) and found.dtype == torch.float64
    assert torch.equal(found.sum(dim=0), corpus.sums(x))
    alone = zip(parts, x.split([2, 3, 4], dim=1), y.split([2, 3, 4], dim=1), strict=True)
    for row, (part, of_x, of_y) in zip(found, alone, strict=True):
        expected = part.factor * part.distance.pairwise(of_x, of_y).double().sum(dim=1)
        np.testing.assert_allclose(row.numpy(), expected.numpy(), rtol=1e-6)


@pytest.mark.parametrize("distance", [L1(), Euclidean(), Gaussian(3.0)], ids=lambda distance: distance.name)
def test_terms_of_any_other_are_one_row_its_sums_bit_for_bit(distance: Distance) -> None:
    x, y = torch.from_numpy(normals(8, 50, 9)), torch.from_numpy(normals(9, 60, 9, shift=1))
    corpus = distance.corpus(y)
    found = terms(corpus, x)
    assert found.shape == (1, 50) and torch.equal(found[0], corpus.sums(x))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: make_distance("cosine"), "no distance 'cosine'; known: l1, euclidean, gaussian"),
        (lambda: make_distance("l1", bandwidth=2.0), "does not take these options"),
        (lambda: Gaussian(0.0), "above 0"),
        (lambda: Gaussian(float("nan")), "above 0"),
        (lambda: mmd(normals(0, 4, 2), normals(1, 4, 2), Gaussian()), "freeze it on a reference"),
        (lambda: Joint([Part("a", 2, L1(), 0.0)]), "a: weights are numbers above 0"),
        (lambda: mmd(normals(0, 4, 2), normals(1, 4, 2), Joint([Part("a", 3, L1(), 1.0)])), "of 3 dimensions are"),
    ],
)
def test_a_distance_that_cannot_be_is_refused(make: object, message: str) -> None:
    with pytest.raises(UserInputError, match=message):
        make()


def test_a_distance_is_the_same_bits_in_every_block() -> None:
    x, y = torch.from_numpy(normals(4, 33, 480)), torch.from_numpy(normals(5, 9, 480))
    for distance in (L1(), Euclidean(), Gaussian(30.0)):
        whole: torch.Tensor = distance.pairwise(x, y)
        parts = torch.cat([distance.pairwise(part, y) for part in x.split(5)])
        assert isinstance(distance, Distance) and torch.equal(whole, parts)
