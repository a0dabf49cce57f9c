"""A study small enough for tests, run through the real command."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from nebula_tune.storage.ledger import Ledger

STUDY = """\
embedding: {name: logmel, sample_rate: 8000, seconds: 0.5}
sounds: 40
space: {curve: [0.01, 20.0], symmetric: true}
search:
  - {sampler: grid, trials: 5}
  - {sampler: witness, trials: 12}
  - {sampler: cmaes, trials: 8, population: 4}
reevaluate: {top: 2, repeats: 2}
judges: false
"""
TRIALS = 25


def make_target(folder: Path, sounds: int = 30) -> Path:
    """Decaying tones and noises, each its own."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(1)
    time_axis = np.arange(4000) / 8000
    for i in range(sounds):
        tone = np.sin(2 * np.pi * random.uniform(60, 2000) * time_axis) + random.normal(size=4000) * random.uniform()
        soundfile.write(folder / f"{i:02d}.wav", 0.5 * tone * np.exp(-time_axis * random.uniform(5, 40)) / 4, 8000)
    return folder


# The command, which stops itself after some trials are written: whoever is faster, it is still at work then.
PAUSING = """
import os, signal
from nebula_tune.storage.ledger import TrialWriter

written, write = 0, TrialWriter.write

def write_and_pause(self, *trial):
    global written
    row = write(self, *trial)
    written += 1
    if written in PAUSES:
        os.kill(os.getpid(), signal.SIGSTOP)
    return row

TrialWriter.write = write_and_pause

from nebula_tune.cli.app import main
main()
"""


class TinyStudy:
    """One study in a folder of its own."""

    def __init__(self, folder: Path, target: Path, study: str = STUDY) -> None:
        self.folder, self.target = folder, target
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "tiny.yaml").write_text(study)
        self.storage = f"sqlite:///{folder}/studies.db"
        self.nebula = folder / "nebulae" / "tiny.json"

    def start(
        self, *options: str, report: bool = False, pauses: tuple[int, ...] = (), first: str = ""
    ) -> subprocess.Popen[str]:
        """Begin or go on; the process stops itself (SIGSTOP) once so many trials of its own are written.

        ``first`` is code that such a process runs before the command.
        """
        arguments = ["run", "--target", str(self.target), "--study", "tiny.yaml", "--name", "tiny"]
        if not report:
            arguments.append("--no-report")
        if "--executor" not in options:
            arguments += ["--executor", "inline"]
        return command(self.folder, *arguments, "--storage", self.storage, *options, pauses=pauses, first=first)

    def run(self, *options: str, report: bool = False) -> dict[str, Any]:
        """Run to the end; what it tells as JSON. With ``report`` it also writes its page."""
        process = self.start("--json", *options, report=report)
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        told: dict[str, Any] = json.loads(out)
        return told

    def run_until(self, trials: int, *options: str, then: int | None = None) -> subprocess.Popen[str]:
        """A study that stands still (SIGSTOP) with so many trials written, and later with ``then``."""
        process = self.start(*options, pauses=(trials,) if then is None else (trials, then))
        wait_until_it_stops(process)
        return process

    def count(self) -> int:
        """Trials written so far, read without touching anything."""
        try:
            with closing(sqlite3.connect(f"file:{self.folder}/studies.db?mode=ro", uri=True)) as connection:
                return int(connection.execute("SELECT COUNT(*) FROM trials").fetchone()[0])
        except sqlite3.OperationalError:  # the database is only being made
            return 0

    def forget(self) -> None:
        """Make room for the next study of that name."""
        ledger = Ledger(self.storage)
        if ledger.has("tiny"):
            ledger.delete("tiny")

    def trials(self) -> dict[tuple[int, ...], tuple[float | None, dict[str, Any]]]:
        """Value and parameters by key; fails if a key is there twice."""
        stored = list(Ledger(self.storage, create=False).trials("tiny"))
        by_key = {t.key: (t.score.value if t.score else None, t.params) for t in stored}
        assert len(by_key) == len(stored)
        return by_key


def wait_until_it_stops(process: subprocess.Popen[str]) -> None:
    """Until a process has stopped itself; fails where it ends instead."""
    state = os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
    if state is None or state.si_code != os.CLD_STOPPED:
        _, err = process.communicate()
        raise AssertionError(f"it ended instead of standing still: {err}")


def let_go(process: subprocess.Popen[str], *signals: signal.Signals) -> None:
    """Send a process that stands still these signals, and let it go on."""
    os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOHANG)  # what was waited for is over
    for each in (*signals, signal.SIGCONT):
        process.send_signal(each)


def command(folder: Path, *arguments: str, pauses: tuple[int, ...] = (), first: str = "") -> subprocess.Popen[str]:
    """nebula-tune with these arguments, in this folder."""
    how = ["-c", first + PAUSING.replace("PAUSES", repr(pauses))] if pauses else ["-m", "nebula_tune.cli"]
    return subprocess.Popen(
        [sys.executable, *how, *arguments],
        cwd=folder,
        env=os.environ.copy(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
