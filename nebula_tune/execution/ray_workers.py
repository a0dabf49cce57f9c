"""Workers on Ray that come and go: actors that each own a synth, an embedding and the target's vectors."""

from __future__ import annotations

import logging
import os
import platform
import socket
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from nebula_tune.errors import ScoringError
from nebula_tune.execution.executor import Client
from nebula_tune.execution.ray_head import Head
from nebula_tune.execution.ray_session import last_line
from nebula_tune.execution.sharing import SETTLES, Demand, Register, Sharing
from nebula_tune.files import write_atomically
from nebula_tune.machine import cores
from nebula_tune.scoring import ScorerSpec

CLUSTER_CPUS = 4  # of a CPU worker on a cluster, one thread each; fewer where the smallest node has fewer
LOOK_AGAIN = 5.0  # seconds between looks at the cluster: its size, and who has what of it
START_PATIENCE = 600.0  # seconds without a single worker that others do not have, before a run gives up
RESTART_PATIENCE = 60.0  # seconds for a killed worker to come back, before another takes its place
STRANGERS = "other work on the cluster has them"

log = logging.getLogger(__name__)


@dataclass(eq=False)
class Worker:
    """One actor: whether it takes tasks, the references of those it has, and when it was told to get ready."""

    actor: Any
    placing: Any  # reference of the call that says when a node has it; None once one has
    readying: Any  # reference of the call that says when it is ready; None once it is
    since: float
    tasks: set[Any] = field(default_factory=set)
    described: dict[str, str] = field(default_factory=dict)
    leaving: bool = False  # it is handed back once it has no task

    @property
    def ready(self) -> bool:
        """Whether it can score."""
        return self.readying is None

    @property
    def up(self) -> bool:
        """Whether it takes tasks."""
        return self.ready and not self.leaving


class WorkerPool:
    """Keeps as many workers as are wanted, or as the cluster has room for; on a cluster, this study's fair share.

    While the run is at other work, a thread goes on to share. ``lock`` is for whoever uses workers.

    Args:
        spec: all that a worker needs to score.
        wanted: how many; None: one a GPU (or share of one), or one for every few cores where there is none.
        joined: whether Ray is a cluster's, not started for this run.
        gpu_share: share of a GPU that each takes, above 0 and at most 1.
        client: the run.
    """

    def __init__(self, spec: ScorerSpec, wanted: int | None, joined: bool, gpu_share: float, client: Client) -> None:
        import ray as module

        ray: Any = module
        self._ray, self._client, self._wanted, self._joined = ray, client, wanted, joined
        self._gpu_share = gpu_share
        if joined:
            spec = replace(spec, device="cuda" if ray.cluster_resources().get("GPU", 0) else "cpu")
        self.spec = spec
        self._cpus = self._cpus_a_worker()
        self.threads = spec.concurrency(self._cpus)
        # The vectors travel with each call, by reference: a restarted actor would have lost those of its making.
        self._target = [ray.put(Path(spec.target).read_bytes())] if joined and spec.target else []
        self.workers: list[Worker] = []
        self.head: Head | None = None  # of the cluster, where it is watched
        self.lock = threading.RLock()
        self.demand = Demand()
        self._sharing = self._shared() if joined else None
        self._closing = threading.Event()
        self._unfit = 0
        self._mixed = self._waited = False
        self._looked = float("-inf")
        self._hungry_since = self._placed = time.monotonic()  # _placed: when a node last had a worker of this study

    def start(self) -> None:
        """Start workers and wait until the first is ready (all of them, here). Raises ScoringError."""
        try:
            self.look()
            self._wait_for_the_first()
        except BaseException:
            self.close()
            raise
        if self._joined:
            threading.Thread(target=self._go_on_sharing, name="workers", daemon=True).start()

    def _wait_for_the_first(self) -> None:
        announced = False
        while not any(w.up for w in self.workers) or (not self._joined and not all(w.up for w in self.workers)):
            self.settle(1.0)
            self.look()
            self.tell()
            lately = time.monotonic() - max(self._hungry_since, self._placed) < 2 * LOOK_AGAIN
            if self._joined and not (announced or lately or self.waits_for):
                self._client.note("waiting for the cluster to give a first worker")
                announced = True

    @property
    def up(self) -> list[Worker]:
        """Workers that take tasks."""
        return [worker for worker in self.workers if worker.up]

    @property
    def waits_for(self) -> str:
        """Who has all workers, where this study has none for that reason; else ""."""
        if self._sharing is None or any(worker.placing is None for worker in self.workers):
            return ""
        lately = time.monotonic() - self._placed < SETTLES
        return self._sharing.holders or (STRANGERS if self._sharing.strangers and not lately else "")

    def tell(self) -> None:
        """While there is no worker, tell the client who has them; and once when there is one again."""
        if self._waited or not self.up:
            self._waited = not self.up
            self._client.waiting(self.waits_for)

    def look(self) -> None:
        """Every few seconds: start workers that are missing, replace those that do not come back, hand back surplus.

        Raises ScoringError where there has been none for long, and nobody else has them.
        """
        with self.lock:
            self._hand_back()
            now = time.monotonic()
            if now - self._looked < LOOK_AGAIN:
                return
            self._looked = now
            for worker in [w for w in self.workers if not w.ready and w.described and now - w.since > RESTART_PATIENCE]:
                self._drop(worker)
            self._resize(self._aim())
            if self.up or self.waits_for:
                self._hungry_since = now
            elif now - self._hungry_since > START_PATIENCE:
                raise ScoringError(f"no worker for {START_PATIENCE / 60:.0f} minutes; does the cluster run?")

    def settle(self, seconds: float) -> None:
        """See which workers became ready, waiting a while for the first. Raises ScoringError if none can be."""
        with self.lock:
            readying = [worker.readying for worker in self.workers if not worker.ready]
            done = self._ray.wait(readying, num_returns=1, timeout=seconds)[0] if readying else []
            for worker in [w for w in self.workers if w.readying in done]:
                self._receive(worker)
        if seconds and not readying:
            time.sleep(seconds)

    def _receive(self, worker: Worker) -> None:
        """A worker says that it is ready, or why it never will be."""
        try:
            worker.described = self._ray.get(worker.readying)
        except self._ray.exceptions.RayTaskError as error:
            self._refuse(worker, error)
        except self._ray.exceptions.RayError as error:  # it cannot be restarted
            log.warning("a worker is gone for good (%s); another takes its place", last_line(error))
            self._placed = time.monotonic()
            self._drop(worker)
            self._looked = min(self._looked, time.monotonic() - LOOK_AGAIN + 1)
        else:
            worker.placing = worker.readying = None
            self._looked = float("-inf")  # the others should know
            log.info("worker up", extra={"fields": worker.described | {"workers": len(self.up)}})
            self._compare(worker)

    def lost(self, worker: Worker) -> None:
        """Its process died: deal it nothing until it is back."""
        if worker.leaving:
            self._drop(worker)
        elif worker.ready:
            log.info("worker lost", extra={"fields": worker.described})
            worker.placing, worker.readying = self._begin(worker.actor)
            worker.since = time.monotonic()

    def restart(self, worker: Worker) -> None:
        """It hangs: kill its process; Ray starts it again."""
        self._ray.kill(worker.actor, no_restart=False)
        self.lost(worker)

    def close(self) -> None:
        """End all workers."""
        self._closing.set()
        with self.lock:
            for worker in self.workers:
                self._ray.kill(worker.actor)
            self.workers.clear()
            if self._sharing is not None:
                with suppress(self._ray.exceptions.RayError, RuntimeError):  # the cluster may be gone
                    self._sharing.leave()

    def _shared(self) -> Sharing:
        from ray.experimental import internal_kv

        resource, each = ("CPU", self._cpus) if self.spec.device == "cpu" else ("GPU", self._gpu_share)
        return Sharing(Register(internal_kv), self._client.study, resource, each)

    def _aim(self) -> int:
        """How many workers there should be: what is wanted, or there is room for; on a cluster a fair share of it.

        No worker is given up while nobody lacks it, and workers that are wanted beyond the share are asked for: so an
        autoscaler sees them.
        """
        room = self._room()
        wanted = self._wanted or room
        if self._sharing is None:
            return wanted - self._unfit
        peak = self.demand.peak
        useful = wanted if peak is None else min(wanted, -(-peak // self.threads))
        self._sharing.update(room, self._used(), self._held(), min(useful, room))
        if self._sharing.others_lack:
            return self._sharing.share - self._unfit
        asked = wanted if self._sharing.alone else max(self._sharing.share, self._wanted or 0)
        return max(asked - self._unfit, self._staying)

    def _resize(self, aim: int) -> None:
        """Start workers that are missing, and let surplus ones leave: those that are no use yet first."""
        now = time.monotonic()
        for worker in [w for w in self.workers if w.leaving][: max(0, aim - self._staying)]:
            worker.leaving = False
        for _ in range(aim - self._staying):
            actor = self._actor().remote(self.spec)
            self.workers.append(Worker(actor, *self._begin(actor), now))
        usefulness = sorted(self.workers, key=lambda w: (w.placing is None, w.ready, len(w.tasks)))
        for worker in [w for w in usefulness if not w.leaving][: max(0, self._staying - aim)]:
            worker.leaving = True
        self._hand_back()

    @property
    def _staying(self) -> int:
        return sum(not worker.leaving for worker in self.workers)

    def _hand_back(self) -> None:
        """End workers that are to leave and have no task."""
        for worker in [w for w in self.workers if w.leaving and not w.tasks]:
            log.info("worker handed back", extra={"fields": worker.described | {"workers": len(self.up)}})
            self._drop(worker)

    def _held(self) -> int:
        """Workers that a node has."""
        placing = [worker.placing for worker in self.workers if worker.placing is not None]
        done = self._ray.wait(placing, num_returns=len(placing), timeout=0)[0] if placing else []
        for worker in [w for w in self.workers if w.placing in done]:
            worker.placing = None
        held = sum(worker.placing is None for worker in self.workers)
        if held:
            self._placed = time.monotonic()
        return held

    def _used(self) -> float:
        """How much of the cluster is in use, of what a worker takes."""
        resource = "CPU" if self.spec.device == "cpu" else "GPU"
        total, free = self._ray.cluster_resources(), self._ray.available_resources()
        return float(total.get(resource, 0) - free.get(resource, 0))

    def _go_on_sharing(self) -> None:
        """While the run is at other work, say that it lives, and hand back what others lack."""
        while not self._closing.wait(LOOK_AGAIN):
            if time.monotonic() - self.demand.noted < LOOK_AGAIN:
                continue  # whoever has tasks scored looks at the cluster too
            if not self._head_answers():
                continue
            with self.lock:
                if self._closing.is_set():
                    return
                try:
                    self.look()
                except Exception as error:  # whoever has tasks scored meets the same, and tells it
                    log.info("cannot look at the cluster", extra={"fields": {"error": last_line(error)}})

    def _head_answers(self) -> bool:
        """Whether the cluster can be asked; else a question would block, and whoever waits for the lock with it."""
        try:
            return self.head is None or self.head.answers()
        except ScoringError:
            return False  # it is lost, and whoever has tasks scored says so

    def _refuse(self, worker: Worker, error: Any) -> None:
        """A worker whose scorer cannot be built is not tried again; the others go on."""
        cause = getattr(error, "cause", None) or error
        message = f"a worker cannot score: {last_line(cause)}"
        self._drop(worker)
        self._unfit += 1
        if not self.workers:
            raise ScoringError(message) from error
        self._client.note(f"warning: {message}; going on without it")

    def _drop(self, worker: Worker) -> None:
        if worker in self.workers:
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

    def _begin(self, actor: Any) -> tuple[Any, Any]:
        """Ask it to answer once a node has it, and to build its scorer; calls wait for an actor that is coming back."""
        patient = {"max_task_retries": -1}
        return actor.here.options(**patient).remote(), actor.ready.options(**patient).remote(self._target)

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
            self._client.note(
                f"warning: a mixed cluster ({listed}): which worker scores a trial may change its last bits, "
                "so this study may not be repeatable bit for bit"
            )


class _Worker:
    """What one actor does."""

    def __init__(self, spec: ScorerSpec) -> None:
        self._spec = spec
        self._scorer: Any = None

    def here(self) -> None:
        """Answers as soon as it is anywhere."""

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
