"""Scores of trials: their value, their gradient, and that no order of work can change them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch

from nebula_tune.corpus.prepare import Prepare, prepare
from nebula_tune.distance import l1_mmd, mean_within
from nebula_tune.nebula import Nebula
from nebula_tune.scoring import Request, Scorer, Target, witness
from nebula_tune.trial import Point, Score
from tests.distance import direct
from tests.toys import ToyEar, ToySynth

EAR = ToyEar()
COUNT = len(ToySynth.panel)
CURVES = np.array([0.5, 1.0, 2.0, 0.8, 1.5, 3.0])
DECIDED = Point(CURVES, np.array([0, 1, 0, 0, 1, 0.0]))
RELAXED = Point(np.array([0.3, 4.0, 2.0, 0.4, 1.5, 5.0]), np.array([0.5, 0.6, 0, 0.4, 1, 0.5]))

pytestmark = pytest.mark.usefixtures("one_thread")


def target_vectors(sounds: int) -> np.ndarray:
    """Sounds of a nebula far from the points above."""
    synth = ToySynth(Nebula({"tone.pitch": 4.0, "level.gain": 0.2, "level.noise": 0.3}), 1, 1000, EAR.seconds)
    audio = synth.render(synth.draw(10**6, sounds), 0)
    return EAR.embed_batch(prepare(audio, EAR.samples)).flatten(1).numpy()


def scorer(target: Target | None, style: Prepare = Prepare.RMS_ONLY) -> Scorer:
    return Scorer(ToySynth(Nebula(), 32, 1000, style.render_seconds(EAR.seconds)), EAR, style, target)


@pytest.fixture(scope="module")
def target() -> Target:
    vectors = target_vectors(300)
    return Target(vectors, mean_within(vectors))


def score(scorer: Scorer, request: Request) -> Score:
    return scorer.reduce(request, [scorer.chunk(request, k) for k in range(-(-request.sounds // scorer.chunk_sounds))])


def same(a: Score, b: Score) -> bool:
    return all(np.array_equal(getattr(a, f.name), getattr(b, f.name)) for f in fields(Score))


# Value


@pytest.mark.parametrize("point", [DECIDED, RELAXED], ids=["decided", "relaxed"])
def test_the_value_is_the_unbiased_distance_to_the_target_by_its_groups(point: Point) -> None:
    vectors, groups = target_vectors(90), np.arange(90) // 3
    here = scorer(Target(vectors, mean_within(vectors, groups)))
    request = Request(point, 500, 70)
    chunks = [here.chunk(request, k) for k in range(3)]
    assert [len(chunk.vectors) for chunk in chunks] == [32, 32, 6]
    expected = l1_mmd(np.concatenate([chunk.vectors for chunk in chunks]), vectors, None, groups)
    result = here.reduce(request, chunks)
    assert result.value == pytest.approx(expected.mmd_unbiased, rel=1e-9)
    assert result.mmd == pytest.approx(expected.mmd, rel=1e-9)
    assert result.deviation == pytest.approx(expected.witness.std(), rel=1e-9)


def test_without_a_target_the_value_is_minus_the_spread() -> None:
    here, request = scorer(None), Request(DECIDED, 0, 40)
    vectors = np.concatenate([here.chunk(request, k).vectors for k in range(2)])
    assert score(here, request).value == pytest.approx(-direct.between(vectors), rel=1e-9)
    assert score(here, request).mmd == pytest.approx(-direct.distances(vectors, vectors).mean(), rel=1e-9)


def test_a_trials_sounds_are_the_nebulas_own(target: Target) -> None:
    synth = ToySynth(ToySynth.panel.nebula(DECIDED.curves, DECIDED.symmetric), 32, 1000, EAR.seconds)
    expected = EAR.embed_batch(prepare(synth.render(synth.draw(64, 10), 64), EAR.samples, Prepare.RMS_ONLY))
    chunk = scorer(target).chunk(Request(DECIDED, 32, 42), 1)
    np.testing.assert_allclose(chunk.vectors, expected.flatten(1).numpy(), rtol=1e-6)


def test_silent_sounds_are_counted(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    def play(self: ToySynth, controls: object, noise: torch.Tensor) -> torch.Tensor:
        return torch.cat([torch.zeros(len(noise) // 2, 8), torch.ones(len(noise) - len(noise) // 2, 8)])

    monkeypatch.setattr(ToySynth, "play", play)
    result = score(scorer(target), Request(DECIDED, 0, 64))
    assert result.silent == 0.5
    assert np.isfinite(result.curve_gradient).all() and np.isfinite(result.value)


# One trial, one score


@pytest.mark.parametrize("point", [DECIDED, RELAXED], ids=["decided", "relaxed"])
def test_no_order_of_chunks_changes_a_bit(target: Target, point: Point) -> None:
    request = Request(point, 7, 150)
    expected = score(scorer(target), request)
    here = scorer(target)
    backwards = {k: here.chunk(request, k) for k in reversed(range(5))}
    assert same(here.reduce(request, [backwards[k] for k in range(5)]), expected)
    with ThreadPoolExecutor(4) as pool:
        chunks = list(pool.map(lambda k: here.run(request, k, ()), range(5)))
    result = here.run(request, None, chunks)
    assert isinstance(result, Score) and same(result, expected)


def test_relaxing_a_flag_leaves_the_draws_as_they_are(target: Target) -> None:
    here = scorer(target)
    raw, symmetric = here._draw(DECIDED, 3, 500)
    relaxed_raw, drawn = here._draw(RELAXED, 3, 500)
    assert torch.equal(raw, relaxed_raw)
    assert symmetric.tolist() == [DECIDED.symmetric.tolist()] * 500
    np.testing.assert_allclose(drawn.double().mean(dim=0).numpy(), RELAXED.probabilities, atol=0.06)
    assert not drawn[:, 2].any() and drawn[:, 4].all()
    correlation = np.corrcoef(np.concatenate([raw.numpy(), drawn[:, [0, 1, 3, 5]].numpy()], axis=1).T)
    assert np.abs(correlation - np.eye(10)).max() < 0.2, "a coin is independent of the draw"


def test_a_saved_target_scores_the_same(target: Target, tmp_path: Path) -> None:
    vectors = target_vectors(300)
    Target.save(tmp_path / "sub/target.npz", vectors, mean_within(vectors))
    request = Request(DECIDED, 0, 40)
    assert same(score(scorer(Target.load(tmp_path / "sub/target.npz")), request), score(scorer(target), request))


# Gradient

SOUNDS = 24_000


def moved(point: Point, k: int, step: float, flags: bool) -> Point:
    """The point with one log curve, or the logit of one open flag, a step further."""
    log_curves, probabilities = np.log(point.curves), point.probabilities.copy()
    if flags:
        probabilities[k] = 1 / (1 + (1 / probabilities[k] - 1) * np.exp(-step))
    else:
        log_curves[k] += step
    return Point(np.exp(log_curves), probabilities)


@pytest.mark.parametrize(
    ("point", "objective"),
    [(DECIDED, "match"), (RELAXED, "match"), (DECIDED, "diversity")],
    ids=["decided", "relaxed", "diversity"],
)
def test_the_gradient_is_the_slope_of_the_value(target: Target, point: Point, objective: str) -> None:
    here = scorer(target if objective == "match" else None)
    here.chunk_sounds = SOUNDS
    result = score(here, Request(point, 0, SOUNDS))
    is_open = (point.probabilities > 0) & (point.probabilities < 1)
    # a log curve moves all sounds a little; a logit a few sounds a lot, so it takes a longer step
    for flags, step, ks in ((False, 0.05, range(COUNT)), (True, 0.4, np.flatnonzero(is_open))):
        gradient = result.flag_gradient if flags else result.curve_gradient
        found, true = [], []
        for k in ks:
            up, down = (score(here, Request(moved(point, k, h, flags), 0, SOUNDS)).value for h in (step, -step))
            true.append((up - down) / (2 * step) / result.deviation)
            found.append(gradient[k] / result.deviation)
        if true:
            assert np.linalg.norm(true) > 0.1
            assert np.dot(found, true) / np.dot(true, true) == pytest.approx(1, abs=0.05)
            np.testing.assert_allclose(found, true, atol=0.03)  # noise of 1 / sqrt(24,000) = 0.006 a parameter
    assert (result.flag_gradient[~is_open] == 0).all() and (result.flag_information[~is_open] == 0).all()


def test_the_baseline_of_a_sound_is_the_same_estimate_without_it() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(9, 3)), rng.normal(1, 1, size=(14, 3))
    advantage, deviation = witness(direct.distances(x, y).mean(axis=1), direct.distances(x, x).sum(axis=1))
    for i in range(9):
        left = np.delete(x, i, axis=0)
        own = 2 * direct.distances(x[i : i + 1], y).mean() - 2 * direct.distances(x[i : i + 1], left).mean()
        others = 2 * direct.distances(left, y).mean() - 2 * direct.between(left)
        assert advantage[i] == pytest.approx(own - others, rel=1e-12)
    assert deviation == pytest.approx(l1_mmd(x, y).witness.std(), rel=1e-5)


def test_the_baseline_changes_no_expectation() -> None:
    # Exactly: over all ways to draw 4 sounds from a law of 3 values, weighted, whatever their scores.
    values, law, y = np.array([[0.0], [1.0], [5.0]]), np.array([0.5, 0.2, 0.3]), np.array([[2.0], [4.0]])
    scores = np.array([1.0, -3.0, 0.5]) - law @ [1.0, -3.0, 0.5]  # mean 0 under the law, as scores are
    with_baseline = without = 0.0
    for drawn in np.ndindex(3, 3, 3, 3):
        x, s, weight = values[list(drawn)], scores[list(drawn)], law[list(drawn)].prod()
        to_y, to_x = direct.distances(x, y).mean(axis=1), direct.distances(x, x).sum(axis=1)
        with_baseline += weight * np.mean(witness(to_y, to_x)[0] * s)
        without += weight * np.mean((2 * to_y - 2 * to_x / 3) * s)
    assert with_baseline == pytest.approx(without, rel=1e-12)
