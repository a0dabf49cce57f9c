"""A constellation fitted by the whole machinery: recovery of known ones, small targets, other distances, resumption."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nebula_tune.constellation import Constellation
from nebula_tune.distance import DISTANCES, L1, Distance, make_distance, mmd
from nebula_tune.embedding import make_embedding
from nebula_tune.errors import StopRequested
from nebula_tune.execution.inline import InlineExecutor
from nebula_tune.fitting.fit import Fitted, Fitter
from nebula_tune.fitting.sound_pool import PART, PoolRenderer, SoundCounter
from nebula_tune.scoring import Request, ScorerSpec
from nebula_tune.study.plan import Plan
from nebula_tune.study.settings import ConstellationSettings, StudySettings
from nebula_tune.synth import Voice
from tests.constellation.made import constellation

EAR = {"name": "logmel", "sample_rate": 8000, "seconds": 0.25}
SETTINGS = ConstellationSettings(pool=1024, validation=256, rounds=1, spreads=(0.0, 0.1, 0.3, 0.5))


class Lab:
    """Draws of the default nebula, heard by a small logmel; rendered at its own rate, which is four times quicker."""

    def __init__(self) -> None:
        study = StudySettings.model_validate_json(
            '{"embedding": {"name": "logmel", "sample_rate": 8000, "seconds": 0.25}, "prepare": "onset",'
            ' "search": [{"sampler": "grid", "trials": 1}]}'
        )
        self.plan = Plan(study, "voice", Voice.panel.default_nebula, (), (), 0, "auto", 2000)
        self.embeddings = [make_embedding("logmel", sample_rate=8000, seconds=0.25)]
        self.executor = InlineExecutor(ScorerSpec("voice", [EAR], study.prepare, None, "cpu"))
        self.point = self.plan.point(Voice.panel.default_nebula)
        self.rendered = 0
        self.stop_after: int | None = None

    def renderer(self) -> PoolRenderer:
        def check() -> None:
            if self.stop_after is not None and self.rendered >= self.stop_after:
                raise StopRequested("time limit reached")

        def tell(done: int, total: int) -> None:
            self.rendered = done

        return PoolRenderer(
            self.executor,
            self.plan,
            self.embeddings,
            self.point,
            device="cpu",
            progress=SoundCounter(0, tell),
            check=check,
        )

    def fitter(self, distance: Distance | None = None, **changes: Any) -> Fitter:
        settings = SETTINGS.model_copy(update=changes)
        return Fitter(self.renderer(), distance or L1(), settings, self.plan, self.point)

    def hear(self, made: Constellation, first: int, count: int) -> np.ndarray:
        request = Request(self.point, first, count)
        return self.executor.vectors(replace(request, raw=PoolRenderer.draws(self.plan, made, request)))


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    monkeypatch.setenv("NEBULA_TUNE_CACHE", str(tmp_path / "cache"))
    made = Lab()
    yield made
    made.executor.close()


def fit(lab: Lab, target: np.ndarray, distance: Distance | None = None, **changes: Any) -> Fitted:
    return lab.fitter(distance, **changes).fit(target, [str(i) for i in range(len(target))])


@pytest.mark.slow
def test_a_target_made_by_a_known_constellation_is_recovered(lab: Lab) -> None:
    known = constellation(atoms=12, spread=0.3)
    target, held_out = lab.hear(known, 10**6, 300), lab.hear(known, 2 * 10**6, 300)
    fresh = lab.hear(fit(lab, target, rounds=2).constellation, 3 * 10**6, 512)
    base = lab.executor.vectors(Request(lab.point, 3 * 10**6, 512))
    floor = mmd(target, held_out).mmd_unbiased
    assert mmd(fresh, held_out).mmd_unbiased - floor < 0.25 * (mmd(base, held_out).mmd_unbiased - floor)


def test_two_far_apart_clusters_are_had_in_proportion(lab: Lab) -> None:
    known = replace(constellation(atoms=2, spread=0.1, seed=5), weights=np.array([0.7, 0.3]))
    target = lab.hear(known, 10**6, 200)
    fresh = lab.hear(fit(lab, target, spreads=(0.05, 0.1), rounds=2).constellation, 3 * 10**6, 400)
    ends = np.stack([lab.hear(replace(known, weights=w), 4 * 10**6, 64).mean(axis=0) for w in np.eye(2)])
    share = [(np.argmin(np.abs(part[:, None] - ends).sum(axis=2), axis=1) == 0).mean() for part in (target, fresh)]
    assert 0.6 < share[0] < 0.8
    assert abs(share[1] - share[0]) < 0.1


@pytest.mark.parametrize("name", sorted(DISTANCES))
def test_every_distance_brings_the_nebula_nearer(lab: Lab, name: str) -> None:
    known = constellation(atoms=2, spread=0.1, seed=5)
    target, held_out = lab.hear(known, 10**6, 100), lab.hear(known, 2 * 10**6, 150)
    distance = make_distance(name).frozen_on(torch.from_numpy(target))
    fresh = lab.hear(fit(lab, target, distance).constellation, 3 * 10**6, 256)
    base = lab.executor.vectors(Request(lab.point, 3 * 10**6, 256))
    assert mmd(fresh, held_out, distance).mmd_unbiased < 0.6 * mmd(base, held_out, distance).mmd_unbiased


def test_a_small_target_is_not_memorised(lab: Lab) -> None:
    """50 sounds of the nebula itself: what is fitted may not be much farther from new ones than the nebula is."""
    target, held_out = (lab.executor.vectors(Request(lab.point, first, n)) for first, n in ((10**6, 50), (10**7, 400)))
    made = fit(lab, target)
    assert made.told.shrinkage >= 0.3 or made.constellation.spread >= 0.3
    fresh = lab.hear(made.constellation, 3 * 10**6, 512)
    memorised = np.repeat(target, 10, axis=0)
    assert mmd(fresh, held_out).mmd_unbiased < 0.7 * mmd(memorised, held_out).mmd_unbiased


def test_classes_are_fitted_each_by_itself(lab: Lab) -> None:
    known = constellation(atoms=2, spread=0.1, seed=5)
    parts = [
        lab.hear(replace(known, weights=w), 10**6 + 1000 * k, n)
        for k, (w, n) in enumerate(zip(np.eye(2), (60, 30), strict=True))
    ]
    target, names = np.concatenate(parts), ["kick"] * 60 + ["hat"] * 30
    made = lab.fitter().fit(target, [str(i) for i in range(90)], names).constellation
    weight = {name: made.weights[np.array(made.classes) == name].sum() for name in set(names)}
    assert weight["kick"] == pytest.approx(2 / 3, abs=0.01)
    kick = lab.hear(made.of_class("kick"), 3 * 10**6, 200)
    assert mmd(kick, parts[0]).mmd_unbiased < 0.5 * mmd(kick, parts[1]).mmd_unbiased


def test_a_fit_that_was_stopped_goes_on_and_ends_the_same(lab: Lab) -> None:
    target = lab.hear(constellation(atoms=6, spread=0.3), 10**6, 120)
    lab.stop_after = 2 * PART
    with pytest.raises(StopRequested):
        fit(lab, target)
    lab.stop_after, lab.rendered = None, 0
    calls = 0
    fresh = lab.executor.fresh

    def counted(request: Request) -> Any:
        nonlocal calls
        calls += request.sounds
        return fresh(request)

    lab.executor.fresh = counted  # type: ignore[method-assign]
    first = fit(lab, target)
    rendered, calls = calls, 0
    again = fit(lab, target)
    assert rendered < lab.rendered and calls == 0  # what was rendered before the stop, and all of it the second time
    assert again.constellation.as_json() == first.constellation.as_json()
    lab.executor.fresh = fresh  # type: ignore[method-assign]
