"""Facts about the machine where Linux's ways to them are not there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from nebula_tune import machine
from nebula_tune.corpus.prepare import Prepare
from nebula_tune.execution.inline import InlineExecutor
from nebula_tune.scoring import ScorerSpec
from tests.test_layers import ROOT


@pytest.fixture(params=["Linux", "macOS", "neither /proc nor ps"])
def system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """This machine, with what other systems lack taken away."""
    if request.param != "Linux":
        monkeypatch.delattr(os, "sched_getaffinity", raising=False)
        read = Path.read_text

        def without_proc(path: Path, *arguments: object, **named: object) -> str:
            if path.parts[:2] == ("/", "proc"):
                raise FileNotFoundError(2, "No such file or directory", str(path))
            return read(path, *arguments, **named)  # type: ignore[arg-type]

        monkeypatch.setattr(Path, "read_text", without_proc)
        monkeypatch.setattr(Path, "readlink", without_proc)
    if request.param == "macOS":
        (tmp_path / "ps").write_text(f"#!{sys.executable}\n" + PS)
        (tmp_path / "ps").chmod(0o755)
        (tmp_path / "sysctl").write_text('#!/bin/sh\n[ "$*" = "-n kern.bootsessionuuid" ] && echo 6C9A-BOOT\n')
        (tmp_path / "sysctl").chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    elif request.param != "Linux":
        monkeypatch.setenv("PATH", str(tmp_path))
    return str(request.param)


# As macOS has it, for a machine without any: the state and the start of a process, and exit 1 where there is none.
PS = """
import os, sys
assert sys.argv[1:-1] == ["-o", "stat=", "-o", "lstart=", "-p"] and os.environ["TZ"] == "UTC"
try:
    fields = open(f"/proc/{sys.argv[-1]}/stat").read().rpartition(")")[2].split()
except OSError:
    sys.exit(1)
print(f"{fields[0]}s   Fri Nov 27 20:43:{int(fields[19]) % 60:02d} 2026    ")
"""


def test_the_start_of_a_process_is_told_as_long_as_it_runs(system: str) -> None:
    mine = machine.process_started(os.getpid())
    assert mine and mine == machine.process_started(os.getpid())
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert machine.process_started(child.pid)
    child.communicate(b"\n")
    assert machine.process_started(child.pid) is None
    assert machine.process_started(2**22 - 1) is None
    if system == "macOS":
        assert re.fullmatch(r"Fri Nov 27 20:43:\d\d 2026", mine)


def test_a_machine_is_told_from_others_and_from_itself_after_a_start(
    system: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    boot, namespace = machine.boot(), machine.process_namespace()
    if system == "Linux":
        assert boot and len(boot) == 36 and namespace and namespace.startswith("pid:[")
    else:
        assert boot == ("6C9A-BOOT" if system == "macOS" else None) and namespace is None
        monkeypatch.setattr(sys, "platform", "darwin")
        assert machine.process_namespace() == "the machine"


def test_a_process_is_gone_once_it_has_ended_or_its_number_is_anothers(system: str) -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    started = machine.process_started(child.pid)
    assert not machine.is_gone(child.pid, started)
    assert machine.is_gone(child.pid, "another start") is (system in ("Linux", "macOS"))
    child.communicate(b"\n")
    assert machine.is_gone(child.pid, started)


def test_a_process_that_the_system_hides_is_not_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    started, read = machine.process_started(os.getpid()), Path.read_text

    def hiding(path: Path, *arguments: object) -> str:
        if path.name == "stat":
            raise FileNotFoundError(2, "No such file or directory", str(path))
        return read(path, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Path, "read_text", hiding)
    assert machine.process_started(os.getpid()) == machine.RUNNING
    assert not machine.is_gone(os.getpid(), started)
    assert machine.is_gone(2**22 - 1, started)


def test_who_has_no_name_has_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "anna")
    assert machine.user() == "anna"
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 2**31 - 7)
    assert machine.user() == str(2**31 - 7)


def test_a_ps_of_other_options_is_as_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "ps").write_text("#!/bin/sh\necho 'ps: unrecognized option: p' >&2; exit 1\n")
    (tmp_path / "ps").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(machine, "_linux_boot", lambda: None)
    assert machine.process_started(os.getpid()) == "running"
    assert machine.process_started(2**22 - 1) is None


def test_work_is_spread_over_the_cores_that_there_are(system: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if system == "Linux":
        assert machine.cores() == len(os.sched_getaffinity(0))
    else:
        assert machine.cores() == os.cpu_count()
        with monkeypatch.context() as patch:
            patch.setattr(os, "cpu_count", lambda: None)
            assert machine.cores() == 1
    spec = ScorerSpec("voice", [{"name": "logmel"}], Prepare.ONSET, None, "cpu")
    with InlineExecutor(spec) as executor:
        assert executor.slots == 2 * machine.cores()


def test_sockets_have_paths_that_every_system_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/tmp/here")
    assert machine.short_temporary_folder(80) == Path("/tmp/here")
    monkeypatch.setattr(tempfile, "tempdir", "/var/folders/zz/zyxvpxvq6csfxvn_n0000000000000/T")  # as on macOS
    assert machine.short_temporary_folder(80) == Path("/tmp")


def test_what_only_some_systems_have_is_asked_for_in_one_module() -> None:
    only = re.compile(r"sched_getaffinity|[\"']/proc|/dev/shm|\bimport (resource|pwd|grp)\b|os\.fork\b|cpu_count")
    for path in sorted((ROOT / "nebula_tune").rglob("*.py")):
        # copies.py is a program that imports nothing of ours; where there is no fork it does without, as a test holds
        if path.stem not in ("machine", "copies"):
            assert not only.search(path.read_text()), path
