"""The executor on Ray: actors that each own a synth, an embedding and the target's vectors."""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections import Counter
from collections.abc import Hashable
from typing import Any

from nebula_tune.errors import ScoringError
from nebula_tune.scoring import ScorerSpec
from nebula_tune.study.executor import Executor, Task, WorkerLostError


class RayExecutor(Executor):
    """Deals tasks to the least busy of ``workers`` actors, each with some threads.

    Ray is started on this machine unless ``address`` names a cluster to join. A dead actor is restarted by Ray, and
    its tasks are issued again.
    """

    def __init__(self, spec: ScorerSpec, workers: int, address: str | None = None) -> None:
        try:
            import ray
        except ImportError as error:
            raise ScoringError("Ray is not installed; pip install ray, or use --executor inline") from error
        self._ray = ray
        cores = len(os.sched_getaffinity(0))
        _start(address, max(cores, workers))
        threads = spec.concurrency(max(1, cores // workers))
        super().__init__(threads * workers, spec.chunk)

        remote: Any = ray.remote(_Worker).options(
            max_restarts=-1,
            max_task_retries=0,
            max_concurrency=threads,
            num_cpus=1,
            num_gpus=1 if spec.device.startswith("cuda") else 0,
        )
        self._actors: list[Any] = [remote.remote(spec) for _ in range(workers)]
        self._owner: dict[Any, int] = {}
        try:
            ray.get([actor.ready.remote() for actor in self._actors])
        except ray.exceptions.RayError as error:
            self.close()
            raise ScoringError(f"Ray's workers did not start: {_last_line(error)}") from error

    @property
    def workers(self) -> int:
        return len(self._actors)

    def _launch(self, task: Task) -> Hashable:
        load = Counter(self._owner.values())
        number = min(range(len(self._actors)), key=lambda k: load[k])
        chunks = task.job.chunks if task.chunk is None else []
        reference = self._actors[number].run.remote(task.job.request, task.chunk, chunks)
        self._owner[reference] = number
        handle: Hashable = reference
        return handle

    def _poll(self, seconds: float) -> list[tuple[Hashable, Any]]:
        done, _ = self._ray.wait(list(self._running), num_returns=1, timeout=seconds)
        return [(reference, self._outcome(reference)) for reference in done]

    def _outcome(self, reference: Any) -> Any:
        self._owner.pop(reference)
        exceptions = self._ray.exceptions
        try:
            return self._ray.get(reference)
        except (exceptions.RayActorError, exceptions.ObjectLostError, exceptions.WorkerCrashedError) as error:
            time.sleep(0.2)  # an actor that is coming back refuses calls at once
            return WorkerLostError(_last_line(error))
        except exceptions.RayTaskError as error:
            return error.cause if isinstance(error.cause, Exception) else error
        except exceptions.RayError as error:
            return error

    def close(self) -> None:
        for actor in self._actors:
            self._ray.kill(actor)
        self._ray.shutdown()


class _Worker:
    """What one actor does."""

    def __init__(self, spec: ScorerSpec) -> None:
        import torch

        torch.set_num_threads(1)  # as in the inline executor
        self._scorer = spec.build()

    def ready(self) -> bool:
        """Answers once the scorer is built."""
        return True

    def run(self, request: Any, chunk: int | None, chunks: Any) -> Any:
        """One task."""
        return self._scorer.run(request, chunk, chunks)


def _start(address: str | None, cpus: int) -> None:
    """Join a cluster, or start Ray here: quiet, without its dashboard, in a folder whose path is short."""
    import ray

    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        if address:
            ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False)
        else:
            ray.init(
                address="local",
                num_cpus=cpus,
                include_dashboard=False,
                logging_level=logging.ERROR,
                log_to_driver=False,
                _temp_dir=os.path.join(tempfile.gettempdir(), f"nebula-ray-{os.getuid()}"),  # noqa: PTH118
            )
    except (ConnectionError, RuntimeError, ValueError, TimeoutError, OSError) as error:
        where = f"join the Ray cluster at {address}" if address else "start Ray"
        raise ScoringError(f"cannot {where}: {_last_line(error)}; --executor inline needs no Ray") from error


def _last_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[-1].strip() if lines else type(error).__name__
