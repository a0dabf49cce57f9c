"""What `status` may show of studies to which a test does things, and looks at it that are held against that."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nebula_tune.storage.owner import BEAT

GRACE = 5 * BEAT  # seconds after something was done in which what was true before it may still be shown
LAST = {"finished": {"finished", "removed", "absent"}, "removed": {"removed", "absent"}}  # what may come after these
ABSENT = "absent"  # of a study that is not listed
AT_WORK = {"running", "waiting", "finished"}  # of a process that has the study, and may end it any moment
BEGINNING = {ABSENT, "new", "interrupted", *AT_WORK}  # of one that was started, and may not have the study yet


class Truth:
    """Of all studies: the states that each may be in, since when, and what was shown last.

    Times are those of ``time.monotonic()``. Its methods are called by several threads.
    """

    def __init__(self, grace: float = GRACE) -> None:
        self._grace, self._lock = grace, threading.Lock()
        self._since: dict[str, list[tuple[float, frozenset[str]]]] = {}
        self._owners: dict[str, set[str]] = {}
        self._shown: dict[str, tuple[float, str, int]] = {}
        self._copied: dict[str, float] = {}
        self.lies: list[str] = []

    def is_now(self, study: str, *states: str, when: float | None = None) -> None:
        """From now on a study is in one of these states."""
        with self._lock:
            self._since.setdefault(study, []).append((when or time.monotonic(), frozenset(states)))

    def belongs_to(self, study: str, owner: str) -> None:
        """A process was started on a study, user@host:pid."""
        with self._lock:
            self._owners.setdefault(study, set()).add(owner)

    def is_copied(self, study: str) -> None:
        """A rename copies its trials now: for a while there may be fewer, until the run writes those that it missed."""
        with self._lock:
            self._copied[study] = time.monotonic()

    def allowed(self, study: str, began: float, ended: float) -> frozenset[str]:
        """States that a look may show which began and ended at these times."""
        changes = self._since.get(study) or [(0.0, frozenset({ABSENT}))]
        until = [when for when, _ in changes[1:]] + [math.inf]
        states = [
            s for (when, s), end in zip(changes, until, strict=True) if when <= ended and end + self._grace > began
        ]
        return frozenset().union(*states) or frozenset({ABSENT})

    def check(self, told: Sequence[Mapping[str, Any]], began: float, ended: float) -> None:
        """Hold what a look at all studies showed against what is true; lies are kept in ``lies``."""
        with self._lock:
            listed = {str(each["study"]): each for each in told}
            for name in sorted(self._since.keys() | listed.keys()):
                for lie in self._lies_of(name, listed.get(name, {"state": ABSENT, "complete": 0}), began, ended):
                    self.lies.append(f"{ended:.1f} (began {began:.1f}) {name}: {lie}; {listed.get(name)}")

    def _lies_of(self, name: str, told: Mapping[str, Any], began: float, ended: float) -> list[str]:
        state, complete = told["state"], told["complete"]
        lies = []
        allowed = self.allowed(name, began, ended)
        if state not in allowed:
            lies.append(f"shown as {state}, is {' or '.join(sorted(allowed))}")
        before = self._shown.get(name)
        if before is not None and began > before[0]:  # looks may overlap
            if state not in LAST.get(before[1], {state}):
                lies.append(f"was {before[1]}, is {state}")
            copied = began < self._copied.get(name, -math.inf) + self._grace
            if state not in ("removed", ABSENT) and complete < before[2] and not copied:
                lies.append(f"{before[2]} trials became {complete}")
        owner = told.get("owner")
        if owner and owner not in self._owners.get(name, set()):
            lies.append(f"owner {owner} is none of {self._owners.get(name)}")
        if before is None or ended > before[0]:
            self._shown[name] = ended, state, complete
        return lies

    def shown(self, study: str) -> tuple[float, str, int]:
        """What the last look showed of a study: when, its state, its trials."""
        with self._lock:
            return self._shown.get(study, (0.0, ABSENT, 0))


EACH_SECOND = """
from nebula_tune.cli import console
console.REFRESH = 1.0
from nebula_tune.cli.app import main
main()
"""


class Watcher(threading.Thread):
    """Looks each second: `nebula-tune status --json --watch`, with a second between its looks."""

    def __init__(self, truth: Truth, storage: str, folder: Path) -> None:
        super().__init__(name="watcher", daemon=True)
        self._truth, self.looks, self.longest = truth, 0, 0.0
        self._said = (folder / "watcher.err").open("w+")
        arguments = [sys.executable, "-c", EACH_SECOND, "status", "--json", "--watch", "--storage", storage]
        self._process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=self._said, text=True)
        self.start()

    def run(self) -> None:
        began = time.monotonic()
        assert self._process.stdout
        for line in self._process.stdout:
            ended = time.monotonic()
            self._truth.check(json.loads(line), began, ended)
            self.looks, self.longest, began = self.looks + 1, max(self.longest, ended - began), ended

    def end(self) -> str:
        """Ends it, as Ctrl-C does; what it said to stderr. Fails where it ended before, or ends badly."""
        early = self._process.poll()
        self._process.terminate()
        assert self._process.wait(60) == 0 and early is None, (early, self._text())
        self.join(60)
        return self._text()

    def kill(self) -> None:
        """End it, however."""
        self._process.kill()
        self._process.wait()

    def _text(self) -> str:
        self._said.seek(0)
        return self._said.read()


class Visitor(threading.Thread):
    """Looks every few seconds as somebody does who knows nothing: `nebula-tune status --json`, a new process each."""

    def __init__(self, truth: Truth, storage: str, seconds: float) -> None:
        super().__init__(name="visitor", daemon=True)
        self.at_the_door = threading.Lock()  # who holds it keeps visitors out
        self._truth, self._storage, self._seconds = truth, storage, seconds
        self._ended = threading.Event()
        self.looks, self.failures = 0, []  # type: int, list[str]
        self.start()

    def run(self) -> None:
        command = [sys.executable, "-m", "nebula_tune.cli", "status", "--json", "--storage", self._storage]
        while not self._ended.wait(self._seconds):
            with self.at_the_door:
                began = time.monotonic()
                done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode or "Traceback" in done.stderr:
                self.failures.append(f"{began:.1f}: exit code {done.returncode}: {done.stderr}")
            else:
                self._truth.check(json.loads(done.stdout), began, time.monotonic())
                self.looks += 1

    def end(self) -> None:
        self._ended.set()
        self.join(120)
