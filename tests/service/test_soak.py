"""Twenty random kills during one study of 300 trials. `make soak` runs it."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.service.cluster import Nodes, events
from tests.service.postgres import Postgres
from tests.service.studies import ServiceStudy, assert_same, finish, wait_for
from tests.study.tiny import TinyStudy

KILLS = 20
OPTIONS = ("--trials", "300", "--sounds", "160")


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_twenty_random_kills_change_nothing(tmp_path: Path, target: Path, postgres: Postgres) -> None:
    undisturbed = TinyStudy(tmp_path / "undisturbed", target)
    finish(undisturbed.start(*OPTIONS))

    nodes = Nodes()
    nodes.at_least(2)
    study = ServiceStudy(tmp_path / "soak", target, postgres.url())
    study.forget()
    log = study.folder / "soak.log"
    options = ("--executor", "ray", "--ray-address", nodes.address, "--log", str(log), "--task-timeout", "10")
    dice = random.Random(int(os.environ.get("NEBULA_TUNE_SOAK_SEED", "1")))
    process = study.start(*OPTIONS, *options)
    done: Counter[str] = Counter()
    try:
        for number in range(KILLS):
            deadline = time.monotonic() + 120
            goal = 300 * (number + 1) * 0.9 / KILLS * dice.uniform(0.9, 1)
            while study.count() < goal and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.3)
            if process.poll() is not None:
                assert process.returncode == 0, process.communicate()[1]
                break
            what = dice.choice(["coordinator", "worker", "worker stopped", "node", "database"])
            done[what] += 1
            if what == "coordinator":
                process.kill()
                process.communicate()
                begun = len(events(log, "run begins"))
                process = study.start(*OPTIONS, *options)
                wait_for(lambda before=begun: len(events(log, "run begins")) > before)
            elif what == "node":
                nodes.kill()
                nodes.add()
            elif what == "database":
                postgres.kill()
                time.sleep(dice.uniform(0, 2))
                postgres.start()
            else:
                pids = [int(event["pid"]) for event in events(log, "worker up")][-2:]
                alive = [pid for pid in pids if Path(f"/proc/{pid}").exists()]
                if alive:
                    os.kill(dice.choice(alive), signal.SIGKILL if what == "worker" else signal.SIGSTOP)
        finish(process, 1200)
        assert sum(done.values()) == KILLS, done
        assert_same(study, undisturbed)
    finally:
        print(f"\n{dict(done)}")
        if process.poll() is None:
            process.kill()
        nodes.shutdown()
