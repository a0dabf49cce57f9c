"""What ``--study`` meant before: which edition a stored study was begun with."""

from __future__ import annotations

from pathlib import Path

import pytest

from nebula_tune.corpus.prepare import Prepare
from nebula_tune.errors import SettingsError
from nebula_tune.files import shipped
from nebula_tune.study.editions import Edition, nearest_edition, other_editions
from nebula_tune.study.plan import AUTO, Plan
from nebula_tune.study.settings import ConstellationSettings, StudySettings, load_study, shipped_studies
from nebula_tune.synth import architecture
from tests.service.studies import assert_same
from tests.study.tiny import STUDY, TinyStudy


def planned(settings: StudySettings) -> Plan:
    return Plan(settings, "voice", architecture("voice").resolve("default"), (), (), 0, "file", 2000)


def test_earlier_editions_load_and_are_not_listed() -> None:
    files = sorted((shipped("studies") / "earlier").iterdir())
    assert {path.name.split(".")[0] for path in files} == {"diversity", "diversity-restricted", "full", "laptop"}
    version_2 = {"laptop.2.yaml"}
    assert {path.name for path in files if load_study(str(path)).prepare is Prepare.ONSET} == version_2
    assert not {path.stem for path in files} & set(shipped_studies())


@pytest.mark.parametrize("name", shipped_studies())
def test_a_name_stands_for_its_own_editions_only(name: str) -> None:
    assert {edition.called for edition in other_editions(name)} <= {name, f"an earlier {name}"}


@pytest.mark.parametrize("begun", [*AUTO, "an earlier full", "an earlier laptop"])
def test_auto_finds_whichever_study_it_chose_when_the_stored_one_began(begun: str) -> None:
    editions = {edition.called: edition for edition in other_editions("auto")}
    stored = planned(editions[begun].settings).resolved()
    found = nearest_edition(stored, other_editions("auto"), planned)
    assert found and found[0] == editions[begun] and found[1].resolved() == stored


def test_an_edition_that_a_study_would_only_gain_parts_by_comes_after_its_own() -> None:
    own = load_study("paper")
    richer = own.model_copy(update={"constellation": ConstellationSettings()})
    editions = [Edition("richer", richer), Edition("own", own)]
    for candidates, expected in ((editions, "own"), (editions[:1], "richer")):
        found = nearest_edition(planned(own).resolved(), candidates, planned)
        assert found and found[0].called == expected


def test_an_edition_that_cannot_take_the_options_is_passed_over() -> None:
    def one_ear_only(settings: StudySettings) -> Plan:
        if settings.embeddings:
            raise SettingsError("--weights is for one embedding")
        return planned(settings)

    own = load_study("paper")
    several = own.model_copy(update={"embedding": None, "embeddings": own.heard})
    editions = [Edition("several", several), Edition("own", own)]
    found = nearest_edition(planned(own).resolved(), editions, one_ear_only)
    assert found and found[0].called == "own"
    assert nearest_edition(planned(own).resolved(), editions[:1], one_ear_only) is None


@pytest.mark.slow
def test_a_study_file_that_says_onset_goes_on_with_the_version_it_began_with(tmp_path: Path, target: Path) -> None:
    study, whole = (TinyStudy(tmp_path / name, target, STUDY + "prepare: onset-1\n") for name in ("begun", "whole"))
    study.start("--time-limit", "0.001").communicate(timeout=300)
    whole.run()

    def again(said: str) -> tuple[int, str]:
        (study.folder / "tiny.yaml").write_text(STUDY + said)
        process = study.start()
        _, err = process.communicate(timeout=300)
        return process.returncode, err

    code, err = again("prepare: onset-2\n")
    assert code == 2 and 'study.prepare: "onset" -> "onset-2"' in err
    code, err = again("prepare: onset\n")
    assert code == 0 and "study tiny was begun with tiny.yaml (logmel, prepare onset-1): it goes on so" in err
    assert_same(study, whole)
    code, err = again("")
    assert code == 0 and "its result again, made with tiny.yaml (logmel, prepare onset-1)" in err
