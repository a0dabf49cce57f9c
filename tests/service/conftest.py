"""What the tests of the service share: a database server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.service.postgres import Postgres


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    server = Postgres()
    yield server
    server.remove()
