"""How our tables are made, and how a database of an older version is brought up to this one."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from nebula_tune.errors import StudyError
from nebula_tune.storage.owner import BEAT, WATCH, named
from nebula_tune.storage.schema import (
    VERSION,
    exports,
    is_there,
    metadata,
    places,
    schema,
    score_cards,
    studies,
    target_row,
    targets,
    write_outcome,
)

# Of Optuna's table, on which Optuna has an index of studies alone.
_trials = sa.Table("trials", sa.MetaData(), sa.Column("study_id", sa.Integer), sa.Column("state", sa.String))
TRIAL_STATES = sa.Index("nebula_tune_trial_states", _trials.c.study_id, _trials.c.state)

Owners = Sequence[Mapping[str, Any]]
ADDED_IN_3 = ("owner_boot", "owner_namespace", "owner_user", "stop_asked", "stop_asked_by")
SHORT = 3  # times that a heart is looked at while it could beat once

log = logging.getLogger(__name__)


class OlderRunError(StudyError):
    """A run of an older version works on the database."""


def bring_up_to_date(engine: sa.Engine, shown: str, watched: bool = True) -> None:
    """Make our tables where there are none, and bring older ones to this version.

    Args:
        engine: of a database with Optuna's tables.
        shown: the database's URL without its password.
        watched: whether owners of studies are watched first; not needed for a copy that nobody else knows.

    Raises:
        StudyError: a newer nebula-tune made the tables.
        OlderRunError: a run of an older version works on the database, which stays as it was.
    """
    version = _version(engine)
    if version is None:
        _make(engine)
    elif version > VERSION:
        raise StudyError(
            f"database {shown} was written by a newer nebula-tune (schema {version}, this one knows "
            f"{VERSION}); upgrade nebula-tune, or give another --storage"
        )
    elif version < VERSION:
        which = f"database {shown} is of an older nebula-tune (schema {version}, this one's is {VERSION})"
        _upgrade(engine, which, watched)


def _version(engine: sa.Engine) -> int | None:
    """Of the tables that are there; None where there are none, or they are only being made."""
    if not is_there(engine):
        return None
    with engine.connect() as connection:
        return connection.execute(sa.select(sa.func.max(schema.c.version))).scalar()


def _make(engine: sa.Engine) -> None:
    metadata.create_all(engine)
    with engine.begin() as connection:
        if connection.execute(sa.select(schema.c.version)).first() is None:
            connection.execute(schema.insert().values(version=VERSION))
            TRIAL_STATES.create(connection, checkfirst=True)


def _upgrade(engine: sa.Engine, which: str, watched: bool) -> None:
    owners = _standing_still(engine, which) if watched else []
    with engine.begin() as connection:
        for older, upgrade in UPGRADES.items():
            claim = schema.update().where(schema.c.version == older).values(version=older + 1)
            if connection.execute(claim).rowcount:  # of two processes one does it; the other waits for it here
                if watched:
                    _refuse_moved(owners, _owners(connection), which)
                upgrade(connection)


def _standing_still(engine: sa.Engine, which: str) -> Owners:
    """The owners of studies, whose hearts do not beat while they are watched. Raises OlderRunError where one beats."""
    with engine.connect() as connection:
        first = _owners(connection)
    if first:
        owners = ", ".join(f"{named(owner)} (study {owner['name']})" for owner in first)
        log.warning("%s; watching %.0f s whether %s is alive", which, WATCH, owners)
    began = time.monotonic()
    while first and time.monotonic() - began < WATCH:
        time.sleep(min(BEAT, WATCH) / SHORT)
        with engine.connect() as connection:
            _refuse_moved(first, _owners(connection), which)
    return first


def _owners(connection: sa.Connection) -> Owners:
    """Of studies that are held: the columns that every version has."""
    columns = [studies.c[name] for name in ("name", "owner_host", "owner_pid", "owner_token", "heartbeat")]
    query = sa.select(*columns).where(studies.c.owner_token.is_not(None)).order_by(studies.c.name)
    return [dict(row) for row in connection.execute(query).mappings()]


def _refuse_moved(before: Owners, now: Owners, which: str) -> None:
    """Raises OlderRunError for an owner that came or whose heart beat since."""
    for owner in now:
        if owner not in before:
            raise OlderRunError(
                f"{which}, and study {owner['name']} is being run with it by {named(owner)}: end that run there "
                "(Ctrl-C; it can be resumed), then give the same command again; the database stays as it was"
            )


def _to_2(connection: sa.Connection) -> None:
    """Targets, score cards and exports, which were JSON in the study's row, get tables of their own."""
    metadata.create_all(connection, tables=[targets, score_cards, exports])
    for row in connection.execute(sa.select(studies.c.name, studies.c.origin, studies.c.result)).mappings().all():
        origin = json.loads(row["origin"])
        target = origin.pop("target", None)
        if target:
            connection.execute(targets.insert().values(**target_row(row["name"], target)))
        change = {"origin": json.dumps(origin)}
        if row["result"] is not None:
            report = json.loads(row["result"])
            change["result"] = write_outcome(connection, row["name"], report, report.pop("entries"))
        connection.execute(studies.update().where(studies.c.name == row["name"]).values(**change))


def _to_3(connection: sa.Connection) -> None:
    """Owners by machine, namespace and user; who is asked to stop; places; counting trials without reading them."""
    for name in ADDED_IN_3:
        column = sa.schema.CreateColumn(studies.c[name]).compile(dialect=connection.dialect)
        connection.execute(sa.text(f"ALTER TABLE {studies.name} ADD COLUMN {column}"))
    places.create(connection, checkfirst=True)
    TRIAL_STATES.create(connection, checkfirst=True)


UPGRADES: dict[int, Callable[[sa.Connection], None]] = {1: _to_2, 2: _to_3}
