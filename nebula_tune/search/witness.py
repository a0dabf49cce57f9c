"""The witness gradient: every trial gives the derivative by every curve and flag at no further cost.

This project's own method. The derivative by log curve is a natural gradient as it stands (the Fisher information
of log c is the identity); a flag is relaxed to the probability p that a sound's parameter is symmetric, and its
logit's gradient divided by the root of its information. Divided by the witness's deviation, a gradient's norm is
at most about 1 and its noise sqrt(parameters / sounds), whatever the embedding's scale.

Every trial gives the curvature too (:func:`nebula_tune.scoring.curvature`), and a step is implicit in it,

    move = -(I / rate + H)^-1 g,

which is a damped Gauss-Newton step (Levenberg, 1944): short along the few stiff directions, whatever the rate, and
as long as without it along the others. H is what the stored rows make of it, and never has an eigenvalue below 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil, sqrt
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from nebula_tune.arrays import Floats
from nebula_tune.search.sampler import Candidate, Sampler, SamplerSettings
from nebula_tune.search.space import Space
from nebula_tune.strict import AtLeastOne, Positive, Weight
from nebula_tune.trial import INFORMATION_FLOOR, Point, Score

WANDERING = 1.625  # of a search at its first step's length, as a share of the range's width
SHORT = 100  # steps; a search of fewer has no longer ones
START_PROBABILITY = 0.1  # of the flag the start nebula does not have
START_CURVE = 0.9  # for a curve of 1 with an open flag: at 1 both laws are one, and the flag has no gradient
LOGIT_BOUND = 4.0
AVERAGED = 0.2  # share of the last steps whose mean is the result
SNAPSHOTS = (0.7, 0.85)  # shares of the steps after which the mean of the last curves may be chosen, beside the end
KEPT = 0.9  # share of the old curvature, and of the flags' information, kept at each step


class WitnessSettings(SamplerSettings):
    """Witness gradient; it begins at the start nebula, or at the best point of the phase before.

    It ends early where ``patience`` trials brought nothing. Without ``curvature`` its steps follow the gradient alone.
    Without a ``step`` range, sounds and trials give it.
    """

    needs_gradient: ClassVar[bool] = True
    sampler: Literal["witness"]
    step: Positive | None = None
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.5
    curvature: bool = True
    relaxed: Annotated[float, Field(ge=0, le=1)] = 0.6
    cooling: Weight = 3.0
    trials_a_step: AtLeastOne = 1
    patience: Annotated[int, Field(ge=4)] | None = 50
    begin: Literal["start", "best"] = "start"

    @model_validator(mode="before")
    @classmethod
    def _without_reuse(cls, data: Any) -> Any:
        """Read over ``reuse: 0``, which older files and studies have; more of it is no longer there."""
        if not isinstance(data, dict) or "reuse" not in data:
            return data
        if data["reuse"] != 0:
            raise ValueError(
                "reuse brought nothing and is gone; nebula-tune 0.1.0 of November 2026 was the last with it"
            )
        return {key: value for key, value in data.items() if key != "reuse"}

    @property
    def needs_curvature(self) -> bool:
        return self.curvature

    @property
    def needs_best(self) -> bool:
        return self.begin == "best"

    def make(self, space: Space, best: Point, seed: int, sounds: int) -> Witness:
        return Witness(
            space,
            best if self.begin == "best" else space.start,
            self.trials,
            step=self.step,
            momentum=self.momentum,
            relaxed=self.relaxed,
            cooling=self.cooling,
            trials_a_step=self.trials_a_step,
            sounds=sounds,
            patience=self.patience,
        )


class Witness(Sampler):
    """Gradient descent with momentum, implicit in the curvature, with a step that falls linearly to zero.

    The first ``relaxed`` share of the steps searches flags too, ever more decidedly; then each flag is hardened at one
    half, and the curves go on alone. Where the score no longer moves the schedule is shortened: open flags are decided
    at once and the steps left are in proportion; decided ones have ``patience`` trials more.

    Args:
        space: the search space.
        start: where to begin.
        trials: how many trials in all, at most.
        step: length of the first step where nothing is curved, in units of log curve for a gradient of norm 1; None:
            so long that noise, 1 / sqrt(sounds) in each coordinate, would make all steps of that length wander by
            WANDERING times the mean width of the ranges (a search of fewer than SHORT counts as one of so many).
        momentum: share of the old direction kept at each step.
        relaxed: share of the steps that search flags.
        cooling: while flags are open, their logits count 1 to 1 + ``cooling`` times.
        trials_a_step: trials whose gradients are averaged for a step.
        sounds: of a trial.
        patience: trials over which the mean score has to fall by more than its standard error; None: no matter.
    """

    def __init__(
        self,
        space: Space,
        start: Point,
        trials: int,
        *,
        step: float | None = None,
        momentum: float = 0.5,
        relaxed: float = 0.6,
        cooling: float = 3.0,
        trials_a_step: int = 1,
        sounds: int = 256,
        patience: int | None = None,
    ) -> None:
        self.space, self.trials, self.momentum, self.cooling = space, trials, momentum, cooling
        self.trials_a_step = min(trials_a_step, trials)
        self.steps = ceil(trials / self.trials_a_step)
        self.step = step or WANDERING * _width(space) * sqrt(self.trials_a_step * sounds / max(self.steps, SHORT))
        self.relaxed_steps = round(relaxed * self.steps) if space.free_flags.any() else 0
        self.patience = None if patience is None else ceil(patience / self.trials_a_step)
        self._done = 0
        self._values: list[float] = []  # of the steps since the schedule last changed
        self._last_steps = False
        self._begin(space.clip(start))

    def _begin(self, start: Point) -> None:
        curves, symmetric = start.curves, start.symmetric
        self._symmetric = symmetric
        if self.relaxed_steps:
            curves = np.where(self.space.free_flags & (curves == 1), START_CURVE, curves)
        self._log_curves: Floats = np.log(curves)
        bound = np.log(START_PROBABILITY / (1 - START_PROBABILITY))
        self._logits: Floats = np.where(symmetric, -bound, bound)
        self._direction, self._curvature, self._information = _Mean(self.momentum), _Mean(KEPT), _Mean(KEPT)
        self._trail: list[Floats] = []

    @property
    def _relaxed(self) -> bool:
        return self._done < self.relaxed_steps

    def _point(self, log_curves: Floats) -> Point:
        flags = self._symmetric.astype(np.float64)
        if self._relaxed:
            decidedness = 1 + self.cooling * self._done / self.relaxed_steps
            flags = np.where(self.space.free_flags, 1 / (1 + np.exp(-decidedness * self._logits)), flags)
        return self.space.clip(Point(np.exp(log_curves), flags))

    def ask(self) -> list[Candidate]:
        if self._done >= self.steps:
            return []
        first = self._done * self.trials_a_step
        point = self._point(self._log_curves)
        return [Candidate(point, draw) for draw in range(first, min(first + self.trials_a_step, self.trials))]

    def tell(self, scores: Sequence[Score | None]) -> None:
        draws = range(self._done * self.trials_a_step, self.trials)
        usable = [(score, draw) for score, draw in zip(scores, draws, strict=False) if score and score.deviation > 0]
        if usable:
            self._values.append(float(np.mean([score.value for score, _ in usable])))
            self._move(usable)
        self._done += 1
        self._trail.append(self._log_curves)
        if self._settled():
            self._shorten()
        if self._done == self.relaxed_steps:
            self._symmetric = np.where(self.space.free_flags, self._logits > 0, self._symmetric)
            self._direction = _Mean(self.momentum)  # what open flags said of the curves is over
            self._values = []

    def _settled(self) -> bool:
        """Whether the last ``patience`` scores are no lower than those before, give or take a standard error."""
        count = self.patience
        if count is None or self._last_steps or len(self._values) < 2 * count:
            return False
        before, last = np.array(self._values[-2 * count :]).reshape(2, count)
        error = np.sqrt((before.var() + last.var()) / count)
        return bool(before.mean() - last.mean() <= error)

    def _shorten(self) -> None:
        """Decide flags now where they are open; else let the step fall to zero within the trials of one patience."""
        if self._relaxed:
            self.steps = ceil(self._done * self.steps / self.relaxed_steps)
            self.relaxed_steps = self._done
        else:
            self.steps = min(self.steps, self._done + (self.patience or 0))
            self._last_steps = True

    def _move(self, scored: Sequence[tuple[Score, int]]) -> None:
        scores = [score for score, _ in scored]

        def mean(part: Callable[[Score], Floats]) -> Floats:
            result: Floats = np.mean([part(score) for score in scores], axis=0)
            return result

        curves = mean(lambda s: s.curve_gradient / s.deviation)
        self._direction.add(np.stack([curves, mean(lambda s: s.flag_gradient / s.deviation)]))
        self._curvature.add(mean(lambda s: _curvature(s) / s.deviation))
        self._information.add(mean(lambda s: s.flag_information))
        free = np.stack([self.space.free_curves, self.space.free_flags & self._relaxed])
        move = np.zeros(free.shape)
        move[free] = self._implicit(free.ravel())
        moved = self._log_curves + move[0]
        self._log_curves = np.clip(moved, np.log(self.space.low), np.log(self.space.high))
        self._logits = np.clip(self._logits + move[1], -LOGIT_BOUND, LOGIT_BOUND)

    def _implicit(self, free: NDArray[np.bool_]) -> Floats:
        """The step of the free coordinates: log curves, then logits, these over the root of their information."""
        rate = self.step * (1 - self._done / self.steps)
        information = np.sqrt(self._information.value + INFORMATION_FLOOR)
        unit = np.concatenate([np.ones_like(information), information])[free]
        curvature = self._curvature.value[np.ix_(free, free)] / unit[:, None] / unit
        direction = self._direction.value.ravel()[free] / unit
        return -rate * _solved(np.eye(len(unit)) + rate * curvature, direction)

    def result(self) -> Point:
        """The mean of the last curves, with hardened flags."""
        return self._mean_of(self._trail[int((1 - AVERAGED) * self.steps) :])

    def snapshots(self) -> list[tuple[int, Point]]:
        """Means of curves after some shares of the steps, of those with decided flags; the last is the result."""
        means = []
        for end in sorted({round(share * self.steps) for share in SNAPSHOTS}):  # of few steps, two shares may be one
            first = max(end - round(AVERAGED * self.steps), self.relaxed_steps)
            if first < end < self.steps:
                means.append((self._trials_after(end), self._mean_of(self._trail[first:end])))
        return [*means, (self._trials_after(self._done), self.result())]

    def _trials_after(self, steps: int) -> int:
        return min(steps * self.trials_a_step, self.trials)  # the last step may have fewer

    def _mean_of(self, trail: Sequence[Floats]) -> Point:
        return self._point(np.mean(trail, axis=0) if len(trail) else self._log_curves).hardened()


class _Mean:
    """A running mean that forgets: each new value counts ``1 - kept``, and the beginning is corrected for."""

    def __init__(self, kept: float) -> None:
        self._kept, self._sum, self._weight = kept, np.zeros(()), 0.0

    def add(self, value: Floats) -> None:
        self._sum = self._kept * self._sum + (1 - self._kept) * value
        self._weight = self._kept * self._weight + 1 - self._kept

    @property
    def value(self) -> Floats:
        result: Floats = self._sum / self._weight
        return result


def _solved(matrix: Floats, right: Floats) -> Floats:
    """x of matrix x = right, for a matrix with all eigenvalues above 0.

    By conjugate gradients on elementwise sums: what LAPACK makes of it depends on its threads in the last bits.
    """
    from scipy.sparse.linalg import LinearOperator, cg

    diagonal = np.diag(matrix)
    product = LinearOperator(matrix.shape, matvec=lambda x: (matrix * x).sum(axis=1), dtype=float)
    preconditioner = LinearOperator(matrix.shape, matvec=lambda x: x / diagonal, dtype=float)
    solution: Floats = cg(product, right, rtol=1e-10, M=preconditioner)[0]
    return solution


def _width(space: Space) -> float:
    """Mean width of the free ranges, in units of log curve."""
    return float(np.log(space.high / space.low)[space.free_curves].mean())


def _curvature(score: Score) -> Floats:
    """A trial's curvature as a whole matrix, of log curves and then logits."""
    rows = score.curvature.reshape(len(score.curvature), 2 * score.curvature.shape[2])
    whole: Floats = np.zeros((2 * len(score.curve_gradient),) * 2)
    if len(rows):
        whole = np.einsum("ri,rj->ij", rows, rows)  # no BLAS: the same bits with any number of threads
    if score.prior_curvature is not None:
        whole = whole + np.diag(score.prior_curvature.ravel())
    return whole
