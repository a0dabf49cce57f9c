"""One folder of sounds and pictures for a team: the first run names it in the database, every dashboard reads there."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest

from nebula_tune import tune
from nebula_tune.errors import StopRequested
from nebula_tune.storage.ledger import Ledger
from nebula_tune.storage.places import artifacts_root, set_artifacts_root
from nebula_tune.tuning.opened import _name_artifacts
from nebula_tune.tuning.reporter import Silent
from tests.conftest import Outcome
from tests.service.postgres import Postgres
from tests.service.test_dashboard_guarded import served
from tests.study.tiny import STUDY, TinyStudy


class Listening(Silent):
    """A reporter that keeps what a run says."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def begun(*_: object) -> None:
    raise StopRequested("begun")


def begin(target: Path, name: str, **options: Any) -> str:
    """Begin a study, and end it before its first trial; what it says of folders."""
    reporter = Listening()
    with pytest.raises(StopRequested), pytest.MonkeyPatch.context() as patch:
        patch.setattr("nebula_tune.tuning.pipeline.announce", begun)
        tune(target, reporter, study="tiny.yaml", name=name, storage="sqlite:///team.db", executor="inline", **options)
    return "\n".join(note for note in reporter.notes if "--artifacts" in note)


def test_the_first_run_that_is_told_a_folder_names_it_for_all(
    target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("tiny.yaml").write_text(STUDY)
    assert begin(target, "own") == ""
    engine = Ledger("sqlite:///team.db").engine
    assert artifacts_root(engine) is None  # beside the database, wherever that is moved
    assert begin(target, "first", artifacts="team") == ""
    assert artifacts_root(engine) == str(tmp_path / "team")
    assert str(tmp_path / "other") in begin(target, "second", artifacts="other")
    assert artifacts_root(engine) == str(tmp_path / "team")


def on(ledger: Ledger, artifacts: str | None = None) -> list[str]:
    """What a run on a database says of its folder."""
    notes: list[str] = []
    output = SimpleNamespace(storage=ledger.url, log=None, artifacts=artifacts)
    study = SimpleNamespace(options=SimpleNamespace(output=output), reporter=SimpleNamespace(note=notes.append))
    _name_artifacts(study, ledger)  # type: ignore[arg-type]
    return notes


def test_a_server_remembers_the_folder_of_its_first_run_and_decides_for_no_other(
    postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = Ledger(postgres.url())
    set_artifacts_root(ledger.engine, None)
    monkeypatch.chdir(tmp_path)
    assert on(ledger) == [] and artifacts_root(ledger.engine) == str(tmp_path / "studies/artifacts")
    other = tmp_path / "another user"
    other.mkdir()
    monkeypatch.chdir(other)
    [note] = on(ledger)
    assert str(other / "studies/artifacts") in note and str(tmp_path / "studies/artifacts") in note
    assert on(ledger, str(tmp_path / "studies/artifacts")) == []
    set_artifacts_root(ledger.engine, None)


@pytest.mark.parametrize("named", ["the team's", "one that is gone", "relative", "a file", None])
def test_another_users_sounds_play_or_one_line_says_where_they_are(
    undisturbed: TinyStudy, tmp_path: Path, named: str | None
) -> None:
    with served(undisturbed, tmp_path / "copy") as server:
        team = tmp_path / "team"
        shutil.move(server.folder / "artifacts", team)
        root = {"the team's": team, "one that is gone": tmp_path / "gone", "relative": "team", "a file": __file__}
        set_artifacts_root(Ledger(f"sqlite:///{server.folder}/studies.db").engine, str(root[named]) if named else None)
        for artifact in server.before["artifacts"]:
            answer, body = server.ask("GET", f"/artifacts/1/{artifact['artifact_id']}")
            if named == "the team's":
                assert answer.status == 200 and body == (team / artifact["artifact_id"]).read_bytes()
            else:
                assert answer.status == 404 and body.count(b"\n") == 1
                assert str(server.folder / "artifacts").encode() in body
                assert (b" and " in body) == (named in ("one that is gone", "a file"))
        assert not (server.folder / "artifacts").exists()


def test_changes_stay_in_the_dashboards_own_folder(undisturbed: TinyStudy, tmp_path: Path) -> None:
    with served(undisturbed, tmp_path / "copy", allow_edit=True) as server:
        team = tmp_path / "team"
        shutil.move(server.folder / "artifacts", team)
        files = sorted(team.iterdir())
        set_artifacts_root(Ledger(f"sqlite:///{server.folder}/studies.db").engine, str(team))
        place = server.upload(b"x", "a.wav")
        assert server.listed() == [place.rpartition("/")[2]] and server.ask("GET", place)[1] == b"x"
        assert server.ask("DELETE", "/api/studies/1", {})[0].status == 204
        assert server.listed() == [] and sorted(team.iterdir()) == files


def test_the_environment_names_the_folder(
    call: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch, undisturbed: TinyStudy
) -> None:
    told: list[str | None] = []
    monkeypatch.setattr("nebula_tune.dashboard.server.serve", lambda *_, artifacts, **__: told.append(artifacts))
    monkeypatch.setenv("NEBULA_TUNE_ARTIFACTS", "/srv/artifacts")
    for options in ([], ["--artifacts", "mine"]):
        assert call("dashboard", "--storage", undisturbed.storage, *options).code == 0
    assert told == ["/srv/artifacts", "mine"]


def test_a_dashboard_begins_before_a_teams_first_run(
    call: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch, postgres: Postgres
) -> None:
    with psycopg.connect(postgres.url(database="postgres"), autocommit=True) as admin:
        admin.execute("CREATE DATABASE nobodys")
    shown: list[list[str]] = []
    monkeypatch.setattr("nebula_tune.dashboard.server.serve", lambda ledger, *_, **__: shown.append(ledger.names()))
    assert call("dashboard", "--storage", postgres.url(database="nobodys")).code == 0
    assert shown == [[]]
    refused = call("dashboard", "--storage", "sqlite:///none.db")  # a mistyped file is none of these
    assert refused.code == 2 and "no studies here" in refused.line and not Path("none.db").exists()
