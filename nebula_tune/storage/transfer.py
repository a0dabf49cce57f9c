"""A study moved to another database, whole: it goes on there as if it had begun there."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from nebula_tune.errors import StudyError
from nebula_tune.storage.address import shown
from nebula_tune.storage.ledger import Ledger
from nebula_tune.storage.owner import NOBODY
from nebula_tune.storage.schema import OF_STUDY, studies


def copy_study(source: Ledger, target: Ledger, name: str) -> int:
    """Copy a study that nobody runs; returns how many trials. Raises StudyError where it is there, or is run.

    Everything in Optuna's tables goes along too, with the dashboard's notes, figures and names of sounds (their files
    stay where they are). Nothing appears in the target unless all of it does.
    """
    row = source.record(name)
    if row["owner_token"]:
        raise StudyError(f"study {name} is held by process {row['owner_pid']} on {row['owner_host']}; stop it first")
    if target.has(name):
        raise StudyError(f"there is a study {name} in {shown(target.url)} already")
    study = source.study_row(name)
    tables = _Tables()
    with source.engine.connect() as old:
        read = {
            table: list(old.execute(sa.select(table).where(table.c.study_id == study)).mappings())
            for table in tables.of_study
        }
        rows = [trial["trial_id"] for trial in read[tables.trials]]
        ours = sa.select(tables.trials.c.trial_id).where(tables.trials.c.study_id == study)
        details = {
            table: list(old.execute(sa.select(table).where(table.c.trial_id.in_(ours))).mappings())
            for table in tables.of_trial
        }
        ours_too = {
            table: list(old.execute(sa.select(table).where(table.c.study == name)).mappings()) for table in OF_STUDY
        }

    def insert(connection: sa.Connection, _: bool) -> None:
        study_key: Any = connection.execute(tables.studies.insert().values(study_name=name)).inserted_primary_key
        new = {table: [dict(entry) | {"study_id": study_key[0]} for entry in read[table]] for table in tables.of_study}
        numbers = {}
        for trial in sorted(new[tables.trials], key=lambda entry: entry["number"]):
            old_row = trial.pop("trial_id")
            inserted: Any = connection.execute(tables.trials.insert().values(**trial)).inserted_primary_key
            numbers[old_row] = inserted[0]
        for table in tables.of_study:
            entries = [_without_key(table, entry) for entry in new[table]]
            if table is not tables.trials and entries:
                for entry in entries:
                    if "key" in entry:
                        entry["key"] = _renumbered(entry["key"], numbers)
                connection.execute(table.insert(), entries)
        for table, old_rows in details.items():
            entries = [_without_key(table, dict(e) | {"trial_id": numbers[e["trial_id"]]}) for e in old_rows]
            if entries:
                connection.execute(table.insert(), entries)
        for table, old_rows in ours_too.items():
            if old_rows:
                connection.execute(table.insert(), [dict(entry) for entry in old_rows])
        connection.execute(studies.insert().values(**row | NOBODY | {"heartbeat": 0}))

    target.database.run(insert, patient=False)
    return len(rows)


class _Tables:
    """Optuna's tables that hold a study."""

    def __init__(self) -> None:
        from optuna.storages._rdb import models

        def table(model: Any) -> sa.Table:
            model_table: sa.Table = model.__table__
            return model_table

        self.studies, self.trials = table(models.StudyModel), table(models.TrialModel)
        self.of_study = [
            self.trials,
            table(models.StudyDirectionModel),
            table(models.StudyUserAttributeModel),
            table(models.StudySystemAttributeModel),
        ]
        self.of_trial = [
            table(models.TrialValueModel),
            table(models.TrialParamModel),
            table(models.TrialUserAttributeModel),
            table(models.TrialSystemAttributeModel),
        ]


def _without_key(table: sa.Table, entry: dict[str, Any]) -> dict[str, Any]:
    """A row without its own number, which the new database gives."""
    keys = {column.name for column in table.primary_key} - {"study_id", "trial_id"}
    return {column: value for column, value in entry.items() if column not in keys}


def _renumbered(key: str, numbers: dict[int, int]) -> str:
    """A dashboard attribute's name, with its trial's new row."""
    parts = key.split(":")
    place = 2 if key.startswith("dashboard:artifacts:") else 1
    if parts[0] == "dashboard" and len(parts) > place and parts[place].isdigit() and int(parts[place]) in numbers:
        parts[place] = str(numbers[int(parts[place])])
    return ":".join(parts)
