"""A database's URL as users write it: taken in every usual form, or refused in a line that shows no password."""

from __future__ import annotations

import importlib.util
import re
from urllib.parse import quote, quote_plus, unquote

import sqlalchemy as sa

from nebula_tune.errors import StudyError
from nebula_tune.storage.paths import DEFAULT_URL

POSTGRES_LIKE = "postgresql://USER:PASSWORD@HOST:5432/DATABASE"
URI_SETTINGS = {"mode", "cache", "immutable", "nolock", "psow", "vfs"}  # SQLite's, sqlite.org/uri.html
DRIVER_SETTINGS = {"timeout", "uri", "isolation_level", "detect_types", "check_same_thread", "cached_statements"}
# A setting or a login where the name of a host, a file or a database should be.
STRAY = re.compile(r"\b(pass|passwd|password|pwd|secret|token)\s*=|^[^/]*:[^/]*@", re.I)
PLAIN_SETTINGS = URI_SETTINGS | DRIVER_SETTINGS | {
    "application_name", "connect_timeout", "host", "hostaddr", "passfile", "port", "service", "sslcert", "sslmode",
    "sslrootcert", "target_session_attrs", "user",
}  # fmt: skip
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
    if any(STRAY.search((part or "").removeprefix("file:")) for part in (parsed.host, parsed.database)):
        way = DEFAULT_URL if backend == "sqlite" else POSTGRES_LIKE
        raise StudyError(
            f"--storage {_safe(url)}: a password or a login stands at the wrong place; write it like {way}"
        )
    return _sqlite(url, parsed) if backend == "sqlite" else _postgresql(url, parsed)


def shown(url: str) -> str:
    """A normalised URL without its password, and without the values of settings that may hold one."""
    parsed = sa.engine.make_url(url)
    query = {name: value if name in PLAIN_SETTINGS else HIDDEN for name, value in parsed.query.items()}
    if parsed.username and ":" in parsed.username:  # a login that was quoted as a whole
        parsed = parsed.set(username=parsed.username.partition(":")[0], password=HIDDEN)
    return _rendered(parsed.set(query=query), hide_password=True).replace(HIDDEN, "***")


def without_password(text: str, url: str) -> str:
    """Others' words with the password of a normalised URL taken out."""
    parsed = sa.engine.make_url(url)
    secrets = [str(parsed.password or ""), (parsed.username or "").partition(":")[2]]
    for name, value in parsed.query.items():
        if name not in PLAIN_SETTINGS:
            secrets += [value] if isinstance(value, str) else value
    secrets += [url] if any(secrets) else []
    forms = {form for each in secrets for form in (each, quote(each, safe=""), quote_plus(each), repr(each)[1:-1])}
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
    """As much of a refused URL as can hold no part of a password: its beginning, or all of it."""
    scheme = re.match(r"\w+(\+\w+)?://|(sqlite|postgres(ql)?)(\+\w+)?:/*", url)
    start = scheme[0] if scheme else ""
    place, mark, settings = url[len(start) :].partition("?")
    if re.search("[@:;=&]", place) or "@" in settings:
        return repr(f"{start}...")
    return repr(f"{start}{place}{mark}{'...' if settings else ''}")


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
