"""Ballots and keys as files: read strictly, and put together only where they belong together."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import Field, ValidationError

from nebula_tune.errors import SettingsError
from nebula_tune.listening.design import Key, KeyTrial, Record, Side
from nebula_tune.strict import said

Plays = Annotated[int, Field(ge=0)]
LARGEST = 10_000_000  # bytes of a ballot or key

Kind = TypeVar("Kind", bound=Record)


class Answer(Record):
    """One trial's two choices, how often each side was played, and the seconds it took."""

    id: str
    like: Side
    keep: Side
    left_plays: Plays
    right_plays: Plays
    seconds: Annotated[float, Field(ge=0)]


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
    key: Key

    @property
    def listener(self) -> str:
        """The listener's name, or the file's where there is none."""
        return self.ballot.listener.strip() or self.path.stem

    def answered(self, kind: str) -> list[tuple[KeyTrial, Answer]]:
        """Trials of a kind with their answers."""
        answers = {answer.id: answer for answer in self.ballot.answers}
        return [(trial, answers[trial.id]) for trial in self.key.trials if trial.kind == kind and trial.id in answers]


def unblind(ballots: Sequence[Path], keys: Sequence[Path]) -> list[Unblinded]:
    """Every ballot with its key. Raises SettingsError for a file that is none, or a ballot that fits no key."""
    by_hash: dict[str, Key] = {}
    for path in keys:
        content = _bytes(path)
        by_hash[hashlib.sha256(content).hexdigest()] = _parse(path, content, Key, "a listening test's key")
    result = []
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
        result.append(Unblinded(path, ballot, by_hash[ballot.key]))
    return result


def _bytes(path: Path) -> bytes:
    if path.is_file() and path.stat().st_size > LARGEST:
        raise SettingsError(f"{path} is too large to be a ballot or a key")
    try:
        return path.read_bytes()
    except OSError as error:
        raise SettingsError(f"cannot read {path}: {error.strerror}") from error


def _parse(path: Path, content: bytes, kind: type[Kind], what: str) -> Kind:
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise SettingsError(f"{path} is not {what}: {place + ': ' if place else ''}{said(first)}") from None


def _check(path: Path, ballot: Ballot, key: Key) -> None:
    ids = [answer.id for answer in ballot.answers]
    if len(set(ids)) != len(ids) or not set(ids) <= {trial.id for trial in key.trials}:
        raise SettingsError(f"{path} answers trials twice, or one that its test does not have")
