"""What keeping a trial costs beside Optuna's own way, what its page costs, and how busy simulated workers are.

python -m benchmarks.ledger [--trials 1000] [--peer-trials 20] [--skip-ledger] [--skip-cluster]
"""

from __future__ import annotations

import argparse
import io
import json
import tempfile
import time
import warnings
from collections.abc import Hashable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna

from nebula_tune.corpus.prepare import Prepare
from nebula_tune.dashboard.trial_view import PageStorage
from nebula_tune.execution.executor import Executor, Task
from nebula_tune.execution.ray_executor import RayExecutor
from nebula_tune.nebula import Nebula
from nebula_tune.objective import TrialSounds
from nebula_tune.scoring import CHUNK, Request, ScorerSpec
from nebula_tune.storage.ledger import Ledger, TrialWriter
from nebula_tune.study.coordinator import Coordinator
from nebula_tune.study.plan import Plan
from nebula_tune.study.settings import StudySettings
from nebula_tune.synth import architecture
from nebula_tune.trial import Point, Score

SLEEP = 0.2  # seconds of a simulated chunk
REDUCTION = 0.01  # and of the reduction of a trial's chunks, as it takes with logmel
SOUNDS = 256
D = 156


def plan(search: list[dict[str, Any]], sounds: int = 32) -> Plan:
    settings = StudySettings.model_validate_json(
        json.dumps({"embedding": "logmel", "sounds": sounds, "search": search, "reevaluate": {"repeats": 0}})
    )
    start = architecture("voice").panel.complete(Nebula.load("default"))
    return Plan(settings, "voice", start, (), (), 0, "file", 2000)


def score(seed: int) -> Score:
    random = np.random.default_rng(seed)
    gradients = np.abs(random.normal(size=(3, 78)))
    return Score(float(random.normal()), 1.0, {"silent": 0.0}, *gradients, deviation=1.0)


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


def chunk() -> TrialSounds:
    """What a worker answers for a chunk, as large as with logmel."""
    random = np.random.default_rng(0)
    vectors, scores = random.normal(size=(CHUNK, 480)), random.normal(size=(CHUNK, 78))
    return TrialSounds(vectors.astype(np.float32), np.zeros(CHUNK), scores, scores, np.zeros((CHUNK, 3)))


class Sleeper:
    """A scorer that sleeps."""

    def run(self, request: Request, number: int | None, _: Any) -> TrialSounds | Score:
        time.sleep(REDUCTION if number is None else SLEEP)
        return score(request.first_index) if number is None else chunk()


@dataclass(frozen=True)
class SleepingSpec(ScorerSpec):
    """Builds a scorer that sleeps, on workers of some threads each."""

    threads: int = 1

    def build(self) -> Any:
        return Sleeper()

    def concurrency(self, cores: int) -> int:
        return self.threads


def sleeping(threads: int) -> SleepingSpec:
    return SleepingSpec("voice", [{"name": "logmel"}], Prepare.ONSET, None, "cpu", threads=threads)


class Sleepers(Executor):
    """Threads of this process that sleep."""

    def __init__(self, workers: int) -> None:
        super().__init__(workers, CHUNK)
        self._pool = ThreadPoolExecutor(workers)
        self._workers = workers
        self._scorer = Sleeper()

    @property
    def workers(self) -> int:
        return self._workers

    def _launch(self, task: Task) -> Hashable:
        return self._pool.submit(self._scorer.run, task.job.request, task.chunk, task.job.chunks)

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


def efficiency(url: str, name: str, search: list[dict[str, Any]], executor: Executor, workers: int) -> float:
    """Seconds that workers worked on chunks over seconds they were there."""
    chosen = plan(search, SOUNDS)
    ledger = Ledger(url)
    ledger.begin(name, chosen.resolved(), {})
    with executor:
        coordinator = Coordinator(chosen, ledger, name, executor, Free(), Free())  # type: ignore[arg-type]
        began = time.perf_counter()
        coordinator.run()
        seconds = time.perf_counter() - began
    chunks = chosen.settings.trials * SOUNDS / CHUNK
    return chunks * SLEEP / (workers * seconds)


def overhead(storages: dict[str, str], trials: int, peer_trials: int) -> None:
    print(f"overhead a trial at d = {D}, medians\n")
    print("| storage | nebula-tune | Optuna's CmaEsSampler, ask and tell | ratio |\n| --- | --- | --- | --- |")
    for name, url in storages.items():
        a, b = np.median(ours(url, trials)), np.median(peers(url, peer_trials))
        print(f"| {name} | {1e3 * a:.2f} ms ({trials} trials) | {1e3 * b:.0f} ms ({peer_trials}) | {b / a:.0f} |")


def pages(url: str) -> None:
    """A study's page in the dashboard: what Optuna's makes of the database, and what it makes of ours."""
    from optuna_dashboard import wsgi

    ledger = Ledger(url)
    number = ledger.study_row("bench")
    print("\na study's page, CPU seconds of the server\n")
    print("| storage | first | again | later | bytes |\n| --- | --- | --- | --- | --- |")
    for name, storage in {"Optuna's": ledger.storage, "PageStorage": PageStorage(ledger)}.items():
        app: Any = wsgi(storage)
        seconds = []
        for pause in (0, 0, 11):  # the dashboard itself remembers trials for ten seconds
            time.sleep(pause)
            asked = {"REQUEST_METHOD": "GET", "PATH_INFO": f"/api/studies/{number}", "wsgi.input": io.BytesIO()}
            began = time.process_time()
            size = sum(map(len, app(asked | {"wsgi.errors": io.StringIO()}, lambda *_: None)))
            seconds.append(f"{time.process_time() - began:.2f}")
        print(f"| {name} | {' | '.join(seconds)} | {size} |", flush=True)


def searches(trials: int) -> dict[str, list[dict[str, Any]]]:
    """One phase each, of about so many trials."""

    def witness(each: int) -> list[dict[str, Any]]:
        count = max(2 * each, trials // each * each)
        return [{"sampler": "witness", "trials": count, "trials_a_step": each, "patience": None}]

    return {
        "grid": [{"sampler": "grid", "trials": trials}],
        "cmaes, population 24": [{"sampler": "cmaes", "trials": max(24, trials // 24 * 24), "population": 24}],
        "witness, 1 trial a step": witness(1),
        "witness, 4 trials a step": witness(4),
    }


def clusters(url: str) -> None:
    print(f"\nefficiency of workers that sleep {SLEEP} s a chunk of {CHUNK} sounds, trials of {SOUNDS}\n")
    counts = {1: 4, 4: 16, 16: 48, 64: 96}  # workers: trials
    print(f"| phase | {' | '.join(f'{count} workers' for count in counts)} | 16 on Ray |")
    print(f"| --- |{' --- |' * (len(counts) + 1)}")
    for label in searches(1):
        row = []
        for count, trials in counts.items():
            busy = efficiency(url, f"{label} {count}", searches(trials)[label], Sleepers(count), count)
            row.append(f"{busy:.2f}")
        executor = RayExecutor(sleeping(threads=4), workers=4)
        row.append(f"{efficiency(url, f'{label} ray', searches(counts[16])[label], executor, 16):.2f}")
        print(f"| {label} | {' | '.join(row)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--peer-trials", type=int, default=20)
    parser.add_argument("--skip-ledger", action="store_true")
    parser.add_argument("--skip-cluster", action="store_true")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    from tests.service.postgres import Postgres

    server = Postgres()
    try:
        with tempfile.TemporaryDirectory() as folder:
            sqlite = f"sqlite:///{folder}/bench.db"
            postgres = server.url().replace("postgresql:", "postgresql+psycopg:")
            if not options.skip_ledger:
                storages = {"SQLite": sqlite, "PostgreSQL (here, fsync off)": postgres}
                overhead(storages, options.trials, options.peer_trials)
                pages(sqlite)
            if not options.skip_cluster:
                clusters(f"sqlite:///{folder}/cluster.db")
    finally:
        server.remove()


if __name__ == "__main__":
    main()
