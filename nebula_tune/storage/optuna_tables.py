"""Optuna's tables as far as we read and write them ourselves, and where in them our studies are.

A study is known by its identity, which stands among its attributes for the user: so it is found under whatever name
it was given in Optuna's dashboard, and another study that was given its number or its name is not taken for it. A
study of before has no identity there: it is known by its name.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

IDENTITY = "nebula_tune:identity"  # name of the attribute
CONSTRAINTS, INFEASIBLE = "constraints", json.dumps([1.0])  # Optuna takes a trial with one above 0 for no result
MAPPED = 2**30  # bytes of a SQLite file that are read in place when all trials are gone through

metadata = sa.MetaData()


def _attributes(table: str, of: str) -> sa.Table:
    """A table of attributes of studies or trials, as JSON by key."""
    return sa.Table(
        table,
        metadata,
        sa.Column(f"{table.removesuffix('s')}_id", sa.Integer, primary_key=True),
        sa.Column(f"{of}_id", sa.Integer),
        sa.Column("key", sa.String(512)),
        sa.Column("value_json", sa.Text),
    )


studies = sa.Table(
    "studies", metadata, sa.Column("study_id", sa.Integer, primary_key=True), sa.Column("study_name", sa.String(512))
)
directions = sa.Table(
    "study_directions",
    metadata,
    sa.Column("study_direction_id", sa.Integer, primary_key=True),
    sa.Column("direction", sa.Enum("NOT_SET", "MINIMIZE", "MAXIMIZE", name="studydirection")),
    sa.Column("study_id", sa.Integer),
    sa.Column("objective", sa.Integer),
)
attributes = _attributes("study_user_attributes", "study")
trials = sa.Table(
    "trials",
    metadata,
    sa.Column("trial_id", sa.Integer, primary_key=True),
    sa.Column("study_id", sa.Integer),
    sa.Column("state", sa.Enum("RUNNING", "COMPLETE", "PRUNED", "FAIL", "WAITING", name="trialstate")),
)
values = sa.Table(
    "trial_values",
    metadata,
    sa.Column("trial_value_id", sa.Integer, primary_key=True),
    sa.Column("trial_id", sa.Integer),
    sa.Column("objective", sa.Integer),
    sa.Column("value", sa.Float(53)),
)
trial_attributes = _attributes("trial_user_attributes", "trial")
system_attributes = _attributes("trial_system_attributes", "trial")
IS_KEY = trial_attributes.c.key == sa.literal_column("'key'")


# What makes going through all trials of all studies fast: each question is answered by an index alone.
INDEXES = (
    sa.Index("nebula_tune_trial_values", values.c.trial_id, values.c.value),
    sa.Index(
        "nebula_tune_trial_keys",
        trial_attributes.c.trial_id,
        trial_attributes.c.value_json,
        sqlite_where=IS_KEY,
        postgresql_where=IS_KEY,
    ),
)


@dataclass(frozen=True)
class Counted:
    """How many trials of a study there are: scored, and tried by phase; the least value of those with decided flags."""

    complete: int
    tried: dict[int, int]
    best: float | None


def places(connection: sa.Connection, identities: dict[str, str]) -> dict[str, tuple[int, str]]:
    """Where studies are in Optuna's tables, each with its number and its name there; those that are gone are left out.

    Args:
        connection: to the database.
        identities: of our studies, by our name.
    """
    join = studies.outerjoin(attributes, (attributes.c.study_id == studies.c.study_id) & (attributes.c.key == IDENTITY))
    query = sa.select(studies.c.study_id, studies.c.study_name, attributes.c.value_json).select_from(join)
    if len(identities) == 1:
        ((name, identity),) = identities.items()
        query = query.where((studies.c.study_name == name) | (attributes.c.value_json == json.dumps(identity)))
    by_identity: dict[str, list[tuple[int, str]]] = {}
    unmarked: dict[str, tuple[int, str]] = {}
    for number, name, value in connection.execute(query.order_by(studies.c.study_id)):
        if value is None:
            unmarked[name] = (number, name)
        else:
            by_identity.setdefault(json.loads(value), []).append((number, name))
    there = {}
    for name, identity in identities.items():
        copies = by_identity.get(identity, [])  # several where somebody copied it within Optuna
        place = next((each for each in copies if each[1] == name), copies[0] if copies else unmarked.get(name))
        if place is not None:
            there[name] = place
    return there


def is_marked(connection: sa.Connection, number: int, identity: str) -> bool:
    """Whether the study of that number is there and has that identity."""
    same = (attributes.c.study_id == number) & (attributes.c.key == IDENTITY)
    query = sa.select(attributes.c.study_id).where(same, attributes.c.value_json == json.dumps(identity))
    return connection.execute(query).first() is not None


def keys(connection: sa.Connection, number: int) -> set[tuple[int, ...]]:
    """Keys of the trials of the study of that number."""
    joined = trial_attributes.join(trials, trials.c.trial_id == trial_attributes.c.trial_id)
    query = sa.select(trial_attributes.c.value_json).select_from(joined).where(IS_KEY, trials.c.study_id == number)
    return {tuple(json.loads(key)) for key in connection.execute(query).scalars()}


def mark(connection: sa.Connection, number: int, identity: str) -> None:
    """Note a study's identity where it has none."""
    if not is_marked(connection, number, identity):
        connection.execute(attributes.insert().values(study_id=number, key=IDENTITY, value_json=json.dumps(identity)))


def make_study(connection: sa.Connection, name: str, identity: str) -> None:
    """A study as Optuna would make it, to be minimised, with its identity. Raises IntegrityError where there is one."""
    number = connection.execute(studies.insert().values(study_name=name)).inserted_primary_key
    assert number is not None
    connection.execute(directions.insert().values(study_id=number[0], direction="MINIMIZE", objective=0))
    mark(connection, number[0], identity)


def count_trials(connection: sa.Connection, numbers: Sequence[int] | None = None) -> dict[int, Counted]:
    """What there is of each study, by its number, in two queries whatever their number.

    Args:
        connection: to the database.
        numbers: of the studies; None: all of them.
    """
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(f"PRAGMA mmap_size={MAPPED}")
    try:
        return _counted(connection, numbers)
    finally:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("PRAGMA mmap_size=0")


def _counted(connection: sa.Connection, numbers: Sequence[int] | None) -> dict[int, Counted]:
    wanted = sa.true() if numbers is None else trials.c.study_id.in_(numbers)
    phase = sa.func.substr(trial_attributes.c.value_json, 2, 3)  # of a key like [0, 12, 3]
    query = (
        sa.select(trials.c.study_id, trials.c.state, phase, sa.func.count())
        .join_from(trial_attributes, trials, trials.c.trial_id == trial_attributes.c.trial_id)
        .where(IS_KEY, wanted)
        .group_by(trials.c.study_id, trials.c.state, phase)
    )
    complete: dict[int, int] = {}
    tried: dict[int, dict[int, int]] = {}
    for number, state, text, count in connection.execute(query):
        phases = tried.setdefault(number, {})
        key = int(text.partition(",")[0])
        phases[key] = phases.get(key, 0) + count
        complete[number] = complete.get(number, 0) + (count if state == "COMPLETE" else 0)
    infeasible = sa.select(system_attributes.c.trial_id).where(
        system_attributes.c.trial_id == values.c.trial_id, system_attributes.c.key == CONSTRAINTS
    )
    # An outer join, and no condition on a trial: so SQLite goes through values in the order of their trials.
    least = (
        sa.select(trials.c.study_id, trials.c.state, sa.func.min(values.c.value))
        .join_from(values, trials, trials.c.trial_id == values.c.trial_id, isouter=True)
        .where(~infeasible.exists(), wanted)
        .group_by(trials.c.study_id, trials.c.state)
    )
    best = {number: value for number, state, value in connection.execute(least) if state == "COMPLETE"}
    return {number: Counted(complete[number], tried[number], best.get(number)) for number in tried}
