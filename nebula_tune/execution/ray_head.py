"""The head of a Ray cluster, watched: without it, calls that ask the cluster block until Ray ends the process."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

from nebula_tune.errors import ScoringError

LOOK_EVERY = 0.1  # seconds
ANSWER_WITHIN = 3.0  # seconds for a connection
RAYS_OWN = 120.0  # seconds that Ray waits longer than we do, before it ends the process; its own end takes twenty
SETTING = "RAY_gcs_rpc_server_reconnect_timeout_s"


class Head:
    """Tells whether a cluster's head answers, until it has not for ``patience`` seconds.

    Args:
        address: host and port of its control store.
        patience: seconds for it to come back.
        note: told what a user should know.
    """

    def __init__(self, address: str, patience: float, note: Callable[[str], None]) -> None:
        self._address, self._patience, self._note = address, patience, note
        self._looked = time.monotonic()
        self._missing_since: float | None = None
        self.lost = False

    def answers(self) -> bool:
        """Whether the cluster can be asked now. Raises ScoringError once the head counts as lost."""
        if time.monotonic() - self._looked >= LOOK_EVERY:
            try:
                knock(self._address, ANSWER_WITHIN)
            except OSError as error:
                self._miss(error)
            else:
                if self._missing_since is not None:
                    self._note("the head of the Ray cluster is back")
                self._missing_since = None
            self._looked = time.monotonic()
        return self._missing_since is None

    def _miss(self, error: OSError) -> None:
        now = time.monotonic()
        if self._missing_since is None:
            self._missing_since = now
            reason = error.strerror or str(error)
            self._note(f"the head of the Ray cluster at {self._address} does not answer ({reason}); waiting for it")
        if now - self._missing_since >= self._patience:
            self.lost = True
            raise ScoringError(
                f"the head of the Ray cluster at {self._address} is lost: no answer for {self._patience:g} s "
                "(--ray-patience); nothing scored is lost: start the cluster, and the same command goes on from here"
            )


def waits_longer(patience: float) -> dict[str, str]:
    """Ray's own setting, in the environment, by which it waits longer for a head than we do."""
    return {SETTING: str(int(patience + RAYS_OWN))}


def knock(address: str, seconds: float) -> None:
    """Raises OSError where nobody listens, which Ray would try for minutes; no port, nothing to try."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=seconds).close()
