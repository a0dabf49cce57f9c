"""Many studies with many trials, put into a database at once: two parameters a trial, as a study leaves them."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass

import sqlalchemy as sa

from nebula_tune.nebula import Nebula
from nebula_tune.storage.ledger import Ledger
from nebula_tune.storage.schema import studies
from nebula_tune.study.plan import Plan
from nebula_tune.study.settings import load_study

PHASES = 3  # of `paper` with a witness phase more: trials of a study go through them in order
NUMBERS = "WITH RECURSIVE numbers(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM numbers WHERE i + 1 < {total}) "


@dataclass(frozen=True)
class Many:
    """So many studies, each with so many trials. Trial i of all is of study i modulo their number.

    A tenth of the trials failed, every second is relaxed, and among these are the least values.
    """

    count: int
    trials: int

    def put_into(self, ledger: Ledger) -> None:
        settings = json.dumps(self.plan.resolved())
        rows = [
            {
                "name": self.name(k), "identity": uuid.uuid4().hex, "settings": settings, "origin": "{}",
                "state": "finished" if k % 2 else "running", "phase": "", "rate": 1.0, "last_error": "",
            }
            for k in range(self.count)
        ]  # fmt: skip
        with ledger.engine.begin() as connection:
            connection.execute(studies.insert(), rows)
            optuna = [
                {"id": k + 1, "name": row["name"], "identity": f'"{row["identity"]}"'} for k, row in enumerate(rows)
            ]
            for statement in (
                "INSERT INTO studies(study_id, study_name) VALUES (:id, :name)",
                "INSERT INTO study_directions(direction, study_id, objective) VALUES ('MINIMIZE', :id, 0)",
                "INSERT INTO study_user_attributes(study_id, key, value_json) "
                "VALUES (:id, 'nebula_tune:identity', :identity)",
            ):
                connection.execute(sa.text(statement), optuna)
            for statement in self._statements(connection.dialect.name):
                connection.execute(sa.text(NUMBERS.format(total=self.count * self.trials) + statement))

    def _statements(self, dialect: str) -> list[str]:
        """In each, i counts all trials; its number in its study is i / studies."""
        state = "CASE WHEN i % 10 = 9 THEN 'FAIL' ELSE 'COMPLETE' END"
        kind, finite = ("trialstate", "trialvaluetype") if dialect == "postgresql" else ("TEXT", "TEXT")
        text = "CAST({} AS TEXT)".format
        key = f"'[' || {text(f'(i / {self.count}) * {PHASES} / {self.trials}')} || ', ' || {text('i')} || ', 0]'"
        floating = json.dumps(
            {"name": "FloatDistribution", "attributes": {"low": 0, "high": 1, "log": False, "step": None}}
        )
        attributes = {
            "key": key, "sampler": "'\"grid\"'", "first_index": "'5'", "mmd": "'0.5'", "shares": "'{}'",
            "relaxed": "CASE WHEN i % 2 = 1 THEN 'true' ELSE 'false' END",
        }  # fmt: skip
        return [
            "INSERT INTO trials(trial_id, number, study_id, state) "
            f"SELECT i + 1, i / {self.count}, i % {self.count} + 1, CAST({state} AS {kind}) FROM numbers",
            "INSERT INTO trial_values(trial_id, objective, value, value_type) "
            f"SELECT i + 1, 0, i % 1009 + (1 - i % 2) * 10, CAST('FINITE' AS {finite}) FROM numbers WHERE i % 10 <> 9",
            *(
                "INSERT INTO trial_params(trial_id, param_name, param_value, distribution_json) "
                f"SELECT i + 1, '{name}', 0.5, '{floating}' FROM numbers"
                for name in ("a.x.curve", "a.y.curve")
            ),
            "INSERT INTO trial_system_attributes(trial_id, key, value_json) "
            "SELECT i + 1, 'constraints', '[1.0]' FROM numbers WHERE i % 2 = 1",
            *(
                "INSERT INTO trial_user_attributes(trial_id, key, value_json) "
                f"SELECT i + 1, '{name}', {value} FROM numbers"
                for name, value in attributes.items()
            ),
        ]

    @property
    def plan(self) -> Plan:
        """A study of three phases, none beside another, of a third of the trials and then some."""
        settings = load_study("paper")
        grid, cmaes = settings.search
        third = -(-self.trials // PHASES) + 10
        search = tuple(phase.model_copy(update={"trials": third}) for phase in (grid, cmaes, cmaes))
        settings = settings.model_copy(update={"search": search})
        return Plan(settings, "voice", Nebula.load("default"), (), (), 0, "file", 2000)

    def name(self, k: int) -> str:
        return f"study-{k:04}"

    def expected(self, k: int) -> tuple[int, int, float]:
        """Trials scored, trials in all, and the best of study number k, counted trial by trial."""
        numbers = range(k, self.count * self.trials, self.count)
        scored = [i for i in numbers if i % 10 != 9]
        over = sum((i // self.count) * PHASES // self.trials < PHASES - 1 for i in numbers)
        total = self.trials if k % 2 else over + self.plan.settings.search[-1].trials
        return len(scored), total, min((i % 1009 + 10 for i in scored if i % 2 == 0), default=float("inf"))
