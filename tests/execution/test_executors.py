"""The executors, each by the contract; and what all share: tries, lost workers, memory."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Any

import numpy as np
import pytest

from nebula_tune.execution.executor import (
    HUNG,
    LOST_WORKERS,
    TRIES,
    Asked,
    Client,
    Executor,
    Failure,
    Task,
    WorkerLostError,
)
from nebula_tune.scoring import Request, ScorerSpec
from nebula_tune.trial import Point
from tests.execution.contract import ExecutorContract


class TestInline(ExecutorContract):
    @pytest.fixture(scope="class")
    @classmethod
    def name(cls) -> str:
        return "inline"


class TestRay(ExecutorContract):
    workers = 2

    @pytest.fixture(scope="class")
    @classmethod
    def name(cls) -> str:
        return "ray"


class Scripted(Executor):
    """An executor whose tasks end as a script says; what is launched is noted."""

    def __init__(self, outcomes: Iterator[Any]) -> None:
        super().__init__(concurrency=2, chunk_sounds=16)
        self.launched: list[int | None] = []
        self._outcomes = outcomes

    @classmethod
    def start(cls, spec: ScorerSpec, asked: Asked, client: Client) -> Scripted:
        raise NotImplementedError

    @property
    def workers(self) -> int:
        return 1

    def _launch(self, task: Task) -> Hashable:
        self.launched.append(task.chunk)
        return len(self.launched)

    def _poll(self, seconds: float) -> list[tuple[Hashable, Any]]:
        return [(next(iter(self._running)), next(self._outcomes))]

    def close(self) -> None:
        pass


ONE_CHUNK = Request(Point(np.ones(2), np.zeros(2)), 0, 16)


def run(*outcomes: Any) -> tuple[Scripted, Any]:
    """What comes of a trial of one chunk whose tasks end so."""
    executor = Scripted(iter(outcomes))
    executor.submit("trial", ONE_CHUNK)
    return executor, executor.wait()


def test_a_task_that_raises_is_tried_again_and_then_given_up() -> None:
    error = ValueError("no\n  good")
    executor, outcome = run(error, "chunk", "score")
    assert outcome == ("trial", "score") and executor.launched == [0, 0, None]
    executor, (_, failure) = run(*[error] * TRIES)
    assert isinstance(failure, Failure) and failure.message == "ValueError: no good"
    assert executor.launched == [0] * TRIES


def test_a_lost_worker_is_no_fault_of_its_task_but_a_task_on_which_workers_hang_is_given_up() -> None:
    lost, hung = WorkerLostError("it died"), WorkerLostError("it hung", hung=True)
    executor, outcome = run(*[lost] * (LOST_WORKERS - 1), "chunk", "score")
    assert outcome == ("trial", "score")
    executor, (_, failure) = run(*[hung] * (LOST_WORKERS // HUNG + TRIES))
    assert isinstance(failure, Failure) and "it hung" in failure.message
    assert len(executor.launched) == LOST_WORKERS // HUNG + TRIES


def test_memory_that_runs_out_halves_the_tasks_at_a_time() -> None:
    executor, outcome = run(MemoryError(), MemoryError(), "chunk", "score")
    assert outcome == ("trial", "score") and executor.slots == 1
