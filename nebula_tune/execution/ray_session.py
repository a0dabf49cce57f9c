"""Ray for as long as a run lasts: a cluster's, or one started here that nobody else on the machine or the net can use.

Who reaches one of Ray's ports runs code as the user who started it. So Ray of our own listens on loopback only, asks
for a token that is made anew for each run and stands in no file, and keeps its files and sockets in a folder that no
other user can enter.
"""

from __future__ import annotations

import ipaddress
import logging
import os
import secrets
import signal
import stat
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from nebula_tune.errors import ScoringError
from nebula_tune.execution.ray_head import knock, waits_longer
from nebula_tune.machine import short_temporary_folder

PREFIX = "nebula-ray-"  # of the folder that is Ray's for one run
MADE_UP = 8  # characters that follow it
INSIDE = "ray"  # the folder in it that Ray makes itself, and opens to all
RAY_SOCKET = len("/session_2026-01-31_23-59-59_123456_1234567/sockets/plasma_store")  # bytes below Ray's folder
JOIN_WITHIN = 10.0  # seconds for a connection
REMOVING = 5.0  # seconds that Ray's last processes are given to let go of the folder
CLUSTERS = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"  # 0: no clusters, so all of Ray's processes listen on loopback only
ALSO_SET = ("PYTHONBREAKPOINT",)  # by Ray, beside variables of its own name


@contextmanager
def ray_session(address: str | None, cpus: int, patience: float) -> Iterator[Any]:
    """Ray's module, connected: to the cluster at ``address``; or (None) started here, quiet, with so many ``cpus``.

    A cluster's head that does not answer is waited for ``patience`` seconds, by us: Ray is told to wait for longer.
    At the end what was started is ended, its folder is gone, and the process's environment is as it was. Raises
    ScoringError where Ray does not start or cannot be joined.
    """
    if "ray" in sys.modules and sys.modules["ray"].is_initialized():
        raise ScoringError("this process uses Ray already: call ray.shutdown() first, or take --executor inline")
    with ExitStack() as stack:
        stack.callback(_read_environment)  # last of all
        stack.enter_context(_environment(_variables(None if address is None else patience)))
        _read_environment()
        import ray

        connect = (
            partial(_join, ray, address)
            if address
            else partial(_start, ray, cpus, stack.enter_context(private_folder()))
        )
        stack.callback(ray.shutdown)
        try:
            connect()
        except (ray.exceptions.RayError, ConnectionError, RuntimeError, ValueError, TimeoutError, OSError) as error:
            raise ScoringError(_why_not(address, last_line(error))) from error
        yield ray


@contextmanager
def private_folder() -> Iterator[Path]:
    """A path in a new folder that only this user can enter; at the end the folder is gone. Raises ScoringError."""
    parent = short_temporary_folder(len(f"{PREFIX}{'x' * MADE_UP}/{INSIDE}") + RAY_SOCKET)
    folder = tempfile.TemporaryDirectory(prefix=PREFIX, dir=parent, ignore_cleanup_errors=True)
    about = os.lstat(folder.name)
    if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.geteuid() or about.st_mode & 0o077:
        folder.cleanup()
        raise ScoringError(f"{folder.name} is not this user's alone; set TMPDIR to a folder of your own")
    try:
        yield Path(folder.name, INSIDE)
    finally:
        until = time.monotonic() + REMOVING
        folder.cleanup()
        while os.path.lexists(folder.name) and time.monotonic() < until:  # Ray's processes were writing their last
            time.sleep(0.1)
            folder.cleanup()


def last_line(error: BaseException) -> str:
    """The last line of an error's text."""
    lines = str(error).strip().splitlines()
    return lines[-1].strip() if lines else type(error).__name__


def _variables(patience: float | None) -> dict[str, str]:
    """What Ray finds in the environment, and its processes inherit; without a patience it is started here."""
    preferred = {"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0", "RAY_USAGE_STATS_ENABLED": "0"}  # a user's own go before
    if patience is not None:
        preferred |= waits_longer(patience)
    always = {name: os.environ.get(name, value) for name, value in preferred.items()}
    alone = {CLUSTERS: "0", "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    return always | alone if patience is None else always


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """The environment with these; at the end it is as it was, whatever Ray set in it."""

    def of_ray() -> dict[str, str]:
        return {name: value for name, value in os.environ.items() if name.startswith("RAY_") or name in ALSO_SET}

    before = of_ray()
    os.environ.update(variables)
    try:
        yield
    finally:
        for name in of_ray().keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)


def _read_environment() -> None:
    """Ray reads its settings and its token once a process: let it read them anew."""
    raylet: Any = import_module("ray._raylet")
    raylet.Config.initialize("")
    raylet.AuthenticationTokenLoader.instance().reset_cache()


def _start(ray: Any, cpus: int, folder: Path) -> None:
    constants = ray._private.ray_constants
    clusters, constants.ENABLE_RAY_CLUSTER = constants.ENABLE_RAY_CLUSTER, False  # Ray may have been imported before
    try:
        with _signals():
            ray.init(
                address="local",
                num_cpus=cpus,
                include_dashboard=False,
                logging_level=logging.ERROR,
                log_to_driver=False,
                _temp_dir=str(folder),
            )
    finally:
        constants.ENABLE_RAY_CLUSTER = clusters
    address = ray.util.get_node_ip_address()
    if not ipaddress.ip_address(address).is_loopback:
        raise ConnectionError(f"it listens on {address}, where others reach it")


def _join(ray: Any, address: str) -> None:
    knock(address, JOIN_WITHIN)
    with _signals():
        ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False)


@contextmanager
def _signals() -> Iterator[None]:
    """SIGTERM does at the end what it did, whatever Ray made of it."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread() and before is not None:
            signal.signal(signal.SIGTERM, before)


def _why_not(address: str | None, reason: str) -> str:
    if not address:
        return f"cannot start Ray: {reason}; --executor inline needs no Ray"
    return (
        f"cannot join the Ray cluster at {address}: {reason}; does it run, with the same Ray, and "
        "does it ask for a token (RAY_AUTH_MODE=token, see docs/service.md)? --executor inline needs no Ray"
    )
