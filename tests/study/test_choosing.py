"""Several embeddings, several searches, and an embedding that no trial heard, which chooses among their nebulae."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nebula_tune.errors import SettingsError
from nebula_tune.study.ledger import Ledger
from nebula_tune.study.settings import load_study
from tests.study.tiny import TinyStudy, make_target

STUDY = """\
embeddings:
  - {name: logmel, sample_rate: 8000, seconds: 0.5}
  - {name: modulation}
sounds: 32
search:
  - {sampler: witness, trials: 10, patience: null}
  - {sampler: witness, trials: 10, patience: null}
reevaluate: {repeats: 0}
choose: {embedding: {name: mss, sample_rate: 8000, seconds: 0.5}, sounds: 64}
other_embedding: {name: mss, sample_rate: 8000, seconds: 0.5}
judges: false
"""


@pytest.fixture
def target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NEBULA_TUNE_CACHE", str(tmp_path / "cache"))
    return make_target(tmp_path / "target")


def test_the_nearest_by_an_embedding_that_no_trial_heard_is_the_result(target: Path, tmp_path: Path) -> None:
    study = TinyStudy(tmp_path / "study", target, STUDY)
    report = study.run()
    chosen = report["chosen"]
    assert chosen["by"] == "mss" and chosen["sounds"] == 64
    assert [(one["phase"], one["trials"]) for one in chosen["candidates"]] == [
        (1, 7), (1, 8), (1, 10), (2, 7), (2, 8), (2, 10),
    ]  # fmt: skip
    distances = [one["distance"] for one in chosen["candidates"]]
    assert chosen["chosen"] == distances.index(min(distances)) and len(set(distances)) == 6
    assert report["trials"] == {"witness": 20}
    assert "other" not in report, "what chose is no second opinion"

    for trial in Ledger(study.storage).trials("tiny"):
        assert trial.score is not None
        assert list(trial.score.by_embedding) == ["logmel", "modulation"]
        whole = sum(trial.score.by_embedding.values())
        assert whole == pytest.approx(trial.score.value, rel=1e-6, abs=1e-9)

    stopped = TinyStudy(tmp_path / "stopped", target, STUDY)
    process = stopped.start("--time-limit", "0.02")
    assert process.wait() == 130
    assert stopped.run()["chosen"] == chosen
    assert stopped.nebula.read_bytes() == study.nebula.read_bytes()


@pytest.mark.parametrize(
    ("change", "chooser"),
    [
        ("", "mss"),
        ("choose: {embedding: logmel}", None),  # trials hear it
        ("objective: diversity", None),  # no target to be near
    ],
)
def test_who_chooses(tmp_path: Path, change: str, chooser: str | None) -> None:
    lines = [line for line in STUDY.splitlines() if not (change and line.startswith(change.split(":")[0]))]
    (tmp_path / "study.yaml").write_text("\n".join([*lines, change]))
    settings = load_study(str(tmp_path / "study.yaml"))
    assert (settings.chooser.name if settings.chooser else None) == chooser
    assert json.loads(settings.model_dump_json())["choose"] is not None


def test_a_bad_chooser_is_one_line_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(STUDY.replace("sounds: 64", "sounds: 3"))
    with pytest.raises(SettingsError, match=r"study.yaml:9: choose.sounds") as caught:
        load_study(str(tmp_path / "study.yaml"))
    assert "\n" not in str(caught.value)
