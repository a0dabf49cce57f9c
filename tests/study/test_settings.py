"""Study files: read strictly, and wrong ones refused with their file, line and key."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nebula_tune.corpus.prepare import Prepare
from nebula_tune.errors import SettingsError
from nebula_tune.search.cmaes import CmaEsSettings
from nebula_tune.search.grid import GridSettings
from nebula_tune.search.witness import WitnessSettings
from nebula_tune.study.plan import named_embeddings
from nebula_tune.study.settings import (
    EmbeddingSettings,
    GuardSettings,
    StudySettings,
    load_study,
    shipped_studies,
)

GOOD = """\
embedding: logmel
sounds: 64
space: {curve: [0.1, 10], symmetric: false}
search:
  - {sampler: grid, trials: 20}
  - sampler: witness
    trials: 30
"""


def load(folder: Path, text: str) -> StudySettings:
    path = folder / "study.yaml"
    path.write_text(text, encoding="utf-8")
    return load_study(str(path))


@pytest.mark.parametrize("name", shipped_studies())
def test_every_shipped_study_loads(name: str) -> None:
    study = load_study(name)
    assert study.trials == sum(phase.trials for phase in study.search) > 0


def test_the_paper_is_the_protocol_of_its_section_6() -> None:
    paper = load_study("paper")
    cmaes = CmaEsSettings(sampler="cmaes", trials=800, population=None, sigma=0.1667)
    assert paper.search == (GridSettings(sampler="grid", trials=200), cmaes)
    assert (paper.objective, paper.sounds, paper.prepare) == ("match", 256, Prepare.RMS_ONLY)
    assert (paper.space.curve, paper.space.symmetric) == ((0.1, 10.0), True)
    assert (paper.reevaluate.top, paper.reevaluate.repeats) == (25, 30)
    assert paper.embedding.name == "openl3-music-mel256-512"
    assert {"laptop", "full", "paper"} <= set(shipped_studies())


def test_a_file_says_what_it_says_and_defaults_the_rest(tmp_path: Path) -> None:
    study = load(tmp_path, GOOD)
    assert study.embedding == EmbeddingSettings(name="logmel") and study.embedding.options == {}
    assert (study.sounds, study.space.curve, study.space.symmetric) == (64, (0.1, 10.0), False)
    assert study.search == (
        GridSettings(sampler="grid", trials=20),
        WitnessSettings(sampler="witness", trials=30),
    )
    assert (study.objective, study.prepare, study.reevaluate.repeats) == ("match", Prepare.ONSET, 30)


def test_an_embedding_may_have_options(tmp_path: Path) -> None:
    study = load(tmp_path, GOOD.replace("embedding: logmel", "embedding: {name: openl3, hop: 0.5, center: false}"))
    assert study.embedding.name == "openl3" and study.embedding.options == {"hop": 0.5, "center": False}


def test_embeddings_may_be_several_with_weights(tmp_path: Path) -> None:
    several = "embeddings: [logmel, {name: mss, weight: 0.5, kind: log}]"
    study = load(tmp_path, GOOD.replace("embedding: logmel", several))
    assert [(one.name, one.weight, one.options) for one in study.heard] == [
        ("logmel", 1.0, {}),
        ("mss", 0.5, {"kind": "log"}),
    ]
    assert study.heard_as == "logmel=1,mss=0.5"
    assert [(one.name, one.weight) for one in named_embeddings(study.heard_as)] == [("logmel", 1.0), ("mss", 0.5)]
    assert load(tmp_path, GOOD).heard_as == "logmel"


@pytest.mark.parametrize("text", ["logmel=2", "logmel=0", "logmel=x", "logmel=nan", "logmel,logmel=2"])
def test_embeddings_that_no_option_can_mean_are_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="--embedding"):
        named_embeddings(text)


def test_guards_are_off_for_a_match_and_on_for_diversity(tmp_path: Path) -> None:
    match, diversity = load(tmp_path, GOOD), load(tmp_path, "objective: diversity\n" + GOOD)
    assert match.guarded == GuardSettings()
    assert diversity.guarded.pitch > 0 and diversity.guarded.silent > 0
    own = load(tmp_path, "objective: diversity\nguards: {sweep: 0.5}\n" + GOOD)
    assert own.guarded == GuardSettings(sweep=0.5)
    assert own.guarded.shares["wide_sweep"] == 0.5


# what is changed in GOOD, and what the message says after the file's name
WRONG = {
    "an unknown key": ("sounds: 64", "sonds: 64", ":2: sonds: unknown key"),
    "an unknown key deeper": ("symmetric: false", "flags: false", ":3: space.flags: unknown key"),
    "an unknown key of a sampler": ("trials: 30", "trials: 30\n    population: 9", ":8: search.1.population: unknown"),
    "a number for a word": ("embedding: logmel", "objective: 3\nembedding: logmel", ":1: objective: "),
    "another objective": ("embedding: logmel", "objective: best\nembedding: logmel", ":1: objective: .*'match'"),
    "another preparation": ("embedding: logmel", "embedding: logmel\nprepare: loud", ":2: prepare: .*'onset'"),
    "a word for a number": ("sounds: 64", "sounds: many", ":2: sounds: .*integer"),
    "a fraction of a sound": ("sounds: 64", "sounds: 64.5", ":2: sounds: .*integer"),
    "a quoted number": ("sounds: 64", 'sounds: "64"', ":2: sounds: .*integer"),
    "a date for a number": ("sounds: 64", "sounds: 2020-10-05", ":2: sounds: .*integer"),
    "nothing": ("sounds: 64", "sounds:", ":2: sounds: .*integer"),
    "a word for yes or no": ("symmetric: false", "symmetric: maybe", ":3: space.symmetric: .*boolean"),
    "too few sounds": ("sounds: 64", "sounds: 7", ":2: sounds: .*8"),
    "no trials": ("trials: 20", "trials: 0", ":5: search.0.trials: .*1"),
    "a negative curve": ("[0.1, 10]", "[-0.1, 10]", ":3: space.curve.0: .*greater than 0"),
    "a curve of zero": ("[0.1, 10]", "[0, 10]", ":3: space.curve.0: .*greater than 0"),
    "an infinite curve": ("[0.1, 10]", "[0.1, .inf]", ":3: space.curve.1: .*finite"),
    "a curve that is no number": ("[0.1, 10]", "[.nan, 10]", ":3: space.curve.0: .*finite"),
    "one end of a range": ("[0.1, 10]", "[0.1]", ":3: space.curve.1: is missing"),
    "a range upside down": ("[0.1, 10]", "[10, 0.1]", ":3: space: .*lowest first"),
    "an unknown sampler": ("sampler: grid", "sampler: gird", ":5: search.0: .*'gird'.*'grid', 'cmaes', 'witness'"),
    "no sampler": ("{sampler: grid, trials: 20}", "{trials: 20}", ":5: search.0: .*sampler"),
    "a missing key": ("    trials: 30\n", "", ":6: search.1.trials: is missing"),
    "no embedding": ("embedding: logmel\n", "", ": .*give embedding"),
    "one embedding and several": ("embedding: logmel", "embedding: logmel\nembeddings: [mss]", ": .*give embedding"),
    "one embedding twice": ("embedding: logmel", "embeddings: [mss, mss]", ": .*each once"),
    "a weight for one": ("embedding: logmel", "embedding: {name: mss, weight: 2}", ": .*goes with several"),
    "a weight of zero": ("embedding: logmel", "embeddings: [{name: mss, weight: 0}]", ":1: embeddings.0.weight: .*0"),
    "another distance": ("embedding: logmel", "embedding: logmel\ndistance: cosine", ":2: distance: .*'euclidean'"),
    "another guard": ("embedding: logmel", "embedding: logmel\nguards: {loud: 1}", ":2: guards.loud: unknown key"),
    "a guard that rewards": ("embedding: logmel", "embedding: logmel\nguards: {pitch: -1}", ":2: guards.pitch: .*0"),
    "a judge for an embedding": ("embedding: logmel", "embedding: picture", ":1: embedding: picture is for"),
    "an embedding without a name": ("embedding: logmel", "embedding: {hop: 0.1}", ":1: embedding.name: is missing"),
    "no samplers": (GOOD[GOOD.index("search") :], "search: []\n", ":4: search: .*at least 1"),
    "a key given twice": ("sounds: 64", "sounds: 64\nsounds: 65", ".*line 3: sounds is given twice"),
    "a key given twice deeper": ("symmetric: false", "symmetric: false, curve: []", ".*line 3: curve is given twice"),
    "a key that is a list": ("sounds: 64", "? [a, b]\n: 64", ".*line 2: a key is a plain word"),
    "a list within itself": ("{curve: [0.1, 10], symmetric: false}", "&a [*a]", ".*nested too deep"),
    "a tab": ("sounds: 64", "\tsounds: 64", ": not valid YAML: .*line 2"),
    "an open bracket": ("[0.1, 10]", "[0.1, 10", ": not valid YAML: .*line 3"),
    "code": ("sounds: 64", "sounds: !!python/object/apply:os.getcwd []", ": not valid YAML: .*line 2"),
    "no date at all": ("sounds: 64", "sounds: 2020-13-45", ": not valid YAML: month"),
    "two documents": ("sounds: 64", "sounds: 64\n---\na: 1", ": not valid YAML: "),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_file_is_refused_naming_file_line_and_key(tmp_path: Path, case: str) -> None:
    old, new, message = WRONG[case]
    assert GOOD.count(old) == 1
    with pytest.raises(SettingsError, match=rf"study\.yaml{message}") as caught:
        load(tmp_path, GOOD.replace(old, new))
    assert "\n" not in str(caught.value) and "pydantic" not in str(caught.value)
    assert "Value error" not in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("text", ["", "# nothing\n", "- 1\n- 2\n", "laptop\n", "3\n"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(SettingsError, match=r"study\.yaml: .*object"):
        load(tmp_path, text)


def test_files_that_cannot_be_read_and_unknown_names_are_refused(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes(b"embedding: caf\xe9")
    with pytest.raises(SettingsError, match=r"cannot read study .*latin\.yaml"):
        load_study(str(tmp_path / "latin.yaml"))
    (tmp_path / "zeros.yaml").write_bytes(b"\0\0\0")
    with pytest.raises(SettingsError, match=r"zeros\.yaml"):
        load_study(str(tmp_path / "zeros.yaml"))
    for name in ("nonsense", str(tmp_path)):
        with pytest.raises(SettingsError, match=r"neither a file nor a shipped study .*laptop"):
            load_study(name)


def test_a_file_wins_over_a_shipped_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "laptop").write_text(GOOD)
    assert load_study("laptop").sounds == 64


def of_phases(trials: list[int]) -> StudySettings:
    phases = tuple(GridSettings(sampler="grid", trials=count) for count in trials)
    return StudySettings(embedding=EmbeddingSettings(name="logmel"), search=phases)


@settings(deadline=None)
@given(st.lists(st.integers(1, 2000), min_size=1, max_size=6), st.integers(1, 5000))
def test_scaled_phases_sum_to_the_total_in_proportion(trials: list[int], total: int) -> None:
    scaled = of_phases(trials).with_trials(total)
    assert scaled.trials == total
    counts = [phase.trials for phase in scaled.search]
    assert len(counts) == min(len(trials), total) and min(counts) >= 1
    if total >= len(trials):
        for before, after in zip(trials, counts, strict=True):
            share = before * total / sum(trials)
            # a phase with less than one trial's share takes it from the largest
            assert share - len(trials) < after < max(share + 1, 1.5)


def test_scaling_to_the_same_total_changes_nothing() -> None:
    for name in shipped_studies():
        assert load_study(name).with_trials(load_study(name).trials) == load_study(name)
    assert [phase.trials for phase in load_study("paper").with_trials(10).search] == [2, 8]
    assert [phase.trials for phase in of_phases([1, 100, 1]).with_trials(10).search] == [1, 8, 1]


def test_the_device_of_an_embedding_is_no_setting(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text("embedding: {name: logmel, device: cuda}\nsearch: [{sampler: grid, trials: 2}]\n")
    with pytest.raises(SettingsError, match="device is no setting of a study"):
        load_study(str(file))
