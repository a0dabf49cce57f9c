"""Fitting a constellation to a target on a nebula: pools, weights, spread, rounds.

Everything chosen is chosen on validation groups that the weights under trial were not fitted to; then the whole held-in
part is fitted in the way that was chosen. The held-out part is never seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nebula_tune.arrays import Vectors
from nebula_tune.constellation import Constellation
from nebula_tune.corpus.groups import folds
from nebula_tune.distance import Distance
from nebula_tune.fitting.sound_pool import PoolRenderer, SoundPool
from nebula_tune.fitting.weights import (
    Aim,
    Trialled,
    Weights,
    choose,
    fit_weights,
    mixed,
    pooled,
    systematic,
    trialled,
)
from nebula_tune.results import FittedConstellation, FittedRound
from nebula_tune.study.plan import Plan
from nebula_tune.study.settings import ConstellationSettings
from nebula_tune.study.target import SplitTarget
from nebula_tune.synth.indices import Purpose, first_index
from nebula_tune.synth.placing import jitter, to_gaussian
from nebula_tune.trial import Point

MOMENTS_FROM = 0.3  # spread from which center and scale are taken from the atoms
WIDER = 0.35  # spread of the draws of a further pool
BASE = 2048  # sounds of the nebula that stand for it where a target is shrunk towards it
KEPT = 1024  # heaviest atoms that go along into it

LEAST_FRESH = 64  # sounds of a sample, however many parts are validated on


@dataclass(frozen=True)
class TargetSounds:
    """Target sounds: vectors (sounds, D), and the class of each where there are classes."""

    vectors: Vectors
    classes: NDArray[np.str_] | None = None

    def part(self, mask: NDArray[np.bool_]) -> TargetSounds:
        """Some of them."""
        return TargetSounds(self.vectors[mask], None if self.classes is None else self.classes[mask])


class Ground:
    """A pool made ready to be fitted to any target: its sounds' distances, each worked out once.

    ``base`` are vectors of the nebula's own sounds, towards which a target may be shrunk.
    """

    def __init__(self, pool: SoundPool, base: Vectors, distance: Distance) -> None:
        self.pool, self.base, self._distance = pool, base, distance
        self._x, self._base = torch.from_numpy(pool.vectors), torch.from_numpy(base)
        self._columns: dict[int, NDArray[np.float32]] = {}
        self._towards_base = self._aim(self._base)

    def column(self, sound: int) -> NDArray[np.float32]:
        """Distances of all sounds of the pool to one of them."""
        if sound not in self._columns:
            self._columns[sound] = self._distance.column(self._x, sound).numpy()
        return self._columns[sound]

    def aims(self, vectors: Vectors, shrinkages: Sequence[float]) -> list[Aim]:
        """Target sounds (sounds, D), with each of these shares of the nebula mixed in."""
        y = torch.from_numpy(vectors)
        aim = self._aim(y)
        between = float(self._distance.corpus(y).sums(self._base).sum()) / (len(y) * len(self._base))
        return [aim.shrunk(self._towards_base, between, shrinkage) for shrinkage in shrinkages]

    def value(self, weights: Weights, vectors: Vectors) -> float:
        """J of weights towards target sounds, but for those sounds' own E d(y, y')."""
        to_target = self._distance.corpus(torch.from_numpy(vectors)).sums(self._x).numpy() / len(vectors)
        active = weights.indices
        product = sum(
            w * self.column(int(i))[active].astype(np.float64) for w, i in zip(weights.weights, active, strict=True)
        )
        return float(weights.weights @ (2 * to_target[active] - product))

    def _aim(self, y: Tensor) -> Aim:
        to_target = (self._distance.corpus(y).sums(self._x) / len(y)).numpy()
        return Aim(to_target, float(self._distance.within(y).sum()) / len(y) ** 2)


@dataclass(frozen=True)
class Stage:
    """A pool and the weights fitted on it; ``classes`` of its atoms, or none."""

    ground: Ground
    weights: Weights
    classes: tuple[str, ...] = ()

    @property
    def pool(self) -> SoundPool:
        """Sounds the atoms are of."""
        return self.ground.pool


@dataclass(frozen=True)
class Fitted:
    """A constellation, and how it was fitted; vectors of its atoms' own sounds and of the nebula's pool."""

    constellation: Constellation
    atoms: Vectors
    pool: Vectors
    told: FittedConstellation


class Fitter:
    """Fits constellations on one nebula under one distance.

    Args:
        renderer: what makes the sounds.
        distance: of two vectors.
        settings: of constellations.
        plan: of the study.
        point: the nebula.
    """

    def __init__(
        self,
        renderer: PoolRenderer,
        distance: Distance,
        settings: ConstellationSettings,
        plan: Plan,
        point: Point,
    ) -> None:
        self._renderer, self._distance, self._settings, self._seed = renderer, distance, settings, plan.seed
        self._nebula, self._parameters = plan.nebula(point), plan.synth.panel.names

    def target(self, target: SplitTarget) -> Fitted:
        """A constellation for a study's target: fitted to its held-in part."""
        vectors, groups = target.held_in
        classes = target.classes[~target.held].tolist() if self._settings.classes else None
        fitted = self.fit(vectors, groups, classes)
        self._renderer.progress.finish()
        return fitted

    def fit(self, vectors: Vectors, groups: Sequence[str], classes: Sequence[str] | None = None) -> Fitted:
        """A constellation for target sounds (sounds, D) of these groups; each of ``classes`` is fitted by itself."""
        target = TargetSounds(vectors, None if classes is None else np.asarray(classes))
        shrinkages, spread, history = self._choose(target, folds(groups, self._seed))
        stages = self.stages(target, shrinkages)
        stage = stages[-1]
        constellation = self.constellation(stage, spread)
        report = FittedConstellation(
            spread=constellation.spread,
            shrinkage=shrinkages[-1],
            rounds=len(stages),
            atoms=len(constellation.atoms),
            effective_atoms=constellation.effective_atoms,
            value=stage.weights.value,
            gap=stage.weights.gap,
            lost_by_pruning=stage.weights.lost,
            validation=history,
        )
        return Fitted(constellation, stage.pool.vectors[stage.weights.indices], stages[0].pool.vectors, report)

    def constellation(self, stage: Stage, spread: float) -> Constellation:
        """The atoms of a stage under a spread."""
        atoms = to_gaussian(stage.pool.raw[stage.weights.indices])
        weights = stage.weights.weights
        constellation = Constellation(self._nebula, self._parameters, atoms, weights, spread, classes=stage.classes)
        return constellation.with_spread(spread, keep_moments=spread >= MOMENTS_FROM)

    def _choose(
        self, target: TargetSounds, parts: Sequence[NDArray[np.bool_]]
    ) -> tuple[list[float], float, list[FittedRound]]:
        """How much each round shrinks, so how many rounds, and which spread do best on validation groups; and all."""
        shrinkages: list[float] = []
        history: list[FittedRound] = []
        best_spread, best = 0.0, float("inf")
        grounds = [self._first_ground] * len(parts)
        for number in range(1, self._settings.rounds + 1):
            shrinkage, by_shrinkage, stages = self._shrink(grounds, target, parts)
            tried = [
                self._try(stage, target.vectors[part], len(parts)) for stage, part in zip(stages, parts, strict=True)
            ]
            trials = {
                spread: pooled([part_trials[spread] for part_trials in tried]) for spread in self._settings.spreads
            }
            value, spread = min(trial.value for trial in trials.values()), choose(trials)
            history.append(
                FittedRound(
                    round=number,
                    shrinkage=shrinkage,
                    spread=spread,
                    best=value,
                    by_shrinkage={str(key): figure for key, figure in by_shrinkage.items()},
                    by_spread={str(key): trial.value for key, trial in trials.items()},
                    effective_atoms=float(np.mean([stage.weights.effective for stage in stages])),
                )
            )
            if value >= best:
                break
            shrinkages.append(shrinkage)
            best_spread, best = spread, value
            if number < self._settings.rounds:
                grounds = [self._further_ground(stage, number + 1) for stage in stages]
        return shrinkages, best_spread, history

    def _shrink(
        self, grounds: Sequence[Ground], target: TargetSounds, parts: Sequence[NDArray[np.bool_]]
    ) -> tuple[float, dict[float, float], list[Stage]]:
        """The shrinkage whose weights are nearest to validation sounds; what each gave; the stages of the best."""
        tried = self._settings.shrinkages
        fits = [self._fit(g, target.part(~part), tried) for g, part in zip(grounds, parts, strict=True)]
        sounds = [float(part.sum()) for part in parts]
        values = {
            shrinkage: sum(
                count * stages[k].ground.value(stages[k].weights, target.vectors[part])
                for stages, part, count in zip(fits, parts, sounds, strict=True)
            )
            / sum(sounds)
            for k, shrinkage in enumerate(tried)
        }
        best = min(tried, key=lambda shrinkage: values[shrinkage])
        return best, values, [stages[tried.index(best)] for stages in fits]

    def stages(self, target: TargetSounds, shrinkages: Sequence[float]) -> list[Stage]:
        """The stages of as many rounds, fitted to target sounds."""
        stages: list[Stage] = []
        for number, shrinkage in enumerate(shrinkages, start=1):
            ground = self._further_ground(stages[-1], number) if stages else self._first_ground
            stages += self._fit(ground, target, [shrinkage])
        return stages

    @cached_property
    def _first_ground(self) -> Ground:
        """A pool of the nebula's own sounds: that of every fit's first round."""
        pool = self._renderer.nebula(first_index(Purpose.POOL, self._seed), self._settings.pool)
        return Ground(pool, pool.vectors[:BASE], self._distance)

    def _further_ground(self, stage: Stage, number: int) -> Ground:
        """The pool of a further round: drawn around the atoms so far, more widely, and the heaviest of them."""
        count = self._settings.pool
        first = first_index(Purpose.POOL, self._seed, (number - 1) * count)
        wide = self.constellation(stage, WIDER)
        atoms = systematic(wide.weights, count, 0.5)
        drawn = self._renderer.pool(jitter(wide, atoms, self._renderer.nebula_draws(first, count)), first)
        order = np.argsort(-stage.weights.weights, kind="stable")[:KEPT]
        pool = drawn.joined(stage.pool.part(stage.weights.indices[order]))
        return Ground(pool, stage.ground.base, self._distance)

    def _fit(self, ground: Ground, target: TargetSounds, shrinkages: Sequence[float]) -> list[Stage]:
        """Weights on a pool for each of these shrinkages: one fit, or one a class, each counting by its sounds."""
        if target.classes is None:
            return [Stage(ground, fit_weights(aim, ground.column)) for aim in ground.aims(target.vectors, shrinkages)]
        names = np.unique(target.classes)
        members = [target.classes == name for name in names]
        aims = [ground.aims(target.vectors[rows], shrinkages) for rows in members]
        shares = [float(rows.mean()) for rows in members]
        stages = []
        for k in range(len(shrinkages)):
            fits = [fit_weights(aim[k], ground.column) for aim in aims]
            classes = [str(name) for name, fit in zip(names, fits, strict=True) for _ in fit.indices]
            stages.append(Stage(ground, mixed(fits, shares), tuple(classes)))
        return stages

    def _try(self, stage: Stage, vectors: Vectors, parts: int) -> dict[float, Trialled]:
        """What fresh sounds say on validation sounds; the same atoms and deviations whatever the spread."""
        count = max(LEAST_FRESH, self._settings.validation // (2 * parts))
        first = first_index(Purpose.VALIDATION, self._seed)
        draws = self._renderer.nebula_draws(first, 2 * count)
        offsets = np.random.default_rng(self._seed).random(2)
        atoms = np.concatenate([systematic(stage.weights.weights, count, offset) for offset in offsets])
        corpus = self._distance.corpus(torch.from_numpy(vectors))
        trials = {}
        for spread in self._settings.spreads:
            raw = jitter(self.constellation(stage, spread), atoms, draws)
            fresh = torch.from_numpy(self._renderer.pool(raw, first).vectors)
            half, other = fresh[:count], fresh[count:]
            across = torch.cat([self._distance.corpus(other).sums(half), self._distance.corpus(half).sums(other)])
            to_target = corpus.sums(fresh) / len(vectors)
            trials[spread] = trialled(to_target.numpy(), (across / count).numpy(), len(vectors))
        return trials


def most_sounds(settings: ConstellationSettings) -> int:
    """How many sounds a fit renders at most, with one part to validate on."""
    return settings.rounds * (2 * settings.pool + settings.validation * len(settings.spreads))
