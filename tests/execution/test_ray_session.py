"""Ray that a run starts for itself: nobody else on the machine or the net can use it, and nothing of it is left."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest

from nebula_tune.errors import ScoringError
from nebula_tune.execution import ray_session as module
from nebula_tune.execution.ray_session import private_folder, ray_session
from nebula_tune.machine import LONGEST_SOCKET
from tests.study.tiny import TinyStudy, let_go

LOOPBACK = ("127.0.0.1", "::1", "::ffff:127.0.0.1")
ASK = "/ray.rpc.InternalKVGcsService/InternalKVKeys"  # of the head: names of what is kept there


def listening(process: psutil.Process) -> dict[str, list[str]]:
    """Addresses that a process and those below it listen on, or take datagrams at, by the process's name."""
    addresses: dict[str, list[str]] = {}
    for each in [process, *process.children(recursive=True)]:
        for connection in each.net_connections(kind="inet"):
            if connection.status == psutil.CONN_LISTEN or (
                connection.type == socket.SOCK_DGRAM and not connection.raddr
            ):
                addresses.setdefault(each.name(), []).append(connection.laddr.ip)
    return addresses


def answer(head: str, token: str | None) -> grpc.StatusCode:
    """What the head answers to somebody with that token, or without one."""
    metadata = [("authorization", f"Bearer {token}")] if token else []
    with grpc.insecure_channel(head) as channel:
        try:
            channel.unary_unary(ASK)(b"", metadata=metadata, timeout=10)
        except grpc.RpcError as error:
            return error.code()
    return grpc.StatusCode.OK


class Worker:
    """What Ray keeps in a process of its own."""

    def pid(self) -> int:
        return os.getpid()


@dataclass
class Seen:
    """What there was while Ray ran, and after it."""

    addresses: dict[str, list[str]]
    folder: Path
    mode: int
    sockets: list[Path]
    answers: list[grpc.StatusCode]
    token: str
    processes: list[psutil.Process]
    words: str  # all command lines, and all that Ray wrote
    environments: list[dict[str, str]]  # before and after
    terminates: list[Any]  # what SIGTERM does: before, meanwhile and after


@pytest.fixture(scope="module")
def seen() -> Iterator[Seen]:
    """Ray with one worker, looked at from outside, and ended."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")  # of the user's own clusters
        environments, terminates = [dict(os.environ)], [signal.getsignal(signal.SIGTERM)]
        me = psutil.Process()
        others = set(me.children(recursive=True))  # of other tests: a database, say
        with ray_session(None, 1, 30.0) as ray:
            worker = ray.remote(Worker).remote()
            assert ray.get(worker.pid.remote()) != os.getpid()
            node = ray._private.worker._global_node
            folder = Path(node.get_temp_dir_path()).parent
            token = os.environ["RAY_AUTH_TOKEN"]
            processes = [each for each in me.children(recursive=True) if each not in others]
            files = [path for path in folder.rglob("*") if path.is_file()]
            lines = [" ".join(each.cmdline()) for each in processes]
            seen = Seen(
                listening(me),
                folder,
                os.lstat(folder).st_mode,
                [path for path in folder.rglob("*") if path.is_socket()],
                [answer(node.gcs_address, asked) for asked in (None, "0" * 64, token)],
                token,
                processes,
                "".join([*lines, *(path.read_text(errors="replace") for path in files)]),
                environments,
                terminates,
            )
            terminates.append(signal.getsignal(signal.SIGTERM))
        environments.append(dict(os.environ))
        terminates.append(signal.getsignal(signal.SIGTERM))
        yield seen


def test_it_listens_on_loopback_only(seen: Seen) -> None:
    assert len(seen.addresses) >= 4, seen.addresses  # head, node, agents, worker, and this process
    assert {address for each in seen.addresses.values() for address in each} <= set(LOOPBACK), seen.addresses


def test_its_folder_is_this_users_alone_and_its_sockets_paths_fit(seen: Seen) -> None:
    assert stat.S_ISDIR(seen.mode) and stat.S_IMODE(seen.mode) == 0o700
    assert seen.sockets and all(len(os.fsencode(path)) <= LONGEST_SOCKET for path in seen.sockets)


def test_who_has_no_token_is_refused_and_it_stands_nowhere(seen: Seen) -> None:
    refused = grpc.StatusCode.UNAUTHENTICATED
    assert seen.answers[:2] == [refused, refused] and seen.answers[2] == grpc.StatusCode.OK
    assert len(seen.words) > 1000 and seen.token not in seen.words


def test_nothing_of_it_is_left(seen: Seen) -> None:
    assert not seen.folder.exists()
    gone, alive = psutil.wait_procs(seen.processes, timeout=300)
    assert gone and not alive
    before, after = seen.environments
    assert after == before and before["RAY_AUTH_MODE"] == "disabled"
    assert len(set(seen.terminates)) == 1


def test_what_others_laid_in_the_folder_for_temporary_files_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    snares = [tmp_path / f"nebula-ray-{name}" for name in (os.getuid(), "aaaaaaaa")]
    for snare in snares:
        snare.symlink_to(private)
    monkeypatch.setattr(module, "short_temporary_folder", lambda below: tmp_path)
    names = iter(["aaaaaaaa", "bbbbbbbb"])
    monkeypatch.setattr(tempfile, "_get_candidate_names", lambda: names)
    with private_folder() as folder:
        assert folder.parent == tmp_path / "nebula-ray-bbbbbbbb" and folder.parent.is_dir()
    assert not folder.parent.exists()
    assert stat.S_IMODE(private.stat().st_mode) == 0o700 and list(private.iterdir()) == []
    assert all(snare.is_symlink() for snare in snares)


@pytest.mark.parametrize("how", ["link", "open"])
def test_a_folder_that_is_not_this_users_alone_is_refused(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where all may rename what is in the folder for temporary files, ours may be another by now."""
    private, make = tmp_path / "private", tempfile.mkdtemp
    private.mkdir(mode=0o700)

    def exchanged(*where: Any) -> str:
        folder = Path(make(*where))
        if how == "link":
            folder.rmdir()
            folder.symlink_to(private)
        else:
            folder.chmod(0o777)
        return str(folder)

    monkeypatch.setattr(tempfile, "mkdtemp", exchanged)
    monkeypatch.setattr(module, "short_temporary_folder", lambda below: tmp_path)
    with pytest.raises(ScoringError, match="set TMPDIR"), private_folder():
        pytest.fail("it was taken")
    assert private.is_dir() and list(private.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_nothing_is_left_of_a_run_that_is_stopped(
    how: signal.Signals, tmp_path: Path, target: Path, monkeypatch
) -> None:
    temporary = Path(tempfile.mkdtemp(prefix="nt"))  # with a short path, as sockets need it
    monkeypatch.setenv("TMPDIR", str(temporary))
    study = TinyStudy(tmp_path / "study", target)
    run = study.run_until(8, "--executor", "ray", "--workers", "1")
    [folder] = temporary.glob("nebula-ray-*")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    processes = psutil.Process(run.pid).children(recursive=True)
    let_go(run, how)
    _, err = run.communicate(timeout=300)
    assert run.returncode == 130, err
    assert "the same command goes on from here" in err
    assert not list(temporary.glob("nebula-ray-*"))
    shutil.rmtree(temporary)
    assert not psutil.wait_procs(processes, timeout=300)[1]
