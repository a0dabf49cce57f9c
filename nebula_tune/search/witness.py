"""The witness gradient: every trial gives the derivative by every curve and flag at no further cost.

This project's own method. The derivative by log curve is a natural gradient as it stands (the Fisher information
of log c is the identity); a flag is relaxed to the probability p that a sound's parameter is symmetric, and its
logit's gradient divided by the root of its information. Divided by the witness's deviation, a gradient's norm is
at most about 1 and its noise sqrt(parameters / sounds), whatever the embedding's scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

import numpy as np

from nebula_tune.search.base import Candidate, Sampler
from nebula_tune.search.reuse import Reuse
from nebula_tune.search.space import Space
from nebula_tune.trial import Floats, Point, Score

START_PROBABILITY = 0.1  # of the flag the start nebula does not have
START_CURVE = 0.9  # for a curve of 1 with an open flag: at 1 both laws are one, and the flag has no gradient
LOGIT_BOUND = 4.0
AVERAGED = 0.2  # share of the last steps whose mean is the result
INFORMATION_FLOOR = 1e-3


class Witness(Sampler):
    """Gradient descent with momentum and a step that falls linearly to zero.

    The first ``relaxed`` share of the steps searches flags too; then each flag is hardened at one half, and the
    curves go on alone. Where the score no longer moves the schedule is shortened: open flags are decided at once and
    the steps left are in proportion; decided ones have ``patience`` trials more.

    Args:
        space: the search space.
        start: where to begin.
        trials: how many trials in all, at most.
        step: length of the first step, in units of log curve for a gradient of norm 1.
        momentum: share of the old direction kept at each step.
        relaxed: share of the steps that search flags.
        trials_a_step: trials whose gradients are averaged for a step.
        patience: trials over which the mean score has to fall by more than its standard error; None: no matter.
        reuse: sounds of earlier trials that lend their gradients, once flags are decided.
    """

    def __init__(
        self,
        space: Space,
        start: Point,
        trials: int,
        step: float = 3.0,
        momentum: float = 0.9,
        relaxed: float = 0.6,
        trials_a_step: int = 1,
        patience: int | None = None,
        reuse: Reuse | None = None,
    ) -> None:
        self.space, self.trials, self.step, self.momentum = space, trials, step, momentum
        self.trials_a_step = min(trials_a_step, trials)
        self.steps = ceil(trials / self.trials_a_step)
        self.relaxed_steps = round(relaxed * self.steps) if space.free_flags.any() else 0
        self.patience = None if patience is None else ceil(patience / self.trials_a_step)
        self._reuse = reuse
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
        self._velocity = np.zeros_like(self._log_curves)
        self._flag_velocity = np.zeros_like(self._log_curves)
        self._trail: list[Floats] = []

    def _point(self, log_curves: Floats) -> Point:
        flags = self._symmetric.astype(np.float64)
        if self._done < self.relaxed_steps:
            flags = np.where(self.space.free_flags, 1 / (1 + np.exp(-self._logits)), flags)
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
        if self._done < self.relaxed_steps:
            self.steps = ceil(self._done * self.steps / self.relaxed_steps)
            self.relaxed_steps = self._done
        else:
            self.steps = min(self.steps, self._done + (self.patience or 0))
            self._last_steps = True

    def _move(self, scored: Sequence[tuple[Score, int]]) -> None:
        decay, scores = self.momentum, [score for score, _ in scored]
        rate = self.step * (1 - self._done / self.steps) / (1 - decay ** (self._done + 1))
        gradient = np.mean([s.curve_gradient / s.deviation for s in scores], axis=0)
        if self._reuse and self._done >= self.relaxed_steps:
            gradient = self._reuse.improved(gradient, self._point(self._log_curves), scored)
        self._velocity = decay * self._velocity + (1 - decay) * gradient
        moved = self._log_curves - rate * self._velocity
        self._log_curves = np.clip(moved, np.log(self.space.low), np.log(self.space.high))
        if self._done < self.relaxed_steps:
            information = np.mean([s.flag_information for s in scores], axis=0) + INFORMATION_FLOOR
            flags = np.mean([s.flag_gradient / s.deviation for s in scores], axis=0) / np.sqrt(information)
            self._flag_velocity = decay * self._flag_velocity + (1 - decay) * flags
            self._logits = np.clip(self._logits - rate * self._flag_velocity, -LOGIT_BOUND, LOGIT_BOUND)

    def result(self) -> Point:
        """The mean of the last curves, with hardened flags."""
        last = self._trail[int((1 - AVERAGED) * self.steps) :]
        return self._point(np.mean(last, axis=0) if last else self._log_curves).hardened()
