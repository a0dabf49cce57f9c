"""A real Ray cluster of two nodes: whatever dies, hangs, joins or leaves, the study ends the same."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from nebula_tune.errors import NebulaTuneError
from nebula_tune.storage.ledger import Ledger
from nebula_tune.study.status import study_status
from tests.service.cluster import ClusterApart, Nodes, events
from tests.service.studies import assert_same, finish, wait_for
from tests.study.tiny import TRIALS, TinyStudy, let_go, wait_until_it_stops

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    made = Nodes()
    made.at_least(2)
    yield made
    made.shutdown()


class ClusterStudy(TinyStudy):
    """A tiny study on the cluster."""

    def __init__(self, folder: Path, target: Path, nodes: Nodes) -> None:
        super().__init__(folder, target)
        nodes.at_least(2)
        self.address = nodes.address

    @property
    def here(self) -> tuple[str, ...]:
        """Options of a run on the cluster."""
        return ("--executor", "ray", "--ray-address", self.address)

    def begin(self, trials: int, *options: str, then: int | None = None) -> subprocess.Popen[str]:
        return self.run_until(trials, *self.here, *options, then=then)

    @property
    def workers(self) -> list[int]:
        """Process ids of workers, in the order they came up."""
        return [int(event["pid"]) for event in events(self.folder / "studies.log", "worker up")]


@pytest.fixture
def study(tmp_path: Path, target: Path, nodes: Nodes) -> ClusterStudy:
    return ClusterStudy(tmp_path, target, nodes)


def test_a_worker_killed_and_the_coordinator_killed(study: ClusterStudy, undisturbed: TinyStudy) -> None:
    process = study.begin(4, then=8)
    os.kill(study.workers[-1], signal.SIGKILL)
    let_go(process)
    wait_until_it_stops(process)
    process.kill()
    process.communicate()
    assert study.count() < TRIALS
    finish(study.start(*study.here))
    assert_same(study, undisturbed)


@pytest.mark.slow
def test_a_node_killed_and_another_joining(study: ClusterStudy, undisturbed: TinyStudy, nodes: Nodes) -> None:
    process = study.begin(3)
    known = len(study.workers)
    nodes.kill()
    nodes.add()
    let_go(process)
    finish(process)
    assert_same(study, undisturbed)
    assert known >= 1


@pytest.mark.slow  # waits for time limits, which a busy machine may miss
def test_a_worker_that_hangs_is_replaced_in_time(study: ClusterStudy, undisturbed: TinyStudy) -> None:
    process = study.begin(4, "--task-timeout", "4")
    os.kill(study.workers[-1], signal.SIGSTOP)
    let_go(process)
    assert "a worker hangs" in finish(process)
    assert_same(study, undisturbed)


BOTH_WORKERS = """
from nebula_tune.execution.ray_workers import WorkerPool

start = WorkerPool.start

def start_both(pool):
    start(pool)
    while len(pool.up) < 2:
        pool.settle(1.0)
        pool.look()

WorkerPool.start = start_both
"""


@pytest.mark.slow
def test_two_studies_share_the_cluster(
    study: ClusterStudy, tmp_path: Path, target: Path, undisturbed: TinyStudy, nodes: Nodes
) -> None:
    second = ClusterStudy(tmp_path / "second", target, nodes)
    process = study.start(*study.here, pauses=(3, 9), first=BOTH_WORKERS)
    wait_until_it_stops(process)
    waiting = second.start(*second.here, pauses=(2,))
    wait_for(lambda: state(second)[0] == "waiting" or waiting.poll() is not None)
    assert state(second) == ("waiting", "waits for workers: study tiny has 2")
    let_go(process)
    wait_until_it_stops(process)  # and has handed one back
    wait_until_it_stops(waiting)  # with trials of its own, while the first is far from its end
    assert second.count() >= 2 and study.count() < TRIALS
    assert len(events(study.folder / "studies.log", "worker handed back")) == 1
    for each in (process, waiting):
        let_go(each)
    finish(process)
    assert "waiting for workers: study tiny has 2; this run goes on" in finish(waiting)
    for each in (study, second):
        assert_same(each, undisturbed)


def state(study: TinyStudy) -> tuple[str, str]:
    """State and phase of a study, as ``status`` tells them; of one that is not in its database yet, nothing."""
    try:
        told = study_status(Ledger(study.storage, create=False), "tiny")
    except NebulaTuneError:
        return "", ""
    return told["state"], told["phase"]


def test_an_address_where_no_cluster_is_gets_one_clear_line(study: ClusterStudy) -> None:
    study.address = "127.0.0.1:1"
    _, err = study.start(*study.here).communicate(timeout=300)
    assert "cannot join the Ray cluster at 127.0.0.1:1" in err.strip().splitlines()[-1]


@pytest.mark.slow  # a cluster of its own, and Ray's end takes its time
def test_a_lost_head_is_one_line_after_the_wait_that_is_asked_for_and_nothing_is_lost(
    tmp_path: Path, target: Path, undisturbed: TinyStudy
) -> None:
    cluster, study = ClusterApart(), TinyStudy(tmp_path, target)
    try:
        process = study.run_until(6, "--executor", "ray", "--ray-address", cluster.address, "--ray-patience", "3")
        cluster.kill_head()
        let_go(process)
        _, err = process.communicate(timeout=300)
        assert process.returncode == 1
        *before, last = err.strip().splitlines()
        assert last.startswith("nebula-tune: the head of the Ray cluster at ") and "no answer for 3 s" in last
        assert sum("does not answer" in line for line in before) == 1
        assert not any(word in err for word in ("Traceback", "GCS", "rpc_client"))
        failed = study_status(Ledger(study.storage), "tiny")
        assert failed["state"] == "failed" and failed["last_error"] == last.removeprefix("nebula-tune: ")
        assert [line["error"] for line in events(tmp_path / "studies.log", "run failed")] == [failed["last_error"]]
    finally:
        cluster.shutdown()
    finish(study.start())
    assert_same(study, undisturbed)


@pytest.mark.slow
def test_workers_join_while_a_study_runs(study: ClusterStudy, nodes: Nodes) -> None:
    process = study.begin(1, "--sounds", "2000", "--trials", "2000")
    before = len(set(study.workers))
    nodes.add()
    let_go(process)
    wait_for(lambda: len(set(study.workers)) > before or process.poll() is not None)
    assert process.poll() is None
    process.kill()
    process.communicate()


WITHOUT_THE_FILE = """
import sys
from pathlib import Path
import numpy as np
from nebula_tune.corpus.prepare import Prepare
from nebula_tune.objective import Target
from nebula_tune.scoring import Request, ScorerSpec
from nebula_tune.execution import ray_workers as ray_pool
from nebula_tune.execution.inline import InlineExecutor
from nebula_tune.execution.ray_executor import RayExecutor
from nebula_tune.trial import Point

path = Path("target.npz").resolve()
embeddings = [{"name": "logmel", "sample_rate": 8000, "seconds": 0.5}]
request = Request(Point(np.ones(78), np.zeros(78)), 0, 40)
spec = ScorerSpec("voice", embeddings, Prepare.ONSET, None, "cpu")
with InlineExecutor(spec) as here:
    vectors = here.vectors(request)
Target.save(path, vectors + 1, 2.0)
spec = ScorerSpec("voice", embeddings, Prepare.ONSET, str(path), "cpu")
with InlineExecutor(spec) as here:
    here.submit("a", request)
    expected = here.wait()[1].value

start = ray_pool.WorkerPool.start
def start_without(pool):
    path.unlink()
    start(pool)
ray_pool.WorkerPool.start = start_without
with RayExecutor(spec, 1, address=sys.argv[1]) as there:
    there.submit("a", request)
    assert there.wait()[1].value == expected
"""


def test_a_node_that_does_not_share_the_disk_gets_the_target_sent(tmp_path: Path, nodes: Nodes) -> None:
    nodes.at_least(1)
    arguments = [sys.executable, "-c", WITHOUT_THE_FILE, nodes.address]
    done = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("device", "packages", "told"),
    [("cpu AVX512", {}, "cpu AVX512"), ("cpu AVX2", {"others-ear": "2.0"}, "others-ear 2.0")],
)
def test_a_mixed_cluster_warns_once(device: str, packages: dict[str, str], told: str) -> None:
    from nebula_tune.corpus.prepare import Prepare
    from nebula_tune.execution.executor import Client
    from nebula_tune.execution.ray_workers import Worker, WorkerPool, _versions
    from nebula_tune.scoring import ScorerSpec

    pool, notes = WorkerPool.__new__(WorkerPool), []
    pool.spec = ScorerSpec("voice", [{"name": "logmel"}], Prepare.ONSET, None, "cpu")
    pool._client, pool._mixed, pool.workers = Client(note=notes.append), False, []
    for kind, versions in (("cpu AVX2", _versions({})), ("cpu AVX2", _versions({})), (device, _versions(packages))):
        assert not notes
        pool.workers.append(Worker(None, None, None, 0.0, described={"device": kind, "versions": versions}))
        pool._compare(pool.workers[-1])
    pool._compare(pool.workers[-1])
    assert len(notes) == 1 and "mixed cluster" in notes[0] and told in notes[0]


@pytest.mark.parametrize(
    ("device", "share", "wanted"), [("cuda", 1.0, 5), ("cuda", 0.5, 10), ("cuda", 0.3, 15), ("cpu", 1.0, 5)]
)
def test_a_worker_a_gpu_or_a_share_of_one_and_every_few_cores_where_there_is_none(
    device: str, share: float, wanted: int
) -> None:
    from nebula_tune.corpus.prepare import Prepare
    from nebula_tune.execution.ray_workers import WorkerPool
    from nebula_tune.scoring import ScorerSpec

    pool = WorkerPool.__new__(WorkerPool)
    pool.spec, pool._gpu_share = ScorerSpec("voice", [{"name": "logmel"}], Prepare.ONSET, None, device), share
    pool._joined, pool._wanted, pool._cpus = True, None, 4
    resources = [{"CPU": 16.0, "GPU": 4.0}, {"CPU": 6.0, "GPU": 1.0}]
    nodes = [{"Alive": True, "Resources": r} for r in resources] + [{"Alive": False, "Resources": resources[0]}]
    pool._ray = type("Ray", (), {"nodes": lambda: nodes})
    assert pool._room() == wanted
