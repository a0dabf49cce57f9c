"""Where a study's things are kept when nobody says: database, log, the dashboard's sounds."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

DEFAULT_URL = "sqlite:///studies/nebula-tune.db"
ELSEWHERE = Path("studies")  # the folder of what belongs to a database that is no file


def default_log(url: str) -> Path:
    """The log of runs: beside the database where that is a file, else in studies/."""
    file = database_file(url)
    return file.with_suffix(".log") if file else ELSEWHERE / "nebula-tune.log"


def default_artifacts(url: str) -> Path:
    """The folder of sounds and pictures: beside the database where that is a file, else in studies/."""
    file = database_file(url)
    return (file.parent if file else ELSEWHERE) / "artifacts"


def database_file(url: str) -> Path | None:
    """The file of a SQLite URL, also where its name is a URI (``file:...``); None for a server's."""
    import sqlalchemy as sa

    parsed = sa.engine.make_url(url)
    if parsed.get_backend_name() != "sqlite" or not parsed.database:
        return None
    name = parsed.database
    return Path(unquote(name.removeprefix("file:")) if name.startswith("file:") else name)
