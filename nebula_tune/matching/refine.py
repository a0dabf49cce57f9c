"""From the nearest of a pool to nearer ones: several searches by separable CMA-ES, the worse half of which ends early.

Coordinates are the Gaussian ones of raw draws, so that what is drawn from is the standard normal law and no step leads
out of a parameter's range. Each is searched in steps of its spread among the pool's nearest sounds: what matters to
the target is narrow there, what does not is wide. (CMA-ES: Hansen 2016; separable: Ros and Hansen 2008.)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from cmaes import SepCMA

from nebula_tune.arrays import Floats, Raw
from nebula_tune.synth.placing import to_gaussian, to_raw

POPULATION = 16  # sounds of a search in one round: a chunk of an executor
STEP = 0.3  # the first step, over the spread of the nearest
LEAST_SPREAD = 0.05  # of a coordinate, in Gaussian units

Measure = Callable[[Raw, int], Floats]  # distances (sounds, ears) of raw parameters, noise from an index on
Total = Callable[[Floats], Floats]  # their sums (sounds,)


@dataclass
class NearPreset:
    """A preset: raw parameters (parameters,), the index that its noise goes by, and its distances (ears,)."""

    raw: Raw
    index: int
    by_ear: Floats
    total: float


@dataclass
class _Search:
    """One search, and the nearest that it has found."""

    best: NearPreset
    optimizer: SepCMA
    center: Floats

    def ask(self) -> list[Floats]:
        return [self.optimizer.ask() for _ in range(POPULATION)]


def refine(
    starts: list[NearPreset],
    near: Raw,
    measure: Measure,
    total: Total,
    *,
    renders: int,
    first_index: int,
    seed: int,
    progress: Callable[[int, int], None],
) -> list[NearPreset]:
    """The nearest preset of each search, nearest first; none is farther than its start.

    Args:
        starts: presets to begin at, nearest first.
        near: raw parameters (sounds, parameters) of the pool's nearest sounds.
        measure: renders sounds and tells their distances.
        total: sums these.
        renders: sounds that may be rendered in all.
        first_index: the index that the first of them takes its noise from.
        seed: of the searches.
        progress: called with the sounds that are rendered and how many there will be.
    """
    spread = np.maximum(to_gaussian(near).std(axis=0), LEAST_SPREAD)
    searches = [_begin(start, spread, seed + k) for k, start in enumerate(starts)]
    rendered, index = 0, first_index
    ended: list[_Search] = []
    halve_at = [renders // 8, renders // 4, renders // 2]
    while rendered + POPULATION * len(searches) <= renders and searches:
        points = [search.ask() for search in searches]
        raw = to_raw(
            np.concatenate([search.center + spread * np.stack(p) for search, p in zip(searches, points, strict=True)])
        )
        by_ear = measure(raw, index)
        sums = total(by_ear)
        for k, (search, asked) in enumerate(zip(searches, points, strict=True)):
            place = slice(k * POPULATION, (k + 1) * POPULATION)
            search.optimizer.tell(list(zip(asked, sums[place].tolist(), strict=True)))
            nearest = place.start + int(sums[place].argmin())
            if sums[nearest] < search.best.total:
                search.best = NearPreset(raw[nearest], index + nearest, by_ear[nearest], float(sums[nearest]))
        index += len(raw)
        rendered += len(raw)
        progress(rendered, renders)
        if halve_at and rendered >= halve_at[0]:
            halve_at.pop(0)
            searches.sort(key=lambda search: search.best.total)
            keep = -(-len(searches) // 2)
            ended += searches[keep:]
            searches = searches[:keep]
    progress(renders, renders)
    return sorted((search.best for search in (*searches, *ended)), key=lambda preset: preset.total)


def _begin(start: NearPreset, spread: Floats, seed: int) -> _Search:
    zeros = np.zeros(len(spread))
    optimizer = SepCMA(mean=zeros, sigma=STEP, seed=seed % 2**32, population_size=POPULATION)
    return _Search(start, optimizer, to_gaussian(start.raw))
