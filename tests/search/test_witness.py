"""The witness gradient, on a problem whose gradients are known."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nebula_tune.objective import Prior
from nebula_tune.search import Candidate, Sampler, Space, Witness
from nebula_tune.search.witness import START_CURVE, START_PROBABILITY
from nebula_tune.trial import NO_CURVATURE, Point, Score
from tests.search.contract import SamplerContract
from tests.search.problems import START, Bowl, points, run, score, space

GOAL = np.array([3.0, 0.2, 1.0, 0.1, 5.0])
NO_COST = np.zeros(5)


class TestWitness(SamplerContract):
    def make(self, space: Space, start: Point = START, trials: int = 50, seed: int = 1) -> Sampler:
        return Witness(space, start, trials)


class TestWitnessOfSeveralTrialsAStep(SamplerContract):
    def make(self, space: Space, start: Point = START, trials: int = 50, seed: int = 1) -> Sampler:
        return Witness(space, start, trials, trials_a_step=4)


def test_exact_gradients_lead_to_the_minimum() -> None:
    witness = Witness(space(flags=False), START, 100, step=2.0, momentum=0.8)
    run(witness, Bowl(GOAL, NO_COST))
    np.testing.assert_allclose(witness.result().curves, GOAL, rtol=1e-3)


@pytest.mark.parametrize("momentum", [0.0, 0.8])
def test_steps_fall_linearly_and_the_last_fifth_of_the_curves_is_averaged(momentum: float) -> None:
    # under one same gradient, momentum (its beginning corrected for) changes nothing
    gradient, deviation = np.array([1.0, -2.0, 0.5, -4.0, 0.0]), 40.0
    witness = Witness(space(flags=False), START, 10, step=2.0, momentum=momentum)
    seen = points(run(witness, lambda _: score(0.0, gradient, deviation=deviation)))[:, :5]
    steps = 2.0 * (1 - np.arange(10) / 10)
    moved = np.log(START.curves) - np.cumsum(steps)[:, None] * gradient / deviation
    np.testing.assert_allclose(np.log(seen[1:]), moved[:-1])
    np.testing.assert_allclose(np.log(witness.result().curves), moved[8:].mean(axis=0))


def stiff(candidate: Candidate) -> Score:
    """A valley: along (1, 1, 0, 0, 0) a thousand times as steep as across; the curvature is told."""
    away = np.log(candidate.point.curves / GOAL)
    steep = np.array([1.0, 1, 0, 0, 0]) / np.sqrt(2)
    hessian = np.eye(5) + 999 * np.outer(steep, steep)
    rows = np.zeros((1, 2, 5))
    rows[0, 0] = np.sqrt(999) * steep
    return score(float(away @ hessian @ away) / 2, hessian @ away, deviation=100.0, curvature=rows)


@pytest.mark.parametrize("step", [8.0, 100.0, 1000.0])
def test_with_the_curvature_known_the_length_of_the_step_hardly_matters(step: float) -> None:
    witness = Witness(space(flags=False), START, 200, step=step)
    run(witness, stiff)
    along = np.log(witness.result().curves / GOAL)[:2].sum()
    assert abs(along) < 1e-3
    if step >= 100:  # across, the step decides how far one comes
        np.testing.assert_allclose(witness.result().curves, GOAL, rtol=1e-2)


def test_without_it_a_long_step_does_not_come_to_rest() -> None:
    witness = Witness(space(flags=False), START, 200, step=100.0)
    run(witness, lambda candidate: replace(stiff(candidate), curvature=NO_CURVATURE))
    assert np.abs(np.log(witness.result().curves / GOAL)[:2]).max() > 0.1


def test_frozen_parameters_have_no_part_in_the_curvature() -> None:
    witness = Witness(space(flags=False, freeze=("vco.tuning",)), START, 200, step=100.0)
    run(witness, stiff)
    held = np.log(START.curves[0] / GOAL[0])
    # with the first one held the valley's floor is elsewhere: 1000 - 1 = 999 halves of it pull at the second
    assert np.log(witness.result().curves / GOAL)[1] == pytest.approx(-held * 499.5 / 500.5, abs=0.01)


def test_a_tight_leash_does_not_make_steps_overshoot() -> None:
    here = space(flags=False)
    prior, bowl = Prior(here.start, here.free_flags, 1e4), Bowl(GOAL, NO_COST)
    witness = Witness(here, Point(np.full(5, 5.0), START.probabilities), 100)
    run(witness, lambda candidate: prior.on(candidate.point, bowl(candidate)))
    np.testing.assert_allclose(witness.result().curves, START.curves, rtol=1e-3)


def test_noise_is_averaged_away_by_a_falling_step() -> None:
    # each gradient has noise of 1 a parameter, as much as the gradient itself at the start
    def away(trials: int, seed: int) -> np.ndarray:
        witness = Witness(space(flags=False), START, trials, step=1.0, momentum=0.8)
        run(witness, Bowl(GOAL, NO_COST, noise=1.0, seed=seed))
        return np.log(witness.result().curves / GOAL)

    few, many = (np.sqrt(np.mean([away(trials, seed) ** 2 for seed in range(10)])) for trials in (30, 300))
    assert many < 0.2 and many < few / 2


def test_the_scale_of_the_distance_does_not_matter() -> None:
    results = []
    for scale in (1.0, 1e4):
        witness = Witness(space(), START, 30)

        def scaled(candidate: object, scale: float = scale) -> object:
            s = Bowl(GOAL, np.linspace(-1, 1, 5))(candidate)
            return score(s.value, scale * s.curve_gradient, scale * s.flag_gradient,
                         flag_information=s.flag_information, deviation=scale * s.deviation)  # fmt: skip

        run(witness, scaled)
        results.append(witness.result())
    np.testing.assert_allclose(results[0].curves, results[1].curves, rtol=1e-6)
    assert np.array_equal(results[0].probabilities, results[1].probabilities)


def test_flags_move_where_the_other_is_better_and_stay_where_it_is_not() -> None:
    cost = np.array([0.5, -0.5, 0.5, -0.5, -0.5])  # START is symmetric, plain, plain, plain, symmetric
    witness = Witness(space(), START, 100, step=2.0, momentum=0.8)
    run(witness, Bowl(GOAL, cost))
    assert witness.result().probabilities.tolist() == [0, 1, 0, 1, 1]
    np.testing.assert_allclose(witness.result().curves, GOAL, rtol=0.01)


def test_flags_are_open_for_a_share_of_the_steps_and_then_hard() -> None:
    generations = run(Witness(space(), START, 40, relaxed=0.5), Bowl(GOAL, NO_COST))
    assert [generation[0].point.relaxed for generation in generations] == [True] * 20 + [False] * 20
    begin = generations[0][0].point
    p = START_PROBABILITY
    np.testing.assert_allclose(begin.probabilities, [1 - p, p, p, p, 1 - p])
    # at a curve of 1 both laws are one: an open flag would have no gradient
    assert begin.curves[0] == pytest.approx(START_CURVE) and begin.curves[4] == pytest.approx(START_CURVE)
    np.testing.assert_allclose(begin.curves[1:4], START.curves[1:4])


def test_open_flags_are_taken_ever_more_decidedly() -> None:
    generations = run(Witness(space(), START, 40, relaxed=0.5, cooling=3.0), lambda _: score(0.0))
    logit = np.log(START_PROBABILITY / (1 - START_PROBABILITY))
    p = [generation[0].point.probabilities[1] for generation in generations[:20]]
    np.testing.assert_allclose(p, 1 / (1 + np.exp(-logit * (1 + 3 * np.arange(20) / 20))))


def test_nothing_is_relaxed_where_flags_are_not_searched() -> None:
    seen = run(Witness(space(flags=False), START, 20), Bowl(GOAL, NO_COST))
    assert not any(candidate.point.relaxed for generation in seen for candidate in generation)
    np.testing.assert_allclose(seen[0][0].point.curves, START.curves)


def test_a_study_that_ends_while_flags_are_open_hardens_them() -> None:
    witness = Witness(space(), START, 60, relaxed=1.0)
    run(witness, Bowl(GOAL, np.array([1.0, -1, -1, 1, 1])))
    assert witness.result().probabilities.tolist() == [0, 1, 1, 0, 0]


def test_every_step_has_sounds_of_its_own() -> None:
    generations = run(Witness(space(), START, 10, trials_a_step=4), Bowl(GOAL, NO_COST))
    assert [[candidate.draw for candidate in g] for g in generations] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    for generation in generations:
        assert len(np.unique(points([generation]), axis=0)) == 1


def test_the_first_step_follows_from_ranges_sounds_and_trials() -> None:
    here = space(flags=False, freeze=("adsr.decay",))  # whose range is the widest, down to its start of 0.025
    width = np.log(100)
    for trials, a_step, sounds, expected in (
        (100, 1, 256, 2.6),
        (400, 1, 256, 1.3),
        (400, 4, 256, 5.2),
        (100, 1, 64, 1.3),
        (20, 1, 64, 1.3),  # as one of 100
    ):
        witness = Witness(here, START, trials, trials_a_step=a_step, sounds=sounds)
        assert witness.step == pytest.approx(expected * width)
    assert Witness(here, START, 20, step=1.0, trials_a_step=4).step == 1


def test_trials_of_a_step_are_averaged() -> None:
    noisy, mean = Witness(space(), START, 20, step=3.0, trials_a_step=2), Witness(space(), START, 10, step=3.0)
    noise = np.array([0.3, -0.2, 0.1, 0.5, 0.0])

    def with_noise(candidate: object) -> object:
        s = Bowl(GOAL, NO_COST)(candidate)
        sign = 1 if candidate.draw % 2 else -1
        return score(s.value, s.curve_gradient + sign * noise, flag_information=s.flag_information, deviation=2.0)

    run(noisy, with_noise)
    run(mean, Bowl(GOAL, NO_COST))
    np.testing.assert_allclose(noisy.result().curves, mean.result().curves, rtol=1e-9)


def test_sounds_that_are_all_alike_say_nothing() -> None:
    witness = Witness(space(flags=False), START, 10)
    run(witness, lambda _: score(1.0, np.full(5, 1e-3), deviation=0.0))
    np.testing.assert_allclose(witness.result().curves, START.curves)


SEARCH = """
import numpy as np
from nebula_tune.search import Space, Witness
from nebula_tune.trial import Point, Score
space = Space.around([f"m.p{k}" for k in range(78)], Point(np.ones(78), np.zeros(78)), (0.01, 10.0), flags=True)
random, witness = np.random.default_rng(0), Witness(space, space.start, 12)
while witness.ask():
    gradients = random.normal(size=(2, 78))
    rows = random.normal(size=(6, 2, 78)) * 3
    witness.tell([Score(1.0, 1.0, {}, *gradients, np.full(78, 0.05), 10.0, curvature=rows)])
print(witness.result().curves.tobytes().hex())
"""


def test_the_number_of_threads_changes_no_bit() -> None:
    threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    one, four = (
        subprocess.run(
            [sys.executable, "-c", SEARCH],
            env=os.environ | dict.fromkeys(threads, count),
            check=True,
            capture_output=True,
        ).stdout
        for count in ("1", "4")
    )
    assert one and one == four


# Ending early


def test_a_search_ends_where_the_score_no_longer_moves() -> None:
    # the goal is near: most of 1000 trials would bring nothing
    def search(patience: int | None, seed: int) -> tuple[int, float]:
        bowl = Bowl(GOAL, NO_COST, noise=0.3, seed=seed)
        random = np.random.default_rng(seed)
        witness = Witness(space(flags=False), START, 1000, step=0.5, patience=patience)

        def noisy(candidate: Candidate) -> Score:
            return replace(exact := bowl(candidate), value=exact.value + 0.3 * random.standard_normal())

        trials = sum(len(generation) for generation in run(witness, noisy))
        return trials, float(np.linalg.norm(np.log(witness.result().curves / GOAL)))

    for seed in range(5):
        (all_trials, whole), (trials, early) = search(None, seed), search(40, seed)
        assert all_trials == 1000 and 80 <= trials < 500
        assert early < 0.25 and whole < 0.25


def test_a_search_that_still_moves_goes_on() -> None:
    left = iter(np.linspace(100, 0, 200) + np.random.default_rng(0).normal(size=200))
    witness = Witness(space(flags=False), START, 200, patience=20)
    assert sum(len(generation) for generation in run(witness, lambda _: score(next(left)))) == 200


def test_flags_are_decided_where_the_score_no_longer_moves_and_curves_go_on() -> None:
    generations = run(Witness(space(), START, 400, patience=20), lambda _: score(1.0))
    relaxed = [generation[0].point.relaxed for generation in generations]
    # 40 with open flags; the rest in proportion (relaxed 0.6) is fewer than two more patiences
    assert relaxed == [True] * 40 + [False] * 27


def test_when_a_search_ends_follows_from_its_scores_alone() -> None:
    bowl = Bowl(GOAL, np.linspace(-1, 1, 5), noise=0.3)
    one, other = (Witness(space(), START, 500, patience=15, trials_a_step=3) for _ in range(2))
    first, second = points(run(one, bowl)), points(run(other, bowl))
    assert len(first) < 500 and np.array_equal(first, second)


def test_the_last_iterates_are_averaged_in_a_search_that_ended_early_too() -> None:
    witness = Witness(space(flags=False), START, 300, step=3.0, patience=20)
    gradient = np.array([0.01, 0, 0, 0, 0])
    seen = np.log(points(run(witness, lambda _: score(0.0, gradient)))[:, 0])
    steps = len(seen)
    assert steps == 60
    # result: the mean of the last fifth; the curve after the last step is not asked for
    assert seen[48] > np.log(witness.result().curves[0]) > seen[-1] - 0.01
    np.testing.assert_allclose(np.log(witness.result().curves[0]), seen[49:].mean(), atol=0.005)


# Snapshots


def test_a_snapshot_is_the_mean_of_a_fifth_of_the_curves_before_it() -> None:
    witness = Witness(space(flags=False), START, 100)
    seen = np.log(points(run(witness, Bowl(GOAL, NO_COST, noise=1.0)))[:, :5])  # curve k is what step k - 1 led to
    (first, one), (second, two), (last, end) = witness.snapshots()
    assert (first, second, last) == (70, 85, 100)
    np.testing.assert_allclose(np.log(one.curves), seen[51:71].mean(axis=0))
    np.testing.assert_allclose(np.log(two.curves), seen[66:86].mean(axis=0))
    assert np.array_equal(end.curves, witness.result().curves)


@pytest.mark.parametrize(
    ("relaxed", "trials"), [(0.6, [70, 85, 100]), (0.75, [85, 100]), (0.85, [100]), (0.9, [100]), (1.0, [100])]
)
def test_none_is_of_steps_with_open_flags(relaxed: float, trials: list[int]) -> None:
    witness = Witness(space(), START, 100, relaxed=relaxed)
    generations = run(witness, Bowl(GOAL, np.linspace(-1, 1, 5), noise=0.3))
    assert [count for count, _ in witness.snapshots()] == trials
    flags = generations[-1][0].point.probabilities if relaxed < 1 else witness.result().probabilities
    for _, point in witness.snapshots():
        assert np.array_equal(point.probabilities, flags), "flags are decided once, before the first snapshot"


@settings(deadline=None)
@given(st.integers(1, 60), st.integers(1, 7), st.floats(0, 1), st.sampled_from([None, 4, 9]))
def test_snapshots_count_the_trials_that_were_asked_for(
    trials: int, a_step: int, relaxed: float, patience: int | None
) -> None:
    witness = Witness(space(), START, trials, relaxed=relaxed, trials_a_step=a_step, patience=patience)
    asked = sum(len(generation) for generation in run(witness, lambda _: score(1.0)))
    counts = [count for count, _ in witness.snapshots()]
    assert counts[-1] == asked <= trials
    assert counts == sorted(set(counts)) and len(counts) <= 3
    assert not any(point.relaxed for _, point in witness.snapshots())
