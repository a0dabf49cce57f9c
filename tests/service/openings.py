"""What processes have open that they need not: files that are gone, files of their parents, ports."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

SHARED_MEMORY = ("/dev/shm/", "/memfd:")  # its file is removed once it is mapped


def links(pid: int) -> dict[int, str]:
    """A process's open files by number, as the system names them; none of one that is gone."""
    named = {}
    with suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                named[int(entry.name)] = os.readlink(entry)
    return named


def deleted(pid: int) -> list[str]:
    """Open files that have been removed, but for its three streams, which are whoever's started it."""
    return [
        name
        for number, name in links(pid).items()
        if number > 2 and name.startswith("/") and name.endswith(" (deleted)") and not name.startswith(SHARED_MEMORY)
    ]


def own(pid: int) -> set[str]:
    """What a process opened for itself: files and sockets, but for its three streams and what holds nothing."""
    return {
        name
        for number, name in links(pid).items()
        if number > 2 and name != os.devnull and (name.startswith(("/", "socket:")))
    }


def inherited(process: psutil.Process) -> dict[str, set[str]]:
    """What the processes below one have open that is its own, by their names."""
    shared = {child.name(): own(child.pid) & own(process.pid) for child in process.children(recursive=True)}
    return {name: names for name, names in shared.items() if names}


def listening(process: psutil.Process) -> Iterator[tuple[str, str, int]]:
    """Name, address and port of each process of a tree that takes connections, or datagrams of anybody."""
    for each in [process, *process.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):
            for connection in each.net_connections(kind="inet"):
                if connection.status == psutil.CONN_LISTEN or (
                    connection.status == psutil.CONN_NONE and not connection.raddr
                ):
                    yield each.name(), connection.laddr.ip, connection.laddr.port
