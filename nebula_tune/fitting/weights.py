"""Weights and spread of a constellation: pure arithmetic on distances.

Weights w of the sounds of a pool minimise the weighted energy distance to a target (kernel mean matching, convex):

    J(w) = 2 w.a - w'Dw - E d(y, y'),    a_i = mean_j d(x_i, y_j),    D_ij = d(x_i, x_j)

on the simplex, by pairwise Frank-Wolfe (Lacoste-Julien and Jaggi, "On the global linear convergence of Frank-Wolfe
optimization variants", 2015). Only columns of D of atoms that ever held weight are worked out, and the duality gap
bounds how far J is from its least value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nebula_tune.arrays import Floats

Column = Callable[[int], NDArray[np.float32]]

TOLERANCE = 0.01  # gap as a share of J at which the weights are good enough
PRUNING = 0.01  # share of J that may be lost by leaving out light atoms
NEGLIGIBLE = 1e-3  # share of the target's own mean distance: a J below it counts as that
MOST_STEPS = 100_000
REFRESH = 1000  # steps after which D w is worked out anew, so that rounding does not add up


@dataclass(frozen=True)
class Weights:
    """Weights of a pool's sounds and what is certain of them.

    Attributes:
        indices: sounds of the pool that carry weight, ascending.
        weights: theirs, summing to 1.
        value: J of them. E d(y, y') is over all pairs (eq. 2), so J is never below 0.
        gap: J is at most so far above its least value over this pool.
        lost: what pruning added to J; ``gap`` includes it.
        columns: how many columns of distances were worked out.
    """

    indices: NDArray[np.intp]
    weights: Floats
    value: float
    gap: float
    lost: float
    steps: int
    columns: int

    @property
    def effective(self) -> float:
        """1 / sum of squared weights."""
        return float(1 / np.square(self.weights).sum())


@dataclass(frozen=True)
class Aim:
    """What weights are fitted to: each pool sound's mean distance to it (sounds,), and the mean distance within it."""

    to_target: Floats
    within: float

    def shrunk(self, other: Aim, between: float, share: float) -> Aim:
        """This aim with a ``share`` of another mixed in; ``between`` is the mean distance from one to the other.

        A mean embedding estimated from few sounds is shrunk towards one that is known well, as in Muandet et al.,
        "Kernel mean shrinkage estimators" (2016).
        """
        rest = 1 - share
        return Aim(
            rest * self.to_target + share * other.to_target,
            rest**2 * self.within + 2 * rest * share * between + share**2 * other.within,
        )


def mixed(fits: Sequence[Weights], shares: Sequence[float]) -> Weights:
    """Several fits on one pool as one, in these shares; a sound may come more than once.

    J is convex in weights and target together, so value and gap of the whole are at most the shares' sums, given here.
    """

    def total(name: str) -> float:
        return sum(share * float(getattr(fit, name)) for fit, share in zip(fits, shares, strict=True))

    return Weights(
        np.concatenate([fit.indices for fit in fits]),
        np.concatenate([share * fit.weights for fit, share in zip(fits, shares, strict=True)]),
        total("value"),
        total("gap"),
        total("lost"),
        sum(fit.steps for fit in fits),
        sum(fit.columns for fit in fits),
    )


def fit_weights(
    aim: Aim,
    column: Column,
    tolerance: float = TOLERANCE,
    pruning: float = PRUNING,
    most_steps: int = MOST_STEPS,
) -> Weights:
    """The weights of a pool's sounds that bring it nearest to a target.

    Args:
        aim: what they are fitted to.
        column: gives, for the number of a sound, the distances (sounds,) of all pool sounds to it.
        tolerance: gap as a share of J at which the weights are good enough.
        pruning: share of J that may be lost by leaving out light atoms.
        most_steps: steps after which they have to do.
    """
    state = _State(aim.to_target, aim.within, column)
    steps, least = 0, NEGLIGIBLE * aim.within
    while steps < most_steps:
        if state.gap() <= tolerance * max(state.value(), least):
            state.refresh()  # running sums decide nothing, only sums made anew do
            if state.gap() <= tolerance * max(state.value(), least):
                break
        state.step()
        steps += 1
        if steps % REFRESH == 0:
            state.refresh()
    state.refresh()
    gap, value = state.gap(), state.value()
    indices = state.prune(pruning)
    lost = max(0.0, state.value() - value)
    weights = state.weights[indices]
    return Weights(
        indices, weights / weights.sum(), state.value(), max(0.0, gap) + lost, lost, steps, len(state.columns)
    )


class _State:
    """Weights under way, with D w kept up to date."""

    def __init__(self, to_target: Floats, within_target: float, column: Column) -> None:
        self.to_target, self.within_target, self._column = to_target, within_target, column
        self.columns: dict[int, NDArray[np.float32]] = {}
        first = int(np.argmin(to_target))
        self.weights: Floats = np.zeros(len(to_target))
        self.weights[first] = 1.0
        self._product: Floats = self.column(first).astype(np.float64)

    def column(self, sound: int) -> NDArray[np.float32]:
        """A column of D, worked out once; its diagonal entry is exactly 0, which keeps J convex."""
        if sound not in self.columns:
            values = self._column(sound)
            if values[sound] != 0:
                values = values.copy()
                values[sound] = 0
            self.columns[sound] = values
        return self.columns[sound]

    def value(self) -> float:
        """J of the weights, never below 0 but by rounding, which is cut off."""
        value = 2 * self.weights @ self.to_target - self.weights @ self._product - self.within_target
        return max(0.0, float(value))

    def gradient(self) -> Floats:
        gradient: Floats = 2 * self.to_target - 2 * self._product
        return gradient

    def gap(self) -> float:
        """The Frank-Wolfe gap: J minus its least value is at most this, for J is convex."""
        gradient = self.gradient()
        return float(self.weights @ gradient - gradient.min())

    def step(self) -> None:
        """Move weight from the worst atom that has some to the best sound there is, as far as J falls."""
        gradient = self.gradient()
        active = np.flatnonzero(self.weights)
        to, away = int(np.argmin(gradient)), int(active[np.argmax(gradient[active])])
        distance = float(self.column(to)[away])
        room = self.weights[away]
        fall = gradient[away] - gradient[to]
        moved = min(fall / (4 * distance), room) if distance > 0 else room
        self.weights[to] += moved
        self.weights[away] = 0.0 if moved == room else room - moved
        self._product += moved * (self.column(to).astype(np.float64) - self.column(away))

    def refresh(self) -> None:
        """D w and the weights' sum, anew in float64."""
        active = np.flatnonzero(self.weights)
        self.weights /= self.weights.sum()
        product = np.zeros(len(self.weights))
        for sound in active:
            product += self.weights[sound] * self.column(int(sound))
        self._product = product

    def prune(self, share: float) -> NDArray[np.intp]:
        """Leave out as many of the lightest atoms as raise J by no more than ``share`` of it; the rest, ascending."""
        active = np.flatnonzero(self.weights)
        order = active[np.argsort(-self.weights[active], kind="stable")]
        allowed = (1 + share) * self.value()
        among = np.stack([self.column(int(sound))[order] for sound in order], axis=1).astype(np.float64)
        weights = self.weights[order]
        # J of the heaviest k atoms, for every k at once: partial sums of what it is made of.
        mass = np.cumsum(weights)
        near = np.cumsum(weights * self.to_target[order])
        together = np.cumsum(np.cumsum(weights[:, None] * among * weights, axis=0), axis=1).diagonal()
        values = 2 * near / mass - together / mass**2 - self.within_target
        enough = np.flatnonzero(values <= allowed)
        kept = order[: (enough[0] + 1 if len(enough) else len(order))]
        self.weights[np.setdiff1d(active, kept)] = 0.0
        self.refresh()
        return np.sort(kept)


@dataclass(frozen=True)
class Trialled:
    """What fresh sounds of one setting say on validation sounds.

    Attributes:
        value: 2 mean d(X u X', Y) - mean d(X, X'), for two independent samples X and X' of the setting.
        sounds: (sounds,) what each fresh sound adds to it; settings are compared sound by sound.
        weight: validation sounds behind it.
    """

    value: float
    sounds: Floats
    weight: int


def trialled(to_target: Floats, across: Floats, weight: int) -> Trialled:
    """The verdict of ``weight`` validation sounds on fresh sounds X then X' (2n,).

    ``to_target`` are their mean distances to the validation sounds, ``across`` those to the sounds of the other sample.
    """
    value = float(2 * to_target.mean() - across.mean())
    return Trialled(value, 2 * (to_target - across) / len(across), weight)


def pooled(trials: Sequence[Trialled]) -> Trialled:
    """One verdict of several on parts of a target, each counting by its sounds."""
    total = sum(trial.weight for trial in trials)
    return Trialled(
        sum(trial.weight / total * trial.value for trial in trials),
        np.concatenate([trial.weight / total * trial.sounds for trial in trials]),
        total,
    )


def paired_error(trial: Trialled, other: Trialled) -> float:
    """Standard error, over fresh sounds, of the difference of two settings tried with the same draws."""
    difference = trial.sounds - other.sounds
    count = len(difference)
    return float(np.sqrt(count / max(1, count - 1) * np.square(difference - difference.mean()).sum()))


def choose(trials: Mapping[float, Trialled]) -> float:
    """The widest spread that fresh sounds cannot tell from the best one.

    That is: whose value is within one standard error of the paired difference. The error is over fresh sounds, on the
    validation sounds there are; over those too it is so wide for small targets that it always takes the widest spread.
    """
    best = min(trials, key=lambda spread: trials[spread].value)
    return max(
        spread
        for spread, trial in trials.items()
        if trial.value - trials[best].value <= paired_error(trial, trials[best])
    )


def systematic(weights: Floats, count: int, offset: float) -> NDArray[np.intp]:
    """``count`` atoms in proportion to their weights, by one random ``offset`` in [0, 1) (systematic sampling)."""
    ends = np.cumsum(weights)
    places = (np.arange(count) + offset) / count * ends[-1]
    atoms: NDArray[np.intp] = np.minimum(np.searchsorted(ends, places, side="right"), len(weights) - 1)
    return atoms
