"""What a run can be told, checked, and what it is called."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from nebula_tune.corpus.groups import GroupBy
from nebula_tune.corpus.source import Source
from nebula_tune.embedding.embed import SYNTHETIC_SOUNDS
from nebula_tune.errors import SettingsError
from nebula_tune.storage.paths import DEFAULT_URL

RESERVED = ("default", "drum", "white-noise")


@dataclass(frozen=True, kw_only=True)
class Options:
    """Everything `nebula-tune run` can be told; see its --help."""

    target: str | None = None
    study: str = "auto"
    objective: str | None = None
    embedding: str | None = None
    weights: str | None = None
    trials: int | None = None
    sounds: int | None = None
    tune: Sequence[str] = ()
    freeze: Sequence[str] = ()
    start: str = "default"
    name: str | None = None
    storage: str = DEFAULT_URL
    workers: int | None = None
    executor: str = "auto"
    ray_address: str | None = None
    gpu_share: float = 1.0
    task_timeout: float | None = None
    seed: int = 0
    out: str | None = None
    force: bool = False
    time_limit: float | None = None
    group_by: str = "auto"
    against: str | None = None
    synth: str = "voice"
    target_sounds: int = SYNTHETIC_SOUNDS
    log: str | None = None
    artifacts: str | None = None
    no_report: bool = False
    distance: str | None = None
    constellation: bool | None = None
    classes: bool = False


def check(options: Options) -> None:
    """Refuse what no run could use. Raises SettingsError."""
    GroupBy.named(options.group_by)
    if options.time_limit is not None and options.time_limit <= 0:
        raise SettingsError(f"--time-limit {options.time_limit}: minutes above 0")
    if not 0 <= options.seed < 2**31:
        raise SettingsError(f"--seed {options.seed}: 0 to {2**31 - 1}")
    if options.target_sounds < 16:
        raise SettingsError(f"--target-sounds {options.target_sounds}: at least 16")
    if options.name is not None and (options.name in RESERVED or not re.fullmatch(r"[\w.-]{1,100}", options.name)):
        raise SettingsError(
            f"--name {options.name!r}: letters, digits, '.', '-' and '_', and none of {', '.join(RESERVED)}"
        )


def study_name(source: Source) -> str:
    """A study's name from its target."""
    name = re.sub(r"[^\w.-]+", "-", source.name).strip("-.") or "target"
    return f"like-{name}" if name in RESERVED else name
