"""A database's URL: taken as others write it, or refused with the way out; never a part of a password."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from nebula_tune.cli.arguments import masked
from nebula_tune.errors import StudyError
from nebula_tune.storage.address import normalise_url, shown, without_password
from nebula_tune.storage.database import database_errors
from nebula_tune.storage.ledger import Ledger
from nebula_tune.storage.paths import database_file, default_artifacts, default_log
from tests.study.tiny import TinyStudy

PASSWORDS = [
    "s3cret",
    "s3cr@t",
    "a@",
    "a/b",
    "a:b",
    "a?b",
    "a#b",
    "p@x?y@z",
    "100%",
    "%zz",
    "a b",
    "ä€",
    "[x]",
    "a&b=c",
]
PLACES = ["h/db", "h:5432/db", "[::1]:5432/db", "h/db?sslmode=require", "h/db?options=x@y"]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("password", PASSWORDS)
@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_a_password_may_have_any_letters_as_it_is(scheme: str, password: str, place: str) -> None:
    url = normalise_url(f"{scheme}://user:{password}@{place}")
    parsed, plain = sa.engine.make_url(url), sa.engine.make_url(f"postgresql://{place.replace('x@y', 'x%40y')}")
    assert parsed.get_backend_name() == "postgresql" and (parsed.username, parsed.password) == ("user", password)
    assert (parsed.host, parsed.port, parsed.database, parsed.query) == (
        plain.host, plain.port, plain.database, plain.query,
    )  # fmt: skip
    assert normalise_url(url) == url
    assert password not in shown(url)


@pytest.mark.parametrize("query", ["password=s3cret", "sslmode=require&password=s3cret", "sslpassword=s3cret"])
@pytest.mark.parametrize("login", ["", "user@"])
def test_a_password_among_the_settings_is_taken_and_not_shown(login: str, query: str) -> None:
    url = normalise_url(f"postgresql://{login}h/db?{query}")
    parsed = sa.engine.make_url(url)
    assert "s3cret" in (parsed.password, *parsed.query.values())
    assert "s3cret" not in shown(url)
    said = f'connection to "h" failed: s3cret, {"s3cret"!r} are wrong'
    assert "s3cret" not in without_password(said, url)
    with pytest.raises(StudyError) as refused, database_errors(url):
        raise RuntimeError(f"no password supplied in {url}")
    assert "s3cret" not in str(refused.value)


REFUSED = {
    "postgresql:/user:s3cret@h/db": "postgresql://USER:PASSWORD@HOST",
    "postgres:user:s3cret@h/db": "postgresql://USER:PASSWORD@HOST",
    "user:s3cret@h/db": "sqlite:///studies/nebula-tune.db",
    "postgresql://user:s3cret@h:99999/db": "PostgreSQL's is 5432",
    "postgresql://user:s3cret@h:x/db": "PostgreSQL's is 5432",
    "postgresql://user:s3cret@h:5432:1/db": "postgresql://USER:PASSWORD@HOST",
    "mysql://user:s3cret@h/db": "sqlite or postgresql",
    "": "sqlite:///studies/nebula-tune.db",
    "studies.db": "sqlite:///studies/nebula-tune.db",
    "sqlite:/studies.db": "sqlite:///studies/nebula-tune.db",
    "sqlite://studies.db": "names no file",
    "sqlite://": "names no file",
    "sqlite:///:memory:": "lost with its process",
    "sqlite:///file:x?mode=memory&uri=true": "lost with its process",
    "sqlite:///x.db?readonly=1": "SQLite has no setting readonly; there are cache, immutable, mode",
}


@pytest.mark.parametrize(("url", "way"), REFUSED.items())
def test_what_is_no_url_is_refused_with_the_way_out(url: str, way: str) -> None:
    with pytest.raises(StudyError) as refused:
        normalise_url(url)
    message = str(refused.value)
    assert way in message and "\n" not in message and message.startswith("--storage ")
    assert not [part for part in ("s3cret", "cret@", "3cret") if part in message]


SECRET = "s3cretQ"
FORMS = [  # every way in which people write a password, right ones and wrong ones
    "postgresql://u:{}@h/db", "postgres://u:x@{}@h/db", "postgresql://u:{}@x@h/db", "postgresql://u%3A{}@h/db",
    "postgresql://:{}@h/db", "postgresql://u:{}@", "postgresql://u:{}", "postgresql://u:{}@h:x/db", "postgresql://u:{}@h:0",
    "postgresql:/u:{}@h/db", "postgresql:u:{}@h/db", "postgresql//u:{}@h/db", "//u:{}@h/db", "u:{}@h/db", " postgresql://u:{}@h/db",
    "postgresql://h/db?password={}", "postgresql://h/db?PASSWORD={}", "postgresql://h/db?password=x&password={}",
    "postgresql:/h/db?password={}", "postgresql://u@h/db?sslpassword={}", "postgresql://h/db&password={}",
    "postgresql://h:5432&password={}", "postgresql://h/db?options=-c%20password%3D{}", "postgresql://h/db?passwd={}",
    "jdbc:postgresql://h/db?user=u&password={}", "host=h user=u password={}", "postgresql;user=u;password={}",
    "mysql://u:{}@h/db", "https://u:{}@h/db", "postgresql+none://u:{}@h/db", "postgresql://u:{}@h/db#x",
    "sqlite://u:{}@h/db", "sqlite:/u:{}@h/db", "sqlite:///u:{}@h/db", "sqlite:///x.db?password={}", "sqlite:///x.db;password={}",
    "sqlite:///file:u:{}@x.db",
]  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_no_form_of_a_url_shows_its_password(form: str) -> None:
    url = form.format(SECRET)
    try:
        normal = normalise_url(url)
    except StudyError as error:
        said = str(error)
    else:
        said = shown(normal) + without_password(f"connection with {url!r}, that is {normal}, failed", normal)
    assert said and SECRET not in said
    assert SECRET not in masked(url) and SECRET not in masked(f"--storage={url}")


@pytest.mark.parametrize(
    "arguments",
    [
        "status URL",
        "status x URL",
        "URL",
        "copy x --to URL",
        "status --storage=URL",
        "compare URL drum",
        "export x --trial URL",
    ],
)
@pytest.mark.parametrize("form", ["postgresql://u:{}@h:x/db", "postgresql:/u:{}@h/db", "sqlite:///x.db?password={}"])
def test_no_command_that_fails_repeats_a_password(form: str, arguments: str, call) -> None:
    outcome = call(*(word.replace("URL", form.format(SECRET)) for word in arguments.split()))
    assert outcome.code != 0 and outcome.line and SECRET not in outcome.out + outcome.err


@pytest.mark.parametrize(
    "url", ["sqlite:///a/b.db", "sqlite:///b.db?mode=ro", "postgresql://u@h:5432/db", "/sounds/a: b", "x"]
)
def test_an_argument_without_a_password_is_not_masked(url: str) -> None:
    assert masked(url) == url or "@" in url


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:///{}/a b.db?mode=ro&uri=true", "sqlite:///{}/a b.db?mode=ro", "sqlite:///file:{}/a b.db",
        "sqlite:///file:{}/a%20b.db?mode=ro&uri=true", "sqlite:///file://{}/a b.db?mode=rwc&timeout=5",
    ],
)  # fmt: skip
def test_the_file_of_a_uri_is_the_one_that_is_read(url: str, tmp_path: Path) -> None:
    normal = normalise_url(url.format(tmp_path))
    assert database_file(normal) == tmp_path / "a b.db"
    assert default_log(normal) == tmp_path / "a b.log" and default_artifacts(normal) == tmp_path / "artifacts"
    assert normalise_url(normal) == normal
    with closing(sqlite3.connect(tmp_path / "a b.db")) as connection:
        connection.execute("CREATE TABLE here (x)")
    engine = sa.create_engine(normal)
    assert sa.inspect(engine).get_table_names() == ["here"]
    engine.dispose()
    assert [path.name for path in tmp_path.iterdir()] == ["a b.db"]


@pytest.mark.parametrize("query", ["", "?mode=ro", "?mode=ro&uri=true", "?mode=rwc"])
@pytest.mark.parametrize(
    "command",
    [["status"], ["status", "x"], ["export", "x"], ["report", "x"], ["delete", "x", "--yes"],
     ["copy", "x", "--to", "sqlite:///to.db"]],
    ids=" ".join,
)  # fmt: skip
def test_reading_makes_no_database(command: list[str], query: str, call, tmp_path: Path) -> None:
    (tmp_path / "empty.db").touch()
    for name, message in {"none": "none.db does not exist", "empty": "has no tables"}.items():
        outcome = call(*command, "--storage", f"sqlite:///{name}.db{query}")
        assert outcome.code == 2 and message in outcome.line
    assert [(path.name, path.stat().st_size) for path in tmp_path.iterdir()] == [("empty.db", 0)]


def test_studies_are_read_by_uri(undisturbed: TinyStudy, call, tmp_path: Path) -> None:
    database = undisturbed.folder / "studies.db"
    for url in (
        f"sqlite:///{database}?mode=ro&uri=true",
        f"sqlite:///file:{database}",
        f"sqlite:///{database}?mode=ro",
    ):
        assert "tiny" in call("status", "--storage", url).out
    assert call("copy", "nope", "--to", "sqlite:///to.db", "--storage", f"sqlite:///{database}").code == 2
    assert list(tmp_path.iterdir()) == []
    assert Ledger(f"sqlite:///file:{database}", create=False).names() == ["tiny"]
