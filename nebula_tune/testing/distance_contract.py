"""What every distance promises: a test class for each inherits this, makes one and says what its matrix is."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nebula_tune.distance import Distance, make_distance, mean_within, mmd
from nebula_tune.distance import measure as base
from nebula_tune.distance.inference import group_sums, infer
from nebula_tune.testing import direct


class DistanceContract:
    """Tests of one distance: ``distance``, made, and frozen where it has a scale; ``matrix`` is its definition."""

    distance: Distance

    def matrix(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Distances (n, m), float64, of sounds x (n, D) to sounds y (m, D), by their definition."""
        raise NotImplementedError

    @pytest.fixture
    def corpora(self) -> tuple[np.ndarray, np.ndarray]:
        """Two corpora of different laws, far from 0, with copies within and between them."""
        rng = np.random.default_rng(0)
        x, y = rng.normal(20, 1, size=(30, 7)), rng.normal(21, 2, size=(40, 7))
        x[3], y[5], y[6] = x[2], x[2], x[9]
        return x.astype(np.float32), y.astype(np.float32)

    def between(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """The distance's own (n, m)."""
        return self.distance.pairwise(torch.from_numpy(x), torch.from_numpy(y)).numpy()

    def test_the_matrix_is_the_direct_one(self, corpora: tuple[np.ndarray, np.ndarray]) -> None:
        x, y = corpora
        result = self.between(x, y)
        assert result.dtype == np.float32 and result.shape == (30, 40)
        np.testing.assert_allclose(result, self.matrix(x, y), rtol=1e-5, atol=1e-6)

    def test_it_is_symmetric_never_negative_and_0_from_a_sound_to_itself(
        self, corpora: tuple[np.ndarray, np.ndarray]
    ) -> None:
        x, y = corpora
        assert np.array_equal(self.between(x, y), self.between(y, x).T)
        assert (self.between(x, y) >= 0).all()
        own = self.between(x, x)
        assert (np.diag(own) == 0).all() and own[2, 3] == 0
        assert (own + np.eye(30) > 0).sum() == 30 * 30 - 2, "and above 0 between any two others"

    def test_it_is_of_negative_type_so_that_eq_2_is_never_below_zero(
        self, corpora: tuple[np.ndarray, np.ndarray]
    ) -> None:
        both = np.concatenate(corpora)
        centring = np.eye(len(both)) - 1 / len(both)
        eigenvalues = np.linalg.eigvalsh(centring @ self.matrix(both, both) @ centring)
        assert eigenvalues[-1] < 1e-9 * -eigenvalues[0]

    def test_a_column_is_the_matrixs(self, corpora: tuple[np.ndarray, np.ndarray]) -> None:
        x = corpora[0]
        result = self.distance.column(torch.from_numpy(x), 4).numpy()
        np.testing.assert_allclose(result, self.between(x, x)[:, 4], rtol=1e-6)

    @pytest.mark.parametrize("cells", [1, 100, 10**6])
    def test_sums_are_the_direct_ones_in_blocks_of_any_size(
        self, corpora: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch, cells: int
    ) -> None:
        monkeypatch.setattr(base, "CELLS", cells)
        x, y = (torch.from_numpy(corpus) for corpus in corpora)
        result = self.distance.corpus(y).sums(x)
        assert result.dtype == torch.float64
        np.testing.assert_allclose(result.numpy(), self.matrix(*corpora).sum(axis=1), rtol=1e-5)
        np.testing.assert_allclose(
            self.distance.within(x).numpy(), self.matrix(corpora[0], corpora[0]).sum(axis=1), rtol=1e-5
        )

    @pytest.mark.parametrize("grouped", [False, True])
    def test_eq_2_the_unbiased_estimate_and_the_witness_are_the_direct_double_sums(
        self, corpora: tuple[np.ndarray, np.ndarray], grouped: bool
    ) -> None:
        x, y = corpora
        of_x, of_y = (np.arange(30) // 3, np.arange(40) // 4) if grouped else (None, None)
        result = mmd(x, y, self.distance, of_x, of_y)
        near = 1e-5 * self.matrix(x, y).mean()
        assert result.mmd == pytest.approx(direct.mmd(x, y, self.matrix), abs=near)
        assert result.mmd_unbiased == pytest.approx(direct.unbiased(x, y, of_x, of_y, self.matrix), abs=near)
        assert mean_within(x, of_x, self.distance) == pytest.approx(direct.between(x, of_x, self.matrix), rel=1e-5)
        expected = 2 * self.matrix(x, y).mean(axis=1) - 2 * self.matrix(x, x).sum(axis=1) / 29
        np.testing.assert_allclose(result.witness, expected, atol=4 * near)

    def test_the_estimate_is_unbiased_and_eq_2_is_not(self) -> None:
        # two samples of one law: on average the one is 0, the other 2 E d / n
        rng = np.random.default_rng(1)
        pairs = [rng.normal(20, 1.5, size=(2, 12, 7)) for _ in range(400)]
        results = [mmd(x, y, self.distance) for x, y in pairs]
        unbiased = np.array([result.mmd_unbiased for result in results])
        assert abs(unbiased.mean()) < 3 * unbiased.std() / 20
        sample = rng.normal(20, 1.5, size=(400, 7)).astype(np.float32)
        excess = np.mean([result.mmd for result in results])
        assert excess == pytest.approx(2 * mean_within(sample, None, self.distance) / 12, rel=0.1)

    def test_intervals_p_values_and_groups_are_of_this_distance(self, corpora: tuple[np.ndarray, np.ndarray]) -> None:
        x, y = corpora
        result, inference = mmd(x, y, self.distance), infer(x, y, distance=self.distance)
        assert inference.mmd_unbiased == pytest.approx(result.mmd_unbiased, rel=1e-4)
        assert (result.ci95, result.p_value) == (inference.ci95, inference.p_value)
        assert result.ci95[0] > 0 and result.p_value == 1 / 1000
        labels = np.arange(30) // 6
        expected = np.array([[self.matrix(x[labels == a], x[labels == b]).sum() for a in range(5)] for b in range(5)])
        np.fill_diagonal(expected, 0)
        np.testing.assert_allclose(group_sums(x, labels, self.distance), expected, rtol=1e-5)

    def test_its_settings_make_it_again(self, corpora: tuple[np.ndarray, np.ndarray]) -> None:
        again = make_distance(**self.distance.settings)
        x, y = (torch.from_numpy(corpus) for corpus in corpora)
        assert torch.equal(again.pairwise(x, y), self.distance.pairwise(x, y))

    def test_once_frozen_no_corpus_moves_it(self, corpora: tuple[np.ndarray, np.ndarray]) -> None:
        frozen = self.distance.frozen_on(torch.from_numpy(corpora[0]))
        assert frozen.frozen_on(torch.from_numpy(100 * corpora[1])).settings == frozen.settings
