"""JSON and YAML that others wrote: read within limits, so that no file hangs a command or ends it with a traceback."""

from __future__ import annotations

import codecs
import json
import os
import stat
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

from nebula_tune.errors import UserInputError, brief, shortened

LARGEST = 64 * 2**20  # bytes of a JSON file
LARGEST_YAML = 2**18  # of a YAML file: a thousand times a study's, and seconds of reading
DEEPEST = 100  # levels of a JSON file
DEEPEST_YAML = 20
MOST_NODES = 10_000  # of a YAML file, each as often as an alias names it
LONGEST = 4000  # digits of a whole number in JSON: Python reads few more
LARGEST_WHOLE = 10**300  # of a whole number in YAML: no float is much larger

# What PyYAML raises of itself for tags and numbers that are none, beside YAMLError.
ODD_YAML = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)

MERGE = "tag:yaml.org,2002:merge"  # of the key <<

Place = tuple[str | int, ...]


class UnreadableError(UserInputError):
    """A file that cannot be read as what it should be; says why, not which."""


class InvalidError(UnreadableError):
    """A file whose text is not what it should be."""


def read_content(path: str | Path, largest: int = LARGEST) -> bytes:
    """A regular file's bytes; its size is looked at first. Raises UnreadableError."""
    try:
        # A pipe that nobody writes to is not waited for.
        with open(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb") as file:
            about = os.fstat(file.fileno())
            if not stat.S_ISREG(about.st_mode):
                raise UnreadableError("Is a directory" if stat.S_ISDIR(about.st_mode) else "it is no regular file")
            content = b"" if about.st_size > largest else file.read(largest + 1)
    except (OSError, ValueError) as error:  # ValueError: a name with a zero byte
        if isinstance(error, UnreadableError):
            raise
        raise UnreadableError(str(getattr(error, "strerror", None) or error)) from error
    if about.st_size > largest or len(content) > largest:
        raise UnreadableError(f"it is larger than {largest / 2**20:g} MiB")
    return content


def decoded(content: bytes) -> str:
    """UTF-8 text; a byte-order mark is read over. Raises UnreadableError."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise UnreadableError("it is UTF-16; save it as UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableError(f"it is not UTF-8: {error.reason} at byte {error.start}") from error


def parse_json(content: str | bytes) -> Any:
    """JSON data, each key once, at most DEEPEST levels; NaN and infinities are left in. Raises UnreadableError."""
    text = decoded(content) if isinstance(content, bytes) else content
    try:
        data = json.loads(text, object_pairs_hook=_object, parse_int=_int)
    except json.JSONDecodeError as error:
        raise UnreadableError(f"it is not JSON: {error}") from error
    except RecursionError as error:
        raise UnreadableError("it is nested too deep") from error
    _check_depth(data)
    return data


def read_json(path: str | Path) -> Any:
    """Data of a JSON file, as :func:`parse_json`. Raises UnreadableError."""
    return parse_json(read_content(path))


def read_yaml(path: str | Path) -> tuple[Any, dict[Place, int]]:
    """Data of a YAML file, and the line of each key and item. Safe: only plain data is built.

    An alias is read, as long as all that is named stays small. Raises UnreadableError.
    """
    import yaml

    text = decoded(read_content(path, LARGEST_YAML))
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        lines = _lines(node)
        data = yaml.safe_load(text)
        _check_numbers(data)
    except UnreadableError:
        raise
    except RecursionError as error:
        raise InvalidError("not valid YAML: nested too deep") from error
    except (yaml.YAMLError, *ODD_YAML) as error:
        raise InvalidError(f"not valid YAML: {' '.join(str(error).split())}") from error
    return data, lines


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) < len(pairs):
        raise UnreadableError(f"{brief(_double(pairs))} is given twice")
    return entries


def _double(pairs: list[tuple[str, Any]]) -> str:
    return Counter(key for key, _ in pairs).most_common(1)[0][0]


def _int(digits: str) -> int:
    if len(digits) > LONGEST:
        raise UnreadableError(f"a number of {len(digits)} digits is too large")
    return int(digits)


def _below(data: Any) -> Iterable[Any]:
    return data.values() if isinstance(data, dict) else data if isinstance(data, list) else ()


def _check_depth(data: Any) -> None:
    level = [data]
    for _ in range(DEEPEST):
        level = [part for whole in level for part in _below(whole) if isinstance(part, dict | list)]
        if not level:
            return
    raise UnreadableError("it is nested too deep")


def _check_numbers(data: Any) -> None:
    """A whole number in YAML may be in any base, so it is looked at once it is read."""
    if isinstance(data, int) and abs(data) >= LARGEST_WHOLE:
        raise InvalidError("not valid YAML: a whole number is too large")
    for part in _below(data):
        _check_numbers(part)


def _lines(root: Any) -> dict[Place, int]:
    """The line of each key and item below a YAML node. Raises UnreadableError for what no study needs."""
    import yaml

    lines: dict[Place, int] = {}

    def refuse(node: yaml.Node, why: str) -> NoReturn:
        raise InvalidError(f"not valid YAML: line {node.start_mark.line + 1}: {why}")

    def walk(node: yaml.Node, place: Place) -> None:
        if len(place) > DEEPEST_YAML:  # or an alias within itself
            refuse(node, "nested too deep")
        if len(lines) > MOST_NODES:
            refuse(node, f"more than {MOST_NODES} keys and items, with those that aliases repeat")
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if not isinstance(key, yaml.ScalarNode) or key.tag not in ("tag:yaml.org,2002:str", MERGE):
                    refuse(key, "a key is a plain word")
                below = (*place, key.value)
                if below in lines:
                    refuse(key, f"{shortened(key.value)} is given twice")
                lines[below] = key.start_mark.line + 1
                walk(value, below)
        elif isinstance(node, yaml.SequenceNode):
            for k, value in enumerate(node.value):
                lines[(*place, k)] = value.start_mark.line + 1
                walk(value, (*place, k))

    if root is not None:
        walk(root, ())
    return lines
