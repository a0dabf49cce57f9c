"""Distances, several embeddings, guards and frozen parameters, through the real command."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from nebula_tune.corpus.folder import Skipped
from nebula_tune.corpus.source import Folder, Source
from nebula_tune.distance import Joint, make_distance, mean_within
from nebula_tune.embedding import EMBEDDINGS, make_embedding
from nebula_tune.embedding.embed import Embedded
from nebula_tune.nebula import Nebula
from nebula_tune.penalties import SHARES
from nebula_tune.storage.ledger import Ledger
from nebula_tune.study.plan import Plan
from nebula_tune.study.target import SplitTarget, _joined
from nebula_tune.study.yardstick import Yardstick
from nebula_tune.tuning.tune import tune
from tests.study.tiny import STUDY, make_target
from tests.toys import ToyEar


class OtherEar(ToyEar):
    """A second embedding, of twelve dimensions."""

    name = "other"

    def __init__(self, device: str = "cpu") -> None:
        super().__init__(8000, 0.5)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict]:
    """Run a study of few trials in a folder of its own; the report."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(EMBEDDINGS, "other", "tests.study.test_objectives:OtherEar")

    def tuned(study: str, **options: str) -> dict:
        (tmp_path / "study.yaml").write_text(study)
        if "diversity" not in study:
            options["target"] = str(make_target(tmp_path / "sounds", 20))
        return tune(study="study.yaml", executor="inline", trials=4, sounds=32, **options).report

    return tuned


def test_several_embeddings_under_one_distance_with_guards(run: Callable[..., dict], tmp_path: Path) -> None:
    ear, rest = STUDY.removeprefix("embedding: ").split("\n", 1)
    several = f"embeddings: [{ear}, {{name: other, weight: 0.5}}]\nguards: {{pitch: 2}}\n{rest}"
    report = run(several, distance="gaussian")
    assert (report["embedding"], report["distance"]) == ("logmel=1,other=0.5", "gaussian")
    for name, row in report["heldout"].items():
        assert set(row["parts"]) == {"logmel", "other"}
        assert (name == "floor") == ("shares" not in row)
    assert set(report["heldout"]["tuned"]["shares"]) == set(SHARES)
    provenance = json.loads((tmp_path / "nebulae/sounds.provenance.json").read_text())
    assert provenance["reach"] == report["reach"]
    assert len(report["reach"]["sounds"]) == 20 and report["reach"]["pool"] == 3 * 1024

    # the yardstick that is stored is the one of the held-in part, in shares of its own spread
    yardstick = Yardstick.read(provenance["origin"]["yardstick"])
    plan = Plan.read(provenance["settings"])
    ears = [make_embedding(one.name, **one.options) for one in plan.settings.heard]
    target = SplitTarget.load(Source.parse(str(tmp_path / "sounds")), plan, ears)
    vectors, groups = target.held_in
    assert isinstance(yardstick.distance, Joint)
    assert mean_within(vectors, groups, yardstick.distance) == pytest.approx(1.5)
    for part, x in yardstick.distance.stretches(torch.from_numpy(vectors)):
        again = make_distance("gaussian").frozen_on(x)
        assert part.distance.settings == again.settings
        assert part.factor * mean_within(x.numpy(), groups, again) == pytest.approx(1 if part.name == "logmel" else 0.5)
    assert yardstick.costs(plan.settings.guarded)["over_midi_108"] == pytest.approx(3.0)

    trial = next(iter(Ledger(f"sqlite:///{tmp_path}/studies/nebula-tune.db", create=False).trials("sounds")))
    assert trial.score is not None and set(trial.score.shares) == set(SHARES)
    guarded = 3.0 * (trial.score.shares["under_midi_24"] + trial.score.shares["over_midi_108"])
    unbiased = trial.score.value - guarded
    assert guarded > 0 and 0 < trial.score.mmd - unbiased < 2 * 1.5 * (1 / 32 + 1 / 12)


def test_a_diversity_study_is_named_after_its_file_and_keeps_what_it_freezes(
    run: Callable[..., dict], tmp_path: Path
) -> None:
    report = run(f"objective: diversity\nfreeze: [keyboard.midi_f0, vco_*.tuning]\n{STUDY}", distance="euclidean")
    assert report["study"] == "study"
    assert set(SHARES) <= set(report["spread"]["tuned"])
    tuned, start = Nebula.load(tmp_path / "nebulae/study.json"), Nebula.load("default")
    moved = {
        name
        for name in start.curves
        if tuned.curves[name] != start.curves[name] or tuned.symmetric[name] != start.symmetric[name]
    }
    assert moved and not moved & {"keyboard.midi_f0", "vco_1.tuning", "vco_2.tuning"}
    provenance = json.loads((tmp_path / "nebulae/study.provenance.json").read_text())
    assert provenance["settings"]["study"]["guards"]["pitch"] > 0, "on where nothing is said"
    assert provenance["origin"]["yardstick"]["mean_distance"] == pytest.approx(
        report["spread"]["start"]["value"], rel=0.1
    )


def test_a_file_one_embedding_cannot_use_is_used_by_none() -> None:
    keys = [f"k{n:02d}" for n in range(20)]
    first = Embedded(np.ones((20, 2), np.float32), tuple(keys), tuple(keys), ("",) * 20, (Skipped("x", "silent"),))
    second = Embedded(
        np.arange(57, dtype=np.float32).reshape(19, 3), tuple(keys[1:]), tuple(keys[1:]), ("",) * 19,
        (Skipped("x", "silent"), Skipped("k00", "duplicate of k05")),
    )  # fmt: skip
    both = _joined(Folder("here", Path("here")), [first, second])
    assert both.keys == tuple(keys[1:]) and both.vectors.shape == (19, 5)
    np.testing.assert_array_equal(both.vectors[:, 2:], second.vectors)
    assert [skipped.name for skipped in both.skipped] == ["k00", "x"]
