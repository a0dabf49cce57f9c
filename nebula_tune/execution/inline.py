"""The executor inside this process: threads, no Ray."""

from __future__ import annotations

from collections.abc import Hashable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any

import torch
from threadpoolctl import threadpool_limits

from nebula_tune.execution.executor import Asked, Client, Executor, Task
from nebula_tune.machine import cores
from nebula_tune.scoring import ScorerSpec


class InlineExecutor(Executor):
    """Runs every chunk on a thread of its own, as many at a time as there are cores."""

    def __init__(self, spec: ScorerSpec) -> None:
        threads = spec.concurrency(cores())
        super().__init__(threads, spec.chunk)
        # A chunk is worked out by one thread, or its sums could depend on the machine; and threads of a BLAS that wait
        # for small matrices take a tenth of the trials a second from those that score.
        self._blas = threadpool_limits(1, user_api="blas")
        self._threads_before = torch.get_num_threads()
        torch.set_num_threads(1)
        self._scorer = spec.build()
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="score")

    @classmethod
    def start(cls, spec: ScorerSpec, asked: Asked, client: Client) -> InlineExecutor:
        return cls(spec)

    @property
    def workers(self) -> int:
        return 1

    def _launch(self, task: Task) -> Hashable:
        return self._pool.submit(self._scorer.run, task.job.request, task.chunk, task.job.chunks)

    def _poll(self, seconds: float) -> list[tuple[Hashable, Any]]:
        futures: list[Future[Any]] = list(self._running)
        done = wait(futures, timeout=seconds, return_when=FIRST_COMPLETED).done
        return [(future, future.exception() or future.result()) for future in done]

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._blas.restore_original_limits()
        torch.set_num_threads(self._threads_before)
