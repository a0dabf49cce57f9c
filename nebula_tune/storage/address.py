"""A database's URL as users write it: taken in every usual form, or refused in a line that shows no password."""

from __future__ import annotations

import importlib.util
import re
from urllib.parse import quote, unquote

import sqlalchemy as sa

from nebula_tune.errors import StudyError
from nebula_tune.storage.paths import DEFAULT_URL

POSTGRES_LIKE = "postgresql://USER:PASSWORD@HOST:5432/DATABASE"
SECRET = re.compile("pass(?!file)|pwd|secret|token|key$", re.I)  # in the name of a URL's setting
URI_SETTINGS = {"mode", "cache", "immutable", "nolock", "psow", "vfs"}  # SQLite's, sqlite.org/uri.html
DRIVER_SETTINGS = {"timeout", "uri", "isolation_level", "detect_types", "check_same_thread", "cached_statements"}
PLACE = re.compile(r"(.*@)?([^/@:]*|\[[^/@]*\])(:\d+)?/[^/]*")  # login, host, port and database
HIDDEN = "-hidden-"
LEAST_SCRUBBED = 3  # letters of a password that is looked for in others' words; less is in any word


def normalise_url(url: str) -> str:
    """The URL with a driver that is installed, as SQLAlchemy takes it. Raises StudyError for one that cannot be used.

    ``postgres://`` is ``postgresql://``; a password may have any letters as it is, or stand as ``?password=``; of
    SQLite, URIs (``file:``) and their settings (``?mode=ro``) are taken with or without ``uri=true``.
    """
    parsed = _parsed(url)
    backend = parsed.get_backend_name()
    if backend not in ("sqlite", "postgresql"):
        raise StudyError(f"--storage {_safe(url)}: nebula-tune keeps studies in sqlite or postgresql, not in {backend}")
    return _sqlite(url, parsed) if backend == "sqlite" else _postgresql(url, parsed)


def shown(url: str) -> str:
    """A normalised URL without its password."""
    parsed = sa.engine.make_url(url)
    query = {name: HIDDEN if SECRET.search(name) else value for name, value in parsed.query.items()}
    return _rendered(parsed.set(query=query), hide_password=True).replace(HIDDEN, "***")


def without_password(text: str, url: str) -> str:
    """Others' words with the password of a normalised URL taken out."""
    parsed = sa.engine.make_url(url)
    secrets = [str(parsed.password or ""), *(str(value) for name, value in parsed.query.items() if SECRET.search(name))]
    forms = {form for secret in secrets for form in (secret, quote(secret, safe=""), repr(secret)[1:-1])}
    for form in sorted(forms, key=len, reverse=True):
        if len(form) >= LEAST_SCRUBBED:
            text = text.replace(form, "***")
    return text


def _parsed(url: str) -> sa.URL:
    scheme, colon, rest = url.partition("://")
    scheme = scheme.lower()
    if not colon or not re.fullmatch(r"\w+(\+\w+)?", scheme):
        known = re.match(r"(sqlite|postgres(?:ql)?)(?:\+\w+)?:", url)
        way = POSTGRES_LIKE if known and known[1] != "sqlite" else DEFAULT_URL
        raise StudyError(f"--storage {_safe(url)} is not a database URL; write it like {way}")
    if scheme == "postgres" or scheme.startswith("postgres+"):
        scheme = scheme.replace("postgres", "postgresql", 1)
    try:
        parsed = sa.engine.make_url(f"{scheme}://{_quoted(rest) if scheme.startswith('postgresql') else rest}")
        bad_port = parsed.port is not None and not 0 < parsed.port < 2**16
    except sa.exc.ArgumentError:
        raise StudyError(f"--storage {_safe(url)} is not a database URL; write it like {POSTGRES_LIKE}") from None
    except ValueError:
        bad_port = True
    if bad_port:
        raise StudyError(
            f"--storage {_safe(url)}: its port is no number from 1 to {2**16 - 1}; PostgreSQL's is 5432; write it like "
            f"{POSTGRES_LIKE}, with %2F for / and %3F for ? in a password"
        )
    return parsed


def _quoted(rest: str) -> str:
    """What follows ``://``, with user and password quoted: these end at the last @ before the settings."""
    marks = [place.start() for place in re.finditer(r"\?(?=\w+=)", rest) if PLACE.fullmatch(rest[: place.start()])]
    if marks or "@" not in rest.partition("?")[2]:
        end = marks[0] if marks else len(rest.partition("?")[0])
    else:
        end = len(rest)  # each ? is one of the password's letters
    before, settings = rest[:end], rest[end:].replace("@", "%40")
    login, at, place = before.rpartition("@")
    if not at or re.match(r"[^:@]*/", login):  # without a login; an @ further on is the database's
        return before + settings
    user, colon, password = login.partition(":")
    return f"{_escaped(user)}{colon}{_escaped(password)}@{place}{settings}"


def _escaped(word: str) -> str:
    """Quoted, but for what is quoted already."""
    return re.sub(r"%(?![0-9A-Fa-f]{2})", "%25", quote(word, safe="%"))


def _safe(url: str) -> str:
    """As much of a refused URL as can hold no part of a password: all of it, or its beginning and its host."""
    if re.match("sqlite", url) or not re.search("[@?:]", url):
        return repr(url)
    scheme = re.match(r"\w+(\+\w+)?:/*", url)
    before, _, host = url.partition("@")
    after = f"@{host.partition('?')[0]}" if url.count("@") == 1 and "?" not in before else ""
    return repr(f"{scheme[0] if scheme else ''}...{after}")


def _rendered(parsed: sa.URL, hide_password: bool) -> str:
    return parsed.render_as_string(hide_password=hide_password).replace(":///file%3A", ":///file:", 1)


def _postgresql(url: str, parsed: sa.URL) -> str:
    password = parsed.query.get("password")
    if password is not None and parsed.username:  # without a user it stays where it is
        parsed = parsed.difference_update_query(["password"])
        parsed = parsed.set(password=password if isinstance(password, str) else password[-1])
    if parsed.drivername == "postgresql":
        driver = next((name for name in ("psycopg", "psycopg2") if importlib.util.find_spec(name)), None)
        if driver is None:
            raise StudyError("PostgreSQL needs a driver: pip install 'nebula-tune[postgres]'")
        parsed = parsed.set(drivername=f"postgresql+{driver}")
    return parsed.render_as_string(hide_password=False)


def _sqlite(url: str, parsed: sa.URL) -> str:
    name, settings = parsed.database or "", dict(parsed.query)
    unknown = sorted(set(settings) - URI_SETTINGS - DRIVER_SETTINGS)
    if unknown:
        raise StudyError(
            f"--storage {_safe(url)}: SQLite has no setting {', '.join(unknown)}; there are "
            f"{', '.join(sorted(URI_SETTINGS | {'timeout'}))}"
        )
    if parsed.host or not name.removeprefix("file:").strip("/"):
        raise StudyError(f"--storage {_safe(url)} names no file; write it like {DEFAULT_URL}")
    if ":memory:" in name or settings.get("mode") == "memory":
        raise StudyError(
            f"--storage {_safe(url)} is kept by no file, and lost with its process; write it like {DEFAULT_URL}"
        )
    if not name.startswith("file:") and not set(settings) & (URI_SETTINGS | {"uri"}):
        return url
    path = unquote(name.removeprefix("file:")) if name.startswith("file:") else name
    path = re.sub("^//(localhost)?/", "/", path)
    settings |= {"uri": "true"}
    return _rendered(parsed.set(database=f"file:{quote(path)}", query=settings), hide_password=False)
