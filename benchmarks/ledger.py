"""What keeping a trial costs beside Optuna's own way, and how well simulated workers are kept busy.

python -m benchmarks.ledger [--trials 1000] [--peer-trials 20] [--skip-cluster]
"""

from __future__ import annotations

import argparse
import json
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Hashable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any

import numpy as np
import optuna

from nebula_tune.nebula import Nebula
from nebula_tune.scoring import Chunk
from nebula_tune.study.coordinator import Coordinator
from nebula_tune.study.executor import Executor, Task
from nebula_tune.study.ledger import Ledger, TrialWriter
from nebula_tune.study.plan import Plan
from nebula_tune.study.settings import StudySettings
from nebula_tune.synth import architecture
from nebula_tune.trial import Point, Score

SLEEP = 0.2  # seconds of a simulated chunk
D = 156


def plan(search: list[dict[str, Any]], sounds: int = 32) -> Plan:
    settings = StudySettings.model_validate_json(
        json.dumps({"embedding": "logmel", "sounds": sounds, "search": search, "reevaluate": {"repeats": 0}})
    )
    start = architecture("voice").panel.complete(Nebula.load("default"))
    return Plan(settings, "voice", start, (), (), 0, "file", 2000)


def score(seed: int) -> Score:
    random = np.random.default_rng(seed)
    gradients = random.normal(size=(3, 78))
    return Score(float(random.normal()), 1.0, {"silent": 0.0}, *gradients, deviation=1.0, advantages=np.zeros(0))


def ours(url: str, trials: int) -> list[float]:
    """Seconds of each write."""
    ledger = Ledger(url)
    ledger.begin("bench", {}, {})
    space = plan([{"sampler": "grid", "trials": 1}]).space
    writer = TrialWriter(ledger, "bench", space)
    random = np.random.default_rng(0)
    seconds = []
    for i in range(trials):
        point = space.clip(Point(np.exp(random.normal(size=78)), random.integers(0, 2, 78).astype(float)))
        began = time.perf_counter()
        writer.write((0, 0, i), "cmaes", point, i, score(i))
        seconds.append(time.perf_counter() - began)
    return seconds


def peers(url: str, trials: int) -> list[float]:
    """Seconds of each ask, suggestions and tell of Optuna's CmaEsSampler, past its random start."""
    warnings.simplefilter("ignore")
    sampler = optuna.samplers.CmaEsSampler(seed=0, n_startup_trials=1)
    study = optuna.create_study(storage=optuna.storages.RDBStorage(url), study_name="peer", sampler=sampler)
    seconds = []
    for _ in range(trials):
        began = time.perf_counter()
        trial = study.ask()
        total = sum(trial.suggest_float(f"p{k}", 0.003, 50, log=True) for k in range(D))
        study.tell(trial, total)
        seconds.append(time.perf_counter() - began)
    return seconds


class Sleepers(Executor):
    """Workers that sleep; chunks of 32 sounds, as on a CPU."""

    def __init__(self, workers: int) -> None:
        super().__init__(workers, 32)
        self._pool = ThreadPoolExecutor(workers)
        self._workers = workers
        self.busy = 0.0
        self._lock = threading.Lock()

    @property
    def workers(self) -> int:
        return self._workers

    def _launch(self, task: Task) -> Hashable:
        if task.chunk is None:
            return self._pool.submit(score, task.job.request.first_index)
        return self._pool.submit(self._sleep)

    def _sleep(self) -> Chunk:
        time.sleep(SLEEP)
        with self._lock:
            self.busy += SLEEP
        nothing = np.zeros((32, 1))
        return Chunk(nothing.astype(np.float32), np.zeros(32), nothing, nothing, nothing)

    def _poll(self, seconds: float) -> list[tuple[Hashable, Any]]:
        futures: list[Future[Any]] = list(self._running)
        done = wait(futures, timeout=seconds, return_when=FIRST_COMPLETED).done
        return [(future, future.result()) for future in done]

    def close(self) -> None:
        self._pool.shutdown()


class Free:
    """A lease nobody contests, and an observer who does not look."""

    lost = False

    def phase(self, *_: Any) -> None: ...

    def scored(self, *_: Any) -> None: ...
    def ended_early(self, *_: Any) -> None: ...


def efficiency(url: str, name: str, search: list[dict[str, Any]], sounds: int, workers: int) -> float:
    """Seconds that workers worked over seconds they were there."""
    chosen = plan(search, sounds)
    ledger = Ledger(url)
    ledger.begin(name, chosen.resolved(), {})
    with Sleepers(workers) as executor:
        coordinator = Coordinator(chosen, ledger, name, executor, Free(), Free())  # type: ignore[arg-type]
        began = time.perf_counter()
        coordinator.run()
        return executor.busy / (workers * (time.perf_counter() - began))


def overhead(storages: dict[str, str], trials: int, peer_trials: int) -> None:
    print(f"overhead a trial at d = {D}, medians\n")
    print("| storage | nebula-tune | Optuna's CmaEsSampler, ask and tell | ratio |\n| --- | --- | --- | --- |")
    for name, url in storages.items():
        a, b = np.median(ours(url, trials)), np.median(peers(url, peer_trials))
        print(f"| {name} | {1e3 * a:.2f} ms ({trials} trials) | {1e3 * b:.0f} ms ({peer_trials}) | {b / a:.0f} |")


def clusters(url: str) -> None:
    print(f"\nefficiency of workers that sleep {SLEEP} s a chunk of 32 sounds\n")
    counts = (1, 4, 16, 64)
    print(f"| phase | {' | '.join(f'{count} workers' for count in counts)} |\n| --- |{' --- |' * len(counts)}")
    kinds: dict[str, tuple[Callable[[int], list[dict[str, Any]]], int]] = {
        "grid, 256 sounds": (lambda n: [{"sampler": "grid", "trials": n}], 256),
        "cmaes, population 48, 256 sounds": (
            lambda n: [{"sampler": "cmaes", "trials": max(48, n // 48 * 48), "population": 48}], 256),
        "witness, 1 trial a step, 256 sounds": (lambda n: [{"sampler": "witness", "trials": min(n, 24)}], 256),
        "witness, 8 trials a step, 256 sounds": (
            lambda n: [{"sampler": "witness", "trials": max(16, n // 8 * 8), "trials_a_step": 8}], 256),
        "witness, 32 trials a step, 256 sounds": (
            lambda n: [{"sampler": "witness", "trials": max(64, n // 32 * 32), "trials_a_step": 32}], 256),
    }  # fmt: skip
    for label, (search, sounds) in kinds.items():
        row = []
        for count in counts:
            trials = {1: 4, 4: 16, 16: 96, 64: 192}[count]
            if count == 1 and ("cmaes" in label or "32 trials" in label):
                row.append("-")  # nothing to learn, minutes to wait
                continue
            row.append(f"{efficiency(url, f'{label} {count}', search(trials), sounds, count):.2f}")
        print(f"| {label} | {' | '.join(row)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--peer-trials", type=int, default=20)
    parser.add_argument("--skip-cluster", action="store_true")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    from tests.service.postgres import Postgres

    server = Postgres()
    try:
        with tempfile.TemporaryDirectory() as folder:
            sqlite = f"sqlite:///{folder}/bench.db"
            postgres = server.url().replace("postgresql:", "postgresql+psycopg:")
            overhead({"SQLite": sqlite, "PostgreSQL (here, fsync off)": postgres}, options.trials, options.peer_trials)
            if not options.skip_cluster:
                clusters(f"sqlite:///{folder}/cluster.db")
    finally:
        server.remove()


if __name__ == "__main__":
    main()
