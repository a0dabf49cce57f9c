"""The interface of what keeps studies: their settings, trials, re-evaluations and results.

Every method raises StorageError where what keeps them fails for good, and StudyError for a study that is not there,
with the names of those that are. A method that writes to a study raises TakenOverError, and writes nothing, unless the
study is held by the token of this store: by that of its lease, by which another process may have taken it over since,
or, in a store that never had a lease, by nobody.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from nebula_tune.execution.executor import Failure
from nebula_tune.search import Space
from nebula_tune.trial import Point, Score

TrialKey = tuple[int, int, int]  # phase, generation, index


@dataclass(frozen=True)
class Stored:
    """A trial as it is kept."""

    key: TrialKey
    sampler: str
    score: Score | None
    relaxed: bool
    params: dict[str, Any]
    number: int
    row: int  # of Optuna's table


class TrialStore(ABC):
    """Keeps the trials of one study."""

    @abstractmethod
    def write(self, key: TrialKey, sampler: str, point: Point, first_index: int, outcome: Score | Failure) -> int:
        """Keep a trial, whole or not at all: with its score, or as failed with its error. Returns its row's number.

        The same trial twice in a row is kept once: an interruption may fall between a write and the note of it.

        Args:
            key: its phase, generation and index.
            sampler: the sampler's name.
            point: what was scored.
            first_index: index of its first sound.
            outcome: what came of it.

        Raises:
            StorageError: it could not be written.
            TakenOverError: another process has the study now.
        """


class Store(ABC):
    """Studies by name. ``token``: of the last lease that this process had by this store; writes ask for it."""

    token: str | None = None

    @abstractmethod
    def names(self) -> list[str]:
        """Names of all studies. Raises StorageError."""

    @abstractmethod
    def has(self, name: str) -> bool:
        """Whether there is a study of that name. Raises StorageError."""

    @abstractmethod
    def record(self, name: str) -> dict[str, Any]:
        """A study's row: state, settings, owner, rate. Raises StorageError, StudyError."""

    @abstractmethod
    def begin(
        self, name: str, settings: dict[str, Any], origin: dict[str, Any], target: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """The study's row, made where there is none. Raises StorageError.

        Args:
            name: the study's.
            settings: its plan, as ``Plan.resolved`` tells it.
            origin: versions, and the yardstick, as they were when it began.
            target: as :attr:`SplitTarget.described` tells it; None for a study without one.
        """

    @abstractmethod
    def target(self, name: str) -> dict[str, Any] | None:
        """A study's target as :meth:`begin` was given it. Raises StorageError."""

    @abstractmethod
    def update(self, name: str, **columns: Any) -> None:
        """Change columns of a study's row. Raises StorageError, TakenOverError.

        States: new, running, waiting (for workers that others have), interrupted, failed, finished.
        """

    @abstractmethod
    def finish(
        self,
        name: str,
        report: dict[str, Any],
        nebula: list[dict[str, Any]],
        constellation: dict[str, Any] | None = None,
    ) -> None:
        """Keep what came of a study: it is finished. Raises StorageError, TakenOverError.

        Args:
            name: the study's.
            report: as JSON.
            nebula: entries of the tuned nebula.
            constellation: fitted on it, as JSON; None where there is none.
        """

    @abstractmethod
    def result(self, name: str) -> tuple[dict[str, Any], list[dict[str, Any]]] | None:
        """Report and nebula as :meth:`finish` was given them; None for a study that is not finished.

        Raises StorageError, StudyError.
        """

    @abstractmethod
    def constellation(self, name: str) -> dict[str, Any] | None:
        """The constellation :meth:`finish` was given; None where there is none. Raises StorageError, StudyError."""

    @abstractmethod
    def delete(self, name: str) -> None:
        """Remove a study and all that belongs to it. Raises StorageError, StudyError."""

    @abstractmethod
    def writer(self, name: str, space: Space) -> TrialStore:
        """What keeps the trials of a study of that search space. Raises StorageError, StudyError."""

    @abstractmethod
    def trials(self, name: str) -> Iterator[Stored]:
        """All scored and failed trials of a study. Raises StorageError, StudyError."""

    @abstractmethod
    def reevaluated(self, name: str) -> dict[tuple[int, int], float]:
        """Values of re-evaluations by (candidate, repeat). Raises StorageError."""

    @abstractmethod
    def write_reevaluation(self, name: str, candidate: int, repeat: int, score: Score) -> None:
        """Keep the score of a study's ``candidate`` number at a ``repeat``, once; ``name`` is the study's.

        Raises StorageError, TakenOverError.
        """
