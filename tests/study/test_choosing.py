"""Several embeddings, several searches, and an embedding that no trial heard, which chooses among their nebulae."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from nebula_tune.corpus.source import Source
from nebula_tune.errors import CorpusError, SettingsError, StudyError
from nebula_tune.nebula import Nebula
from nebula_tune.storage.ledger import Ledger
from nebula_tune.study.choosing import Chooser
from nebula_tune.study.coordinator import Snapshot
from nebula_tune.study.plan import Plan
from nebula_tune.study.replay import search_snapshots
from nebula_tune.study.settings import StudySettings, load_study
from nebula_tune.study.target import SplitTarget
from nebula_tune.synth import Voice
from nebula_tune.trial import Point
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


@pytest.mark.slow
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
    ledger = Ledger(study.storage)
    snapshots = search_snapshots(ledger, "tiny")
    assert [(each.phase, each.trials) for each in snapshots] == [
        (one["phase"], one["trials"]) for one in chosen["candidates"]
    ]
    plan = Plan.stored(ledger.record("tiny"))
    assert plan.nebula(snapshots[chosen["chosen"]].point) == Nebula.load(study.nebula)
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


@pytest.mark.parametrize("sounds", [3, 10**9])
def test_a_bad_chooser_is_one_line_with_its_place(tmp_path: Path, sounds: int) -> None:
    (tmp_path / "study.yaml").write_text(STUDY.replace("sounds: 64", f"sounds: {sounds}"))
    with pytest.raises(SettingsError, match=r"study.yaml:9: choose.sounds") as caught:
        load_study(str(tmp_path / "study.yaml"))
    assert "\n" not in str(caught.value)


def test_one_embedding_that_chooses_has_no_weight(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(STUDY.replace("{embedding: {name: mss,", "{embedding: {name: mss, weight: 2,"))
    with pytest.raises(SettingsError, match=r"study.yaml:9: choose: .*one embedding chooses"):
        load_study(str(tmp_path / "study.yaml"))


def test_one_embedding_that_reports_has_no_weight(tmp_path: Path) -> None:
    weighed = STUDY.replace("other_embedding: {name: mss,", "other_embedding: {name: mss, weight: 2,")
    (tmp_path / "study.yaml").write_text(weighed)
    with pytest.raises(SettingsError, match=r"study.yaml:10: other_embedding: one embedding reports") as caught:
        load_study(str(tmp_path / "study.yaml"))
    assert "\n" not in str(caught.value)
    (tmp_path / "study.yaml").write_text(weighed.replace("weight: 2", "weight: 1.0"))
    assert load_study(str(tmp_path / "study.yaml")).other_embedding is not None


@pytest.mark.parametrize("key", ["choose: {embedding: ", "other_embedding: "])
@pytest.mark.parametrize(
    ("named", "message"),
    [
        ("{name: nosuch}", "no embedding 'nosuch'"),
        ("{name: scattering, octaves: 3}", "scattering does not take these options"),
    ],
)
def test_what_is_heard_last_is_refused_before_any_trial(
    target: Path, tmp_path: Path, key: str, named: str, message: str
) -> None:
    study = TinyStudy(
        tmp_path / "study", target, STUDY.replace(key + "{name: mss, sample_rate: 8000, seconds: 0.5}", key + named)
    )
    process = study.start()
    _, err = process.communicate(timeout=300)
    assert process.returncode == 2 and "Traceback" not in err
    assert err.strip().splitlines()[-1].startswith("nebula-tune: ") and message in err
    assert study.count() == 0 and not Ledger(study.storage).has("tiny"), "the file can be put right under its name"


def test_a_run_tells_who_chooses_and_what_takes_time_beside_trials(target: Path, tmp_path: Path) -> None:
    study = TinyStudy(tmp_path / "study", target, STUDY.replace("judges: false", "judges: true"))
    _, err = study.start("--time-limit", "0.0001").communicate(timeout=300)
    assert "10 witness trials of 32 sounds, then mss chooses; about" in err
    assert "; on top come choosing, the judges\n" in err
    _, err = study.start("--time-limit", "0.0001", "--name", "own", "--embedding", "mss").communicate(timeout=300)
    assert "then 0 re-evaluations; about" in err and "trials hear mss, so it does not choose" in err


# The chooser by itself


def chooser(target: Path | str, study: str = STUDY, target_sounds: int = 64) -> Chooser:
    settings = StudySettings.model_validate_json(json.dumps(yaml.safe_load(study)))
    plan = Plan(settings, "voice", Nebula(), (), (), 0, "file", target_sounds)
    return Chooser(plan, Source.parse(str(target)), "cpu", lambda line: None)


def snapshot(nebula: str, trials: int) -> Snapshot:
    panel = Voice.panel
    curves, symmetric = panel.arrays(Nebula.load(nebula))
    return Snapshot(1, "witness", trials, Point(curves, symmetric.astype(float)))


def test_whatever_the_order_each_has_its_distance_and_the_targets_own_nebula_is_chosen() -> None:
    start, drum = snapshot("default", 7), snapshot("drum", 10)
    told = []
    for order in ([start, drum], [drum, start, drum]):
        choose = chooser("drum")
        assert choose(order) is drum.point
        assert choose.told is not None
        told.append([candidate.distance for candidate in choose.told.candidates])
        assert choose.told.chosen == order.index(drum), "the first of equals"
    (a, b), again = told
    assert again == [b, a, b], "all are heard on the same draws"
    assert b < a / 3


def test_held_out_sounds_are_not_touched(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: SplitTarget) -> None:
        raise AssertionError("held-out sounds were asked for")

    monkeypatch.setattr(SplitTarget, "held_out", property(refuse))
    assert chooser(target)([snapshot("default", 7), snapshot("drum", 10)]) is not None


def test_a_study_without_a_chooser_cannot_choose(target: Path) -> None:
    with pytest.raises(StudyError, match="no embedding that chooses"):
        chooser(target, STUDY.replace("{name: mss, sample_rate: 8000, seconds: 0.5}, sounds", "logmel, sounds"))([])


def test_a_target_too_small_is_refused_in_a_line(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="15 usable sounds"):
        chooser(make_target(tmp_path / "few", 15))([snapshot("default", 7)])
