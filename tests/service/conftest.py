"""What the tests of the service share: a target, an undisturbed study, a database server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service.postgres import Postgres
from tests.study.tiny import TinyStudy, make_target


@pytest.fixture(scope="session")
def target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_target(tmp_path_factory.mktemp("target"))


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, target: Path) -> TinyStudy:
    """The inline study on SQLite that all others must equal."""
    study = TinyStudy(tmp_path_factory.mktemp("undisturbed"), target)
    study.run()
    return study


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    server = Postgres()
    yield server
    server.remove()
