"""`run` with a constellation, through the real command: what it gives, killed in the middle, added later."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from nebula_tune.constellation import Constellation
from nebula_tune.evaluate.judges import doubts
from nebula_tune.results import Judged
from nebula_tune.synth import Voice
from tests.study.tiny import STUDY, TinyStudy, command, make_target

FITTED = """\
constellation: {pool: 1100, validation: 256, rounds: 2, spreads: [0.1, 0.3], shrinkages: [0.0, 0.3]}
other_embedding: {name: mss, sample_rate: 8000, seconds: 0.5}
other_sounds: 64
"""


@pytest.fixture
def target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NEBULA_TUNE_CACHE", str(tmp_path / "cache"))
    return make_target(tmp_path / "target")


@pytest.mark.slow
def test_a_finished_study_gains_a_constellation_without_a_new_trial(target: Path, tmp_path: Path) -> None:
    study = TinyStudy(tmp_path / "study", target)
    without = study.run()
    assert "constellation" not in without["heldout"]
    trials = study.trials()
    (study.folder / "tiny.yaml").write_text(STUDY + FITTED)
    report = study.run("--against", str(target))
    assert study.trials() == trials
    assert {"start", "drum", "tuned", "constellation", "against", "floor"} == set(report["heldout"])
    assert report["heldout"]["tuned"] == without["heldout"]["tuned"]
    assert report["other"]["embedding"] == "mss" and "constellation" in report["other"]["heldout"]
    made = Constellation.load(study.folder / report["constellation"]["file"])
    assert made.provenance["study"] == "tiny" and report["constellation"]["atoms"] == len(made.atoms)
    assert 0 <= report["constellation"]["novelty"]["copies"] <= 1
    assert torch.equal(Voice(made).draw(0, 3), Voice(study.folder / report["constellation"]["file"]).draw(0, 3))
    written = {path: path.read_bytes() for path in study.nebula.parent.iterdir()}
    assert len(written) == 3
    for path in written:
        path.unlink()
    assert study.run("--against", str(target)) == report, "a finished study tells its result again"
    assert {path: path.read_bytes() for path in study.nebula.parent.iterdir()} == written


@pytest.mark.slow
def test_a_finished_study_gains_judges_who_hear_all_sides(target: Path, tmp_path: Path) -> None:
    study = TinyStudy(tmp_path / "study", target, STUDY + FITTED)
    without = study.run()
    (study.folder / "tiny.yaml").write_text(STUDY.replace("judges: false", "judges: true") + FITTED)
    report = study.run("--against", str(target))
    assert report["heldout"]["constellation"] == without["heldout"]["constellation"]
    told = report["told_apart"]
    assert told["real"] == "whole target" and told["real_sounds"] == 30
    for judge in ("linear", "network"):
        assert list(told[judge]) == ["start", "drum", "tuned", "constellation", "against"]
        assert told[judge]["start"] > 0.7 and all(0 <= figure <= 1 for figure in told[judge].values())
    assert told["network"]["against"] < 0.7, "the target against itself"
    assert report["doubts"] == doubts(Judged.from_json(report).told_apart, Judged.from_json(report).other)


@pytest.mark.slow
def test_killed_while_it_fits_it_ends_with_the_same_constellation(target: Path, tmp_path: Path) -> None:
    results = []
    for name, kill in (("whole", False), ("killed", True)):
        study = TinyStudy(tmp_path / name, target, STUDY + FITTED)
        if kill:
            for path in (tmp_path / "cache" / "vectors").rglob("*.npy"):
                if np.load(path).ndim == 2:  # pools, of which nothing may be left from the undisturbed run
                    path.unlink()
            pools = tmp_path / "cache" / "vectors"
            process = study.start()
            while process.poll() is None and not any(np.load(p).ndim == 2 for p in pools.rglob("*.npy")):
                time.sleep(0.01)
            process.kill()
            process.wait()
            assert process.returncode == -9
        report = study.run()
        made = json.loads((study.folder / report["constellation"]["file"]).read_text())
        results.append({key: value for key, value in made.items() if key != "provenance"})
    assert results[0] == results[1]


def test_folders_that_name_no_classes_are_refused_before_any_work(tmp_path: Path, target: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(STUDY)
    for folder, message in ((target, "lie in no sub-folder"), ("drum", "has no sub-folders")):
        arguments = ["run", "--target", str(folder), "--study", "tiny.yaml", "--classes", "--executor", "inline"]
        process = command(tmp_path, *arguments, "--target-sounds", "20")
        err = process.communicate(timeout=300)[1]
        assert process.returncode == 2 and message in err and len(err.strip().splitlines()) <= 2
    for kit in range(31):
        for k in range(2):
            path = tmp_path / "kits" / f"kit{kit:02d}" / f"{k}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, np.random.default_rng(100 * kit + k).normal(size=2000) * 0.1, 8000)
    process = command(tmp_path, "run", "--target", "kits", "--study", "tiny.yaml", "--classes", "--executor", "inline")
    assert "name kits or packs" in process.communicate(timeout=300)[1] and process.returncode == 2
