"""What a run can be told, checked, and what it is called."""

from __future__ import annotations

import hashlib
import math
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from nebula_tune.corpus.groups import GroupBy
from nebula_tune.corpus.source import Source
from nebula_tune.errors import SettingsError
from nebula_tune.files import LONGEST_STEM
from nebula_tune.words import printable

NAME = re.compile(r"\w[\w.-]{0,99}")
RESERVED = ("default", "drum", "white-noise")


@dataclass(frozen=True, kw_only=True)
class StudyOptions:
    """What decides the result. Defaults and meaning of each are those of `tune.py:tune`, here and below."""

    target: str | None
    study: str
    objective: str | None
    embedding: str | None
    distance: str | None
    weights: str | None
    trials: int | None
    sounds: int | None
    tune: Sequence[str]
    freeze: Sequence[str]
    start: str
    seed: int
    group_by: str
    against: str | None
    synth: str
    panel: str | None
    target_sounds: int
    constellation: bool | None
    classes: bool


@dataclass(frozen=True, kw_only=True)
class ExecutionOptions:
    """Where trials are scored and for how long; the study ends as it would anywhere."""

    executor: str
    workers: int | None
    ray_address: str | None
    gpu_share: float
    task_timeout: float | None
    ray_patience: float
    time_limit: float | None
    metrics_port: int | None
    metrics_host: str


@dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """What is kept of the study, and where: its name in which database, its files."""

    name: str | None
    storage: str
    out: str | None
    force: bool
    log: str | None
    artifacts: str | None
    no_report: bool


Group = TypeVar("Group", StudyOptions, ExecutionOptions, OutputOptions)


@dataclass(frozen=True, kw_only=True)
class Options:
    """Everything a run can be told."""

    study: StudyOptions
    execution: ExecutionOptions
    output: OutputOptions

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Options:
        """From all options by name: each in its group."""

        def group(kind: type[Group]) -> Group:
            return kind(**{option.name: given[option.name] for option in fields(kind)})

        return cls(study=group(StudyOptions), execution=group(ExecutionOptions), output=group(OutputOptions))


def command_of(study: StudyOptions, name: str) -> str:
    """The command line that makes a study: what decides its result, and no place that may hold a password.

    Args:
        study: what the run was told.
        name: the study's.
    """
    words = ["nebula-tune", "run"]
    for option in fields(study):
        value, text = getattr(study, option.name), f"--{option.name.replace('_', '-')}"
        if isinstance(value, bool):  # one that is not on by itself, or one that is neither unless it is said
            words += [text] if value else ["--no-constellation"] if option.name == "constellation" else []
        elif value is not None:
            each = [value] if isinstance(value, str | int) else value
            words += [word for item in each for word in (text, str(item))]
    return printable(shlex.join([*words, "--name", name]))


def check(options: Options) -> None:
    """Refuse what no run could use. Raises SettingsError."""
    study, limit, name = options.study, options.execution.time_limit, options.output.name
    GroupBy.named(study.group_by)
    if limit is not None and not 0 < limit < math.inf:
        raise SettingsError(f"--time-limit {limit}: minutes above 0; without it there is no limit")
    if not 0 <= study.seed < 2**31:
        raise SettingsError(f"--seed {study.seed}: 0 to {2**31 - 1}")
    if study.target_sounds < 16:
        raise SettingsError(f"--target-sounds {study.target_sounds}: at least 16")
    if name is not None and (name in RESERVED or printable(name) != name or not NAME.fullmatch(name)):
        raise SettingsError(
            f"--name {name!r}: letters, digits, '.', '-' and '_', neither '.' nor '-' first, and none of "
            f"{', '.join(RESERVED)}"
        )


def study_name(source: Source) -> str:
    """A study's name from its target."""
    name = re.sub(r"[^\w.-]+", "-", source.name).strip("-.") or "target"
    return fitting(f"like-{name}" if name in RESERVED else name)


def fitting(name: str) -> str:
    """A derived name, cut where the names of files made from it would be too long; a digest tells cut names apart."""
    encoded = name.encode(errors="surrogateescape")
    if len(encoded) <= LONGEST_STEM:
        return name
    mark = f"-{hashlib.sha256(encoded).hexdigest()[:8]}"
    return encoded[: LONGEST_STEM - len(mark)].decode(errors="ignore").rstrip("-.") + mark
