"""How well distances agree with people's dissimilarities: rank correlations, triplets, and Mantel's test.

All matrices are (sounds, sounds) and symmetric; a pair counts where both have a number.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from nebula_tune.arrays import Floats

MEASURES = ("anchor", "triplets", "pairs")
LEAST_OTHERS = 3  # rated sounds beside an anchor
PERMUTATIONS = 999


@dataclass(frozen=True)
class Agreement:
    """How far two matrices agree.

    Attributes:
        anchor: mean over sounds of Spearman's correlation over the pairs of that sound.
        triplets: share of triplets (a sound and two others, whom people do not find equally far) that are ordered as
            people do; equal distances count half.
        pairs: Spearman's correlation over all pairs.
    """

    anchor: float
    triplets: float
    pairs: float


def agreement(people: Floats, distances: Floats) -> Agreement:
    """How far distances (sounds, sounds) agree with people's matrix; nan where people say nothing to compare with."""
    both = np.isfinite(people) & np.isfinite(distances)
    np.fill_diagonal(both, False)
    anchors, orders = [], []
    for sound, others in enumerate(both):
        rated, given = people[sound, others], distances[sound, others]
        if len(rated) >= LEAST_OTHERS and np.ptp(rated):
            anchors.append(spearman(rated, given))
        orders.append(_orders(rated, given))
    upper = np.triu(both)
    ordered = np.concatenate(orders)
    return Agreement(
        anchor=mean_known(anchors),
        triplets=float(ordered.mean()) if len(ordered) else np.nan,
        pairs=spearman(people[upper], distances[upper]),
    )


def _orders(rated: Floats, distances: Floats) -> Floats:
    """For each two others that people order: 1 where distances do likewise, 0 where they do not, 1/2 for equal ones."""
    first, second = np.triu_indices(len(rated), 1)
    wanted = np.sign(rated[first] - rated[second])
    given = np.sign(distances[first] - distances[second])
    ordered: Floats = (1 + wanted * given)[wanted != 0] / 2
    return ordered


def mean_agreement(agreements: Sequence[Agreement]) -> Agreement:
    """The mean of each measure, over those that have it; nan where none has."""
    return Agreement(**{measure: mean_known(getattr(each, measure) for each in agreements) for measure in MEASURES})


def mean_known(values: Iterable[float]) -> float:
    """The mean of those that are numbers; nan where none is."""
    kept = [value for value in values if np.isfinite(value)]
    return float(np.mean(kept)) if kept else np.nan


def spearman(people: Floats, distances: Floats) -> float:
    """Spearman's correlation; nan where people's numbers are all equal, 0 where only the distances are."""
    a, b = _standard(people), _standard(distances)
    return float(a @ b) if a.any() else np.nan


def _standard(values: Floats) -> Floats:
    """Ranks less their mean, of length 1; zeros where all are equal."""
    ranks = rankdata(values) if len(values) else np.zeros(0)
    ranks = ranks - ranks.mean() if len(values) else ranks
    length = np.linalg.norm(ranks)
    return np.asarray(ranks / length if length > 0 else ranks, dtype=np.float64)


def mantel(people: Floats, distances: Floats, seed: Sequence[int]) -> Floats:
    """Correlation of ranks as it is, then with the sounds' names permuted: (1 + PERMUTATIONS,).

    The distances, all of them there, are ranked once over all pairs, so where pairs were not rated this is Spearman's
    correlation only nearly; the test is exact all the same. ``seed`` gives the permutations. Source: Mantel, Cancer
    Research 27, 1967.
    """
    sounds = len(people)
    upper = np.triu_indices(sounds, 1)
    ranks = np.zeros((sounds, sounds))
    ranks[upper] = rankdata(distances[upper])
    ranks += ranks.T
    rated = np.isfinite(people[upper])
    first, second = upper[0][rated], upper[1][rated]
    wanted = _standard(people[first, second])
    random = np.random.default_rng(seed)
    orders = [np.arange(sounds), *(random.permutation(sounds) for _ in range(PERMUTATIONS))]
    given = np.stack([ranks[order[first], order[second]] for order in orders])
    given -= given.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(given, axis=1)
    correlations: Floats = np.divide(given @ wanted, lengths, out=np.zeros(len(given)), where=lengths > 0)
    return correlations


def p_value(correlations: Floats) -> float:
    """How often a correlation as large as the first comes by chance: the share of those that are, itself included."""
    return float(np.mean(correlations >= correlations[0] - 1e-12))
