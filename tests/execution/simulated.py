"""A cluster in simulated time: Ray's part is played here, pools and executors are the real ones, a thread a study.

One thread runs at a time, and time passes only when all of them wait: an hour takes seconds, and each run is the same.
"""

from __future__ import annotations

import heapq
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import count
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from nebula_tune.corpus.prepare import Prepare
from nebula_tune.execution import ray_executor, ray_workers, sharing
from nebula_tune.execution.executor import Client
from nebula_tune.execution.ray_executor import RayExecutor
from nebula_tune.scoring import CHUNK, Request, ScorerSpec
from nebula_tune.trial import Point

PLACED = 2.0  # seconds from a node's room to a worker's process
READY = 8.0  # and to its scorer
TASK = 2.0  # seconds of a chunk
REDUCTION = 0.1  # seconds in which a trial's chunks are put together
CHUNKS = 16  # of a trial: 256 sounds, as shipped studies have


@dataclass
class Blocked:
    """A thread that waits for something, at most until some time."""

    condition: Callable[[], bool]
    until: float
    turn: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))


class Timeline:
    """Simulated time, in the place of the module ``time``; ``passing`` is told of each stretch in which all wait."""

    def __init__(self) -> None:
        self.now = 0.0
        self.passing: list[Callable[[float], None]] = []
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._blocked: list[Blocked] = []
        self._idle = threading.Semaphore(0)
        self._errors: list[BaseException] = []

    def monotonic(self) -> float:
        return self.now

    time = monotonic

    def sleep(self, seconds: float) -> None:
        self.wait(lambda: False, seconds)

    def wait(self, condition: Callable[[], bool], seconds: float) -> None:
        """Until a condition holds or so many seconds are over; only a thread of :meth:`thread` may."""
        if seconds <= 0 or condition():
            return
        blocked = Blocked(condition, self.now + seconds)
        self._blocked.append(blocked)
        self._idle.release()
        blocked.turn.acquire()

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now + seconds, next(self._order), action))

    def thread(self, begins: float, action: Callable[[], None]) -> None:
        """A thread that begins at some time; what it raises is raised by :meth:`run`."""

        def work() -> None:
            try:
                action()
            except BaseException as error:
                self._errors.append(error)
            self._idle.release()

        def begin() -> None:
            threading.Thread(target=work, daemon=True).start()
            self._idle.acquire()

        self.after(begins - self.now, begin)

    def run(self) -> None:
        """Until nothing is left to do."""
        while (self._events or self._blocked) and not self._errors:
            awake = next((b for b in self._blocked if b.until <= self.now or b.condition()), None)
            if awake is not None:
                self._blocked.remove(awake)
                awake.turn.release()
                self._idle.acquire()
            elif self._events and self._events[0][0] <= self.now:
                heapq.heappop(self._events)[2]()
            else:
                self._pass()
        if self._errors:
            raise self._errors[0]

    def _pass(self) -> None:
        later = min([blocked.until for blocked in self._blocked] + [event[0] for event in self._events[:1]])
        for told in self.passing:
            told(later - self.now)
        self.now = later


class Reference:
    """Of what a call will give."""

    def __init__(self) -> None:
        self.value: Any = None
        self.error: BaseException | None = None
        self.done = False

    def give(self, value: Any = None, error: BaseException | None = None) -> None:
        if not self.done:
            self.value, self.error, self.done = value, error, True


class Call:
    """An actor's method."""

    def __init__(self, method: Callable[..., Reference]) -> None:
        self._method = method

    def options(self, **_: Any) -> Call:
        return self

    def remote(self, *arguments: Any) -> Reference:
        return self._method(*arguments)


class Actor:
    """One worker: takes a slot of the cluster once there is one, gets ready, and runs task after task."""

    def __init__(self, cluster: SimulatedRay, driver: threading.Thread) -> None:
        self.driver = driver
        self.slot: int | None = None
        self.task: Reference | None = None
        self.queue: deque[tuple[Reference, float]] = deque()
        self._cluster, self._placed, self._ready = cluster, Reference(), Reference()
        self.here = Call(lambda: self._placed)
        self.ready = Call(lambda target: self._ready)
        self.run = Call(self._run)

    def place(self, slot: int) -> None:
        self.slot = slot
        self._cluster.timeline.after(PLACED, self._placed.give)
        described = {"device": "cpu", "versions": ray_workers._versions({})}
        error = RayTaskError("no weights") if slot in self._cluster.unfit else None
        self._cluster.timeline.after(READY, lambda: self._ready.give(described, error))

    def end(self) -> None:
        error = self._cluster.exceptions.RayActorError("its process died")
        queued = [reference for reference, _ in self.queue]
        for reference in [self._placed, self._ready, *queued, *([self.task] if self.task else [])]:
            reference.give(error=error)
        self.slot, self.task = None, None
        self.queue.clear()

    def _run(self, request: Request, chunk: int | None, chunks: Any) -> Reference:
        reference = Reference()
        self.queue.append((reference, REDUCTION if chunk is None else TASK))
        self._go_on()
        return reference

    def _go_on(self) -> None:
        if self.task is None and self.queue:
            self.task, seconds = self.queue.popleft()
            self._cluster.timeline.after(seconds, lambda task=self.task: self._end(task))

    def _end(self, task: Reference) -> None:
        if self.task is task:
            task.give("done")
            self.task = None
            self._go_on()


class RayError(Exception):
    """As Ray's."""


class RayActorError(RayError):
    """As Ray's."""


class RayTaskError(RayError):
    """As Ray's."""


def key_value_store(content: dict[str, bytes]) -> Any:
    """What nebula-tune uses of ray.experimental.internal_kv."""
    return SimpleNamespace(
        _internal_kv_put=lambda key, value, namespace: content.update({key: value}),
        _internal_kv_get=lambda key, namespace: content.get(key.decode()),
        _internal_kv_list=lambda prefix, namespace: [key.encode() for key in content],
        _internal_kv_del=lambda key, namespace: content.pop(key, None),
    )


class SimulatedRay:
    """A cluster with room for some workers of one core each: what nebula-tune uses of the module ``ray``."""

    exceptions = SimpleNamespace(
        RayError=RayError,
        RayActorError=RayActorError,
        RayTaskError=RayTaskError,
        ObjectLostError=RayActorError,
        WorkerCrashedError=RayActorError,
    )

    def __init__(self, slots: int, patch: pytest.MonkeyPatch) -> None:
        self.timeline = Timeline()
        self.slots, self.strangers = slots, 0
        self.unfit: set[int] = set()  # slots whose workers cannot score
        self.actors: list[Actor] = []
        self.executors: dict[str, RayExecutor] = {}
        self.begun = self.killed_at_work = 0  # actors
        self.store: dict[str, bytes] = {}
        patch.setitem(sys.modules, "ray", self)
        patch.setitem(sys.modules, "ray.experimental", SimpleNamespace(internal_kv=key_value_store(self.store)))
        patch.setattr(ray_executor, "ray_session", lambda address, cpus, patience: nullcontext(self))
        patch.setattr(ray_workers.WorkerPool, "_go_on_sharing", lambda self: None)  # it would tell real time
        for module in (ray_executor, ray_workers, sharing):
            patch.setattr(module, "time", self.timeline)

    def get_runtime_context(self) -> SimpleNamespace:
        return SimpleNamespace(gcs_address="")  # nobody to watch

    def nodes(self) -> list[dict[str, Any]]:
        return [{"Alive": True, "Resources": {"CPU": 1.0}} for _ in range(self.slots)]

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": float(self.slots)} if self.slots else {}

    def available_resources(self) -> dict[str, float]:
        return {"CPU": float(self.slots - self.strangers - len(self.placed))}

    @property
    def placed(self) -> list[Actor]:
        return [actor for actor in self.actors if actor.slot is not None]

    def held(self, name: str) -> int:
        """Workers of a study."""
        actors = {worker.actor for worker in self.executors[name]._pool.workers} if name in self.executors else set()
        return len(actors & set(self.placed))

    def remote(self, _: type) -> Any:
        make = SimpleNamespace(remote=lambda spec: self._actor())
        return SimpleNamespace(options=lambda **_: make)

    def _actor(self) -> Actor:
        self.begun += 1
        self.actors.append(Actor(self, threading.current_thread()))
        self.place()
        return self.actors[-1]

    def place(self) -> None:
        """Give free slots to actors in the order in which they were asked for."""
        taken = {actor.slot for actor in self.placed}
        free = [slot for slot in range(self.slots - self.strangers) if slot not in taken]
        waiting = [actor for actor in self.actors if actor.slot is None]
        for actor, slot in zip(waiting, free, strict=False):
            actor.place(slot)

    def kill(self, actor: Actor, no_restart: bool = True) -> None:
        self.killed_at_work += bool(actor.task or actor.queue)
        actor.end()
        self.actors.remove(actor)
        self.place()

    def kill_driver(self) -> None:
        """All actors of the thread that calls this end, as where a process was killed; it says goodbye to nobody."""
        for actor in [actor for actor in self.actors if actor.driver is threading.current_thread()]:
            actor.end()
            self.actors.remove(actor)
        self.place()

    def wait(self, references: Iterable[Reference], num_returns: int, timeout: float) -> tuple[list[Any], list[Any]]:
        listed = list(references)
        self.timeline.wait(lambda: sum(reference.done for reference in listed) >= num_returns, timeout)
        done = [reference for reference in listed if reference.done][:num_returns]
        return done, [reference for reference in listed if reference not in done]

    def get(self, reference: Reference) -> Any:
        if reference.error:
            raise reference.error
        return reference.value

    def shutdown(self) -> None:
        """Nothing."""

    @property
    def work_waits(self) -> bool:
        """Whether there is a task that nobody has begun."""
        queued = any(actor.queue for actor in self.placed)
        return queued or any(executor._waiting for executor in self.executors.values())


class Spec(ScorerSpec):
    """One thread a worker."""

    def concurrency(self, cores: int) -> int:
        return 1


SPEC = Spec("voice", [], Prepare.ONSET, None, "cpu")
REQUEST = Request(Point(np.ones(2), np.zeros(2)), 0, CHUNKS * CHUNK)


@dataclass
class SimulatedStudy:
    """A study: so many generations of so many trials, on at most ``cap`` workers; then work without them."""

    name: str
    begins: float
    generations: int
    trials: int = 8
    cap: int | None = None
    judges: float = 0.0  # seconds
    killed: bool = False  # after its generations
    notes: list[str] = field(default_factory=list)
    waits: list[tuple[float, str]] = field(default_factory=list)  # when its state changed, to what
    scored: int = 0
    first: float = 0.0  # when it had a worker
    ended: float = 0.0

    def work(self, ray: SimulatedRay) -> None:
        timeline = ray.timeline

        def waiting(holders: str) -> None:
            if holders != (self.waits[-1][1] if self.waits else ""):
                self.waits.append((timeline.now, holders))

        client = Client(self.name, self.notes.append, waiting)
        executor = RayExecutor(SPEC, self.cap, address="head", client=client)
        ray.executors[self.name], self.first = executor, timeline.now
        for generation in range(self.generations):
            for trial in range(self.trials):
                executor.submit((generation, trial), REQUEST)
            self.scored += len({executor.wait()[0] for _ in range(self.trials)})
        while self.judges > 0:
            executor._pool.look()  # as its thread does
            timeline.sleep(ray_workers.LOOK_AGAIN)
            self.judges -= ray_workers.LOOK_AGAIN
        if self.killed:
            ray.kill_driver()
        else:
            executor.close()
        del ray.executors[self.name]
        self.ended = timeline.now


def simulate(ray: SimulatedRay, studies: Iterable[SimulatedStudy]) -> None:
    """Run studies to their ends."""
    for study in studies:
        ray.timeline.thread(study.begins, lambda study=study: study.work(ray))
    ray.timeline.run()
