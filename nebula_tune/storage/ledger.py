"""The ledger: every trial of a study, kept in a database that Optuna's dashboard reads.

A trial is written once, when it is scored, in one transaction with everything it says; so a killed study leaves no
half trials. Its identity is (study, phase, generation, index); Optuna's own number means nothing.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import sqlalchemy as sa

from nebula_tune.errors import StudyError, TakenOverError
from nebula_tune.execution.executor import Failure
from nebula_tune.search import Space
from nebula_tune.storage import optuna_tables
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
from nebula_tune.storage.store import Overview, Store, Stored, TrialKey, TrialStore
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
        self._writers: dict[str, TrialWriter] = {}  # the last of each study

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
        """A study's number in Optuna's tables. Raises StudyError for one that was removed there."""
        self.record(name)  # which says what studies there are
        return self.database.run(lambda connection, _: self.number(connection, name))

    def place(self, connection: sa.Connection, name: str, identity: str) -> int | None:
        """A study's number in Optuna's tables; None for one that was removed there.

        Args:
            connection: with an open transaction.
            name: the study's.
            identity: of the study, whatever its name.
        """
        there = optuna_tables.places(connection, {name: identity}).get(name)
        return there[0] if there else None

    def overview(self, names: Sequence[str] | None = None) -> list[Overview]:
        columns = [column for column in studies.c if column.name not in ("result", "origin")]
        query = sa.select(*columns).order_by(studies.c.name)
        if names is not None:
            query = query.where(studies.c.name.in_(names))

        def read(connection: sa.Connection, _: bool) -> list[Overview]:
            rows = [dict(row) for row in connection.execute(query).mappings()]
            places = optuna_tables.places(connection, {row["name"]: row["identity"] for row in rows})
            some = None if names is None else [number for number, _ in places.values()]
            counted = optuna_tables.count_trials(connection, some)
            nothing = optuna_tables.Counted(0, {}, None)
            views = []
            for row in rows:
                number, known_as = places.get(row["name"], (None, None))
                trials = nothing if number is None else counted.get(number, nothing)
                views.append(Overview(row, known_as, trials.complete, trials.tried, trials.best))
            return views

        return self.database.run(read)

    def heartbeats(self) -> dict[str, tuple[str, int]]:
        held = studies.c.owner_token.is_not(None)
        query = sa.select(studies.c.name, studies.c.owner_token, studies.c.heartbeat).where(held)
        rows = self.database.run(lambda connection, _: connection.execute(query).all())
        return {row.name: (row.owner_token, row.heartbeat) for row in rows}

    def begin(
        self, name: str, settings: dict[str, Any], origin: dict[str, Any], target: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        if not self.has(name):
            identity = uuid.uuid4().hex
            row = {
                "name": name,
                "identity": identity,
                "settings": json.dumps(settings),
                "origin": json.dumps(origin),
                "state": "new",
            }

            def insert(_: bool) -> None:
                with suppress(sa.exc.IntegrityError), self.engine.begin() as connection:  # it is there already
                    optuna_tables.make_study(connection, name, identity)
                    connection.execute(studies.insert().values(**row))
                    if target:
                        connection.execute(targets.insert().values(**target_row(name, target)))

            self.database.call(insert)
            if not self.has(name):
                raise StudyError(f"there is a study {name} of Optuna's own in this database; give another --name")
        self.study_row(name)
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
            self.number(connection, name)
            if name in self._writers:
                self._writers[name].followed(connection)
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
        identity = self.record(name)["identity"]

        def remove(_: bool) -> None:
            with self.engine.begin() as connection:
                place = self.place(connection, name, identity)
            if place is not None:  # else somebody removed it within Optuna, or an attempt before this one
                with suppress(KeyError):
                    self.storage.delete_study(place)
            with self.engine.begin() as connection:
                for table in OF_STUDY:
                    connection.execute(table.delete().where(table.c.study == name))
                connection.execute(studies.delete().where(studies.c.name == name))

        self.database.call(remove)
        self._writers.pop(name, None)

    def writer(self, name: str, space: Space) -> TrialWriter:
        self._writers[name] = writer = TrialWriter(self, name, space)
        return writer

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
            self.number(connection, name)
            if not (again and connection.execute(sa.select(reevaluations.c.study).where(*same)).first()):
                connection.execute(reevaluations.insert().values(**row))

        self.database.run(insert)

    def write_attribute(self, name: str, key: str, value: Any) -> None:
        """Keep what Optuna's dashboard shows of a study.

        Args:
            name: the study's.
            key: of Optuna's system attribute.
            value: as JSON.

        Raises:
            StorageError: it could not be written.
            TakenOverError: another process has the study now.
            StudyError: the study was removed within Optuna.
        """
        from optuna.storages._rdb import models

        table: Any = models.StudySystemAttributeModel.__table__
        text = json.dumps(value)

        def write(connection: sa.Connection, _: bool) -> None:
            self.hold(connection, name)
            study = self.number(connection, name)
            this = (table.c.study_id == study) & (table.c.key == key)
            if not connection.execute(table.update().where(this).values(value_json=text)).rowcount:
                connection.execute(table.insert().values(study_id=study, key=key, value_json=text))

        self.database.run(write)

    def hold(self, connection: sa.Connection, name: str, **columns: Any) -> None:
        """Hold the study's row for this transaction, and change columns of it.

        A process that was stopped for a while may wake and write before its heart beats: this keeps it out.

        Args:
            connection: with an open transaction.
            name: the study's.
            columns: to change, by name.

        Raises:
            TakenOverError: the study is not held by this ledger's token, or was removed.
        """
        ours = (studies.c.name == name) & studies.c.owner_token.is_not_distinct_from(self.token)
        if connection.execute(studies.update().where(ours).values({"name": name} | columns)).rowcount:
            return
        if connection.execute(sa.select(studies.c.name).where(studies.c.name == name)).first():
            raise TakenOverError(f"study {name} was taken over by another process; this process stops")
        raise TakenOverError(f"study {name} was removed; this process stops")

    def number(self, connection: sa.Connection, name: str) -> int:
        """A study's number in Optuna's tables, where it is now. Raises StudyError where it was removed there."""
        identity = connection.execute(sa.select(studies.c.identity).where(studies.c.name == name)).scalar()
        place = None if identity is None else self.place(connection, name, identity)
        if place is None:
            raise removed(name)
        return place


def removed(name: str) -> StudyError:
    """What is to be said of a study that somebody removed."""
    return StudyError(
        f"study {name} was removed with Optuna's dashboard or by a program of Optuna's; "
        f"nebula-tune delete {name} removes what is left of it"
    )


@dataclass(frozen=True)
class _Trial:
    """What is written of a trial; ``times``: when it was issued and when it was scored."""

    key: TrialKey
    sampler: str
    point: Point
    first_index: int
    outcome: Score | Failure
    times: tuple[datetime, datetime]


class TrialWriter(TrialStore):
    """Writes one study's trials, COMPLETE or FAIL, with one distribution a parameter for the whole study.

    A study that is renamed within Optuna, which makes a copy and removes what was there, is followed to its copy.
    Rows go into Optuna's tables straight, in one transaction: Optuna's own calls ask the database about each of some
    150 parameters in turn, which costs more than scoring a trial. What is written is what they would write.
    """

    def __init__(self, ledger: Ledger, name: str, space: Space) -> None:
        from optuna.distributions import CategoricalDistribution, FloatDistribution, distribution_to_json
        from optuna.storages._rdb import models

        self._ledger, self._name = ledger, name
        self._last: TrialKey | None = None
        self._written: list[_Trial] = []  # by this process
        self._study, self._identity = ledger.study_row(name), ledger.record(name)["identity"]
        ledger.database.run(lambda connection, _: optuna_tables.mark(connection, self._study, self._identity))
        tables = (
            models.TrialModel,
            models.TrialValueModel,
            models.TrialParamModel,
            models.TrialUserAttributeModel,
            models.TrialSystemAttributeModel,
        )
        self._trials, self._values, self._params, self._attributes, self._system = (model.__table__ for model in tables)
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

    def write(
        self,
        key: TrialKey,
        sampler: str,
        point: Point,
        first_index: int,
        outcome: Score | Failure,
        *,
        times: tuple[datetime, datetime] | None = None,
    ) -> int:
        repeated, self._last = key == self._last, key
        trial = _Trial(key, sampler, point, first_index, outcome, times or (datetime.now(UTC),) * 2)

        def insert(connection: sa.Connection, again: bool) -> tuple[int, int]:
            self._ledger.hold(connection, self._name)
            study = self.followed(connection)
            if (again or repeated) and (there := self._row_of(connection, study, key)) is not None:
                return there, study
            return self._insert(connection, study, trial), study

        row, self._study = self._ledger.database.run(insert)
        if not self._written or self._written[-1].key != key:
            self._written.append(trial)
        return row

    def followed(self, connection: sa.Connection) -> int:
        """The study's number where it is now, with all that this process wrote.

        A rename within Optuna copies one trial after the other: those written meanwhile are not in the copy, and are
        written again. Raises StudyError where the study was removed.
        """
        if optuna_tables.is_marked(connection, self._study, self._identity):
            return self._study
        study = self._ledger.place(connection, self._name, self._identity)
        if study is None:
            raise removed(self._name)
        there = optuna_tables.keys(connection, study)
        for trial in self._written:
            if trial.key not in there:
                self._insert(connection, study, trial)
        return study

    def _insert(self, connection: sa.Connection, study: int, trial: _Trial) -> int:
        """A trial's rows; returns the number of its first."""
        from optuna.trial import TrialState

        point, outcome = trial.point, trial.outcome
        values = {name: float(point.curves[k]) for k, name, _ in self._curves}
        values |= {name: float(point.symmetric[k]) for k, name, _ in self._flags}
        attributes = {"key": list(trial.key), "sampler": trial.sampler, "first_index": trial.first_index}
        attributes |= {"relaxed": point.relaxed}
        attributes |= {"error": outcome.message} if isinstance(outcome, Failure) else _score_attributes(outcome)
        began, ended = (time.astimezone(UTC).replace(tzinfo=None) for time in trial.times)
        last = sa.select(sa.func.max(self._trials.c.number)).where(self._trials.c.study_id == study)
        number = connection.execute(last).scalar()
        row = {
            "study_id": study,
            "number": 0 if number is None else number + 1,
            "state": TrialState.FAIL if isinstance(outcome, Failure) else TrialState.COMPLETE,
            "datetime_start": began,
            "datetime_complete": ended,
        }
        inserted: Any = connection.execute(self._trials.insert().values(**row)).inserted_primary_key
        first = {"trial_id": inserted[0]}
        if isinstance(outcome, Score):
            value = {"objective": 0, "value": outcome.value, "value_type": self._finite}
            connection.execute(self._values.insert(), first | value)
        connection.execute(
            self._params.insert(),
            [
                first | {"param_name": name, "param_value": value, "distribution_json": self._kinds[name]}
                for name, value in values.items()
            ],
        )
        connection.execute(
            self._attributes.insert(),
            [first | {"key": name, "value_json": json.dumps(value)} for name, value in attributes.items()],
        )
        if point.relaxed:
            infeasible = {"key": optuna_tables.CONSTRAINTS, "value_json": optuna_tables.INFEASIBLE}
            connection.execute(self._system.insert(), first | infeasible)
        return int(inserted[0])

    def _row_of(self, connection: sa.Connection, study: int, key: TrialKey) -> int | None:
        """The row of the trial of that key, where it is written."""
        table = self._trials.join(self._attributes, self._trials.c.trial_id == self._attributes.c.trial_id)
        query = sa.select(self._trials.c.trial_id).select_from(table)
        query = query.where(self._trials.c.study_id == study, self._attributes.c.key == "key")
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
