"""A small web server: a thread for each request, and answers only to those who ask for it by a name of its own."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Sequence
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from nebula_tune.errors import SettingsError, brief

ADDRESS = "nebula_tune.address"  # of this machine, at which a request came in: a key of WSGI's environment
HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^\s\[\]:/?#@,]+)(:\d+)?")  # of a Host header: a name or address, and a port
EVERY_ANSWER = [
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "SAMEORIGIN"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
]

Headers = list[tuple[str, str]]


class _Server(ThreadingMixIn, WSGIServer):
    """One thread a request, so that a long answer does not hold up the others."""

    daemon_threads = True


class _Handler(WSGIRequestHandler):
    def get_environ(self) -> WSGIEnvironment:
        return {**super().get_environ(), ADDRESS: self.connection.getsockname()[0]}

    def log_message(self, *_: object) -> None:
        """Nothing."""


class Gate:
    """An application for those who ask for this server by a name of its own; the others get one line.

    A page elsewhere can make a browser here ask in its place: under a name of that page which it lets lead to this
    machine (the Host header has that name), or straight (the Origin header names the page).

    Args:
        app: what answers.
        names: under which the server is asked for, beside loopback's and the address that a request comes in at.
        advice: what a refusal says to do.
    """

    def __init__(self, app: WSGIApplication, names: Iterable[str], advice: str) -> None:
        self._advice = advice
        self._app, self._names = app, {host_name(name) or name.lower() for name in names}

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """The application's answer, or a refusal: 421 for a Host, 403 for an Origin."""

        def start(status: str, headers: Headers, *error: Any) -> Callable[[bytes], object]:
            return start_response(status, [*headers, *EVERY_ANSWER], *error)

        host, origin = environ.get("HTTP_HOST", ""), environ.get("HTTP_ORIGIN")
        if not self._is_own(host, environ[ADDRESS]):
            line = f"not asked for by a name of this server: Host {brief(host)}; {self._advice}"
            return plain(start, "421 Misdirected Request", line)
        if origin is not None and not self._is_of(origin, host):
            line = f"not asked for by a page of this server: Origin {brief(origin)}; {self._advice}"
            return plain(start, "403 Forbidden", line)
        return self._app(environ, start)

    def _is_own(self, host: str, address: str) -> bool:
        name = host_name(host)
        return name is not None and (name in self._names or name == address or is_local(name))

    def _is_of(self, origin: str, host: str) -> bool:
        """Whether a page is one of the server that is asked, by TLS or not, or of a name that was given."""
        scheme, _, place = origin.lower().partition("://")
        return scheme in ("http", "https") and (place == host.lower() or host_name(place) in self._names)


def plain(start_response: StartResponse, status: str, line: str) -> list[bytes]:
    """Answer with one line of text."""
    content = f"{line}\n".encode()
    start_response(status, [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(content)))])
    return [content]


def host_name(host: str) -> str | None:
    """The name or address in a Host header, without brackets and port; None where there is none."""
    match = HOST.fullmatch(host.lower())
    return match[1].strip("[]") if match else None


def is_local(host: str) -> bool:
    """Whether a name or address is loopback's: nobody else reaches it."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def listening(app: WSGIApplication, host: str, port: int, options: Sequence[str] = ("--port", "--host")) -> WSGIServer:
    """A server that listens and does not yet serve.

    Args:
        app: what answers.
        host: address to listen on.
        port: to listen on; 0: any that is free.
        options: the command line's names of port and host.

    Raises:
        SettingsError: where the port is not free, or the address not this machine's.
    """
    try:
        return make_server(host, port, app, server_class=_Server, handler_class=_Handler)
    except (OSError, OverflowError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        other = " or ".join(options)
        raise SettingsError(f"cannot listen on {host} port {port}: {reason}; give another {other}") from error
