"""Studies that were begun with what a study's name meant before: they tell their results, and go on as they began.

golden-2026-11.db was written by the last version before preparation version 2 and several ears in ``laptop``, with the
options of RUN: study "finished", and study "interrupted" (seed 1) after 5 of its 10 trials. golden-2026-11.json is what
that version resumed the interrupted one to.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from pytest import approx

from nebula_tune.storage.ledger import Ledger
from tests.conftest import Outcome
from tests.study.tiny import make_target

HERE = Path(__file__).parent
STORAGE = ("--storage", "sqlite:///golden.db")
RUN = (
    "run", "--target", "sounds", "--study", "laptop", "--trials", "10", "--sounds", "64", "--tune", "adsr_1.*",
    "--no-constellation", "--no-report", "--executor", "inline", *STORAGE,
)  # fmt: skip
FINISHED, INTERRUPTED = (*RUN, "--name", "finished"), (*RUN, "--name", "interrupted", "--seed", "1")
EARLIER = "an earlier laptop (logmel, prepare onset-1)"
Call = Callable[..., Outcome]


@pytest.fixture(autouse=True)
def begun(tmp_path: Path) -> Ledger:
    """The database beside its target; every second sound of that has a constant offset, so preparations differ."""
    shutil.copy(HERE / "golden-2026-11.db", tmp_path / "golden.db")
    for path in sorted(make_target(tmp_path / "sounds", 30).glob("*.wav"))[::2]:
        audio, rate = soundfile.read(path)
        soundfile.write(path, 0.1 + np.concatenate([np.zeros(800), audio]), rate)
    return Ledger(f"sqlite:///{tmp_path}/golden.db", create=False)


def assert_told_again(done: Outcome, ledger: Ledger) -> None:
    """The finished study's stored result, with the line on what it was made with."""
    stored = ledger.result("finished")
    assert done.code == 0 and stored and json.loads(done.out) == stored[0]
    made = f"this is its result again, made with {EARLIER}; give another --name for a new run"
    assert [line for line in done.err.splitlines() if "made with" in line] == [f"study finished is finished; {made}"]


def test_a_finished_study_of_an_earlier_laptop_tells_its_result(call: Call, begun: Ledger) -> None:
    assert_told_again(call(*FINISHED, "--json"), begun)


def test_it_does_so_where_laptop_has_other_ears_today(
    call: Call, begun: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    studies = shutil.copytree(HERE.parent.parent / "studies", tmp_path / "later")
    ears = "embeddings: [logmel, {name: mss, weight: 0.5}]\n"
    (studies / "laptop.yaml").write_text(ears + "search: [{sampler: grid, trials: 300}]\n")
    monkeypatch.setattr("nebula_tune.study.settings.shipped", lambda _: studies)
    assert_told_again(call(*FINISHED, "--json"), begun)
    assert call(*FINISHED, "--sounds", "65").line.count("->") == 1


def test_auto_takes_the_stored_ears_where_a_gpu_has_appeared(
    call: Call, begun: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr("nebula_tune.tuning.resolve.is_ready", lambda _: True)
    monkeypatch.setattr("nebula_tune.tuning.resolve.own_device", lambda: "cpu")
    done = call(*(option for option in FINISHED if option not in ("--study", "laptop")), "--json")
    assert_told_again(done, begun)
    assert "study full" not in done.err


def test_an_interrupted_study_goes_on_to_what_its_own_version_made_of_it(
    call: Call, begun: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The network judge came later: its figures are not compared, so its training may be short.
    for name in ("NETWORKS", "EPOCHS", "LEAST_STEPS"):
        monkeypatch.setattr(f"nebula_tune.evaluate.network_judge.{name}", 1)
    done = call(*INTERRUPTED, "--json")
    assert done.code == 0 and f"study interrupted was begun with {EARLIER}: it goes on so" in done.err
    assert "(5 trials are done already)" in done.err
    told, golden = json.loads(done.out), json.loads((HERE / "golden-2026-11.json").read_text())
    told["nebula"] = {".".join(entry["name"]): entry["value"] for entry in json.loads(Path(told["nebula"]).read_text())}
    linear = golden["other"].pop("told_apart")  # judges have a place of their own since
    assert_near(told["told_apart"] | told["told_apart"]["linear"], linear)
    assert set(told["told_apart"]["network"]) == {"start", "drum", "tuned"}
    assert_near({key: told[key] for key in golden}, golden)
    settings = json.loads(begun.record("interrupted")["settings"])
    assert settings["study"]["prepare"] == "onset" and settings["study"]["embedding"]["name"] == "logmel"


def assert_near(told: Any, golden: Any) -> None:
    """Alike but for the last bits of numbers, which depend on the machine's CPU, and parts that came since."""
    if isinstance(golden, dict):
        for key in golden:
            assert_near(told[key], golden[key])
    elif isinstance(golden, list):
        for one, other in zip(told, golden, strict=True):
            assert_near(one, other)
    else:
        assert told == (approx(golden, rel=1e-4) if isinstance(golden, float) else golden)


@pytest.mark.parametrize("study", [FINISHED, INTERRUPTED])
def test_other_options_are_refused_naming_them_alone(call: Call, study: tuple[str, ...]) -> None:
    done = call(*study, "--sounds", "65")
    assert done.code == 2 and "exists with other settings (study.sounds: 64 -> 65); give another --name" in done.line


@pytest.mark.parametrize(("name", "trials", "trial"), [("finished", 10, ()), ("interrupted", 5, ("--trial", "3"))])
def test_status_report_export_and_listen_read_it(call: Call, name: str, trials: int, trial: tuple[str, ...]) -> None:
    status = json.loads(call("status", name, "--json", *STORAGE).out)
    assert (status["state"], status["complete"], status["total"]) == (name, trials, 10)
    assert call("report", name, "--out", "page.html", *STORAGE).code == 0
    assert f"<title>{name}" in Path("page.html").read_text()
    assert call("export", name, *trial, "--out", "nebula.json", *STORAGE).code == 0
    assert call("listen", "nebula.json", "sounds", "--pairs", "8").code == 0
