"""Scores of trials: their value, their gradient, and that no order of work can change them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nebula_tune import scoring
from nebula_tune.corpus.prepare import Prepare, prepare
from nebula_tune.distance import L1, Distance, Euclidean, Gaussian, Joint, Part, l1_mmd, mean_within, mmd
from nebula_tune.nebula import Nebula
from nebula_tune.objective import ROWS, Objective, Target, curvature, witness
from nebula_tune.penalties import SHARES
from nebula_tune.scoring import Ear, Request, Scorer, ScorerSpec
from nebula_tune.testing import direct
from nebula_tune.trial import Point, Score
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


def scorer(
    target: Target | None,
    style: Prepare = Prepare.RMS_ONLY,
    distance: Distance | None = None,
    guards: Mapping[str, float] | None = None,
    ears: Sequence[ToyEar] = (EAR,),
) -> Scorer:
    both = [Ear(ToySynth(Nebula(), 32, ear.sample_rate, style.render_seconds(ear.seconds)), ear) for ear in ears]
    return Scorer(both, style, Objective(distance, target, guards), chunk=32)


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


KINDS = {
    "l1": L1(),
    "euclidean": Euclidean(),
    "gaussian": Gaussian(30.0),
    "joint": Joint([Part("one", 4, L1(), 0.1), Part("other", 8, Gaussian(30.0), 20.0)]),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("objective", ["match", "diversity"])
def test_the_value_is_of_the_distance_asked_for(kind: str, objective: str) -> None:
    distance, vectors = KINDS[kind], target_vectors(90)
    target = Target(vectors, mean_within(vectors, None, distance), distance=distance) if objective == "match" else None
    here, request = scorer(target, distance=distance), Request(DECIDED, 500, 70)
    heard = np.concatenate([here.chunk(request, k).vectors for k in range(3)])
    result = score(here, request)
    if objective == "match":
        expected = mmd(heard, vectors, distance)
        assert result.value == pytest.approx(expected.mmd_unbiased, rel=1e-6)
        assert result.mmd == pytest.approx(expected.mmd, rel=1e-6)
        assert result.deviation == pytest.approx(expected.witness.std(), rel=1e-6)
    else:
        assert result.value == pytest.approx(-mean_within(heard, None, distance), rel=1e-6)


def test_of_several_embeddings_a_sounds_vectors_stand_one_after_the_other() -> None:
    ears = (EAR, ToyEar(sample_rate=2000))
    request = Request(DECIDED, 32, 40)
    alone = [scorer(None, ears=[ear]).chunk(request, 0).vectors for ear in ears]
    both = scorer(None, ears=ears, distance=KINDS["l1"]).chunk(request, 0).vectors
    np.testing.assert_array_equal(both, np.concatenate(alone, axis=1))


def test_guards_add_their_shares_times_their_costs(target: Target) -> None:
    request = Request(DECIDED, 0, 64)
    free, guarded = scorer(target), scorer(target, guards={"under_midi_24": 100.0, "wide_sweep": 3.0})
    plain, result = score(free, request), score(guarded, request)
    assert set(plain.shares) == set(SHARES) and plain.shares == result.shares
    assert plain.shares["under_midi_24"] > 0 and plain.shares["wide_sweep"] > 0
    added = 100 * plain.shares["under_midi_24"] + 3 * plain.shares["wide_sweep"]
    assert result.value == pytest.approx(plain.value + added) and result.mmd == plain.mmd


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
    assert result.shares["silent"] == 0.5
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
    raw, symmetric = here._draw(Request(DECIDED, 3, 500))
    relaxed_raw, drawn = here._draw(Request(RELAXED, 3, 500))
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
    check_gradient(scorer(target if objective == "match" else None), point, SOUNDS)


def test_the_gradient_is_the_slope_under_several_embeddings_with_guards() -> None:
    distance, vectors = KINDS["joint"], target_vectors(100)
    target = Target(vectors, mean_within(vectors, None, distance), distance=distance)
    guards = {"under_midi_24": 10.0, "wide_sweep": 5.0}
    check_gradient(scorer(target, distance=distance, guards=guards), DECIDED, 4000, longer=4)


def check_gradient(here: Scorer, point: Point, sounds: int, longer: float = 1) -> None:
    here.chunk_sounds = sounds
    noise = 4.6 / np.sqrt(sounds)
    result = score(here, Request(point, 0, sounds))
    is_open = (point.probabilities > 0) & (point.probabilities < 1)
    # a log curve moves all sounds a little; a logit a few sounds a lot, so it takes a longer step
    for flags, step, ks in ((False, 0.05 * longer, range(COUNT)), (True, 0.4, np.flatnonzero(is_open))):
        gradient = result.flag_gradient if flags else result.curve_gradient
        found, true = [], []
        for k in ks:
            up, down = (score(here, Request(moved(point, k, h, flags), 0, sounds)).value for h in (step, -step))
            true.append((up - down) / (2 * step) / result.deviation)
            found.append(gradient[k] / result.deviation)
        if true:
            assert np.linalg.norm(true) > 0.1
            assert np.dot(found, true) / np.dot(true, true) == pytest.approx(1, abs=0.65 * noise / np.linalg.norm(true))
            np.testing.assert_allclose(found, true, atol=noise)  # a parameter's has the deviation 1 / sqrt(sounds)
    assert (result.flag_gradient[~is_open] == 0).all() and (result.flag_information[~is_open] == 0).all()


# Curvature


@pytest.mark.parametrize("kind", ["l1", "euclidean", "joint"])
@pytest.mark.parametrize("point", [DECIDED, RELAXED], ids=["decided", "relaxed"])
def test_the_curvature_is_how_the_value_grows_away_from_a_target_that_is_met(kind: str, point: Point) -> None:
    # At its least value the squared length of a difference has no curvature but Gauss and Newton's.
    sounds, distance = 4000, KINDS[kind]
    here = scorer(None, distance=distance)
    here.chunk_sounds = sounds
    vectors = here.chunk(Request(point, 10**6, sounds), 0).vectors
    here.objective.target = Target(vectors, mean_within(vectors, None, distance), distance=distance)
    factor = score(here, Request(point, 0, sounds, curvature=True)).curvature
    assert factor.shape == (ROWS, 2, COUNT)
    for flags, step in ((0, 0.3), (1, 0.8)):
        part = factor[:, flags]
        k = int(np.argmax(np.square(part).sum(axis=0)))
        expected = np.square(part[:, k]).sum() * step**2 / 2
        if flags and not point.relaxed:
            assert (part == 0).all()
            continue
        there = [score(here, Request(moved(point, k, h, bool(flags)), 0, sounds)).value for h in (step, 0.0, -step)]
        assert (there[0] + there[2]) / 2 - there[1] == pytest.approx(expected, rel=0.25)


def test_of_the_curvature_the_largest_part_is_kept() -> None:
    # One direction moves the sounds, along one line; all else is noise of estimation.
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(600, 2, 5))
    places = torch.from_numpy(scores[:, 0, 2:3] + 0.1 * rng.normal(size=(600, 1)))
    factor = curvature(torch.cdist(places, places, p=1), scores)
    whole = np.einsum("rik,rjl->ikjl", factor, factor)
    # E |x - x'| of a normal law shifted by h grows by h^2 / sqrt(pi) to second order, over its deviation
    assert whole[0, 2, 0, 2] == pytest.approx(2 / np.sqrt(np.pi * 1.01), rel=0.15)
    whole[0, 2, 0, 2] = 0
    assert np.abs(whole).max() < 0.15


def test_only_who_asks_has_a_curvature(target: Target) -> None:
    assert score(scorer(target), Request(DECIDED, 0, 64)).curvature.size == 0
    one, again = (score(scorer(target), Request(DECIDED, 0, 64, curvature=True)) for _ in range(2))
    assert one.curvature.any() and same(one, again)
    assert max(len(repr(number)) for number in one.curvature.ravel().tolist()) <= 9  # it is stored with every trial


def test_sounds_all_alike_have_no_curvature() -> None:
    assert (
        curvature(torch.zeros(9, 9, dtype=torch.float64), np.random.default_rng(0).normal(size=(9, 2, 3))) == 0
    ).all()


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


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("objective", ["match", "diversity"])
def test_the_gradient_is_exactly_unbiased_under_every_distance_with_guards(kind: str, objective: str) -> None:
    # Over all ways to draw 4 sounds from a law of 3 values that moves with t, against the slope of the value itself.
    rng = np.random.default_rng(3)
    values, y = (torch.from_numpy(rng.normal(0, 20, size=(n, 12)).astype(np.float32)) for n in (3, 5))
    guilt, direction = np.array([1.0, 0.0, 0.5]), np.array([0.3, -1.0, 0.8])
    to_y = KINDS[kind].pairwise(values, y).double().numpy().mean(axis=1) * (objective == "match")
    within = KINDS[kind].pairwise(values, values).double().numpy()
    cost = 0.7 * within.mean()

    def law(t: float) -> np.ndarray:
        weights = np.exp(np.array([0.2, -0.4, 0.1]) + t * direction)
        return weights / weights.sum()

    def value(t: float) -> float:
        p = law(t)
        return float(2 * p @ to_y - p @ within @ p + cost * p @ guilt)

    p, found = law(0), 0.0
    scores = direction - p @ direction
    for drawn in np.ndindex(3, 3, 3, 3):
        k = list(drawn)
        advantage, _ = witness(to_y[k], within[np.ix_(k, k)].sum(axis=1), cost * guilt[k])
        found += p[k].prod() * np.mean(advantage * scores[k])
    assert found == pytest.approx((value(1e-5) - value(-1e-5)) / 2e-5, rel=1e-6)


@pytest.mark.parametrize(
    ("device", "names", "sounds"),
    [("cpu", ["logmel"], 16), ("cuda", ["logmel"], 256), ("cuda", ["logmel", "openl3-music-mel256-512"], 16)],
)
def test_a_chunk_is_of_a_size_that_only_device_and_embeddings_decide(
    device: str, names: list[str], sounds: int
) -> None:
    spec = ScorerSpec("voice", [{"name": name} for name in names], Prepare.ONSET, None, device)
    assert spec.chunk == sounds


# One rendering for several embeddings


@pytest.mark.parametrize(
    ("style", "heard", "made"),
    [
        (Prepare.ONSET, [(8000, 0.5), (8000, 0.3)], [(44100, 1.0)]),
        (Prepare.ONSET, [(8000, 0.3), (16000, 0.5)], [(44100, 1.0)]),  # whatever their rates: both are resampled
        (Prepare.ONSET_1, [(8000, 0.5), (8000, 0.3)], [(8000, 1.0), (8000, 0.8)]),
        (Prepare.ONSET_1, [(8000, 0.5), (8000, 0.5)], [(8000, 1.0)]),
        (Prepare.ONSET_1, [(8000, 0.5), (16000, 0.5)], [(8000, 1.0), (16000, 1.0)]),
        (Prepare.RMS_ONLY, [(8000, 0.5), (8000, 0.3)], [(8000, 0.5), (8000, 0.3)]),
    ],
)
def test_embeddings_share_a_rendering_where_one_serves_them(
    monkeypatch: pytest.MonkeyPatch, style: Prepare, heard: list[tuple[int, float]], made: list[tuple[int, float]]
) -> None:
    players, rendered = [], []

    class Counted(ToySynth):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            players.append((self.sample_rate, self.samples / self.sample_rate))

        def render_human(self, human: torch.Tensor, first_index: int) -> torch.Tensor:
            rendered.append(self.samples)
            return super().render_human(human, first_index)

    monkeypatch.setattr(scoring, "architecture", lambda name, panel: Counted)
    named = [
        {"name": name, "sample_rate": rate, "seconds": seconds}
        for name, (rate, seconds) in zip(("logmel", "mss"), heard, strict=True)
    ]
    here = ScorerSpec("toy", named, style, None, "cpu").build()
    assert players == made
    chunk = here.chunk(Request(DECIDED, 0, 4), 0)
    assert len(rendered) == len(made)
    widths = [ear.embedding.embed_batch(torch.zeros(1, ear.embedding.samples)).numel() for ear in here.ears]
    assert chunk.vectors.shape == (4, sum(widths))
