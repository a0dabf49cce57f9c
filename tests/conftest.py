"""What all tests share: a cache of their own, never the user's; a tiny study, run once, that others must equal."""

import pytest
import torch

from tests.study.tiny import TinyStudy, make_target


@pytest.fixture(scope="session", autouse=True)
def _cache_of_the_session(tmp_path_factory):
    """For fixtures that live longer than a test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEBULA_TUNE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def cache_of_the_test(tmp_path_factory, monkeypatch):
    """An empty cache folder for each test."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("NEBULA_TUNE_CACHE", str(folder))
    return folder


@pytest.fixture
def one_thread():
    """For many small sums: on a busy machine, threads that wait for each other cost more than they save."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def target(tmp_path_factory):
    """A folder of 30 sounds."""
    return make_target(tmp_path_factory.mktemp("target"))


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory, target):
    """The inline study on SQLite that all others on this target must equal."""
    study = TinyStudy(tmp_path_factory.mktemp("undisturbed"), target)
    study.run()
    return study
