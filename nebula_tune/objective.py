"""What a search minimises: distance to the target (for diversity, minus the spread), penalties, and the prior.

Each term is here with its value, its gradient and its curvature. Distance and penalties are sums over a trial's sounds,
so they share one gradient, that of the witness: with f the witness of a sound, plus its weighted penalties, and s the
score (derivative of the log density) of its raw draw, dJ/d log c = E[f s]. The prior is a closed form of the point.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nebula_tune.arrays import Floats
from nebula_tune.distance import L1, Distance, Joint
from nebula_tune.distance.joint import terms
from nebula_tune.files import write_atomically
from nebula_tune.penalties import SHARES
from nebula_tune.trial import INFORMATION_FLOOR, NO_CURVATURE, Point, Score

ROWS = 6  # of a curvature's factor
CURVATURE_SOUNDS = 1024  # of a trial, at most, that its curvature is taken from
PRIOR_FLAG = 0.9  # probability that the prior gives to a flag as the start has it


class Target:
    """The target's vectors, and what every trial needs of them.

    ``mean_distance`` is E d(y, y') over pairs of different groups, ``mean_distance_v`` over all m^2 pairs (eq. 2);
    ``mean_terms`` are the embeddings' parts of the former. ``vectors`` are (sounds, D), kept on torch's ``device``;
    ``distance`` is that of two vectors (None: l1).
    """

    def __init__(
        self, vectors: NDArray[np.float32], mean_distance: float, device: str = "cpu", distance: Distance | None = None
    ) -> None:
        data, distance = torch.from_numpy(vectors).to(device), distance or L1()
        self.sounds = len(vectors)
        self.corpus = distance.corpus(data)
        self.mean_distance = mean_distance
        sums = terms(self.corpus, data)
        self.mean_distance_v = float(sums.sum(dim=0).sum()) / self.sounds**2
        within = sums.sum(dim=1).cpu().numpy()
        self.mean_terms = within * (mean_distance / within.sum()) if within.any() else within

    @classmethod
    def load(cls, path: Path, device: str = "cpu", distance: Distance | None = None) -> Target:
        """Read what :meth:`save` wrote."""
        with np.load(path, allow_pickle=False) as file:
            return cls(file["vectors"], float(file["mean_distance"]), device, distance)

    @staticmethod
    def save(path: Path, vectors: NDArray[np.float32], mean_distance: float) -> None:
        """Write a target's vectors for workers to load, atomically."""
        buffer = io.BytesIO()
        np.savez(buffer, vectors=vectors, mean_distance=np.float64(mean_distance))
        write_atomically(path, buffer.getvalue())


@dataclass(frozen=True)
class TrialSounds:
    """What the terms need of a trial's sounds.

    Attributes:
        vectors: (sounds, D).
        to_target: (embeddings, sounds) sums of distances to the target's sounds.
        curve_scores: (sounds, parameters) derivatives of each draw's log density by log curve.
        flag_scores: (sounds, parameters) the same by flag logit.
        penalties: (sounds, SHARES).
    """

    vectors: NDArray[np.float32]
    to_target: Floats
    curve_scores: Floats
    flag_scores: Floats
    penalties: Floats


class Objective:
    """Distance and penalties of a trial's sounds, against a target; or for their own spread where there is none.

    Args:
        distance: between vectors.
        target: what the sounds are compared with.
        guards: what each share of SHARES costs, in the distance's units; 0 where it is not named.
        device: where pairs of distances are worked out.
    """

    def __init__(
        self,
        distance: Distance | None = None,
        target: Target | None = None,
        guards: Mapping[str, float] | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.distance, self.target, self.device = distance or L1(), target, device
        self.guards = np.array([(guards or {}).get(share, 0.0) for share in SHARES])

    def to_target(self, vectors: Tensor) -> Floats:
        """Sums of distances to the target's sounds (embeddings, sounds), of vectors (sounds, D); 0 without a target."""
        if self.target is None:
            return np.zeros((1, len(vectors)))
        sums: Floats = terms(self.target.corpus, vectors).cpu().numpy()
        return sums

    def score(self, sounds: TrialSounds, curved: bool) -> Score:
        """The score of a trial's sounds, with its curvature where it is ``curved``."""
        vectors = torch.from_numpy(sounds.vectors)
        n = len(vectors)
        with ThreadPoolExecutor(1) as beside:  # the search waits for a score: its two halves go side by side
            curvature_of = beside.submit(self._curvature, vectors, sounds) if curved else None
            row_terms = terms(self.distance.corpus(vectors), vectors).numpy()
        row_sums = row_terms.sum(axis=0)
        within, within_v = float(row_sums.sum()) / (n * (n - 1)), float(row_sums.sum()) / n**2
        penalty = (sounds.penalties * self.guards).sum(axis=1)
        by_embedding = {}
        if self.target:
            to_terms = sounds.to_target / self.target.sounds
            to_target = to_terms.sum(axis=0)
            if isinstance(self.distance, Joint):
                each = 2 * to_terms.mean(axis=1) - row_terms.sum(axis=1) / (n * (n - 1)) - self.target.mean_terms
                by_embedding = dict(zip((part.name for part in self.distance.parts), each.tolist(), strict=True))
            mean_to_target = float(to_target.mean())
            value = 2 * mean_to_target - within - self.target.mean_distance
            mmd = 2 * mean_to_target - within_v - self.target.mean_distance_v
        else:
            to_target, value, mmd = np.zeros(n), -within, -within_v
        advantage, deviation = witness(to_target, row_sums, penalty)
        return Score(
            value=value + float(penalty.mean()),
            mmd=mmd,
            shares=dict(zip(SHARES, sounds.penalties.mean(axis=0).tolist(), strict=True)),
            curve_gradient=(advantage[:, None] * sounds.curve_scores).mean(axis=0),
            flag_gradient=(advantage[:, None] * sounds.flag_scores).mean(axis=0),
            flag_information=np.square(sounds.flag_scores).mean(axis=0),
            deviation=deviation,
            curvature=curvature_of.result() if curvature_of else NO_CURVATURE,
            by_embedding=by_embedding,
        )

    def _curvature(self, vectors: Tensor, sounds: TrialSounds) -> Floats:
        """The sounds' :func:`curvature`, of the first ones where there are many."""
        some = vectors[:CURVATURE_SOUNDS].to(self.device)
        distances = self.distance.pairwise(some, some).double().cpu()
        return curvature(distances, np.stack([sounds.curve_scores, sounds.flag_scores], axis=1)[: len(some)])


def witness(to_target: Floats, row_sums: Floats, penalty: Floats | float = 0.0) -> tuple[Floats, float]:
    """What each sound adds to the value, less its leave-one-out baseline (n,), and the standard deviation of that.

    ``to_target`` are mean distances to the target, ``row_sums`` sums of distances to the trial's other sounds,
    ``penalty`` what guards add for each sound. The baseline is the same estimate without the sound, so the gradient
    made with it stays unbiased.
    """
    n, total = len(row_sums), row_sums.sum()
    linear = 2 * to_target + penalty  # all that does not depend on the trial's other sounds
    value = linear - 2 * row_sums / (n - 1)
    baseline = (linear.sum() - linear) / (n - 1) - 2 * (total - 2 * row_sums) / ((n - 1) * (n - 2))
    return value - baseline, float(value.std())


def curvature(distances: Tensor, scores: Floats) -> Floats:
    """Gauss-Newton curvature of the value, as its factor (rows, 2, parameters).

    The value is the squared length of a difference of mean embeddings (for diversity, of one of them); that of the
    sounds moves by mu_k = E[s_k phi(x)], s_k the score of coordinate k, so half the curvature is <mu_k, mu_l>. With
    distances d in the kernel's place that is -E[s_k(x) s_l(x') d(x, x')], over pairs of different sounds; d is centred
    first, which changes no mean, for scores have mean 0. What is estimated so has eigenvalues of both signs about its
    own few: the largest ROWS above zero are kept, to four digits, since they are stored with the trial.

    Args:
        distances: (sounds, sounds) float64, between the trial's sounds.
        scores: (sounds, 2, parameters), by log curve and by logit.
    """
    from scipy.linalg import eigh

    n = len(distances)
    centred = distances.clone().fill_diagonal_(0)
    rows = centred.sum(dim=1) / (n - 1)
    centred += rows.mean() - rows[:, None] - rows[None]
    centred.fill_diagonal_(0)
    flat = torch.from_numpy(scores.reshape(n, -1))
    scale = (flat.square().mean(dim=0) + INFORMATION_FLOOR).sqrt()  # eigenvalues are compared by what draws can tell
    flat = flat / scale
    whole = (-2 / (n * (n - 1)) * flat.T @ centred @ flat).numpy()
    # Not torch's eigh: the divide and conquer of its LAPACK has failed to converge on such a matrix.
    values, vectors = eigh(whole, subset_by_index=[max(len(whole) - ROWS, 0), len(whole) - 1])
    top = np.sqrt(values.clip(min=0))[:, None] * vectors.T * scale.numpy()
    digits = 3 - int(np.floor(np.log10(max(float(np.abs(top).max()), 1e-12))))
    factor: Floats = np.round(top.reshape(-1, *scores.shape[1:]), digits)
    return factor


@dataclass(frozen=True)
class Prior:
    """Adds ``cost`` times the Kullback-Leibler divergence (nats) of a point from the start to its scores.

    A curve c has KL(c || c0) = log(c / c0) + c0 / c - 1, whatever its flag. A free flag that is symmetric with
    probability p has KL(p || p0), p0 being 0.9 where the start is symmetric and 0.1 where it is not, less what the
    start itself has: log 9 for a flag turned over. ``free_flags`` (parameters,) are those that a search moves.
    """

    start: Point
    free_flags: NDArray[np.bool_]
    cost: float

    def divergence(self, point: Point) -> float:
        """Divergence from the start in nats; 0 for the start itself."""
        ratio = self.start.curves / point.curves
        curves = float(np.sum(ratio - np.log(ratio) - 1))
        p, prior = point.probabilities[self.free_flags], self._prior[self.free_flags]
        flags = _xlogy(p, p / prior) + _xlogy(1 - p, (1 - p) / (1 - prior)) + np.log(PRIOR_FLAG)
        return curves + float(np.sum(flags))

    def on(self, point: Point, score: Score) -> Score:
        """The point's score with the prior in its value, gradients and curvature.

        That of a flag is of its divergence from what it is; p has another, which may be below zero.
        """
        if self.cost == 0:
            return score
        p, prior = np.clip(point.probabilities, 1e-12, 1 - 1e-12), self._prior
        by_logit = p * (1 - p) * (np.log(p / (1 - p)) - np.log(prior / (1 - prior)))
        open_flags = (point.probabilities > 0) & (point.probabilities < 1)
        return replace(
            score,
            value=score.value + self.cost * self.divergence(point),
            curve_gradient=score.curve_gradient + self.cost * (1 - self.start.curves / point.curves),
            flag_gradient=score.flag_gradient + self.cost * np.where(open_flags, by_logit, 0.0),
            prior_curvature=self.cost * np.stack([self.start.curves / point.curves, open_flags * p * (1 - p)]),
        )

    @property
    def _prior(self) -> Floats:
        return np.where(self.start.symmetric, PRIOR_FLAG, 1 - PRIOR_FLAG)


def _xlogy(x: Floats, y: Floats) -> Floats:
    """x log y, and 0 where x is 0."""
    result: Floats = x * np.log(np.where(x > 0, y, 1.0))
    return result
