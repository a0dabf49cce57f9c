"""Five runs by the real command, as digests: what has to stay the same to the byte while the house is rebuilt.

    python tests/golden/record.py write    # tests/golden/runs.json, from the code as it is
    python tests/golden/record.py check    # the same again, compared with it: `make golden`; some: check laptop ray

A nebula's bits are promised for one kind of device and one set of library versions: elsewhere `check` says so and
compares nothing. Takes some five minutes of two cores.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
RUNS_FILE = Path(__file__).with_name("runs.json")
SMALL = ("--sounds", "48", "--trials", "30")
LAPTOP = str(ROOT / "studies/earlier/laptop.2.yaml")  # as it was then, whatever `laptop` becomes
RUNS: dict[str, tuple[str, ...]] = {
    "laptop": ("--target", str(ROOT / "examples/drums"), "--study", LAPTOP, "--trials", "60"),
    "diversity": ("--study", "diversity", *SMALL),
    "fm": ("--synth", "fm", "--target", str(ROOT / "examples/drums"), "--study", LAPTOP, *SMALL),
    "killed": ("--target", str(ROOT / "examples/drums"), "--study", LAPTOP, *SMALL),
    "ray": (
        "--target",
        str(ROOT / "examples/drums"),
        "--study",
        LAPTOP,
        *SMALL,
        "--executor",
        "ray",
        "--workers",
        "2",
    ),
}
KILLED_AFTER = 12  # trials
NOT_RESULTS = ("seconds", "storage", "nebula", "page")  # of a report: they depend on time and place


def machine() -> dict[str, str]:
    """What a run's bits depend on beside its code."""
    import torch

    libraries = {name: version(name) for name in ("torch", "numpy", "numba", "scipy")}
    return {"processor": f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}", **libraries}


def run(name: str, folder: Path) -> dict[str, Any]:
    """One run, and its digests: of the nebula's and constellation's files, of the report, of all trials' values."""
    database = folder / f"{name}.db"
    command = [
        sys.executable, "-m", "nebula_tune.cli", "run", *RUNS[name], "--seed", "0", "--name", name, "--json",
        "--storage", f"sqlite:///{database}", "--out", f"{name}.json",
    ]  # fmt: skip
    if "--executor" not in command:
        command += ["--executor", "inline"]
    environment = os.environ | {"PYTHONPATH": os.environ.get("PYTHONPATH", str(ROOT))}
    if name == "killed":
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        while trials(database) < KILLED_AFTER and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
    done = subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    report = {key: value for key, value in json.loads(done.stdout).items() if key not in NOT_RESULTS}
    if report["target"]:
        report["target"].pop("source")  # this checkout's folder
    if "constellation" in report:
        report["constellation"].pop("file")
    files = {path.name: digest(path.read_bytes()) for path in sorted(folder.glob(f"{name}.json"))}
    for path in folder.glob(f"{name}.constellation.json"):
        content = json.loads(path.read_text())
        content.pop("provenance")
        files[path.name] = digest(json.dumps(content, sort_keys=True).encode())
    return {"files": files, "report": digest(json.dumps(report, sort_keys=True).encode()), "values": values(database)}


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def trials(database: Path) -> int:
    """How many trials are written."""
    try:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
            return int(connection.execute("select count(*) from trial_values").fetchone()[0])
    except sqlite3.Error:
        return 0


def values(database: Path) -> str:
    """Digest of the values of all trials, in order of value: searches that go side by side are written as they come."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        found = connection.execute("select value from trial_values order by value").fetchall()
    return f"{len(found)} trials {digest(json.dumps(found).encode())}"


def main(what: str, names: list[str]) -> int:
    here = machine()
    known = json.loads(RUNS_FILE.read_text()) if what == "check" else {}
    if known and known["machine"] != here:
        print(f"recorded on {known['machine']}, this is {here}: nothing to compare")
        return 2
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in names or RUNS:
            began = time.monotonic()
            found[name] = run(name, Path(folder))
            same = "" if what == "write" else "the same" if found[name] == known["runs"][name] else "NOT the same"
            print(f"{name}: {time.monotonic() - began:.0f} s {same}", flush=True)
            if same.startswith("NOT"):
                print(f"  was {known['runs'][name]}\n  is  {found[name]}")
    if what == "write":
        RUNS_FILE.write_text(json.dumps({"machine": here, "runs": found}, indent=1) + "\n")
    return int(bool(known) and any(found[name] != known["runs"][name] for name in found))


if __name__ == "__main__":
    what, names = sys.argv[1:2], sys.argv[2:]
    if what not in (["write"], ["check"]) or set(names) - set(RUNS) or (what == ["write"] and names):
        sys.exit(__doc__)
    sys.exit(main(what[0], names))
