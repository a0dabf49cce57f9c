"""Ballots and keys as files: read strictly, and put together only where they belong together."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import Field, ValidationError

from nebula_tune.documents import UnreadableError, parse_json, read_content
from nebula_tune.errors import SettingsError, shortened
from nebula_tune.listening.design import AmongKey, Key, KeyTrial, Record, Side
from nebula_tune.notices import warn_once
from nebula_tune.strict import said

Plays = Annotated[int, Field(ge=0, lt=2**31)]
LARGEST = 10 * 2**20  # bytes of a ballot or key

Kind = TypeVar("Kind", bound=Record)


class Answer(Record):
    """One trial's two choices, how often each side was played, and the seconds it took."""

    id: str
    like: Side
    keep: Side
    left_plays: Plays
    right_plays: Plays
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Browse(Record):
    """The overall vote after 64 sounds of each, and how many were played."""

    vote: Literal["one", "two"] | None
    one_plays: Plays
    two_plays: Plays


class Ballot(Record):
    """What one listener's page downloads."""

    format: Literal["nebula-tune listening ballot 1"]
    key: str
    listener: str
    started: str
    finished: str | None
    answers: list[Answer]
    browse: Browse


@dataclass(frozen=True)
class Unblinded:
    """A ballot with the key it belongs to."""

    path: Path
    ballot: Ballot
    key: Key | AmongKey

    @property
    def listener(self) -> str:
        """The listener's name, or the file's where there is none."""
        return self.ballot.listener.strip() or self.path.stem

    def answered(self, kind: str) -> list[tuple[KeyTrial, Answer]]:
        """Trials of a kind with their answers."""
        answers = {answer.id: answer for answer in self.ballot.answers}
        return [(trial, answers[trial.id]) for trial in self.key.trials if trial.kind == kind and trial.id in answers]


def unblind(ballots: Sequence[Path], keys: Sequence[Path]) -> list[Unblinded]:
    """Every sitting's ballot with its key; of several of one sitting the fullest, and a warning names the others.

    Raises SettingsError for a file that is none, or a ballot that fits no key.
    """
    by_hash: dict[str, Key | AmongKey] = {}
    for path in keys:
        content = _bytes(path)
        by_hash[hashlib.sha256(content).hexdigest()] = _parse_key(path, content)
    result: list[Unblinded] = []
    seen: dict[str, Path] = {}
    for path in ballots:
        content = _bytes(path)
        ballot = _parse(path, content, Ballot, "a ballot")
        if ballot.key not in by_hash:
            given = ", ".join(str(key) for key in keys)
            raise SettingsError(
                f"{path} is not of this test: its key's SHA-256 is {ballot.key[:16]}…, not that of {given}"
            )
        _check(path, ballot, by_hash[ballot.key])
        digest = hashlib.sha256(content).hexdigest()
        if digest in seen:
            raise SettingsError(f"{path} is the same ballot as {seen[digest]}; give each once")
        seen[digest] = path
        _add(result, Unblinded(path, ballot, by_hash[ballot.key]))
    return result


def _add(unblinded: list[Unblinded], another: Unblinded) -> None:
    """Put a ballot among others; of two of one sitting only the fuller stays, in the place of the first."""
    for place, before in enumerate(unblinded):
        if _same_sitting(before.ballot, another.ballot):
            less, more = sorted((before, another), key=lambda each: _fullness(each.ballot))
            unblinded[place] = more
            warn_once(f"{less.path} is of the same sitting as {more.path}, which has more of it and counts alone")
            return
    unblinded.append(another)


def _same_sitting(ballot: Ballot, other: Ballot) -> bool:
    """Whether two ballots are of one listener's one sitting, downloaded twice.

    Begun in the same millisecond under the same name, with the same choices, but for the trial that was being answered
    when the first was downloaded.
    """
    if (ballot.key, ballot.listener.strip(), ballot.started) != (other.key, other.listener.strip(), other.started):
        return False
    choices = [{answer.id: (answer.like, answer.keep) for answer in ballot.answers} for ballot in (ballot, other)]
    return sum(choices[0][id_] != choices[1][id_] for id_ in choices[0].keys() & choices[1].keys()) <= 1


def _fullness(ballot: Ballot) -> tuple[int, bool, bool, int]:
    played = ballot.browse.one_plays + ballot.browse.two_plays
    return len(ballot.answers), ballot.finished is not None, ballot.browse.vote is not None, played


def _bytes(path: Path) -> bytes:
    try:
        return read_content(path, LARGEST)
    except UnreadableError as error:
        raise SettingsError(f"cannot read {path}: {error}") from error


def _parse_key(path: Path, content: bytes) -> Key | AmongKey:
    """The key of a test of two, or of one among several."""
    what = "a listening test's key"
    with suppress(UnreadableError):  # which is told of below
        data = parse_json(content)
        if isinstance(data, dict) and data.get("format") == AmongKey.model_fields["format"].default:
            return _parse(path, content, AmongKey, what)
    return _parse(path, content, Key, what)


def _parse(path: Path, content: bytes, kind: type[Kind], what: str) -> Kind:
    try:
        return kind.model_validate_json(json.dumps(parse_json(content)))
    except UnreadableError as error:
        raise SettingsError(f"{path} is not {what}: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = shortened(".".join(map(str, first["loc"])))
        raise SettingsError(f"{path} is not {what}: {place + ': ' if place else ''}{said(first)}") from None


def _check(path: Path, ballot: Ballot, key: Key | AmongKey) -> None:
    ids = [answer.id for answer in ballot.answers]
    if len(set(ids)) != len(ids) or not set(ids) <= {trial.id for trial in key.trials}:
        raise SettingsError(f"{path} answers trials twice, or one that its test does not have")
