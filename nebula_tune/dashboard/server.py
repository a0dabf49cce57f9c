"""Optuna's dashboard on a study database, with its sounds."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from nebula_tune.errors import SettingsError
from nebula_tune.serving import Gate, host_name, is_local, listening, plain
from nebula_tune.storage.ledger import Ledger
from nebula_tune.storage.paths import default_artifacts
from nebula_tune.storage.places import artifacts_root

READING = ("GET", "HEAD", "OPTIONS")  # methods that change nothing, in all of Optuna's dashboard
# Buttons of Optuna's page that would be refused; others (create, upload, edit a note) have no name to know them by.
BUTTONS = ", ".join(f'[aria-label="{each}"]' for each in ("delete study", "rename study", "delete artifact"))
WITHOUT_BUTTONS = f"<style>{BUTTONS} {{display: none !important}}</style>\n".encode()


class ReadOnly:
    """A dashboard that changes nothing."""

    def __init__(self, app: WSGIApplication) -> None:
        self._app = app

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """The dashboard's answer; 403 and one line for whatever would change something."""
        if environ["REQUEST_METHOD"] not in READING:
            line = "this dashboard is read-only; nebula-tune dashboard --allow-edit takes changes"
            if environ["PATH_INFO"].startswith("/api/"):  # the page shows the reason
                content = json.dumps({"reason": line}).encode()
                headers = [("Content-Type", "application/json"), ("Content-Length", str(len(content)))]
                start_response("403 Forbidden", headers)
                return [content]
            return plain(start_response, "403 Forbidden", line)
        if environ["PATH_INFO"].startswith("/dashboard"):
            return self._page(environ, start_response)
        return self._app(environ, start_response)

    def _page(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """The page without the buttons that would be refused."""
        begun: list[tuple[str, list[tuple[str, str]]]] = []
        environ = {key: value for key, value in environ.items() if key not in ("HTTP_IF_MODIFIED_SINCE", "HTTP_RANGE")}
        body = self._app(environ, lambda status, headers, *_: begun.append((status, headers)))  # type: ignore[arg-type]
        content = b"".join(body)
        if hasattr(body, "close"):
            body.close()
        status, headers = begun[0]
        if status.startswith("200") and environ["REQUEST_METHOD"] == "GET":
            content += WITHOUT_BUTTONS
            headers = [pair for pair in headers if pair[0].lower() not in ("content-length", "last-modified", "etag")]
            headers.append(("Content-Length", str(len(content))))
        start_response(status, headers)
        return [content]


def application(ledger: Ledger, folder: Path, names: Sequence[str], allow_edit: bool) -> WSGIApplication:
    """What the dashboard answers.

    Args:
        ledger: the database that is shown.
        folder: of the studies' sounds and pictures.
        names: under which the dashboard is asked for, beside loopback's and the address that it listens on.
        allow_edit: whether a browser may change and delete what is shown.

    Raises:
        SettingsError: where the dashboard is not installed.
    """
    try:
        from optuna_dashboard import wsgi

        from nebula_tune.dashboard.artifact_files import ArtifactFolder, ArtifactPages
        from nebula_tune.dashboard.trial_view import PageStorage
    except ImportError as error:
        raise SettingsError("the dashboard is not installed: pip install 'nebula-tune[dashboard]'") from error
    storage, own = PageStorage(ledger), ArtifactFolder(folder)

    def folders() -> Iterator[ArtifactFolder]:
        """Its own, and the one that the database names by now; that is only read."""
        yield own
        named = ledger.database.call(lambda _: artifacts_root(ledger.engine), patient=False)
        if named and Path(named).is_absolute():
            yield ArtifactFolder(Path(named))

    app: WSGIApplication = ArtifactPages(wsgi(storage, artifact_store=own), storage, folders)
    return Gate(app if allow_edit else ReadOnly(app), names, "--allow-host NAME allows a name")


def serve(
    ledger: Ledger,
    host: str,
    port: int,
    *,
    artifacts: str | None,
    allow_host: Sequence[str],
    allow_edit: bool,
    note: Callable[[str], None],
) -> None:
    """Serve until interrupted.

    Args:
        ledger: the database that is shown.
        host: address to listen on.
        port: to listen on.
        artifacts: folder of the studies' sounds; None: the usual one of this database.
        allow_host: names by which it is asked for, as by a proxy.
        allow_edit: whether a browser may change and delete what is shown.
        note: told where the dashboard is, and a warning where other machines may reach it.

    Raises:
        SettingsError: where the dashboard is not installed, the port not free, or a name none.
    """
    for name in allow_host:
        if host_name(name) is None or not host_name(f"{name}:80"):
            raise SettingsError(f"--allow-host {name!r}: a name or address alone, like studies.example.org")
    folder = Path(artifacts) if artifacts else default_artifacts(ledger.url)
    app = application(ledger, folder, [host, *allow_host], allow_edit)
    with listening(app, host, port) as server:
        if not is_local(host):
            what = "read and delete" if allow_edit else "read"
            note(
                f"warning: the dashboard has no login, and whoever reaches {host} can {what} studies; "
                "put it behind a proxy that asks who is there"
            )
        edits = "" if allow_edit else ", read-only"
        note(f"dashboard: http://{host}:{server.server_port}/dashboard/ (Ctrl-C ends it{edits}); sounds from {folder}")
        server.serve_forever()
