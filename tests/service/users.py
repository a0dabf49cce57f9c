"""Users of a soak: each runs studies, one after the other, and goes on with what was killed, by the same command."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

from nebula_tune.storage.ledger import Ledger
from tests.service.cluster import events
from tests.service.studies import ServiceStudy
from tests.service.truth import ABSENT, AT_WORK, BEGINNING, Truth
from tests.study.tiny import TinyStudy

TAKEN_OVER = "was taken over by another process"
REMOVED = "was removed with Optuna's dashboard"
KEPT = ("is being run by", "was taken by another process just now")  # what is said to who comes too early


class UsersStudy(ServiceStudy):
    """A study of a name of its own."""

    def __init__(self, folder: Path, target: Path, storage: str, name: str) -> None:
        super().__init__(folder, target, storage)
        self.name, self.nebula, self.log = name, folder / f"{name}.json", folder / f"{name}.log"

    def trials(self) -> dict[tuple[int, ...], tuple[float | None, dict[str, object]]]:
        stored = list(Ledger(self.storage, create=False).trials(self.name))
        by_key = {t.key: (t.score.value if t.score else None, t.params) for t in stored}
        assert len(by_key) == len(stored)
        return by_key

    @property
    def begun(self) -> int:
        """How often a process has begun to work on it."""
        return len(events(self.log, "run begins"))

    @property
    def is_finished(self) -> bool:
        """Whether its result is in the database, however its process ended."""
        return bool(Ledger(self.storage, create=False).record(self.name)["state"] == "finished")

    @property
    def workers(self) -> list[int]:
        """Process ids of workers that it had, and that are there still."""
        return [pid for pid in map(int, (e["pid"] for e in events(self.log, "worker up"))) if is_worker(pid)]


def is_worker(pid: int) -> bool:
    """Whether there is a process of that id, and it is one of Ray's actors."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"ray::")
    except OSError:
        return False


@dataclass
class Process:
    """One run of a study's command."""

    popen: subprocess.Popen[bytes]
    err: Path
    begun_before: int

    def said(self) -> str:
        return self.err.read_text()


@dataclass
class User:
    """A user, whose study is disturbed by one thing at a time: ``trouble`` names it, "" is none."""

    name: str
    folder: Path
    target: Path
    storage: str
    options: Sequence[str]
    undisturbed: TinyStudy
    truth: Truth
    finished: list[UsersStudy] = field(default_factory=list)
    trouble: str = ""
    since: float = 0.0  # when the trouble came, in seconds of time.monotonic()
    removed: int = 0
    studies: int = 0
    process: Process | None = None
    sleeper: Process | None = None
    asker: subprocess.Popen[str] | None = None
    resumed: int = 0
    button: Future[None] | None = None

    # ---- what the user does

    def begin(self) -> None:
        """A new study."""
        self.studies += 1
        name = f"{self.name}-{self.studies}"
        self.study = UsersStudy(self.folder / name, self.target, self.storage, name)
        self.truth.is_now(name, *BEGINNING)
        self.process = self._run()
        self.trouble = "begins"

    def _run(self) -> Process:
        study = self.study
        arguments = ["run", "--target", str(study.target), "--study", "tiny.yaml", "--name", study.name, "--no-report"]
        arguments += ["--out", str(study.nebula), "--log", str(study.log), "--storage", self.storage, *self.options]
        err = study.folder / f"{time.monotonic_ns()}.err"
        begun = study.begun
        with err.open("wb") as said:
            popen = subprocess.Popen(
                [sys.executable, "-m", "nebula_tune.cli", *arguments],
                cwd=study.folder,
                env=os.environ | {"LOGNAME": self.name},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=said,
            )
        self.truth.belongs_to(study.name, f"{self.name}@{socket.gethostname()}:{popen.pid}")
        return Process(popen, err, begun)

    def go_on(self) -> None:
        """The same command again."""
        self.truth.is_now(self.study.name, *(BEGINNING - {ABSENT}), "failed")
        self.process = self._run()
        self.resumed += 1
        self.trouble = "begins"

    @property
    def is_free(self) -> bool:
        """Whether its study is at work, and nothing is done to it."""
        return self.process is not None and not self.trouble

    @property
    def is_at_work(self) -> bool:
        """Whether its study is at work, by all that is known."""
        return self.process is not None and self.trouble in ("", "renamed")

    @property
    def is_quiet(self) -> bool:
        """Whether no command of its begins, or is about to end."""
        return self.process is None or self.trouble in ("", "killed", "asleep", "wakes")

    # ---- what is done to its study

    def befalls(self, trouble: str) -> None:
        self.trouble, self.since = trouble, time.monotonic()

    def is_killed(self) -> None:
        """The coordinator, at once."""
        assert self.process
        self.befalls("killed")
        self.process.popen.kill()
        self.process.popen.wait()
        self.truth.is_now(self.study.name, "finished" if self.study.is_finished else "interrupted")

    def sleeps(self, successor: bool) -> None:
        """The coordinator is stopped; with a ``successor``, the same command is given while it sleeps."""
        assert self.process
        self.befalls("overslept" if successor else "asleep")
        self.process.popen.send_signal(signal.SIGSTOP)
        self.truth.is_now(self.study.name, "interrupted", "finished")
        if successor:
            self.sleeper = self.process
            self.truth.is_now(self.study.name, "interrupted", *AT_WORK)
            self.process = self._run()

    def is_asked_to_stop(self) -> None:
        """By `nebula-tune stop`."""
        self.befalls("asked")
        self.truth.is_now(self.study.name, "interrupted", *AT_WORK)
        arguments = ["stop", self.study.name, "--storage", self.storage]
        self.asker = subprocess.Popen(
            [sys.executable, "-m", "nebula_tune.cli", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    # ---- what comes of it

    def look(self, more: bool) -> None:
        """See what has become of its study, and do what a user does then; with ``more``, begin another at its end."""
        if self.button and self.button.done():
            self.button.result()
        if self.process is None:
            if more:
                self.begin()
        elif self.trouble == "killed":
            if self._is_shown_as("interrupted", "finished"):
                self.go_on()
        elif self.trouble == "asleep":
            if self._is_shown_as("interrupted", "finished"):
                self.truth.is_now(self.study.name, "interrupted", *AT_WORK)
                self.process.popen.send_signal(signal.SIGCONT)
                self.befalls("wakes")
        elif self.trouble == "overslept":
            self._look_at_successor()
        elif self.trouble == "both":
            self._look_at_both()
        elif self.process.popen.poll() is not None:
            self._ended()
        elif self.trouble == "wakes":
            if self._is_shown_as(*AT_WORK):
                self._works()
        elif self.trouble == "begins" and self.study.begun > self.process.begun_before:
            self._works()

    def _works(self) -> None:
        self.truth.is_now(self.study.name, *AT_WORK)
        self.trouble = ""

    def _is_shown_as(self, *states: str) -> bool:
        """Whether a look after the trouble showed that; fails where none did within a minute and a half."""
        when, state, _ = self.truth.shown(self.study.name)
        late = time.monotonic() - self.since
        assert late < 90, f"{self.study.name} is still shown as {state} {late:.0f} s after it {self.trouble}"
        return when > self.since and state in states

    def _look_at_successor(self) -> None:
        """Wake the one that sleeps once the one that came has the study, or cannot get it."""
        assert self.sleeper and self.process
        ended = self.process.popen.poll() is not None
        if ended or self.study.begun > self.process.begun_before or time.monotonic() - self.since > 60:
            self.truth.is_now(self.study.name, *(BEGINNING - {ABSENT}))
            self.sleeper.popen.send_signal(signal.SIGCONT)
            self.befalls("both")

    def _look_at_both(self) -> None:
        """Of the one that slept and the one that came: one goes on, the other has ended in one line."""
        assert self.sleeper and self.process
        code = self.sleeper.popen.poll()
        if code is not None:  # 0: it was at its end already
            assert code == 0 or (code == 1 and TAKEN_OVER in self.sleeper.said()), (code, self.sleeper.said())
        elif self.process.popen.poll() == 2:
            assert any(line in self.process.said() for line in KEPT), self.process.said()
            self.process = self.sleeper
        else:
            assert time.monotonic() - self.since < 120, f"two processes have {self.study.name}"
            return
        self.sleeper = None
        self.trouble = "begins"

    def _ended(self) -> None:
        assert self.process
        code, said = self.process.popen.returncode, self.process.said()
        assert "Traceback" not in said, said
        name = self.study.name
        if self.trouble == "asked":
            assert self.asker
            told, _ = self.asker.communicate(timeout=300)
            assert f"study {name}" in told, told
        if code == 0 and self.trouble != "removed":
            self.truth.is_now(name, "finished")
            self.finished.append(self.study)
            self.process, self.trouble = None, ""
        elif self.trouble == "removed":
            assert code == 0 or (code == 2 and REMOVED in said), (code, said)
            self._delete()
        elif self.trouble == "asked":
            assert code == 130 and f"asked study {name} to stop" in said, (code, said)
            self.truth.is_now(name, "interrupted")
            self.befalls("killed")
        else:
            raise AssertionError(f"{name} ended with exit code {code}, {self.trouble or 'undisturbed'}: {said}")

    def _delete(self) -> None:
        """What is left of a removed study, by `nebula-tune delete`."""
        assert self.button
        self.button.result()
        name = self.study.name
        self.truth.is_now(name, "removed", ABSENT)
        arguments = [sys.executable, "-m", "nebula_tune.cli", "delete", name, "--yes", "--storage", self.storage]
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        self.truth.is_now(name, ABSENT)
        self.removed += 1
        self.process, self.trouble = None, ""

    def kill_all(self) -> None:
        """What is left, at the end of a test that failed."""
        for process in (self.process, self.sleeper):
            if process and process.popen.poll() is None:
                process.popen.kill()
                process.popen.wait()
        if self.asker and self.asker.poll() is None:
            self.asker.kill()
