"""Optuna's dashboard on a study database, with its sounds."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from nebula_tune.errors import SettingsError
from nebula_tune.storage.ledger import Ledger
from nebula_tune.storage.paths import default_artifacts


class _WithLength:
    """Answers for sounds say how long they are, or a player cannot show where it is."""

    def __init__(self, app: Any) -> None:
        self._app = app

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        if not environ["PATH_INFO"].startswith("/artifacts/") or environ["REQUEST_METHOD"] != "GET":
            return self._app(environ, start_response)
        begun: list[Any] = []
        body = self._app(environ, lambda status, headers, error=None: begun.extend((status, headers)))
        content = b"".join(body)
        if hasattr(body, "close"):
            body.close()
        headers = [pair for pair in begun[1] if pair[0].lower() != "content-length"]
        start_response(begun[0], [*headers, ("Content-Length", str(len(content)))])
        return [content]


class _KeepsNames:
    """Refuses to rename: the page would make a copy of the few trials that it was given, and remove the study."""

    def __init__(self, app: Any) -> None:
        self._app = app

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        if not re.fullmatch(r"/api/studies/\d+/rename", environ["PATH_INFO"]):
            return self._app(environ, start_response)
        start_response("409 Conflict", [("Content-Type", "application/json")])
        return [json.dumps({"reason": "nebula-tune knows its studies by their names: they are not renamed"}).encode()]


class _Server(ThreadingMixIn, WSGIServer):
    """One thread a request, so that a long answer does not hold up the sounds."""

    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Nothing."""


def serve(ledger: Ledger, host: str, port: int, artifacts: str | None, note: Callable[[str], None]) -> None:
    """Serve until interrupted.

    Args:
        ledger: the database that is shown.
        host: address to listen on.
        port: to listen on.
        artifacts: folder of the studies' sounds; None: the usual one of this database.
        note: told where the dashboard is, and a warning where other machines may reach it.

    Raises:
        SettingsError: where the dashboard is not installed or the port not free.
    """
    try:
        from optuna.artifacts import FileSystemArtifactStore
        from optuna_dashboard import wsgi

        from nebula_tune.dashboard.trial_view import PageStorage
    except ImportError as error:
        raise SettingsError("the dashboard is not installed: pip install 'nebula-tune[dashboard]'") from error
    folder = Path(artifacts) if artifacts else default_artifacts(ledger.url)
    folder.mkdir(parents=True, exist_ok=True)
    app: Any = wsgi(PageStorage(ledger), artifact_store=FileSystemArtifactStore(str(folder)))
    try:
        server = make_server(host, port, _KeepsNames(_WithLength(app)), server_class=_Server, handler_class=_Quiet)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SettingsError(f"cannot listen on {host} port {port}: {reason}; give another --port or --host") from error
    with server:
        if not _is_local(host):
            note(
                f"warning: the dashboard has no login, and whoever reaches {host} can read and delete studies; "
                "put it behind a proxy that asks who is there"
            )
        note(f"dashboard: http://{host}:{server.server_port}/dashboard/ (Ctrl-C ends it); sounds from {folder}")
        server.serve_forever()


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
