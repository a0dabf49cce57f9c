"""Table 2 of the paper: how well embeddings order the sounds of a preset, and find a preset's other sound (4.2).

Experiment 1 (section 4.2.1, eq. 1) correlates signed distances with ranks within a preset; experiment 2 (section
4.2.2) looks how near a sound's mate of the same preset is among the sounds of 200 presets. All embeddings hear the
same random choices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata, t

from nebula_tune.arrays import Floats, Vectors
from nebula_tune.distance import Distance
from nebula_tune.errors import CorpusError, SettingsError
from nebula_tune.evaluate.matrices import among

PRESETS, TRIALS = 200, 600  # of experiment 2
TRITONE = 6  # semitones between the two sounds of a preset, where pitch is the order
NOISE = 16  # dimensions of random vectors
LARGEST_MATRIX = 10_000  # sounds whose distances are all worked out at once


@dataclass(frozen=True)
class Draws:
    """The random choices of both experiments for a data set, by the numbers of its presets and of their sounds.

    Attributes:
        triples: of each preset, (sounds, 3): a sound, one ranked lower and one higher.
        trials: of each trial, (presets, 3): a preset and two of its sounds.
    """

    triples: tuple[NDArray[np.intp], ...]
    trials: tuple[NDArray[np.intp], ...]

    @classmethod
    def make(
        cls, ranks: Sequence[Sequence[int]], seed: int, presets: int, trials: int, apart: int | None = None
    ) -> Draws:
        """Choices for presets of these ranks.

        Args:
            ranks: of each preset's sounds, ascending.
            seed: of all choices.
            presets: of a trial of experiment 2, at most; at least 2.
            trials: of experiment 2, at least 1.
            apart: how many ranks the two sounds of a preset are apart in experiment 2; None: any.

        Raises:
            SettingsError: for numbers that cannot be.
            CorpusError: for fewer than two presets that have such a pair.
        """
        if presets < 2 or trials < 1:
            raise SettingsError(f"--presets {presets} and --trials {trials}: at least 2 and 1")
        rng = np.random.default_rng(seed)
        triples = tuple(_triples(len(preset_ranks), rng) for preset_ranks in ranks)
        pairs = [_pairs(np.asarray(preset_ranks), apart) for preset_ranks in ranks]
        usable = np.array([k for k, preset_pairs in enumerate(pairs) if len(preset_pairs)])
        if len(usable) < 2:
            raise CorpusError(
                f"{len(usable)} of {len(ranks)} presets have two sounds"
                + (f" {apart} ranks apart" if apart else "")
                + "; experiment 2 needs at least 2"
            )
        drawn = []
        for _ in range(trials):
            sample = rng.choice(usable, min(presets, len(usable)), replace=False)
            drawn.append(np.array([(k, *pairs[k][rng.integers(len(pairs[k]))]) for k in sample]))
        return cls(triples, tuple(drawn))

    @property
    def usable(self) -> int:
        """Presets that take part in experiment 2."""
        return len(np.unique(np.concatenate([trial[:, 0] for trial in self.trials])))


def _triples(sounds: int, rng: np.random.Generator) -> NDArray[np.intp]:
    middle = np.arange(1, sounds - 1)
    return np.stack([middle, rng.integers(0, middle), rng.integers(middle + 1, sounds)], axis=1)


def _pairs(ranks: NDArray[np.intp], apart: int | None) -> NDArray[np.intp]:
    gaps = ranks[None] - ranks[:, None]
    return np.argwhere(gaps == apart if apart else gaps > 0)


def signed_spearman(distances: Floats, ranks: Sequence[int], triples: NDArray[np.intp]) -> float:
    """Eq. 1 for one preset: mean over its sounds s of the Spearman correlation of rank(ŝ) with d(s, ŝ), whose sign is
    negative where ŝ is nearer to the lower sound than to the higher (as near to both: zero).

    ``distances`` is (sounds, sounds), ``triples`` from :class:`Draws`. Where a distance cannot tell any two sounds
    apart, its correlation is undefined and counts as 0.
    """
    s, low, high = triples.T
    signed = distances[s] * np.sign(distances[low] - distances[high])
    others = np.arange(len(distances))[None] != s[:, None]  # ŝ is every other sound
    shape = len(s), len(distances) - 1
    distance_ranks = rankdata(signed[others].reshape(shape), axis=1)
    true = np.broadcast_to(np.asarray(ranks), signed.shape)[others].reshape(shape)  # all different: order is enough
    return float(_correlation(distance_ranks, rankdata(true, axis=1)).mean())


def ruler(ranks: Sequence[Sequence[int]], draws: Draws) -> Floats:
    """Eq. 1 of each preset for a distance that knows the ranks themselves: the most to be had. It is not 1, since a
    sound may be nearer to s_h and yet below s (section 4.2.1 says so)."""
    lines = [np.asarray(preset_ranks, dtype=np.float64)[:, None] for preset_ranks in ranks]
    return _spearman([np.abs(line - line.T) for line in lines], ranks, draws)


def by_chance(ranks: Sequence[Sequence[int]], draws: Draws) -> Floats:
    """Eq. 1 of each preset for distances of random vectors. It is not 0: of the sounds ŝ, s_l and s_h themselves have
    the right sign whatever is heard, which counts for more the fewer sounds a preset has."""
    rng = np.random.default_rng(0)
    noise = [rng.normal(size=(len(preset_ranks), 1, NOISE)) for preset_ranks in ranks]
    return _spearman([np.abs(vectors - vectors.transpose(1, 0, 2)).sum(axis=2) for vectors in noise], ranks, draws)


def _spearman(matrices: Sequence[Floats], ranks: Sequence[Sequence[int]], draws: Draws) -> Floats:
    triples = zip(matrices, ranks, draws.triples, strict=True)
    return np.array([signed_spearman(*preset) for preset in triples])


def _correlation(a: Floats, b: Floats) -> Floats:
    a, b = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
    scale = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    value: Floats = np.divide((a * b).sum(axis=1), scale, out=np.zeros(len(a)), where=scale > 0)
    return value


def mates_dcg(distances: Floats) -> Floats:
    """Experiment 2 for one trial: discounted cumulative gain of each sound's mate, (sounds,): 1 / log2(rank + 1).

    ``distances`` is (sounds, sounds); sounds 2k and 2k + 1 are mates. A mate as far as others shares their ranks.
    """
    sounds = np.arange(len(distances))
    to_mate = distances[sounds, sounds ^ 1][:, None]
    alone = distances.copy()
    alone[sounds, sounds] = np.inf
    nearer, as_near = (alone < to_mate).sum(axis=1), (alone == to_mate).sum(axis=1)  # the mate itself is as near
    gain: Floats = 1 / np.log2(nearer + (as_near + 1) / 2 + 1)
    return gain


@dataclass(frozen=True)
class Scores:
    """What both experiments say of one representation: a value for each preset, nan where it took no part."""

    spearman: Floats
    dcg: Floats


def judge(
    vectors: Sequence[Vectors],
    ranks: Sequence[Sequence[int]],
    draws: Draws,
    distance: Distance,
    progress: Callable[[int, int], None] | None = None,
) -> Scores:
    """Both experiments for one representation of all presets.

    Args:
        vectors: of each preset's sounds, (sounds, D).
        ranks: of each preset, in the order of its vectors.
        draws: the random choices.
        distance: of two vectors.
        progress: called with the trials that are done and how many there are; None: nobody is told.
    """
    spearman = _spearman(
        [among(preset_vectors, distance).astype(np.float64) for preset_vectors in vectors], ranks, draws
    )
    total, count = np.zeros(len(vectors)), np.zeros(len(vectors))
    for number, (trial, distances) in enumerate(_trial_distances(vectors, draws, distance)):
        gains = mates_dcg(distances).reshape(-1, 2).mean(axis=1)
        total[trial[:, 0]] += gains
        count[trial[:, 0]] += 1
        if progress:
            progress(number + 1, len(draws.trials))
    return Scores(spearman, np.divide(total, count, out=np.full(len(vectors), np.nan), where=count > 0))


def _trial_distances(
    vectors: Sequence[Vectors], draws: Draws, distance: Distance
) -> Iterator[tuple[NDArray[np.intp], Floats]]:
    """Each trial with its matrix of distances; from one matrix of all sounds where that is less work."""
    starts = np.cumsum([0, *(len(preset_vectors) for preset_vectors in vectors)])
    trials_work = sum((2 * len(trial)) ** 2 for trial in draws.trials)
    whole = starts[-1] <= LARGEST_MATRIX and starts[-1] ** 2 < 2 * trials_work
    matrix = among(np.concatenate(vectors), distance) if whole else None
    for trial in draws.trials:
        if matrix is not None:
            rows = (starts[trial[:, :1]] + trial[:, 1:]).ravel()
            yield trial, matrix[np.ix_(rows, rows)].astype(np.float64)
        else:
            trial_vectors = np.concatenate([vectors[k][[a, b]] for k, a, b in trial])
            yield trial, among(trial_vectors, distance).astype(np.float64)


def unit(vectors: Sequence[Vectors]) -> list[Vectors]:
    """Vectors scaled to Euclidean length 1: the representations that Table 2 calls normed."""
    scaled = []
    for preset_vectors in vectors:
        lengths = np.linalg.norm(preset_vectors.astype(np.float64), axis=1, keepdims=True)
        scaled.append((preset_vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32))
    return scaled


@dataclass(frozen=True)
class Interval:
    """A mean over presets and its 95 % interval."""

    mean: float
    ci95: tuple[float, float]


@dataclass(frozen=True)
class Difference:
    """Representation ``a`` less ``b`` in both experiments, preset by preset."""

    a: str
    b: str
    spearman: Interval
    dcg: Interval


def mean_and_interval(values: Floats) -> Interval:
    """Mean over presets and its 95 % interval (Student's t; presets are what is sampled)."""
    kept = values[np.isfinite(values)]
    mean, n = float(kept.mean()), len(kept)
    spread = float(t.ppf(0.975, n - 1) * kept.std(ddof=1) / np.sqrt(n)) if n > 1 else float("inf")
    return Interval(mean, (mean - spread, mean + spread))


def differences(scores: dict[str, Scores]) -> list[Difference]:
    """Paired differences, first less second, of every two representations, with intervals."""
    return [
        Difference(
            a,
            b,
            spearman=mean_and_interval(first.spearman - second.spearman),
            dcg=mean_and_interval(first.dcg - second.dcg),
        )
        for (a, first), (b, second) in combinations(scores.items(), 2)
    ]
