"""Who holds a study: the columns of its row that name a process, and how often that process's heart beats."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from typing import Any

from nebula_tune import machine
from nebula_tune.words import printable

BEAT = 3.0  # seconds between heartbeats
WATCH = 10.0  # seconds that an owner of which nothing else is known is watched for its heartbeat
OWNER = ("owner_host", "owner_pid", "owner_started", "owner_token", "owner_boot", "owner_namespace", "owner_user")
NOBODY: dict[str, Any] = dict.fromkeys((*OWNER, "stop_asked", "stop_asked_by"))  # columns of a study that nobody holds
LONGEST_NAME = 255  # characters of a column


def this_process(token: str) -> dict[str, Any]:
    """The columns of a study that this process holds by a token."""
    return NOBODY | {
        "owner_host": socket.gethostname(),
        "owner_pid": os.getpid(),
        "owner_started": machine.process_started(os.getpid()),
        "owner_token": token,
        "owner_boot": machine.boot(),
        "owner_namespace": machine.process_namespace(),
        "owner_user": printable(machine.user())[:LONGEST_NAME],
    }


def is_dead(row: Mapping[str, Any]) -> bool:
    """Whether it is sure that a study's owner runs no more.

    Only of a process of this start of this machine, and of this process's namespace, can that be sure: hosts may share
    a name, and containers on one host have process ids of their own.
    """
    place = machine.boot(), machine.process_namespace()
    here = None not in place and place == (row["owner_boot"], row["owner_namespace"])
    return here and machine.is_gone(row["owner_pid"], row["owner_started"])


def named(row: Mapping[str, Any]) -> str:
    """A study's owner in words."""
    return f"process {row['owner_pid']} on {row['owner_host']}"
