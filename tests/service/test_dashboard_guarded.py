"""The dashboard and those who should not: foreign names and pages, changes that nobody allowed, uploaded documents."""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any

import pytest

from nebula_tune.dashboard import artifact_files
from nebula_tune.dashboard.server import application
from nebula_tune.errors import StorageError
from nebula_tune.serving import ADDRESS, Gate, listening
from nebula_tune.storage.ledger import Ledger
from tests.conftest import Outcome
from tests.study.tiny import TinyStudy

CHANGES = [
    ("DELETE", "/api/studies/1", {}),
    ("POST", "/api/studies", {"study_name": "other", "directions": ["minimize"]}),
    ("POST", "/api/studies/1/rename", {"study_name": "other"}),
    ("PUT", "/api/studies/1/note", {"version": 1, "body": "other"}),
    ("PUT", "/api/studies/1/1/note", {"version": 9, "body": "other"}),
    ("POST", "/api/studies/1/preference", {"mode": "ChooseWorst", "candidates": [1], "clicked": 1}),
    ("POST", "/api/trials/1/user-attrs", {"user_attrs": {"relaxed": False}}),
    ("POST", "/api/artifacts/1", {"file": "data:text/html;base64,PGI+", "filename": "a.html"}),
    ("PATCH", "/api/studies/1", {}),
]


class Server:
    """A dashboard on a copy of a study, and what it answers."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port
        self.before = self.study()
        self.files = self.listed()

    def listed(self) -> list[str]:
        """Names of the study's files."""
        return sorted(os.listdir(self.folder / "artifacts"))

    def ask(
        self, method: str, path: str, content: dict[str, Any] | None = None, **headers: str
    ) -> tuple[HTTPResponse, bytes]:
        """An answer and its content; ``headers`` with _ for -, and ``Host`` in place of the right one."""
        named = {"Host": f"127.0.0.1:{self.port}", **{key.replace("_", "-"): value for key, value in headers.items()}}
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            body = None if content is None else json.dumps(content)
            connection.request(method, path, body, {"Content-Type": "application/json", **named})
            answer = connection.getresponse()
            return answer, answer.read()

    def study(self) -> Any:
        return json.loads(self.ask("GET", "/api/studies/1")[1])

    def upload(self, content: bytes, filename: str) -> str:
        """Add a file to the study; the path it has then."""
        data = f"data:text/plain;base64,{base64.b64encode(content).decode()}"
        answer, body = self.ask("POST", "/api/artifacts/1", {"file": data, "filename": filename})
        assert answer.status == 201, body
        return f"/artifacts/1/{json.loads(body)['artifact_id']}"


@contextmanager
def served(
    study: TinyStudy, folder: Path, *, names: tuple[str, ...] = (), allow_edit: bool = False
) -> Iterator[Server]:
    shutil.copytree(study.folder, folder)
    app = application(Ledger(f"sqlite:///{folder}/studies.db"), folder / "artifacts", names, allow_edit)
    with listening(app, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield Server(folder, server.server_port)
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def guarded(undisturbed: TinyStudy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with served(undisturbed, tmp_path_factory.mktemp("guarded") / "copy", names=("studies.example.org",)) as server:
        yield server


@pytest.fixture(scope="module")
def editable(undisturbed: TinyStudy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with served(undisturbed, tmp_path_factory.mktemp("editable") / "copy", allow_edit=True) as server:
        yield server


@pytest.mark.parametrize("host", ["evil.example", "evil.example:{port}", "127.0.0.1.evil.example", "a@localhost", ""])
@pytest.mark.parametrize("path", ["/dashboard", "/api/studies", "/artifacts/1/x"])
def test_a_name_that_somebody_else_lets_lead_here_is_refused(guarded: Server, host: str, path: str) -> None:
    answer, body = guarded.ask("GET", path, Host=host.format(port=guarded.port))
    assert answer.status == 421 and body.count(b"\n") == 1 and b"--allow-host" in body
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert answer.headers.get_all("X-Content-Type-Options") == ["nosniff"]


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:{port}", "127.0.0.1:{port}", "[::1]:{port}", "studies.example.org", "127.9.9.9:1"]
)
def test_its_own_names_and_those_given_are_answered(guarded: Server, host: str) -> None:
    assert guarded.ask("GET", "/api/studies", Host=host.format(port=guarded.port))[0].status == 200


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "https://evil.example:{port}", "null", "http://localhost:{port}1", "file://", "evil", ""],
)
@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_a_page_elsewhere_is_refused(editable: Server, origin: str, method: str) -> None:
    answer, body = editable.ask(method, "/api/studies/1", Origin=origin.format(port=editable.port))
    assert answer.status == 403 and body.count(b"\n") == 1 and b"page" in body
    assert editable.ask("GET", "/api/studies/1")[0].status == 200


def test_pages_of_its_own_are_answered(guarded: Server) -> None:
    host = f"localhost:{guarded.port}"
    for own, page in [(host, f"http://{host}"), (host, "https://studies.example.org"), ("studies.example.org",) * 2]:
        page = page if "://" in page else f"https://{page}"
        assert guarded.ask("GET", "/api/studies", Host=own, Origin=page)[0].status == 200


@pytest.mark.parametrize(("host", "answered"), [("10.1.2.3:80", True), ("10.1.2.4:80", False), ("[fe80::1]", False)])
def test_the_address_that_a_request_comes_in_at_is_a_name_of_its_own(host: str, answered: bool) -> None:
    statuses: list[str] = []
    gate = Gate(lambda _, start: [start("200 OK", []) or b""], ["0.0.0.0"], "")
    gate({"HTTP_HOST": host, ADDRESS: "10.1.2.3"}, lambda status, *_: statuses.append(status))
    assert statuses == ["200 OK" if answered else "421 Misdirected Request"]


@pytest.mark.parametrize("name", ["https://studies.example.org", "studies.example.org:443", "a b", "", "a/b"])
def test_a_name_to_allow_is_a_name_alone(call: Callable[..., Outcome], undisturbed: TinyStudy, name: str) -> None:
    outcome = call("dashboard", "--storage", undisturbed.storage, "--allow-host", name)
    assert outcome.code == 2 and "a name or address alone" in outcome.line


@pytest.mark.parametrize(("method", "path", "content"), CHANGES)
def test_nothing_changes_without_leave(guarded: Server, method: str, path: str, content: dict[str, Any]) -> None:
    answer, body = guarded.ask(method, path, content)
    assert answer.status == 403 and "--allow-edit" in json.loads(body)["reason"] and b"\n" not in body
    assert guarded.study() == guarded.before and guarded.listed() == guarded.files
    assert len(json.loads(guarded.ask("GET", "/api/studies")[1])["study_summaries"]) == 1


def test_every_change_that_optunas_dashboard_knows_is_refused() -> None:
    """Its routes are read from itself: none that changes anything is a GET."""
    from optuna.storages import InMemoryStorage
    from optuna_dashboard._app import create_app

    from nebula_tune.dashboard.server import READING, ReadOnly

    changing = [route for route in create_app(InMemoryStorage()).routes if route.method not in READING]
    assert {(route.method, route.rule.partition("<")[0]) for route in changing} >= {
        ("DELETE", "/api/studies/"), ("POST", "/api/studies/"), ("PUT", "/api/studies/"), ("POST", "/api/artifacts/"),
    }  # fmt: skip
    statuses: list[str] = []
    for route in changing:
        environ = {"REQUEST_METHOD": route.method, "PATH_INFO": route.rule}
        ReadOnly(lambda *_: pytest.fail("answered"))(environ, lambda status, *_: statuses.append(status))
    assert statuses == ["403 Forbidden"] * len(changing)


def test_the_page_hides_buttons_that_would_be_refused(guarded: Server, editable: Server) -> None:
    for server, hidden in ((guarded, True), (editable, False)):
        answer, page = server.ask("GET", "/dashboard", If_Modified_Since="Fri, 27 Nov 2099 00:00:00 GMT")
        assert (answer.status == 200 and b'[aria-label="delete study"]' in page) == hidden


def test_with_leave_a_study_is_changed_and_deleted(undisturbed: TinyStudy, tmp_path: Path) -> None:
    with served(undisturbed, tmp_path / "copy", allow_edit=True) as server:
        assert server.ask("POST", "/api/studies/1/rename", {"study_name": "x"})[0].status == 409
        version = server.study()["note"]["version"] + 1
        assert server.ask("PUT", "/api/studies/1/note", {"version": version, "body": "ours"})[0].status == 204
        assert server.study()["note"]["body"] == "ours"
        next((server.folder / "artifacts").iterdir()).unlink()  # one that lies elsewhere stands in nobody's way
        assert server.ask("DELETE", "/api/studies/1", {})[0].status == 204
        assert not list((server.folder / "artifacts").iterdir())


@pytest.mark.parametrize("filename", ["page.html", "picture.svg", "notes.txt", "no ending", 'a"b\r\nX: y.html'])
def test_an_uploaded_document_runs_nothing_and_is_saved_not_shown(editable: Server, filename: str) -> None:
    content = b"<script>fetch('/api/studies/1', {method: 'DELETE'})</script>"
    answer, body = editable.ask("GET", editable.upload(content, filename))
    assert answer.status == 200 and body == content
    policy = [part.strip() for part in answer.headers["Content-Security-Policy"].split(";")]
    assert "sandbox" in policy and "default-src 'none'" in policy and not any("script" in part for part in policy)
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Disposition"].startswith("attachment; ") and "X" not in answer.headers
    assert answer.headers["Access-Control-Allow-Origin"] is None


def test_sounds_and_pictures_are_shown_and_no_page_elsewhere_reads_them(guarded: Server) -> None:
    kinds = {each["mimetype"]: each["artifact_id"] for each in guarded.before["artifacts"]}
    assert set(kinds) == {"audio/wav", "image/png"}
    for kind, key in kinds.items():
        answer, body = guarded.ask("GET", f"/artifacts/1/{key}")
        assert answer.status == 200 and answer.headers["Content-Type"] == kind
        assert int(answer.headers["Content-Length"]) == len(body) == (guarded.folder / "artifacts" / key).stat().st_size
        assert "sandbox" in answer.headers["Content-Security-Policy"]
        assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert answer.headers["Access-Control-Allow-Origin"] is answer.headers["Content-Disposition"] is None
        assert guarded.ask("HEAD", f"/artifacts/1/{key}")[0].headers["Content-Length"] == str(len(body))


@pytest.mark.parametrize(
    "path", ["1/{key}0", "1/..%2fstudies.db", "9/{key}", "1/{other}", "1/99/{key}", "1/", "x", "1/-"]
)
def test_no_other_file_is_served(guarded: Server, path: str) -> None:
    key = guarded.before["artifacts"][0]["artifact_id"]
    answer, body = guarded.ask("GET", "/artifacts/" + path.format(key=key, other=uuid.uuid4()))
    assert answer.status == 404 and body.count(b"\n") == 1


def describe(server: Server, key: str, described: object) -> None:
    """Write into the database of a study what somebody else may have written there."""
    storage = Ledger(f"sqlite:///{server.folder}/studies.db").storage
    storage.set_study_system_attr(1, f"artifacts:{key}", json.dumps(described))


@pytest.mark.parametrize("how", ["a link", "a folder", "a pipe", "nothing", "not ours to read"])
def test_what_is_no_readable_plain_file_is_not_found(
    editable: Server, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = str(uuid.uuid4())
    path = editable.folder / "artifacts" / key
    describe(editable, key, {"mimetype": "audio/wav", "filename": "a.wav"})
    if how == "a link":
        path.symlink_to(editable.folder / "studies.db")
    elif how == "a folder":
        path.mkdir()
    elif how == "a pipe":
        os.mkfifo(path)
    elif how == "not ours to read":

        def refuse(self: artifact_files.ArtifactFolder, key: str) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(artifact_files.ArtifactFolder, "open_reader", refuse)
    answer, body = editable.ask("GET", f"/artifacts/1/{key}")
    assert answer.status == 404 and b"--artifacts" in body and body.count(b"\n") == 1


@pytest.mark.parametrize("described", [None, 3, {}, {"mimetype": 1, "filename": 2}, {"mimetype": "a/b"}])
def test_a_description_that_is_none_is_not_found(editable: Server, described: object) -> None:
    key = str(uuid.uuid4())
    (editable.folder / "artifacts" / key).write_bytes(b"x")
    describe(editable, key, described)
    assert editable.ask("GET", f"/artifacts/1/{key}")[0].status == 404


def test_a_kind_from_others_is_no_header_of_theirs(editable: Server) -> None:
    answer, _ = editable.ask("GET", editable.upload(b"x", "a.wav"))
    assert answer.headers["Content-Type"] == "audio/x-wav" or answer.headers["Content-Type"] == "audio/wav"
    key = str(uuid.uuid4())
    (editable.folder / "artifacts" / key).write_bytes(b"x")
    describe(editable, key, {"mimetype": "text/html\r\nSet-Cookie: a=b", "filename": "a"})
    answer, _ = editable.ask("GET", f"/artifacts/1/{key}")
    assert answer.headers["Content-Type"] == "application/octet-stream" and answer.headers["Set-Cookie"] is None


@pytest.mark.parametrize("key", ["../studies.db", "/etc/passwd", "", ".", "x", f"{uuid.UUID(int=1)}/", "A" * 36])
def test_keys_lead_below_the_folder_or_nowhere(tmp_path: Path, key: str) -> None:
    folder = artifact_files.ArtifactFolder(tmp_path / "artifacts")
    (tmp_path / "studies.db").write_text("kept")
    for act in (folder.open_reader, folder.remove, lambda each: folder.write(each, io.BytesIO(b"x"))):
        with pytest.raises(StorageError, match="no key"):
            act(key)
    assert [each.name for each in tmp_path.iterdir()] == ["studies.db"]


def test_a_file_that_is_too_large_is_not_kept(editable: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artifact_files, "LARGEST", 10)
    files = editable.listed()
    data = {"file": f"data:a;base64,{base64.b64encode(bytes(11)).decode()}", "filename": "a.wav"}
    assert editable.ask("POST", "/api/artifacts/1", data)[0].status == 500
    assert editable.listed() == files
