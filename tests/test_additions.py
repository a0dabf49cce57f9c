"""Embeddings, synths and distances of other packages, found by their entry points."""

import importlib
import json
import sys
import tomllib
from pathlib import Path

import pytest

from nebula_tune import notices
from nebula_tune.distance import distance_names, make_distance
from nebula_tune.embedding import make_embedding, other_embeddings
from nebula_tune.errors import EmbeddingError, SettingsError, UserInputError
from nebula_tune.synth import Voice, architecture
from nebula_tune.testing import EmbeddingContract
from tests.study.tiny import STUDY, TinyStudy, make_target

PLUGIN = Path(__file__).parent.parent / "examples" / "plugin"

MODULE = """\
import torch
from nebula_tune.distance import L1
from nebula_tune.embedding import Embedding
from nebula_tune.synth import FM


class Loudness(Embedding):
    name = "loudness"
    sample_rate, seconds = 8000, 0.5

    def __init__(self, device: str = "cpu") -> None:
        pass

    @property
    def settings(self):
        return {"name": self.name, "version": 1}

    def embed_batch(self, audio):
        return audio.reshape(len(audio), 1, 10, -1).square().mean(dim=3)


class Other(FM):
    pass


class City(L1):
    name = "city"


class Fussy(Loudness):
    name = "fussy"

    def __init__(self, device: str = "cpu") -> None:
        raise KeyError("no licence")
"""
ENTRY_POINTS = """\
[nebula_tune.embeddings]
loudness = additions_of_a_test:Loudness
logmel = additions_of_a_test:Loudness
broken = no_such_module_at_all:Ear
number = additions_of_a_test:torch
misnamed = additions_of_a_test:Loudness
fussy = additions_of_a_test:Fussy

[nebula_tune.synths]
other = additions_of_a_test:Other

[nebula_tune.distances]
city = additions_of_a_test:City
"""


def install(folder: Path, name: str, entry_points: str, version: str = "1.0") -> None:
    """Describe a package as pip does where it installs one."""
    information = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (information / "entry_points.txt").write_text(entry_points)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An installed package with additions; its folder."""
    (tmp_path / "additions_of_a_test.py").write_text(MODULE)
    install(tmp_path, "additions", ENTRY_POINTS)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(notices, "_told", set())
    importlib.invalidate_caches()
    yield tmp_path
    sys.modules.pop("additions_of_a_test", None)


@pytest.fixture(scope="module")
def plugin(tmp_path_factory):
    """The package of examples/plugin, as its own pyproject.toml has it installed; its folder."""
    folder = tmp_path_factory.mktemp("plugin")
    project = tomllib.loads((PLUGIN / "pyproject.toml").read_text())
    (included,) = project["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"]
    (folder / included).write_text((PLUGIN / included).read_text())
    groups = project["project"]["entry-points"].items()
    lines = [line for group, points in groups for line in (f"[{group}]", *(f"{k} = {v}" for k, v in points.items()))]
    install(folder, project["project"]["name"], "\n".join(lines), project["project"]["version"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(folder), *sys.path])
        importlib.invalidate_caches()
        yield folder
    sys.modules.pop("envelope_ear", None)


@pytest.mark.usefixtures("plugin")
class TestEnvelope(EmbeddingContract):
    """As examples/plugin/test_envelope.py has it."""

    name = "envelope"
    shape = (1, 16)


def test_the_examples_own_test_is_the_one_above():
    text = (PLUGIN / "test_envelope.py").read_text()
    namespace: dict = {}
    exec(compile(text, "test_envelope.py", "exec"), namespace)
    theirs = namespace["TestEnvelope"]
    assert issubclass(theirs, EmbeddingContract)
    assert (theirs.name, theirs.shape) == (TestEnvelope.name, TestEnvelope.shape)


def test_they_are_had_by_name_like_our_own(package):
    assert make_embedding("loudness").numbers == 10
    assert architecture("other").__name__ == "Other"
    assert make_distance("city").settings["name"] == "city" and "city" in distance_names()


def test_a_name_of_ours_stays_ours(package):
    assert make_embedding("logmel").numbers == 480
    assert architecture("voice") is Voice


def test_what_cannot_be_used_is_said_with_its_package(package):
    with pytest.raises(UserInputError, match=r"embedding broken of additions 1\.0 cannot be imported"):
        make_embedding("broken")
    with pytest.raises(UserInputError, match=r"embedding number of additions 1\.0 is no subclass of Embedding"):
        make_embedding("number")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("misnamed", r"embedding misnamed of additions 1\.0 is called 'loudness' by its class: give both one name"),
        ("fussy", r"embedding fussy of additions 1\.0 cannot be made: KeyError\('no licence'\)"),
    ],
)
def test_what_fails_in_a_package_is_one_line(package, name, reason):
    with pytest.raises(EmbeddingError if name == "fussy" else UserInputError, match=reason) as caught:
        make_embedding(name)
    assert "\n" not in str(caught.value)


def test_a_name_that_is_taken_is_told(package, caplog):
    second = package / "later"
    second.mkdir()
    install(second, "latecomer", "[nebula_tune.embeddings]\nloudness = additions_of_a_test:Other\n", "2.1")
    sys.path.insert(1, str(second))
    assert other_embeddings()["loudness"].dist.name == "additions"
    told = [record.getMessage() for record in caplog.records]
    assert told == [
        "warning: embedding logmel of additions 1.0 is passed over: nebula-tune has one of that name",
        "warning: embedding loudness of latecomer 2.1 is passed over: additions 1.0 has one of that name",
    ]
    other_embeddings()
    assert len(caplog.records) == 2, "once"


def test_a_package_whose_metadata_is_damaged_hides_no_other(package, caplog):
    install(package, "damaged", "")
    (package / "damaged-1.0.dist-info" / "entry_points.txt").write_bytes(b"[nebula_tune.embeddings]\n\xff = x:Y\n")
    assert "loudness" in other_embeddings()
    assert [
        record.getMessage() for record in caplog.records if "damaged-1.0.dist-info is passed over" in record.message
    ]


def test_an_unknown_name_lists_theirs_too(package):
    with pytest.raises(EmbeddingError, match=r"known: logmel, .*loudness"):
        make_embedding("cochlea")
    with pytest.raises(SettingsError, match=r"known: voice, .*other"):
        architecture("organ")


def versions(study):
    """Those in its provenance."""
    return json.loads(study.nebula.with_name("tiny.provenance.json").read_text())["origin"]["versions"]


@pytest.mark.slow
def test_a_study_is_tuned_with_them_and_the_example_and_embeddings_lists_them(package, plugin, monkeypatch, call):
    monkeypatch.setenv("PYTHONPATH", f"{package}:{plugin}", prepend=":")
    changes = {
        "embedding: {name: logmel, sample_rate: 8000, seconds: 0.5}": (
            "embeddings: [loudness, {name: envelope, seconds: 0.25}]\ndistance: city"
        ),
        "trials: 12": "trials: 4",
    }
    text = STUDY
    for old, new in changes.items():
        text = text.replace(old, new)
    study = TinyStudy(package / "study", make_target(package / "sounds"), text)
    study.run("--synth", "other")
    assert study.nebula.is_file()
    assert (versions(study)["additions"], versions(study)["envelope-ear"]) == ("1.0", "1.0")
    listing = call("embeddings", "--json")
    entries = {entry["name"]: entry for entry in json.loads(listing.out)}
    assert entries["envelope"]["ready"] and entries["envelope"]["dimensions"] == 16
    assert entries["loudness"]["ready"] and entries["loudness"]["licence"] == "of additions 1.0"
    assert [entry["name"] for entry in json.loads(listing.out)].count("logmel") == 1
    assert not entries["broken"]["ready"] and "no_such_module_at_all" in entries["broken"]["remedy"]
    assert not entries["fussy"]["ready"]


SHORT = """\
embedding: {name: envelope, seconds: 0.25}
sounds: 16
search:
  - {sampler: grid, trials: 2}
reevaluate: {top: 1, repeats: 1}
judges: false
"""


@pytest.mark.slow
def test_rays_workers_find_the_example_by_its_name(plugin, monkeypatch, tmp_path):
    monkeypatch.setenv("PYTHONPATH", str(plugin), prepend=":")
    study = TinyStudy(tmp_path, make_target(tmp_path / "sounds"), SHORT)
    study.run("--executor", "ray", "--workers", "2")
    assert versions(study)["envelope-ear"] == "1.0"
