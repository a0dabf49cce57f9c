"""The ledger: every trial of a study, kept in a database that Optuna's dashboard reads.

A trial is written once, when it is scored, in one transaction with everything it says; so a killed study leaves no
half trials. Its identity is (study, phase, generation, index); Optuna's own number means nothing.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from typing import Any

import numpy as np
import sqlalchemy as sa

from nebula_tune.errors import StudyError, TakenOverError
from nebula_tune.execution.executor import Failure
from nebula_tune.search import Space
from nebula_tune.storage.address import normalise_url
from nebula_tune.storage.connection import Database
from nebula_tune.storage.database import open_storage
from nebula_tune.storage.schema import (
    FITTED,
    OF_STUDY,
    read_outcome,
    read_target,
    reevaluations,
    studies,
    target_row,
    targets,
    write_outcome,
)
from nebula_tune.storage.store import Store, Stored, TrialKey, TrialStore
from nebula_tune.trial import NO_CURVATURE, Point, Score


class Ledger(Store):
    """Studies of one database; with ``reading``, also of one that may not be written."""

    def __init__(self, url: str, create: bool = True, reading: bool = False) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.url = normalise_url(url)
        self.storage = open_storage(self.url, create, reading)
        self.engine: sa.Engine = self.storage.engine
        self.database = Database(self.engine, self.url)

    def names(self) -> list[str]:
        query = sa.select(studies.c.name).order_by(studies.c.name)
        return self.database.run(lambda connection, _: list(connection.execute(query).scalars()))

    def record(self, name: str) -> dict[str, Any]:
        query = sa.select(studies).where(studies.c.name == name)
        row = self.database.run(lambda connection, _: connection.execute(query).mappings().first())
        if row is None:
            known = ", ".join(self.names()) or "none"
            raise StudyError(f"no study {name!r} in this database; there are: {known}")
        return dict(row)

    def has(self, name: str) -> bool:
        return name in self.names()

    def study_row(self, name: str) -> int:
        """A study's number in Optuna's tables."""
        row: int = self.database.call(lambda _: self.storage.get_study_id_from_name(name))
        return row

    def begin(
        self, name: str, settings: dict[str, Any], origin: dict[str, Any], target: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        import optuna

        if not self.has(name):
            row = {
                "name": name,
                "identity": uuid.uuid4().hex,
                "settings": json.dumps(settings),
                "origin": json.dumps(origin),
                "state": "new",
            }

            def insert(_: bool) -> None:
                optuna.create_study(storage=self.storage, study_name=name, direction="minimize", load_if_exists=True)
                with suppress(sa.exc.IntegrityError), self.engine.begin() as connection:  # it is there already
                    connection.execute(studies.insert().values(**row))
                    if target:
                        connection.execute(targets.insert().values(**target_row(name, target)))

            self.database.call(insert)
        return self.record(name)

    def target(self, name: str) -> dict[str, Any] | None:
        return self.database.run(lambda connection, _: read_target(connection, name))

    def finish(
        self,
        name: str,
        report: dict[str, Any],
        nebula: list[dict[str, Any]],
        constellation: dict[str, Any] | None = None,
    ) -> None:
        def write(connection: sa.Connection, _: bool) -> None:
            self.hold(connection, name)
            kept = report | ({FITTED: constellation} if constellation else {})
            result = write_outcome(connection, name, kept, nebula)
            done = {"state": "finished", "phase": "", "result": result}
            connection.execute(studies.update().where(studies.c.name == name).values(**done))

        self.database.run(write)

    def result(self, name: str) -> tuple[dict[str, Any], list[dict[str, Any]]] | None:
        rest = self.record(name)["result"]
        if rest is None:
            return None
        return self.database.run(lambda connection, _: read_outcome(connection, name, rest))

    def constellation(self, name: str) -> dict[str, Any] | None:
        kept: dict[str, Any] | None = json.loads(self.record(name)["result"] or "{}").get(FITTED)
        return kept

    def update(self, name: str, **columns: Any) -> None:
        self.database.run(lambda connection, _: self.hold(connection, name, **columns))

    def delete(self, name: str) -> None:
        import optuna

        self.record(name)

        def remove(_: bool) -> None:
            with suppress(KeyError):  # an attempt before this one removed it
                optuna.delete_study(study_name=name, storage=self.storage)
            with self.engine.begin() as connection:
                for table in OF_STUDY:
                    connection.execute(table.delete().where(table.c.study == name))
                connection.execute(studies.delete().where(studies.c.name == name))

        self.database.call(remove)

    def writer(self, name: str, space: Space) -> TrialWriter:
        return TrialWriter(self, name, space)

    def trials(self, name: str) -> Iterator[Stored]:
        from optuna.trial import TrialState

        study = self.study_row(name)
        for trial in self.database.call(lambda _: self.storage.get_all_trials(study, deepcopy=False)):
            attributes = trial.user_attrs
            if "key" in attributes:
                complete = trial.state == TrialState.COMPLETE
                yield Stored(
                    key=tuple(attributes["key"]),
                    sampler=attributes["sampler"],
                    score=_read_score(trial.value, attributes) if complete else None,
                    relaxed=attributes.get("relaxed", False),
                    params=trial.params,
                    number=trial.number,
                    row=trial._trial_id,
                )

    def reevaluated(self, name: str) -> dict[tuple[int, int], float]:
        query = sa.select(reevaluations).where(reevaluations.c.study == name)
        rows = self.database.run(lambda connection, _: connection.execute(query).all())
        return {(row.candidate, row.repeat): row.value for row in rows}

    def write_reevaluation(self, name: str, candidate: int, repeat: int, score: Score) -> None:
        row = {"study": name, "candidate": candidate, "repeat": repeat, "value": score.value, "mmd": score.mmd}
        same = [reevaluations.c[column] == row[column] for column in ("study", "candidate", "repeat")]

        def insert(connection: sa.Connection, again: bool) -> None:
            self.hold(connection, name)
            if not (again and connection.execute(sa.select(reevaluations.c.study).where(*same)).first()):
                connection.execute(reevaluations.insert().values(**row))

        self.database.run(insert)

    def write_attribute(self, name: str, study: int, key: str, value: Any) -> None:
        """Keep what Optuna's dashboard shows of a study.

        Args:
            name: the study's.
            study: its number in Optuna's tables.
            key: of Optuna's system attribute.
            value: as JSON.

        Raises:
            StorageError: it could not be written.
            TakenOverError: another process has the study now.
        """
        from optuna.storages._rdb import models

        table: Any = models.StudySystemAttributeModel.__table__
        this = (table.c.study_id == study) & (table.c.key == key)
        text = json.dumps(value)

        def write(connection: sa.Connection, _: bool) -> None:
            self.hold(connection, name, study)
            if not connection.execute(table.update().where(this).values(value_json=text)).rowcount:
                connection.execute(table.insert().values(study_id=study, key=key, value_json=text))

        self.database.run(write)

    def hold(self, connection: sa.Connection, name: str, study: int | None = None, **columns: Any) -> None:
        """Hold the study's row for this transaction, and change columns of it.

        A process that was stopped for a while may wake and write before its heart beats: this keeps it out.

        Args:
            connection: with an open transaction.
            name: the study's.
            study: its number in Optuna's tables, where rows are to be written there: they must not outlive it.
            columns: to change, by name.

        Raises:
            TakenOverError: the study is not held by this ledger's token, or was removed.
        """
        ours = (studies.c.name == name) & studies.c.owner_token.is_not_distinct_from(self.token)
        held = connection.execute(studies.update().where(ours).values({"name": name} | columns)).rowcount
        if not held and connection.execute(sa.select(studies.c.name).where(studies.c.name == name)).first():
            raise TakenOverError(f"study {name} was taken over by another process; this process stops")
        if not held or (study is not None and not self._is_there(connection, study)):
            raise TakenOverError(f"study {name} was removed; this process stops")

    def _is_there(self, connection: sa.Connection, study: int) -> bool:
        """Whether Optuna's tables have a study of that number: its dashboard may remove one."""
        from optuna.storages._rdb import models

        number: Any = models.StudyModel.__table__.c.study_id
        return connection.execute(sa.select(number).where(number == study)).first() is not None


class TrialWriter(TrialStore):
    """Writes one study's trials, COMPLETE or FAIL, with one distribution a parameter for the whole study.

    Rows go into Optuna's tables straight, in one transaction: Optuna's own calls ask the database about each of some
    150 parameters in turn, which costs more than scoring a trial. What is written is what they would write.
    """

    def __init__(self, ledger: Ledger, name: str, space: Space) -> None:
        from optuna.distributions import CategoricalDistribution, FloatDistribution, distribution_to_json
        from optuna.storages._rdb import models

        self._ledger, self._name = ledger, name
        self._last: TrialKey | None = None
        self._study = ledger.study_row(name)
        tables = (models.TrialModel, models.TrialValueModel, models.TrialParamModel, models.TrialUserAttributeModel)
        self._trials, self._values, self._params, self._attributes = (model.__table__ for model in tables)
        self._finite = models.TrialValueModel.TrialValueType.FINITE
        self._curves = [
            (k, f"{space.names[k]}.curve", FloatDistribution(float(space.low[k]), float(space.high[k]), log=True))
            for k in np.flatnonzero(space.free_curves)
        ]
        self._flags = [
            (k, f"{space.names[k]}.symmetric", CategoricalDistribution([False, True]))
            for k in np.flatnonzero(space.free_flags)
        ]
        self._kinds = {
            parameter: distribution_to_json(distribution)
            for _, parameter, distribution in [*self._curves, *self._flags]
        }

    def write(self, key: TrialKey, sampler: str, point: Point, first_index: int, outcome: Score | Failure) -> int:
        from optuna.trial import TrialState

        repeated, self._last = key == self._last, key
        failed = isinstance(outcome, Failure)
        values = {name: float(point.curves[k]) for k, name, _ in self._curves}
        values |= {name: float(point.symmetric[k]) for k, name, _ in self._flags}
        attributes = {"key": list(key), "sampler": sampler, "first_index": first_index, "relaxed": point.relaxed}
        attributes |= {"error": outcome.message} if isinstance(outcome, Failure) else _score_attributes(outcome)
        now = datetime.now()
        row = {
            "study_id": self._study,
            "state": TrialState.FAIL if failed else TrialState.COMPLETE,
            "datetime_start": now,
            "datetime_complete": now,
        }

        def insert(connection: sa.Connection, again: bool) -> int:
            self._ledger.hold(connection, self._name, self._study)
            if (again or repeated) and (there := self._row_of(connection, key)) is not None:
                return there
            last = sa.select(sa.func.max(self._trials.c.number)).where(self._trials.c.study_id == self._study)
            number = connection.execute(last).scalar()
            numbered = row | {"number": 0 if number is None else number + 1}
            inserted: Any = connection.execute(self._trials.insert().values(**numbered)).inserted_primary_key
            trial = {"trial_id": inserted[0]}
            if isinstance(outcome, Score):
                value = {"objective": 0, "value": outcome.value, "value_type": self._finite}
                connection.execute(self._values.insert(), trial | value)
            connection.execute(
                self._params.insert(),
                [
                    trial | {"param_name": name, "param_value": value, "distribution_json": self._kinds[name]}
                    for name, value in values.items()
                ],
            )
            connection.execute(
                self._attributes.insert(),
                [trial | {"key": name, "value_json": json.dumps(value)} for name, value in attributes.items()],
            )

            return int(inserted[0])

        return self._ledger.database.run(insert)

    def _row_of(self, connection: sa.Connection, key: TrialKey) -> int | None:
        """The row of the trial of that key, where it is written."""
        table = self._trials.join(self._attributes, self._trials.c.trial_id == self._attributes.c.trial_id)
        query = sa.select(self._trials.c.trial_id).select_from(table)
        query = query.where(self._trials.c.study_id == self._study, self._attributes.c.key == "key")
        row: int | None = connection.execute(
            query.where(self._attributes.c.value_json == json.dumps(list(key)))
        ).scalar()
        return row


def _score_attributes(score: Score) -> dict[str, Any]:
    attributes: dict[str, Any] = {"mmd": score.mmd, "shares": dict(score.shares)}
    if score.by_embedding:
        attributes["by_embedding"] = dict(score.by_embedding)
    if score.curve_gradient.size:  # a resumed study goes on from the gradients
        attributes["gradient"] = {
            "deviation": score.deviation,
            "curve": score.curve_gradient.tolist(),
            "flag": score.flag_gradient.tolist(),
            "information": score.flag_information.tolist(),
        }
        if score.curvature.size:
            attributes["gradient"]["curvature"] = score.curvature.tolist()
        if score.prior_curvature is not None:
            attributes["gradient"]["leash_curvature"] = score.prior_curvature.tolist()
    return attributes


def _read_score(value: float, attributes: dict[str, Any]) -> Score:
    gradient = attributes.get("gradient", {})
    return Score(
        value=value,
        mmd=attributes["mmd"],
        shares=attributes.get("shares") or {"silent": attributes["silent"]},  # a database of 0.1 has the one
        curve_gradient=np.array(gradient.get("curve", ())),
        flag_gradient=np.array(gradient.get("flag", ())),
        flag_information=np.array(gradient.get("information", ())),
        deviation=gradient.get("deviation", 0.0),
        curvature=np.array(gradient["curvature"]) if "curvature" in gradient else NO_CURVATURE,
        prior_curvature=np.array(gradient["leash_curvature"]) if "leash_curvature" in gradient else None,
        by_embedding=attributes.get("by_embedding", {}),
    )
