"""A web server on this machine that serves a file well or badly, by the first part of the address."""

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count


class Handler(BaseHTTPRequestHandler):
    """``/good/x``, ``/moved/x``, ``/missing/x``, ``/busy/x``, ``/truncated/x``, ``/cut/x``, ``/wrong/x``,
    ``/hung/x``, ``/flaky/x`` (the first time truncated), ``/empty/x``."""

    def do_GET(self):
        self.server.requests.append(self.path)
        way = self.path.split("/")[1]
        content = self.server.content
        if way == "missing":
            return self.send_error(404)
        if way == "busy":
            return self.send_error(503)
        if way == "moved":
            self.send_response(302)
            self.send_header("Location", self.path.replace("moved", "good"))
            self.end_headers()
            return None
        self.send_response(200)
        if way != "cut":  # there the end of the connection is all that marks the end
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        half = content[: len(content) // 2]
        if way in ("truncated", "cut") or (way == "flaky" and next(self.server.visits) == 0):
            self.wfile.write(half)
        elif way == "hung":
            self.wfile.write(half)
            self.wfile.flush()
            self.server.closing.wait(20)
        elif way == "wrong":
            self.wfile.write(half + bytes(len(content) - len(half)))
        elif way != "empty":
            self.wfile.write(content)
        return None

    def log_message(self, *arguments):
        pass


@contextmanager
def serving(content: bytes):
    """A server of ``content``; ``.address`` is where, ``.requests`` what was asked for."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.content, server.requests, server.visits, server.closing = content, [], count(), threading.Event()
    server.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.closing.set()
        server.shutdown()
        thread.join()
        server.server_close()
