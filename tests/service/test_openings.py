"""Files and ports that the processes of a run have open: none that need not be."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest

from tests.service import openings
from tests.service.postgres import Postgres, free_port
from tests.service.studies import ServiceStudy, finish
from tests.study.tiny import TinyStudy, let_go

LOOPBACK = {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
RAYS = r"python[\d.]*|ray::.*|raylet|gcs_server"  # Ray's processes, and the coordinator, to which they answer


def held(pid: int) -> list[str]:
    """Files that a process has open, but for fonts, devices, and a sound that it was writing when it was stopped."""
    files = (name for name in openings.own(pid) if name.startswith("/") and "/mpl-data/" not in name)
    return sorted(name for name in files if not re.search(r"/artifacts/\.[0-9a-f-]{36}\.[0-9a-f]{8}$", name))


def test_a_run_has_its_log_its_claim_and_its_database_open_and_listens_where_it_was_told(
    tmp_path: Path, target: Path, postgres: Postgres
) -> None:
    study, port = ServiceStudy(tmp_path, target, postgres.url()), free_port()
    study.forget()
    log = tmp_path / "its.log"
    process = study.run_until(8, "--metrics-port", str(port), "--log", str(log))
    run = psutil.Process(process.pid)
    assert run.children(recursive=True) == []
    assert list(openings.listening(run)) == [(run.name(), "127.0.0.1", port)]
    assert openings.deleted(run.pid) == []
    assert held(run.pid) == sorted([str(log), str(tmp_path / "nebulae" / ".tiny.claim")])
    peers = {c.raddr.port for c in run.net_connections(kind="inet") if c.raddr}
    assert peers == {postgres.port}
    let_go(process)
    finish(process)


@pytest.mark.slow  # Ray starts
def test_rays_processes_inherit_nothing_and_nobody_listens_but_on_loopback(
    tmp_path: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tempfile.TemporaryDirectory(prefix="nt")  # with a short path, as sockets need it
    monkeypatch.setenv("TMPDIR", temporary.name)
    study = TinyStudy(tmp_path, target)
    process = study.run_until(8, "--executor", "ray", "--workers", "1")
    run = psutil.Process(process.pid)
    children = run.children(recursive=True)
    assert openings.inherited(run) == {}
    for each in [run, *children]:
        assert openings.deleted(each.pid) == []
    for name, address, _ in openings.listening(run):
        assert address in LOOPBACK and re.fullmatch(RAYS, name), (name, address)
    for child in children:
        assert not [name for name in held(child.pid) if not name.startswith((temporary.name, "/dev/"))]
    let_go(process)
    finish(process)
    assert not psutil.wait_procs(children, timeout=300)[1]
    assert not list(Path(temporary.name).glob("nebula-ray-*"))
    temporary.cleanup()


CARELESS = """
import os, socket, subprocess, sys
gone = open("gone", "w+")
os.remove("gone")
kept = open("kept", "w+")
port = socket.create_server(("127.0.0.1", 0))
child = subprocess.Popen(["sleep", "60"], pass_fds=[kept.fileno()])
print("ready", flush=True)
sys.stdin.read()
child.kill()
"""


def test_what_need_not_be_open_is_found(tmp_path: Path) -> None:
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", CARELESS], cwd=tmp_path, stdin=pipe, stdout=pipe) as careless:
        assert careless.stdout
        careless.stdout.readline()
        process = psutil.Process(careless.pid)
        assert openings.deleted(careless.pid) == [f"{tmp_path}/gone (deleted)"]
        assert openings.inherited(process) == {"sleep": {f"{tmp_path}/kept"}}
        assert [address for _, address, _ in openings.listening(process)] == ["127.0.0.1"]
        careless.communicate()
