"""The interface of every executor: trials in, scores out, in whatever order they end.

What is computed never depends on the executor: a trial is cut into its fixed chunks, each chunk is one task, and a
last task reduces them in order. A task that raises is tried three times; a task whose worker died is issued again.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nebula_tune.errors import ScoringError
from nebula_tune.objective import TrialSounds
from nebula_tune.scoring import Request, ScorerSpec
from nebula_tune.trial import Score

Fresh = tuple[NDArray[np.float32], NDArray[np.float64]]  # vectors and penalties of some sounds

TRIES = 3
LOST_WORKERS = 100  # of one task, before it is given up
HUNG = 20  # a worker that hung counts as so many: the task itself may be why

log = logging.getLogger(__name__)


class WorkerLostError(Exception):
    """The worker of a task died (nothing is known against the task), or hung on it."""

    def __init__(self, message: str, hung: bool = False) -> None:
        super().__init__(message)
        self.weight = HUNG if hung else 1


@dataclass
class Job:
    """A trial on its way: its request, and its chunks as they come in. Without ``reduced`` its vectors are wanted."""

    key: Any  # hashable
    request: Request
    reduced: bool
    chunks: list[TrialSounds | None]
    result: Any = None


@dataclass(frozen=True)
class Task:
    """One chunk of a job, or (``chunk`` None) its reduction."""

    job: Job
    chunk: int | None
    failures: int = 0
    lost: int = 0


@dataclass
class Failure:
    """A trial that could not be scored, and why."""

    message: str


class Asked(Protocol):
    """What an executor is asked for; each takes what it knows of. Nothing of it can change a result."""

    @property
    def workers(self) -> int | None:
        """How many workers; None: as many as are of use."""

    @property
    def ray_address(self) -> str | None:
        """The Ray cluster to join."""

    @property
    def gpu_share(self) -> float:
        """What share of a GPU a worker has."""

    @property
    def task_timeout(self) -> float | None:
        """Seconds after which a task's worker is taken to hang; None: from the tasks before."""


def _nothing(_: str) -> None:
    pass


@dataclass(frozen=True)
class Client:
    """The run that an executor works for, and what it is told.

    Attributes:
        study: its study's name.
        note: told what the user should know of the workers.
        waiting: told again and again while there is no worker: who has them all, or "" where nobody has. May raise, to
            end the run.
    """

    study: str = ""
    note: Callable[[str], None] = log.warning
    waiting: Callable[[str], None] = _nothing


class Executor(ABC):
    """Runs tasks, ``concurrency`` at a time and as many again queued behind them. Use as a context manager.

    ``check`` is called again and again while results are waited for: what it raises ends the waiting.
    """

    def __init__(self, concurrency: int, chunk_sounds: int) -> None:
        self.check: Callable[[], None] = lambda: None
        self.chunk_sounds = chunk_sounds
        self.slots = 2 * concurrency
        self._waiting: deque[Task] = deque()
        self._running: dict[Any, Task] = {}
        self._finished: deque[Job] = deque()

    @classmethod
    @abstractmethod
    def start(cls, spec: ScorerSpec, asked: Asked, client: Client) -> Executor:
        """An executor that scores by ``spec`` for ``client``. Raises ScoringError, and what ``client`` raises."""

    @property
    @abstractmethod
    def workers(self) -> int:
        """Workers at the moment."""

    @abstractmethod
    def _launch(self, task: Task) -> Hashable:
        """Start a task; returns a handle."""

    @abstractmethod
    def _poll(self, seconds: float) -> list[tuple[Hashable, Any]]:
        """Handles of tasks that ended, each with its result or exception; waits a while for the first."""

    @abstractmethod
    def close(self) -> None:
        """Give up what runs, and end the workers."""

    def __enter__(self) -> Executor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def submit(self, key: Any, request: Request) -> None:
        """Queue a trial; its score comes out of :meth:`wait` under ``key``."""
        self._enqueue(key, request, reduced=True)

    def wait(self) -> tuple[Any, Score | Failure]:
        """The next trial that ended."""
        job = self._next_job()
        return job.key, job.result

    def vectors(self, request: Request) -> NDArray[np.float32]:
        """Vectors (sounds, D) of a request's sounds, in order; only while no trial is queued."""
        return self.fresh(request)[0]

    def fresh(self, request: Request) -> Fresh:
        """Vectors and penalties (sounds, SHARES) of a request's sounds, in order; only while no trial is queued."""
        self._enqueue(None, request, reduced=False)
        result = self._next_job().result
        if isinstance(result, Failure):
            raise ScoringError(f"sounds could not be embedded: {result.message}")
        fresh: Fresh = result
        return fresh

    def _enqueue(self, key: Any, request: Request, reduced: bool) -> None:
        chunks = -(-request.sounds // self.chunk_sounds)
        job = Job(key, request, reduced, [None] * chunks)
        self._waiting.extend(Task(job, k) for k in range(chunks))
        self._fill()

    def _fill(self) -> None:
        while self._waiting and len(self._running) < self.slots:
            task = self._waiting.popleft()
            if task.job.result is None:
                self._running[self._launch(task)] = task

    def _next_job(self) -> Job:
        while not self._finished:
            self.check()
            self._fill()
            for handle, outcome in self._poll(1.0):
                self._end(self._running.pop(handle), outcome)
            self._fill()
        return self._finished.popleft()

    def _end(self, task: Task, outcome: Any) -> None:
        """File a task's outcome; queue what follows from it."""
        job = task.job
        if job.result is not None:
            return  # the job has failed meanwhile
        if isinstance(outcome, WorkerLostError) and task.lost < LOST_WORKERS:
            self._waiting.appendleft(Task(job, task.chunk, task.failures, task.lost + outcome.weight))
        elif isinstance(outcome, BaseException):
            self._ease(outcome)
            if task.failures + 1 < TRIES:
                self._waiting.appendleft(Task(job, task.chunk, task.failures + 1, task.lost))
            else:
                self._finish(job, Failure(f"{type(outcome).__name__}: {' '.join(str(outcome).split())}"))
        elif task.chunk is None:
            self._finish(job, outcome)
        else:
            job.chunks[task.chunk] = outcome
            if all(chunk is not None for chunk in job.chunks):
                self._complete(job)

    def _complete(self, job: Job) -> None:
        if job.reduced:
            self._waiting.appendleft(Task(job, None))
        else:
            chunks = [chunk for chunk in job.chunks if chunk is not None]
            result = (np.concatenate([c.vectors for c in chunks]), np.concatenate([c.penalties for c in chunks]))
            self._finish(job, result)

    def _finish(self, job: Job, result: Any) -> None:
        job.result = result
        job.chunks = []
        self._finished.append(job)

    def _ease(self, error: BaseException) -> None:
        """Out of memory: run half as many tasks at a time."""
        if "OutOfMemory" in type(error).__name__ or isinstance(error, MemoryError):
            self.slots = max(1, self.slots // 2)
