"""Our own tables beside Optuna's, and their version."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from nebula_tune.words import kept, name_kept

VERSION = 3

metadata = sa.MetaData()
schema = sa.Table("nebula_tune_schema", metadata, sa.Column("version", sa.Integer, primary_key=True))
studies = sa.Table(
    "nebula_tune_studies",
    metadata,
    sa.Column("name", sa.String(255), primary_key=True),
    sa.Column("identity", sa.String(32), nullable=False),  # of this study, whatever its name
    sa.Column("settings", sa.Text, nullable=False),  # JSON: the resolved study
    sa.Column("origin", sa.Text, nullable=False),  # JSON: versions, device
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("phase", sa.String(64), nullable=False, default=""),
    sa.Column("seconds", sa.Float, nullable=False, default=0.0),
    sa.Column("rate", sa.Float, nullable=False, default=0.0),
    sa.Column("workers", sa.Integer, nullable=False, default=0),
    sa.Column("last_error", sa.Text, nullable=False, default=""),
    sa.Column("result", sa.Text),  # JSON, once finished: the report but for what has a table of its own
    sa.Column("owner_host", sa.String(255)),
    sa.Column("owner_pid", sa.Integer),
    sa.Column("owner_started", sa.String(64)),  # the process's start, since process ids come round again
    sa.Column("owner_token", sa.String(32)),
    sa.Column("heartbeat", sa.Integer, nullable=False, default=0),
    sa.Column("owner_boot", sa.String(64)),  # the owner's machine since it was started
    sa.Column("owner_namespace", sa.String(64)),  # in which the owner's process id counts
    sa.Column("owner_user", sa.String(255)),  # login name
    sa.Column("stop_asked", sa.String(32)),  # the token of the owner that is asked to stop
    sa.Column("stop_asked_by", sa.String(255)),  # user and host
)
targets = sa.Table(
    "nebula_tune_targets",
    metadata,
    sa.Column("study", sa.String(255), primary_key=True),
    sa.Column("content", sa.String(64), nullable=False),  # digest of all its sounds
    sa.Column("source", sa.Text, nullable=False),  # as it was given
    sa.Column("usable", sa.Integer, nullable=False),
    sa.Column("held_out", sa.Integer, nullable=False),
    sa.Column("skipped", sa.Text, nullable=False),  # JSON: names and reasons
    sa.Column("grouped_by", sa.String(16), nullable=False),
    sa.Column("groups", sa.Integer, nullable=False),
)
reevaluations = sa.Table(
    "nebula_tune_reevaluations",
    metadata,
    sa.Column("study", sa.String(255), primary_key=True),
    sa.Column("candidate", sa.Integer, primary_key=True),
    sa.Column("repeat", sa.Integer, primary_key=True),
    sa.Column("value", sa.Float(53)),
    sa.Column("mmd", sa.Float(53)),
)
score_cards = sa.Table(
    "nebula_tune_score_cards",
    metadata,
    sa.Column("study", sa.String(255), primary_key=True),
    sa.Column("card", sa.String(16), primary_key=True),  # heldout or spread
    sa.Column("place", sa.Integer, primary_key=True),  # of the row
    sa.Column("sounds_of", sa.String(255), nullable=False),
    sa.Column("figures", sa.Text, nullable=False),  # JSON
)
exports = sa.Table(
    "nebula_tune_exports",
    metadata,
    sa.Column("study", sa.String(255), primary_key=True),
    sa.Column("path", sa.Text, nullable=False),
    sa.Column("nebula", sa.Text, nullable=False),  # JSON, torchsynth's format
    sa.Column("written", sa.DateTime, nullable=False),  # UTC
)
places = sa.Table(
    "nebula_tune_places",
    metadata,
    sa.Column("place", sa.String(32), primary_key=True),  # what lies there
    sa.Column("path", sa.Text, nullable=False),
)
OF_STUDY = (targets, reevaluations, score_cards, exports)  # rows that go where their study goes
CARDS = ("heldout", "spread")
FITTED = "fitted_constellation"  # kept with a result, and no part of its report


def is_there(engine: sa.Engine) -> bool:
    """Whether a database has our tables."""
    return sa.inspect(engine).has_table(schema.name)


def target_row(study: str, target: Mapping[str, Any]) -> dict[str, Any]:
    """A described target as its table has it."""
    return {"study": study, **target, "source": kept(target["source"]), "skipped": json.dumps(target["skipped"])}


def read_target(connection: sa.Connection, study: str) -> dict[str, Any] | None:
    """Inverse of :func:`target_row`; None for a study without a target."""
    row = connection.execute(sa.select(targets).where(targets.c.study == study)).mappings().first()
    if row is None:
        return None
    target = {key: value for key, value in row.items() if key != "study"}
    return target | {"source": name_kept(target["source"]), "skipped": json.loads(target["skipped"])}


def public_target(target: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What a report says of a target."""
    keys = ("usable", "skipped", "groups", "held_out", "grouped_by", "source")
    return {key: target[key] for key in keys} if target else None


def write_outcome(connection: sa.Connection, study: str, report: Mapping[str, Any], nebula: Any) -> str:
    """Keep a score card and an export, in place of those there are; returns the rest of the report as JSON.

    Args:
        connection: with an open transaction.
        study: the study's name.
        report: the whole report, as JSON.
        nebula: the exported nebula's entries.
    """
    for table in (score_cards, exports):
        connection.execute(table.delete().where(table.c.study == study))
    rows = [
        {"study": study, "card": card, "place": place, "sounds_of": name, "figures": json.dumps(figures)}
        for card in CARDS
        for place, (name, figures) in enumerate((report.get(card) or {}).items())
    ]
    if rows:
        connection.execute(score_cards.insert(), rows)
    now = datetime.now(UTC).replace(tzinfo=None)
    export = {"study": study, "path": kept(report["nebula"]), "nebula": json.dumps(nebula), "written": now}
    connection.execute(exports.insert().values(**export))
    return json.dumps({key: None if key in (*CARDS, "target") else value for key, value in report.items()})


def read_outcome(connection: sa.Connection, study: str, rest: str) -> tuple[dict[str, Any], Any]:
    """Inverse of :func:`write_outcome`: the whole report, and the nebula's entries."""
    report = {key: value for key, value in json.loads(rest).items() if key != FITTED}
    rows = sa.select(score_cards).where(score_cards.c.study == study).order_by(score_cards.c.place)
    for row in connection.execute(rows):
        report[row.card] = (report[row.card] or {}) | {row.sounds_of: json.loads(row.figures)}
    report["target"] = public_target(read_target(connection, study))
    nebula = connection.execute(sa.select(exports.c.nebula).where(exports.c.study == study)).scalar_one()
    return report, json.loads(nebula)
