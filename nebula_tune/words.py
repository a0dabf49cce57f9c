"""Words from outside (names of files and folders, of listeners, what a library says), made fit to be shown.

Inside, a file's name stays what the system gave; :func:`printable` is for where it leaves: page, terminal, csv, JSON.
"""

from __future__ import annotations

import codecs
import json
import os
import re
import unicodedata
from typing import Any
from urllib.parse import quote_from_bytes, unquote_to_bytes

# Control characters, what changes the direction of text or has no width, halves of characters, ends of lines.
HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")  # of no such kind, and yet not to be seen
NO_BYTE = re.compile("[\ud800-\udc7f\udd00-\udfff]")  # halves that Python uses for no byte of a name
BYTES = "bytes:"
PLAIN = {"…": "...", "–": "-", "—": "-", "−": "-", "→": "->", "±": "+-", "×": "x", "’": "'", "“": '"', "”": '"'}


def printable(text: str) -> str:
    r"""The text with everything visible: ``\xe9`` for a byte that is not UTF-8, ``\x1b`` for ESC, ``\u202e``."""
    if text.isascii() and text.isprintable():
        return text
    text = NO_BYTE.sub(lambda half: f"\\u{ord(half[0]):04x}", text)
    text = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(_escaped(letter) if _is_hidden(letter) else letter for letter in text)


def _is_hidden(letter: str) -> bool:
    return unicodedata.category(letter) in HIDDEN or letter in BLANK


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")


def all_printable(value: Any) -> Any:
    """JSON with every text in it printable."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {all_printable(key): all_printable(item) for key, item in value.items()}
    return [all_printable(item) for item in value] if isinstance(value, list | tuple) else value


def json_text(value: Any) -> str:
    """JSON for others to read: every text in it printable."""
    return json.dumps(all_printable(value), indent=1)


def json_line(value: Any) -> str:
    """The same in one line, for what goes on telling."""
    return json.dumps(all_printable(value))


def kept(name: str) -> str:
    """A file's name as text that any database keeps; :func:`name_kept` gives the name again."""
    if name.startswith(BYTES) or re.search("[\udc80-\udcff]", name):
        return BYTES + quote_from_bytes(os.fsencode(name))
    return name


def name_kept(text: str) -> str:
    """Inverse of :func:`kept`."""
    return os.fsdecode(unquote_to_bytes(text.removeprefix(BYTES))) if text.startswith(BYTES) else text


def plainer(error: UnicodeError) -> tuple[str, int]:
    """For an output whose encoding lacks some characters: others in their place, or their escapes."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(PLAIN.get(letter) or _escaped(letter) for letter in lacking), error.end


DEGRADING = "nebula-tune-degrading"  # a way to deal with such outputs, for `errors=`
codecs.register_error(DEGRADING, plainer)
