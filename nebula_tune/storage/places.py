"""Where a database says that what belongs to it lies, for all who work on it."""

from __future__ import annotations

import sqlalchemy as sa

from nebula_tune.storage.schema import places
from nebula_tune.words import kept, name_kept

ARTIFACTS = "artifacts"


def artifacts_root(engine: sa.Engine) -> str | None:
    """The folder of the dashboard's sounds and pictures; None where the database names none."""
    with engine.connect() as connection:
        path = connection.execute(sa.select(places.c.path).where(places.c.place == ARTIFACTS)).scalar()
    return None if path is None else name_kept(path)


def set_artifacts_root(engine: sa.Engine, path: str | None) -> None:
    """Name the folder of the dashboard's sounds and pictures for all who work on the database; None: name none."""
    with engine.begin() as connection:
        connection.execute(places.delete().where(places.c.place == ARTIFACTS))
        if path is not None:
            connection.execute(places.insert().values(place=ARTIFACTS, path=kept(path)))
