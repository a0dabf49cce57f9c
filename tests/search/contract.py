"""What every sampler promises: a test class for each inherits this and makes the sampler."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from nebula_tune.search import Candidate, Sampler, Space
from nebula_tune.trial import Point, Score
from tests.search.problems import START, Bowl, points, run, space

PROBLEM = Bowl(np.array([3, 0.2, 1, 1, 5]), np.array([-0.5, 0.5, -0.5, 0.5, 0.1]), noise=0.3)


class SamplerContract:
    trials = 50

    def make(self, space: Space, start: Point = START, trials: int = trials, seed: int = 1) -> Sampler:
        raise NotImplementedError

    def test_all_trials_are_asked_for_and_then_no_more(self) -> None:
        for trials in (1, 2, 7, self.trials):
            sampler = self.make(space(), trials=trials)
            assert sum(len(generation) for generation in run(sampler, PROBLEM)) == trials
            assert sampler.ask() == []

    def test_the_same_scores_give_the_same_points(self) -> None:
        samplers = [self.make(space()) for _ in range(2)]
        first, second = (points(run(sampler, PROBLEM)) for sampler in samplers)
        assert np.array_equal(first, second)
        one, two = (sampler.result() for sampler in samplers)
        assert np.array_equal(one.curves, two.curves) and np.array_equal(one.probabilities, two.probabilities)

    def test_frozen_parameters_never_move(self) -> None:
        here = space(freeze=("vco.*", "*.noise"))
        sampler = self.make(here)
        seen = points([*run(sampler, PROBLEM), [Candidate(sampler.result(), 0)]])
        for k in (0, 1, 4):
            assert set(seen[:, k]) == {START.curves[k]} and set(seen[:, 5 + k]) == {START.probabilities[k]}
        for k in (2, 3):
            assert len(set(seen[:, k])) > 1 and len(set(seen[:, 5 + k])) > 1

    def test_flags_that_are_not_searched_never_move(self) -> None:
        sampler = self.make(space(flags=False))
        seen = points([*run(sampler, PROBLEM), [Candidate(sampler.result(), 0)]])
        assert (seen[:, 5:] == START.probabilities).all()
        assert (np.ptp(seen[:, :5], axis=0) > 0).all()

    def test_all_points_are_inside_the_ranges(self) -> None:
        here = space()
        # far outside on two sides: the search is pushed against its walls
        sampler = self.make(here)
        seen = points(run(sampler, Bowl(np.array([1e9, 1e-9, 1, 1, 1e9]), np.zeros(5))))
        curves = np.concatenate([seen[:, :5], sampler.result().curves[None]])
        assert (curves >= here.low).all() and (curves <= here.high).all()
        assert ((seen[:, 5:] >= 0) & (seen[:, 5:] <= 1)).all()

    def test_a_start_outside_the_ranges_is_brought_inside(self) -> None:
        here = space()
        sampler = self.make(here, start=Point(np.full(5, 1e3), START.probabilities))
        curves = points([sampler.ask()])[:, :5]
        assert (curves <= here.high).all() and (curves >= here.low).all()

    def test_the_result_has_no_open_flags_at_any_time(self) -> None:
        sampler = self.make(space())
        assert not sampler.result().relaxed
        while candidates := sampler.ask():
            sampler.tell([PROBLEM(candidate) for candidate in candidates])
            assert not sampler.result().relaxed

    def test_a_trial_without_a_score_is_passed_over(self) -> None:
        def failing(candidate: Candidate) -> Score | None:
            return None if candidate.point.curves.sum() * 1e6 % 2 < 1 else PROBLEM(candidate)

        sampler = self.make(space())
        assert sum(len(generation) for generation in run(sampler, failing)) == self.trials
        assert np.isfinite(sampler.result().curves).all()
        nothing = self.make(space())
        run(nothing, lambda _: None)
        assert np.isfinite(nothing.result().curves).all()

    def test_snapshots_lie_along_its_way_and_end_with_its_result_and_its_trials(self) -> None:
        here = space()
        for trials in (1, 2, 3, 4, 7, 10, self.trials):
            sampler = self.make(here, trials=trials)
            asked = sum(len(generation) for generation in run(sampler, PROBLEM))
            counts, found = zip(*sampler.snapshots(), strict=True)
            assert counts[-1] == asked
            assert counts[0] > 0 and all(one < next_one for one, next_one in pairwise(counts))
            end = sampler.result()
            assert np.array_equal(found[-1].curves, end.curves)
            assert np.array_equal(found[-1].probabilities, end.probabilities)
            for point in found:
                assert not point.relaxed, "only decided flags make a nebula"
                assert (point.curves >= here.low).all() and (point.curves <= here.high).all()
