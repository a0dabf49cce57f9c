"""Whether a listener's ratings stand under the sounds' right names: the other listeners tell."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import quadratic_assignment
from scipy.stats import rankdata

from nebula_tune.arrays import Floats
from nebula_tune.ranking.agreement import mantel, mean_known, p_value, spearman
from nebula_tune.ranking.ratings import Ratings, mean_over

CHANCE = 0.05  # a listener is looked at whose agreement with the others comes by chance more often than this
LEAST_AGREEMENT = 0.3  # of the others among each other; where it is less, nobody can tell
SEARCHES = 5  # for the order of the sounds that fits best
SHUFFLES = 19  # of the ratings, which an order of the sounds must fit better than


def doubtful_listeners(ratings: Ratings) -> list[str]:
    """A line for each listener who agrees with the others no better than by chance, while they agree.

    It says whether the ratings fit once the sounds are put into another order, better than shuffled ratings ever do.
    Fewer than three listeners cannot tell.
    """
    lines = []
    for number, name in enumerate(ratings.listeners if len(ratings.listeners) > 2 else ()):
        listener, others = ratings.matrices[number], np.delete(ratings.matrices, number, axis=0)
        given = listener[np.isfinite(listener)]
        agreement = _among(others)
        if len(given) and not np.ptp(given):
            lines.append(f"listener {name} rated all pairs alike")
        elif len(given) and agreement >= LEAST_AGREEMENT:
            rest = mean_over(others)
            filled = np.where(np.isfinite(rest), rest, np.nanmean(rest))  # a pair that no other rated is as any
            if p_value(mantel(listener, filled, [0])) > CHANCE:
                lines.append(_verdict(ratings.names, name, listener, filled, agreement))
    return lines


def _among(matrices: Floats) -> float:
    """The mean correlation of each two listeners who rated the same pairs; nan where there are none."""
    first, second = np.triu_indices(len(matrices), 1)
    return mean_known(_correlation(matrices[a], matrices[b]) for a, b in zip(first, second, strict=True))


def _correlation(a: Floats, b: Floats) -> float:
    both = np.triu(np.isfinite(a) & np.isfinite(b), 1)
    return spearman(a[both], b[both]) if both.any() else np.nan


def _verdict(names: Sequence[str], name: str, listener: Floats, rest: Floats, agreement: float) -> str:
    order = _best_order(listener, rest)
    fits, before = (_correlation(listener, rest[np.ix_(each, each)]) for each in (order, np.arange(len(rest))))
    random = np.random.default_rng(0)
    by_chance = 0.0
    for _ in range(SHUFFLES):
        shuffled = _shuffled(listener, random)
        other = _best_order(shuffled, rest)
        by_chance = max(by_chance, _correlation(shuffled, rest[np.ix_(other, other)]))
    said = f"listener {name} agrees with the others ({before:.2f}) no better than by chance, they do ({agreement:.2f})"
    if fits <= max(by_chance, agreement / 2):
        return f"{said}; no order of the sounds mends it"
    moved = [f"{names[k]} reads as {names[place]}" for k, place in enumerate(order) if k != place]
    return f"{said}: rows look permuted, in another order {fits:.2f}: {'; '.join(moved)}"


def _best_order(listener: Floats, rest: Floats) -> np.ndarray:
    """For each of the listener's sounds the one of the rest that it reads as, so that both agree as far as they can:
    the best of several searches, each from a start of its own."""
    a, b = _ranks(listener), _ranks(rest)
    random = np.random.default_rng(0)
    best, order = -np.inf, np.arange(len(a))
    for _ in range(SEARCHES):
        options = {"maximize": True, "rng": random}
        rough = quadratic_assignment(a, b, options={**options, "P0": "randomized"})
        guess = np.column_stack([np.arange(len(a)), rough.col_ind])
        fine = quadratic_assignment(a, b, method="2opt", options={**options, "partial_guess": guess})
        if fine.fun > best:
            best, order = fine.fun, fine.col_ind
    return order


def _ranks(matrix: Floats) -> Floats:
    """Ranks of its pairs about their mean; 0 for what was not rated."""
    rated = np.isfinite(matrix)
    ranks = np.zeros(matrix.shape)
    ranks[rated] = rankdata(matrix[rated])
    ranks[rated] -= ranks[rated].mean()
    np.fill_diagonal(ranks, 0)
    return ranks


def _shuffled(matrix: Floats, random: np.random.Generator) -> Floats:
    """The same ratings, each of another pair."""
    rated = np.triu(np.isfinite(matrix), 1)
    shuffled = np.full(matrix.shape, np.nan)
    shuffled[rated] = random.permutation(matrix[rated])
    shuffled.T[rated] = shuffled[rated]
    return shuffled
