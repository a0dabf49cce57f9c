"""What a search can be told, seen through the real command."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import numpy as np
import pytest

from nebula_tune.nebula import Nebula
from nebula_tune.storage.ledger import Ledger
from nebula_tune.study.plan import Plan
from nebula_tune.study.status import study_status
from nebula_tune.tuning.tune import tune
from tests.study.tiny import TinyStudy, make_target

LEASHED = """\
embedding: {name: logmel, sample_rate: 8000, seconds: 0.5}
sounds: 24
space: {curve: [0.01, 20.0], symmetric: true}
prior_weight: 0.5
search:
  - {sampler: grid, trials: 3}
  - {sampler: witness, trials: 200, step: 0.5, patience: 8}
reevaluate: {top: 2, repeats: 4, halving: true}
judges: false
"""


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_target(tmp_path_factory.mktemp("target"))


@pytest.fixture(scope="module")
def leashed(tmp_path_factory: pytest.TempPathFactory, target: Path) -> TinyStudy:
    study = TinyStudy(tmp_path_factory.mktemp("leashed"), target, LEASHED)
    process = study.start("--json")
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    (study.folder / "report.json").write_text(out)
    (study.folder / "told").write_text(err)
    return study


def test_frozen_parameters_never_move(tmp_path: Path, target: Path) -> None:
    study = TinyStudy(tmp_path, target)
    study.run("--tune", "adsr_1.*", "--tune", "mixer.*", "--freeze", "*.attack")
    start, tuned = Nebula.load("default"), Nebula.load(study.nebula)
    free = [name for name in start.curves if name.startswith(("adsr_1.", "mixer.")) and not name.endswith(".attack")]
    assert {name for name in start.curves if tuned.curves[name] != start.curves[name]} == set(free)
    assert {name for name in start.symmetric if tuned.symmetric[name] != start.symmetric[name]} <= set(free)
    for _, params in study.trials().values():
        assert {name.rpartition(".")[0] for name in params} == set(free)


def test_a_search_that_no_longer_moves_ends_early_and_says_so(leashed: TinyStudy) -> None:
    report = json.loads((leashed.folder / "report.json").read_text())
    (early,) = report["ended_early"]
    assert (early["phase"], early["sampler"], early["of"]) == (2, "witness", 200)
    assert report["trials"]["witness"] == early["trials"] < 200
    told = f"witness ended after {early['trials']} of 200 trials: the score no longer moves"
    assert told in (leashed.folder / "told").read_text()
    status = study_status(Ledger(leashed.storage, create=False), "tiny")
    assert status["total"] == status["complete"] == 3 + early["trials"]


def test_such_a_search_killed_and_run_again_ends_the_same(tmp_path: Path, target: Path, leashed: TinyStudy) -> None:
    # late enough for flags to be decided
    study = TinyStudy(tmp_path, target, LEASHED)
    process = study.run_until(leashed.count() - 3)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert study.count() < leashed.count()
    study.run()
    assert study.trials() == leashed.trials()
    assert study.nebula.read_bytes() == leashed.nebula.read_bytes()


@pytest.mark.slow  # a whole search of its own
def test_a_prior_weight_trades_match_for_closeness(tmp_path: Path, target: Path, leashed: TinyStudy) -> None:
    free = LEASHED.replace("prior_weight: 0.5\n", "").replace("trials: 200", "trials: 30")
    far = TinyStudy(tmp_path, target, free).run()
    near = json.loads((leashed.folder / "report.json").read_text())
    assert near["divergence_from_start"] < far["divergence_from_start"] / 5
    assert near["heldout"]["tuned"]["mmd_unbiased"] > far["heldout"]["tuned"]["mmd_unbiased"]
    start = np.array(list(Nebula.load("default").curves.values()))
    moved = [
        np.abs(np.log(np.array(list(Nebula.load(path).curves.values())) / start)).max()
        for path in (leashed.nebula, tmp_path / "nebulae" / "tiny.json")
    ]
    assert moved[0] < moved[1]


def test_halving_scores_fewer_finalists_again(leashed: TinyStudy) -> None:
    again = Ledger(leashed.storage, create=False).reevaluated("tiny")
    # 4 finalists (where the two phases ended, the best two): 2 repeats for all, 2 more for two of them
    assert len(again) == 12 and len({repeat for _, repeat in again}) == 4


def test_searches_side_by_side_are_what_they_are_one_after_the_other(
    target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ear = LEASHED.split("\n")[0]
    search = "search: [{sampler: witness, trials: 8}, {sampler: witness, trials: 6}, {sampler: cmaes, trials: 4}]"
    (tmp_path / "two.yaml").write_text(f"{ear}\nsounds: 24\n{search}\njudges: false\n")
    found = []
    for how in ("together", "in turn"):
        if how == "in turn":
            monkeypatch.setattr(Plan, "side_by_side", lambda plan: [[n] for n in range(len(plan.settings.search))])
        (tmp_path / how).mkdir()
        monkeypatch.chdir(tmp_path / how)
        report = tune(study=str(tmp_path / "two.yaml"), target=str(target), executor="inline", no_report=True).report
        trials = list(Ledger("sqlite:///studies/nebula-tune.db", create=False).trials(report["study"]))
        scores = sorted((trial.key, trial.score.value) for trial in trials if trial.score)
        order = [trial.key[0] for trial in sorted(trials, key=lambda trial: trial.number)]
        found.append((scores, Path(report["nebula"]).read_bytes()))
        assert (sorted(order) == order) == (how == "in turn"), "by order of writing"
    assert len(found[0][0]) == 18
    assert found[0] == found[1]
