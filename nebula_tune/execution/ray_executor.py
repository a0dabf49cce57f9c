"""The executor on Ray: this machine's cores and GPUs, or a cluster's."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Hashable
from contextlib import ExitStack
from typing import Any

import torch

from nebula_tune.errors import ScoringError
from nebula_tune.execution.executor import Asked, Client, Executor, Task, WorkerLostError
from nebula_tune.execution.ray_session import last_line, ray_session
from nebula_tune.execution.ray_workers import Worker, WorkerPool, shares
from nebula_tune.machine import cores
from nebula_tune.scoring import ScorerSpec

TASK_TIMEOUT = 60.0  # seconds every task is given
FIRST_TIMEOUT = 900.0  # and the very first ones: they compile, and load weights
SLOW = 10  # times the longest of the last tasks: then a worker hangs
REMEMBERED = 200  # tasks

log = logging.getLogger(__name__)


class RayExecutor(Executor):
    """Deals tasks to the least busy of some actors, each with some threads.

    A dead actor is restarted by Ray or replaced, one that hangs is killed, and their tasks are issued again. On a
    cluster, workers may join and leave.

    Args:
        spec: all that a worker needs to score.
        workers: how many actors; None: as many as there is room for.
        address: of a cluster to join; None: Ray is started on this machine.
        gpu_share: share of a GPU that each takes, above 0 and at most 1.
        task_timeout: seconds that every task is given at least; None: TASK_TIMEOUT, and FIRST_TIMEOUT until one is
            done.
        client: the run that it works for.

    Raises:
        ScoringError: where Ray or its workers do not start.
    """

    def __init__(
        self,
        spec: ScorerSpec,
        workers: int | None,
        *,
        address: str | None = None,
        gpu_share: float = 1.0,
        task_timeout: float | None = None,
        client: Client = Client(),  # noqa: B008 -- it cannot be changed
    ) -> None:
        self._session = ExitStack()
        self._ray = self._session.enter_context(ray_session(address, max(cores(), workers or 1)))
        self._timeout = task_timeout
        self._eased = 1.0
        self._owner: dict[Any, tuple[Worker, float]] = {}
        self._seconds: deque[float] = deque(maxlen=REMEMBERED)
        try:
            self._pool = WorkerPool(spec, workers, address is not None, gpu_share, client)
            super().__init__(1, self._pool.spec.chunk)
            self._pool.start()
        except self._ray.exceptions.RayError as error:
            self._session.close()
            raise ScoringError(f"Ray's workers did not start: {last_line(error)}") from error
        except BaseException:
            self._session.close()
            raise
        self._resize()

    @classmethod
    def start(cls, spec: ScorerSpec, asked: Asked, client: Client) -> RayExecutor:
        """As of :class:`Executor`; on this machine a worker a GPU, or a share of one, else one worker."""
        here = max(1, torch.cuda.device_count() * shares(asked.gpu_share))
        return cls(
            spec,
            asked.workers or (None if asked.ray_address else here),
            address=asked.ray_address,
            gpu_share=asked.gpu_share,
            task_timeout=asked.task_timeout,
            client=client,
        )

    @property
    def workers(self) -> int:
        return len(self._pool.up)

    def _resize(self) -> None:
        """As many tasks under way as the workers have threads, and as many again queued behind them."""
        self.slots = int(2 * self._pool.threads * self.workers * self._eased) or min(1, self.workers)

    def _ease(self, error: BaseException) -> None:
        if "OutOfMemory" in type(error).__name__ or isinstance(error, MemoryError):
            self._eased /= 2
            self._resize()

    def _fill(self) -> None:
        with self._pool.lock:
            self._resize()  # the pool may have handed workers back
            super()._fill()
            self._pool.demand.note(len(self._waiting) + len(self._running))

    def _launch(self, task: Task) -> Hashable:
        worker = min(self._pool.up, key=lambda w: len(w.tasks))
        if task.chunk is None:
            reference = worker.actor.run.remote(task.job.request, None, task.job.chunks)
        else:  # only what the chunk needs travels
            reference = worker.actor.run.remote(task.job.request.piece(task.chunk, self.chunk_sounds), 0, [])
        worker.tasks.add(reference)
        self._owner[reference] = worker, time.monotonic()
        handle: Hashable = reference
        return handle

    def _poll(self, seconds: float) -> list[tuple[Hashable, Any]]:
        references = list(self._running)
        if references:
            done, _ = self._ray.wait(references, num_returns=1, timeout=seconds)
            if done:
                done, _ = self._ray.wait(references, num_returns=len(references), timeout=0)
        else:
            self._pool.settle(seconds)
            done = []
        with self._pool.lock:
            outcomes: list[tuple[Hashable, Any]] = [(reference, self._outcome(reference)) for reference in done]
            outcomes += self._give_up_hung()
            self._pool.settle(0)
            self._pool.look()
        self._pool.tell()
        return outcomes

    def _outcome(self, reference: Any) -> Any:
        worker, began = self._owner.pop(reference)
        worker.tasks.discard(reference)
        exceptions = self._ray.exceptions
        try:
            result = self._ray.get(reference)
        except (exceptions.RayActorError, exceptions.ObjectLostError, exceptions.WorkerCrashedError) as error:
            self._pool.lost(worker)
            return WorkerLostError(last_line(error))
        except exceptions.RayTaskError as error:
            return error.cause if isinstance(error.cause, Exception) else error
        except exceptions.RayError as error:
            return error
        self._seconds.append(time.monotonic() - began)
        return result

    @property
    def patience(self) -> float:
        """Seconds after which a task's worker is taken to hang."""
        floor = self._timeout or TASK_TIMEOUT
        if not self._seconds:
            return self._timeout or FIRST_TIMEOUT
        return max(floor, SLOW * max(self._seconds))

    def _give_up_hung(self) -> list[tuple[Hashable, Any]]:
        """Kill workers with a task that takes far too long; all they had is lost."""
        oldest = time.monotonic() - self.patience
        hung = {worker for worker, began in self._owner.values() if began < oldest}
        outcomes: list[tuple[Hashable, Any]] = []
        for worker in hung:
            log.warning("a worker hangs (no answer for %.0f s); its tasks are issued again", self.patience)
            for reference in worker.tasks:
                _, began = self._owner.pop(reference)
                outcomes.append((reference, WorkerLostError("it hung", hung=began < oldest)))
            worker.tasks.clear()
            self._pool.restart(worker)
        return outcomes

    def close(self) -> None:
        try:
            self._pool.close()
        finally:
            self._session.close()
