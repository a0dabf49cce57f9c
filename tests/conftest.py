"""What all tests share: a cache of their own, never the user's; a tiny study, run once, that others must equal."""

import sys
from pathlib import Path

import pytest
import torch

from nebula_tune.cli import app as cli
from tests.study.tiny import TinyStudy, make_target


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """What other packages run as it is takes long here: two threads that wait for each other on busy cores."""
    for item in items:
        if item.name == "test_a_vector_hardly_depends_on_threads":
            item.add_marker(pytest.mark.slow)


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


class Outcome:
    """What one command did."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def line(self) -> str:
        """The error's one line; fails if it is not the last one, or a traceback."""
        assert "Traceback" not in self.err
        last = self.err.strip().splitlines()[-1]
        assert last.startswith("nebula-tune: ")
        return last


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Run the command in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["nebula-tune", *arguments])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        captured = capsys.readouterr()
        return Outcome(int(stop.value.code or 0), captured.out, captured.err)

    return run
