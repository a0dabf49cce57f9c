"""What the dashboard is given of a study: all of its trials, the parameters of some.

The page of a study gets every trial with every parameter in one answer, 46 MB for 1000 trials of 156, and works them
out anew each time. Here finished trials are read once, and only the trials that were the best so far, and others evenly
spread among the rest, show their parameters; the figures of parameters are of these.
"""

from __future__ import annotations

import copy
from collections.abc import Container
from typing import Any

import sqlalchemy as sa
from optuna.storages._cached_storage import _CachedStorage
from optuna.trial import FrozenTrial, TrialState

from nebula_tune.storage.ledger import Ledger
from nebula_tune.storage.schema import studies

SPREAD = 64  # trials at most that show their parameters, beside those that were the best so far
EVERY: Any = object()  # of the trials, as the page asks for them


class PageStorage(_CachedStorage):
    """Optuna's storage as the dashboard reads it."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger.storage)
        self._ledger = ledger
        self._identities: dict[int, str | None] = {}
        self._light: dict[int, FrozenTrial] = {}

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = EVERY
    ) -> list[FrozenTrial]:
        """Every trial, most of them light; asked with states (by Optuna's figures): those with their parameters."""
        self._forget_another(study_id)
        trials = super().get_all_trials(study_id, deepcopy=False, states=None if states is EVERY else states)
        whole = with_parameters(trials)
        if states is EVERY:
            return [self._lightened(trial, trial.number in whole) for trial in trials]
        selection = [trial for trial in trials if trial.number in whole]
        return copy.deepcopy(selection) if deepcopy else selection

    def get_best_trial(self, study_id: int) -> FrozenTrial:
        """The best with decided flags; where there is none yet, the best of all, which the page shows as infeasible."""
        complete = [
            trial for trial in self.get_all_trials(study_id, states=EVERY) if trial.state == TrialState.COMPLETE
        ]
        if not complete:
            raise ValueError("no trial is complete yet")
        return min(complete, key=lambda trial: (bool(trial.user_attrs.get("relaxed")), trial.value))

    def _lightened(self, trial: FrozenTrial, whole: bool) -> FrozenTrial:
        """Without the gradient, and without parameters unless ``whole``; kept, since finished trials do not change."""
        light = self._light.get(trial._trial_id)
        if light is None or bool(light.params) != whole or not trial.state.is_finished():
            light = copy.copy(trial)
            light.user_attrs = {key: value for key, value in trial.user_attrs.items() if key != "gradient"}
            if not whole:
                light.params, light.distributions = {}, {}
                light.user_attrs |= {"parameters": f"nebula-tune export NAME --trial {trial.number}"}
            self._light[trial._trial_id] = light
        return light

    def _forget_another(self, study_id: int) -> None:
        """A study that was deleted may leave its numbers to another."""
        name = self._backend.get_study_name_from_id(study_id)
        query = sa.select(studies.c.identity).where(studies.c.name == name)
        identity = self._ledger.database.run(lambda connection, _: connection.execute(query).scalar())
        if self._identities.setdefault(study_id, identity) != identity:
            self._identities[study_id] = identity
            self._studies.pop(study_id, None)
            self._light.clear()


def with_parameters(trials: list[FrozenTrial]) -> set[int]:
    """Numbers of the trials that show their parameters."""
    step = 1
    while len(trials) > SPREAD * step:
        step *= 2
    numbers, best = set(), float("inf")
    for trial in trials:
        value = trial.values[0] if trial.values else float("inf")
        improves = value < best and not trial.user_attrs.get("relaxed")
        if improves:
            best = value
        if improves or trial.number % step == 0:
            numbers.add(trial.number)
    return numbers
