"""Facts about the machine that systems tell in different ways: Linux's, and that of macOS and others."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

LONGEST_SOCKET = 103  # bytes of a Unix socket's path: macOS's limit, less than Linux's


def cores() -> int:
    """CPU cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def user_cache_folder(program: str) -> Path:
    """Where a program keeps for this user what it can make again: as platformdirs has it, which the ears do without."""
    chosen = os.environ.get("XDG_CACHE_HOME", "")
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / program / program / "Cache"
    if Path(chosen).is_absolute():
        return Path(chosen) / program
    return Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache") / program


def process_started(pid: int) -> str | None:
    """When a process of this machine started, as the system tells; None where it does not run.

    Process ids come round again: an equal id with another start is another process. Where no system tells, all that is
    known is that it runs.
    """
    boot = _boot()
    if boot is not None:
        return _started_after(boot, pid)
    try:
        return _listed(pid)
    except OSError:
        return "running" if _runs(pid) else None


def short_temporary_folder(below: int) -> Path:
    """A folder for temporary files whose Unix sockets may have paths of ``below`` bytes more; macOS's own is long."""
    usual = Path(tempfile.gettempdir())
    return usual if len(os.fsencode(usual)) + 1 + below <= LONGEST_SOCKET else Path("/tmp")  # noqa: S108


def _boot() -> str | None:
    """Linux's name of the time since it was started; None on other systems."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None


def _started_after(boot: str, pid: int) -> str | None:
    """By Linux's /proc."""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if after_name[0] == "Z" else f"{boot}/{after_name[19]}"


def _listed(pid: int) -> str | None:
    """By POSIX's ps, in one language and time zone. Raises OSError where there is none."""
    run = subprocess.run(  # noqa: S603
        ["ps", "-o", "stat=", "-o", "lstart=", "-p", str(pid)],  # noqa: S607
        capture_output=True,
        text=True,
        env=os.environ | {"LC_ALL": "C", "TZ": "UTC"},
    )
    state, _, started = run.stdout.strip().partition(" ")
    if started.strip():
        return None if state.startswith("Z") else " ".join(started.split())
    if pid == os.getpid() or _runs(pid):
        raise OSError("ps does not know its options")
    return None


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # it is somebody else's
    return True
