"""Pages that are one file: style, script and data inside, under a policy that forbids them the network."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

from nebula_tune.words import printable

SHARED = Path(__file__).resolve().parent / "templates"


def one_file(folder: Path, name: str, **content: Any) -> bytes:
    """The page ``NAME.html`` of a folder of templates, with ``NAME.css`` and ``NAME.js`` and what all pages share.

    ``content`` is what the template shows; all of it is escaped.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader([folder, SHARED]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_visible,
    )
    style, script = (_joined(folder, name, suffix) for suffix in ("css", "js"))
    page = environment.get_template(f"{name}.html").render(
        **content, style=style, script=script, policy=_policy(style, script)
    )
    return page.encode()


def _visible(value: Any) -> Any:
    """A text with everything in it visible; ends of lines are what they are on a page."""
    if type(value) is not str:  # what is HTML already is of another type
        return value
    return "\n".join(printable(line) for line in value.split("\n"))


def _joined(folder: Path, name: str, suffix: str) -> str:
    parts = (SHARED / f"base.{suffix}", folder / f"{name}.{suffix}")
    return "\n".join(part.read_text(encoding="utf-8") for part in parts)


def _policy(style: str, script: str) -> str:
    """A Content-Security-Policy: this style, this script, the page's own pictures and sounds, nothing else."""
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (style, script)]
    return (
        f"default-src 'none'; style-src 'sha256-{hashes[0]}'; script-src 'sha256-{hashes[1]}'; "
        "img-src data:; media-src data:; base-uri 'none'; form-action 'none'"
    )
