"""Embeddings, synths and distances of other packages, found by their entry points."""

import importlib
import sys

import pytest

from nebula_tune.distance import distance_names, make_distance
from nebula_tune.embedding import make_embedding
from nebula_tune.errors import EmbeddingError, SettingsError, UserInputError
from nebula_tune.synth import Voice, architecture
from tests.study.tiny import STUDY, TinyStudy, make_target

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
"""
ENTRY_POINTS = """\
[nebula_tune.embeddings]
loudness = additions_of_a_test:Loudness
logmel = additions_of_a_test:Loudness
broken = no_such_module_at_all:Ear
number = additions_of_a_test:torch

[nebula_tune.synths]
other = additions_of_a_test:Other

[nebula_tune.distances]
city = additions_of_a_test:City
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An installed package with additions; its folder."""
    (tmp_path / "additions_of_a_test.py").write_text(MODULE)
    information = tmp_path / "additions-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: additions\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(ENTRY_POINTS)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    importlib.invalidate_caches()
    yield tmp_path
    sys.modules.pop("additions_of_a_test", None)


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


def test_an_unknown_name_lists_theirs_too(package):
    with pytest.raises(EmbeddingError, match=r"known: logmel, .*loudness"):
        make_embedding("cochlea")
    with pytest.raises(SettingsError, match=r"known: voice, .*other"):
        architecture("organ")


def test_a_study_is_tuned_with_them_and_embeddings_lists_them(package, monkeypatch, call):
    monkeypatch.setenv("PYTHONPATH", str(package), prepend=":")
    changes = {"{name: logmel, sample_rate: 8000, seconds: 0.5}": "loudness\ndistance: city", "trials: 12": "trials: 4"}
    text = STUDY
    for old, new in changes.items():
        text = text.replace(old, new)
    study = TinyStudy(package / "study", make_target(package / "sounds"), text)
    study.run("--synth", "other")
    assert study.nebula.is_file()
    listed = call("embeddings", "--json").out
    assert '"loudness"' in listed and "no_such_module_at_all" in listed
