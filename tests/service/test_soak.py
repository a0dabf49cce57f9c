"""Three users on one cluster and one PostgreSQL, and all that may happen to them; `make soak` runs it.

Its minutes are NEBULA_TUNE_SOAK_MINUTES (5), its dice NEBULA_TUNE_SOAK_SEED (1).
"""

from __future__ import annotations

import io
import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults

import psutil
import psycopg
import pytest
from optuna.storages import RDBStorage
from optuna_dashboard import wsgi

from nebula_tune.storage.ledger import Ledger
from tests.service import openings
from tests.service.cluster import Nodes
from tests.service.postgres import Postgres
from tests.service.studies import assert_same, finish
from tests.service.truth import AT_WORK, GRACE, Truth, Visitor, Watcher
from tests.service.users import User
from tests.study.tiny import TinyStudy

MINUTES = float(os.environ.get("NEBULA_TUNE_SOAK_MINUTES", "5"))
SEED = int(os.environ.get("NEBULA_TUNE_SOAK_SEED", "1"))
USERS = {
    "anna": ("--trials", "40"),
    "ben": ("--trials", "50", "--seed", "1"),
    "cora": ("--trials", "60", "--seed", "2"),
}
SOUNDS = ("--sounds", "96")
PRESSES = 30  # of a button, a second apart
ENDING = 900.0  # seconds in which all studies come to their ends once nothing more is done to them


class Dashboard:
    """Somebody who presses buttons of Optuna's own dashboard, one after the other."""

    def __init__(self, storage: str, truth: Truth) -> None:
        self._storage, self._truth = storage, truth
        self._app: Any = wsgi(RDBStorage(storage))
        self._hand = ThreadPoolExecutor(1)
        self._ledger = Ledger(storage)
        self.outrun: set[str] = set()  # studies that ended before a rename of them did

    def renames(self, user: User) -> None:
        """A study that runs."""
        study = user.study

        def press() -> None:
            assert self._pressed(partial(self._rename, study.name)) == 201
            if study in user.finished:
                self.outrun.add(study.name)
            elif user.trouble == "renamed":
                user.trouble = ""

        user.befalls("renamed")
        user.button = self._hand.submit(press)

    def deletes(self, user: User) -> None:
        """A study that runs."""
        study = user.study

        def press() -> None:
            while (place := self._place(study.name)) is not None:
                assert self._pressed(partial(self._answer, "DELETE", str(place))) in (204, 404)
            self._truth.is_now(study.name, "removed")

        user.befalls("removed")
        self._truth.is_now(study.name, "removed", *AT_WORK)
        user.button = self._hand.submit(press)

    def _place(self, name: str) -> int | None:
        """A study's number; None once it is gone.

        Optuna answers that it removed a study, and has not, where a trial was written meanwhile: so look again.
        """
        identity = self._ledger.record(name)["identity"]
        return self._ledger.database.run(lambda connection, _: self._ledger.place(connection, name, identity))

    def _rename(self, name: str) -> int:
        """The answer to a rename to a name that nothing has, not even what a lost database left half copied."""
        place = self._ledger.study_row(name)
        return self._answer("POST", f"{place}/rename", study_name=f"{name}, renamed {time.time():.3f}")

    def _pressed(self, button: Callable[[], int]) -> int:
        """The answer to a button that is pressed again where it fails, for a database that is away meanwhile."""
        for _ in range(PRESSES):
            if (status := button()) != 500:
                break
            time.sleep(1)
        return status

    def _answer(self, method: str, what: str, **given: str) -> int:
        body = json.dumps(given).encode()
        environ: dict[str, Any] = {
            "REQUEST_METHOD": method,
            "PATH_INFO": f"/api/studies/{what}",
            "CONTENT_TYPE": "application/json",
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.input": io.BytesIO(body),
        }
        setup_testing_defaults(environ)
        statuses: list[str] = []
        b"".join(self._app(environ, lambda status, *_: statuses.append(status)))
        return int(statuses[0].split()[0])


class Soak:
    """What happens, by dice: one thing at a time to a study, each few seconds something to somebody."""

    def __init__(self, folder: Path, target: Path, postgres: Postgres) -> None:
        self._postgres, self._dice = postgres, random.Random(SEED)
        self._storage = postgres.url(database=postgres.fresh_database())
        Ledger(self._storage)
        self.truth, self.done = Truth(), Counter[str]()
        self._nodes = Nodes()
        self._nodes.at_least(3)
        options = ("--executor", "ray", "--ray-address", self._nodes.address, "--task-timeout", "10")
        options += ("--artifacts", str(folder / "artifacts"))
        self.users = [
            User(
                name,
                folder / name,
                target,
                self._storage,
                (*options, *SOUNDS, *theirs),
                undisturbed(folder / f"undisturbed-{name}", target, (*SOUNDS, *theirs)),
                self.truth,
            )
            for name, theirs in USERS.items()
        ]
        self.dashboard = Dashboard(self._storage, self.truth)
        self._watcher = Watcher(self.truth, self._storage, folder)
        self._visitor = Visitor(self.truth, self._storage, 5)
        self._away = 0
        self._deck: list[str] = []

    def of_one(self) -> dict[str, Callable[[User], None]]:
        """What happens to one study."""
        return {
            "coordinator killed": User.is_killed,
            "coordinator asleep": lambda user: user.sleeps(successor=False),
            "coordinator overslept": lambda user: user.sleeps(successor=True),
            "asked to stop": User.is_asked_to_stop,
            "worker killed": lambda user: self._signals(user, signal.SIGKILL),
            "worker stopped": lambda user: self._signals(user, signal.SIGSTOP),
            "renamed": self.dashboard.renames,
            "removed": self.dashboard.deletes,
            "files counted": self._counts_files,
        }

    def of_all(self) -> dict[str, Callable[[], None]]:
        """What happens to all of them."""
        return {"node goes or comes": self._node, "database killed": self._database}

    def go(self, minutes: float) -> None:
        """Let it happen for so many minutes, and then wait until all studies have ended."""
        began = time.monotonic()
        until, following = began + 60 * minutes, began
        while time.monotonic() < until or any(user.process for user in self.users):
            more = time.monotonic() < until
            assert time.monotonic() < until + ENDING, [(user.name, user.trouble) for user in self.users]
            for user in self.users:
                user.look(more)
            self._has_not_lied()
            if more and time.monotonic() > following:
                self._something_happens()
                following = time.monotonic() + self._dice.uniform(1, 4)
            time.sleep(0.2)
        self._still(GRACE + 5)

    def _something_happens(self) -> None:
        """The next of a shuffled deck; what cannot happen now waits."""
        ones, everyone = self.of_one(), self.of_all()
        if not self._deck:
            self._deck = [*ones, *everyone]
            self._dice.shuffle(self._deck)
        what = self._deck.pop(0)
        free = [user for user in self.users if user.is_free and (user.study.workers or not what.startswith("worker"))]
        # Commands that begin while there is no database are refused.
        possible = all(user.is_quiet for user in self.users) if what == "database killed" else what in everyone or free
        if not possible:
            self._deck.append(what)
        elif what in everyone:
            print(f"{time.monotonic():.1f} {what}", flush=True)
            everyone[what]()
        else:
            user = self._dice.choice(free)
            print(f"{time.monotonic():.1f} {user.study.name}: {what}", flush=True)
            ones[what](user)
        self.done[what] += bool(possible)

    def _signals(self, user: User, what: signal.Signals) -> None:
        for pid in user.study.workers[-1:]:
            os.kill(pid, what)

    def _counts_files(self, user: User) -> None:
        assert user.process
        coordinator = psutil.Process(user.process.popen.pid)
        assert openings.deleted(coordinator.pid) == []
        assert coordinator.children() == []
        ports = list(openings.listening(coordinator))
        assert len(ports) <= 1, ports  # Ray's, by which workers answer

    def _node(self) -> None:
        if self._away:
            self._nodes.add()
            self._away = 0
        else:
            self._nodes.kill()
            self._away = 1

    def _database(self) -> None:
        """Nobody's heart beats while there is no database."""
        with self._visitor.at_the_door:
            for user in self.users:
                if user.is_at_work:
                    self.truth.is_now(user.study.name, "interrupted", *AT_WORK)
            self._postgres.kill()
            time.sleep(self._dice.uniform(0, 2))
            self._postgres.start()
            for user in self.users:
                if user.is_at_work:
                    self.truth.is_now(user.study.name, *AT_WORK)

    def _has_not_lied(self) -> None:
        assert self.truth.lies == []
        assert self._visitor.failures == []
        assert self._visitor.is_alive() and self._watcher.is_alive()

    def _still(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self._has_not_lied()
            time.sleep(0.2)

    def end(self) -> None:
        """The observers end as they should."""
        self._has_not_lied()
        self._visitor.end()
        said = self._watcher.end()
        assert self.truth.lies == [] and self._visitor.failures == []
        assert "Traceback" not in said
        print(f"{self._watcher.looks} looks of the watcher, the longest {self._watcher.longest:.1f} s apart; "
              f"{self._visitor.looks} of visitors")  # fmt: skip
        assert self._watcher.looks and self._visitor.looks

    def nothing_is_left(self) -> None:
        """No process of a command, and no session at the server but this test's own."""
        me = psutil.Process()
        left = [child.cmdline() for child in me.children(recursive=True) if self._storage in child.cmdline()]
        assert left == []
        query = "SELECT client_port FROM pg_stat_activity WHERE client_port > 0"
        with psycopg.connect(self._storage) as connection:
            sessions = {port for (port,) in connection.execute(query)}
            assert sessions <= {each.laddr.port for each in me.net_connections(kind="tcp")}

    def close(self) -> None:
        """End whatever is left, however it went."""
        self._visitor.end()
        self._watcher.kill()
        for user in self.users:
            user.kill_all()
        self._nodes.shutdown()


def undisturbed(folder: Path, target: Path, options: tuple[str, ...]) -> TinyStudy:
    """A study that nobody else ever sees, run before."""
    study = TinyStudy(folder, target)
    finish(study.start(*options))
    return study


@pytest.mark.slow
@pytest.mark.timeout(60 * MINUTES + 2 * ENDING)
def test_three_users_a_cluster_and_a_database_end_as_if_nothing_had_happened(
    tmp_path: Path, target: Path, postgres: Postgres
) -> None:
    print(f"\nseed {SEED}, {MINUTES:g} minutes")
    soak = Soak(tmp_path, target, postgres)
    try:
        soak.go(MINUTES)
        soak.end()
        soak.nothing_is_left()
        assert soak.done
        for user in soak.users:
            assert user.finished
            for study in user.finished:
                if study.name not in soak.dashboard.outrun:
                    assert_same(study, user.undisturbed)
                assert study.nebula.read_bytes() == user.undisturbed.nebula.read_bytes()
                assert study.trials().items() <= user.undisturbed.trials().items()
    finally:
        print(dict(soak.done))
        for user in soak.users:
            print(
                f"{user.name}: {len(user.finished)} finished, {user.removed} removed, gone on with {user.resumed} times"
            )
        soak.close()
