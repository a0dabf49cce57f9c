"""Workers on Ray that come and go: actors that each own a synth, an embedding and the target's vectors."""

from __future__ import annotations

import logging
import os
import platform
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from nebula_tune.errors import ScoringError
from nebula_tune.files import write_atomically
from nebula_tune.machine import cores
from nebula_tune.scoring import ScorerSpec

CLUSTER_CPUS = 4  # of a CPU worker on a cluster, one thread each; fewer where the smallest node has fewer
LOOK_AGAIN = 5.0  # seconds between looks at the cluster's size
START_PATIENCE = 600.0  # seconds without a single worker, before a run gives up
RESTART_PATIENCE = 60.0  # seconds for a killed worker to come back, before another takes its place

log = logging.getLogger(__name__)


@dataclass(eq=False)
class Worker:
    """One actor: whether it takes tasks, the references of those it has, and when it was told to get ready."""

    actor: Any
    readying: Any  # reference of the call that says when it is; None once it is
    since: float
    tasks: set[Any] = field(default_factory=set)
    described: dict[str, str] = field(default_factory=dict)

    @property
    def up(self) -> bool:
        """Whether it takes tasks."""
        return self.readying is None


class WorkerPool:
    """Keeps as many workers as are wanted, or as the cluster has room for.

    Args:
        spec: all that a worker needs to score.
        wanted: how many; None: one a GPU (or share of one), or one for every few cores where there is none.
        joined: whether Ray is a cluster's, not started for this run.
        gpu_share: share of a GPU that each takes, above 0 and at most 1.
        note: told what a user should know of the workers.
    """

    def __init__(
        self, spec: ScorerSpec, wanted: int | None, joined: bool, gpu_share: float, note: Callable[[str], None]
    ) -> None:
        import ray as module

        ray: Any = module
        self._ray, self._note, self._wanted, self._joined = ray, note, wanted, joined
        self._gpu_share = gpu_share
        if joined:
            spec = replace(spec, device="cuda" if ray.cluster_resources().get("GPU", 0) else "cpu")
        self.spec = spec
        self._cpus = self._cpus_a_worker()
        self.threads = spec.concurrency(self._cpus)
        # The vectors travel with each call, by reference: a restarted actor would have lost those of its making.
        self._target = [ray.put(Path(spec.target).read_bytes())] if joined and spec.target else []
        self.workers: list[Worker] = []
        self._unfit = 0
        self._mixed = False
        self._looked = float("-inf")
        self._hungry_since = time.monotonic()

    def start(self) -> None:
        """Start workers and wait until the first is ready (all of them, here). Raises ScoringError."""
        self.look()
        announced = False
        while not any(w.up for w in self.workers) or (not self._joined and not all(w.up for w in self.workers)):
            self.settle(1.0)
            self.look()
            if not announced and time.monotonic() - self._hungry_since > 2 * LOOK_AGAIN and self._joined:
                self._note("waiting for the cluster to give a first worker")
                announced = True

    @property
    def up(self) -> list[Worker]:
        """Workers that take tasks."""
        return [worker for worker in self.workers if worker.up]

    def look(self) -> None:
        """Every few seconds: start workers that are missing, replace those that do not come back."""
        now = time.monotonic()
        if now - self._looked < LOOK_AGAIN:
            return
        self._looked = now
        for worker in [w for w in self.workers if not w.up and w.described and now - w.since > RESTART_PATIENCE]:
            self._drop(worker)
        missing = (self._wanted or self._room()) - self._unfit - len(self.workers)
        for _ in range(missing):
            actor = self._actor().remote(self.spec)
            self.workers.append(Worker(actor, self._get_ready(actor), now))
        if self.up:
            self._hungry_since = now
        elif now - self._hungry_since > START_PATIENCE:
            raise ScoringError(f"no worker for {START_PATIENCE / 60:.0f} minutes; does the cluster run?")

    def settle(self, seconds: float) -> None:
        """See which workers became ready, waiting a while for the first. Raises ScoringError if none can be."""
        readying = [worker.readying for worker in self.workers if not worker.up]
        done = self._ray.wait(readying, num_returns=1, timeout=seconds)[0] if readying else []
        for worker in [w for w in self.workers if w.readying in done]:
            try:
                worker.described = self._ray.get(worker.readying)
            except self._ray.exceptions.RayTaskError as error:
                self._refuse(worker, error)
            except self._ray.exceptions.RayError as error:  # it cannot be restarted
                log.warning("a worker is gone for good (%s); another takes its place", last_line(error))
                self._drop(worker)
                self._looked = min(self._looked, time.monotonic() - LOOK_AGAIN + 1)
            else:
                worker.readying = None
                log.info("worker up", extra={"fields": worker.described | {"workers": len(self.up)}})
                self._compare(worker)

    def lost(self, worker: Worker) -> None:
        """Its process died: deal it nothing until it is back."""
        if worker.up:
            log.info("worker lost", extra={"fields": worker.described})
            worker.readying, worker.since = self._get_ready(worker.actor), time.monotonic()

    def restart(self, worker: Worker) -> None:
        """It hangs: kill its process; Ray starts it again."""
        self._ray.kill(worker.actor, no_restart=False)
        self.lost(worker)

    def close(self) -> None:
        """End all workers."""
        for worker in self.workers:
            self._ray.kill(worker.actor)
        self.workers.clear()

    def _refuse(self, worker: Worker, error: Any) -> None:
        """A worker whose scorer cannot be built is not tried again; the others go on."""
        cause = getattr(error, "cause", None) or error
        message = f"a worker cannot score: {last_line(cause)}"
        self._drop(worker)
        self._unfit += 1
        if not self.workers:
            raise ScoringError(message) from error
        self._note(f"warning: {message}; going on without it")

    def _drop(self, worker: Worker) -> None:
        self._ray.kill(worker.actor)
        self.workers.remove(worker)

    def _actor(self) -> Any:
        remote: Any = self._ray.remote(_Worker)
        return remote.options(
            max_restarts=-1,
            max_task_retries=0,
            max_concurrency=self.threads,
            num_cpus=self._cpus if self._joined and self.spec.device == "cpu" else 1,
            num_gpus=0 if self.spec.device == "cpu" else self._gpu_share,
            scheduling_strategy="SPREAD",
        )

    def _get_ready(self, actor: Any) -> Any:
        """Ask it to build its scorer; the call waits for an actor that is coming back."""
        return actor.ready.options(max_task_retries=-1).remote(self._target)

    def _cpus_a_worker(self) -> int:
        """Cores, and so threads, of one CPU worker."""
        if not self._joined:
            return max(1, cores() // (self._wanted or 1))
        cpus = [int(node["Resources"].get("CPU", 0)) for node in self._nodes()]
        return min([CLUSTER_CPUS, *(count for count in cpus if count > 0)])

    def _room(self) -> int:
        """How many workers the cluster has room for."""
        if self.spec.device == "cpu":
            return sum(int(node["Resources"].get("CPU", 0)) // self._cpus for node in self._nodes())
        return sum(int(node["Resources"].get("GPU", 0)) * shares(self._gpu_share) for node in self._nodes())

    def _nodes(self) -> list[dict[str, Any]]:
        return [node for node in self._ray.nodes() if node["Alive"]]

    def _compare(self, worker: Worker) -> None:
        """Warn once of a mixed cluster."""
        alike = ("device", "versions")
        kinds = {tuple(w.described[key] for key in alike) for w in self.workers if w.described} | {
            (worker.described["device"], _versions(self.spec.packages))
        }
        if len(kinds) > 1 and not self._mixed:
            self._mixed = True
            listed = "; ".join(" with ".join(kind) for kind in sorted(kinds))
            self._note(
                f"warning: a mixed cluster ({listed}): which worker scores a trial may change its last bits, "
                "so this study may not be repeatable bit for bit"
            )


class _Worker:
    """What one actor does."""

    def __init__(self, spec: ScorerSpec) -> None:
        self._spec = spec
        self._scorer: Any = None

    def ready(self, target: Any) -> dict[str, str]:
        """Build the scorer; answers with what this worker is. ``target`` holds the vectors, for nodes without them."""
        import ray
        import torch

        torch.set_num_threads(1)  # as in the inline executor
        spec = self._spec
        if target and spec.target and not Path(spec.target).exists():
            spec = replace(spec, target=str(_store(Path(spec.target).name, ray.get(target[0]))))
        self._scorer = spec.build()
        device = torch.backends.cpu.get_cpu_capability() if spec.device == "cpu" else torch.cuda.get_device_name()
        return {
            "host": socket.gethostname(),
            "pid": str(os.getpid()),
            "device": f"{spec.device} {device}",
            "versions": _versions(spec.packages),
        }

    def run(self, request: Any, chunk: int | None, chunks: Any) -> Any:
        """One task."""
        return self._scorer.run(request, chunk, chunks)


def _store(name: str, content: bytes) -> Path:
    """Keep a target's vectors in this node's own cache."""
    from nebula_tune.corpus.cache import cached_file

    return cached_file(f"targets/{name}", lambda path: write_atomically(path, content))


def _versions(packages: Mapping[str, str]) -> str:
    import torch

    names = ("nebula-tune", "torch", "numpy", "numba")
    listed = [f"torch {torch.__version__}" if name == "torch" else f"{name} {version(name)}" for name in names]
    listed += [f"{name} {version}" for name, version in packages.items()]
    return ", ".join([*listed, f"python {platform.python_version()} on {platform.machine()}"])


def shares(gpu_share: float) -> int:
    """How many workers with that share of a GPU fit on one: no worker has parts of two."""
    return int(1 / gpu_share + 1e-9)


def last_line(error: BaseException) -> str:
    """The last line of an error's text."""
    lines = str(error).strip().splitlines()
    return lines[-1].strip() if lines else type(error).__name__
