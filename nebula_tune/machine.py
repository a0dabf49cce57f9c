"""Facts about the machine that systems tell in different ways: Linux's, and that of macOS and others."""

from __future__ import annotations

import ctypes
import getpass
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

ARGUMENTS = (45, 46)  # of what follows a process's name in /proc/PID/stat: where its arguments begin and end
RUNNING = "running"  # all that is known of the start of a process where no system tells it
LONGEST_SOCKET = 103  # bytes of a Unix socket's path: macOS's limit, less than Linux's


def cores() -> int:
    """CPU cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_kind() -> str:
    """What kind of CPU this is: its model's name where the system tells, else its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def user_cache_folder(program: str) -> Path:
    """Where a program keeps for this user what it can make again: as platformdirs has it, which the ears do without."""
    folder = os.environ.get("XDG_CACHE_HOME", "")
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / program / program / "Cache"
    if Path(folder).is_absolute():
        return Path(folder) / program
    return Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache") / program


def process_started(pid: int) -> str | None:
    """When a process of this machine started, as the system tells; None where it does not run.

    Process ids come round again: an equal id with another start is another process. Where no system tells, all that is
    known is that it runs: RUNNING.
    """
    linux = _linux_boot()
    try:
        return _listed(pid) if linux is None else _started_after(linux, pid)
    except OSError:
        return RUNNING if _runs(pid) else None


def is_gone(pid: int, started: str | None) -> bool:
    """Whether a process of this machine, and of this process's namespace, that began at ``started`` runs no more."""
    now = process_started(pid)
    return now is None or (RUNNING not in (now, started) and now != started)


def boot() -> str | None:
    """The name of the time since this machine was started, which no other machine has; None where no system tells."""
    return _linux_boot() or _macos_boot()


def process_namespace() -> str | None:
    """Where this process's id counts: of two containers on one machine each has its own. None where no system tells."""
    if sys.platform == "darwin":
        return "the machine"  # macOS has no such namespaces
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return None


def user() -> str:
    """Login name of who runs this process; its number where it has no name."""
    try:
        return getpass.getuser()
    except (ImportError, KeyError, OSError):
        return str(os.getuid())


def short_temporary_folder(below: int) -> Path:
    """A folder for temporary files whose Unix sockets may have paths of ``below`` bytes more; macOS's own is long."""
    usual = Path(tempfile.gettempdir())
    return usual if len(os.fsencode(usual)) + 1 + below <= LONGEST_SOCKET else Path("/tmp")  # noqa: S108


def overwrite_argument(argument: str, mask: str) -> None:
    """Write over an argument of this process where Linux keeps it for all users to see; elsewhere nothing happens.

    Args:
        argument: as it was given.
        mask: what stands there then; at most as many bytes.
    """
    try:
        after_name = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        begin, end = (int(after_name[place]) for place in ARGUMENTS)
        old, new = os.fsencode(argument) + b"\0", os.fsencode(mask)
        place = ctypes.string_at(begin, end - begin).find(old) if begin else -1
        if place >= 0 and len(new) < len(old):
            ctypes.memmove(begin + place, new.ljust(len(old) - 1, b"*"), len(old) - 1)
    except (OSError, LookupError, ValueError):
        return


def _linux_boot() -> str | None:
    """None on other systems."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None


def _macos_boot() -> str | None:
    """None on other systems."""
    try:
        run = subprocess.run(["sysctl", "-n", "kern.bootsessionuuid"], capture_output=True, text=True)  # noqa: S607
    except OSError:
        return None
    return run.stdout.strip() or None


def _started_after(boot: str, pid: int) -> str | None:
    """By Linux's /proc. Raises OSError where it shows no such process: there is none, or it is hidden."""
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
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
