"""What `compare` is asked for and what it finds out, typed: rows, contributions, corpora, and the whole as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from nebula_tune.corpus.folder import Skipped
from nebula_tune.corpus.groups import GroupBy
from nebula_tune.errors import SettingsError
from nebula_tune.evaluate.telling import Verdict


@dataclass(frozen=True)
class Protocol:
    """How corpora are compared: sounds of each at most, sounds a trial (None: 1000, or half of the smaller corpus),
    trials, what is a group, the synth of nebulae, the seed, whether judges also tell corpora apart, and the synth's
    panel. Raises SettingsError for what cannot be."""

    sounds: int = 2000
    n: int | None = None
    trials: int = 1000
    group_by: str = "auto"
    synth: str = "voice"
    seed: int = 0
    told_apart: bool = False
    panel: str | None = None

    def __post_init__(self) -> None:
        GroupBy.named(self.group_by)
        if self.sounds < 16 or self.trials < 2 or (self.n is not None and self.n < 2):
            raise SettingsError("--sounds is at least 16, --trials at least 2, --n at least 2")
        if not 0 <= self.seed < 2**31:
            raise SettingsError(f"--seed {self.seed}: 0 to {2**31 - 1}")


@dataclass(frozen=True)
class DescribedCorpus:
    """What a comparison says of one of its corpora."""

    name: str
    sounds: int
    grouped_by: str
    groups: int
    skipped: tuple[Skipped, ...]


@dataclass(frozen=True)
class Distances:
    """How far corpus ``a`` is from ``b``, or from itself: see :func:`nebula_tune.evaluate.compare.compare`.

    Attributes:
        mmd_mean, mmd_std: of eq. 2 over trials of ``n`` against n sounds.
        mmd_unbiased: the unbiased estimate, with its 95 % interval ``ci95`` and ``p_value``; None where there is none.
        told_apart: each judge's verdict; None where it was not asked for, or a corpus has too few groups.
    """

    a: str
    b: str
    mmd_mean: float
    mmd_std: float
    n: int
    mmd_unbiased: float | None = None
    ci95: tuple[float, float] | None = None
    p_value: float | None = None
    told_apart: Verdict | None = None


@dataclass(frozen=True)
class Contribution:
    """The part of one sound (``file``) in the distance of its corpus to another."""

    corpus: str
    against: str
    file: str
    contribution: float
    distance_to_other: float
    distance_to_own: float


@dataclass(frozen=True)
class Comparison:
    """All corpora under one embedding: rows, nearest first, and each sound's contribution, farthest first."""

    embedding: str
    distance: str
    prepare: str
    protocol: Protocol
    corpora: tuple[DescribedCorpus, ...]
    rows: tuple[Distances, ...]
    notes: tuple[str, ...]
    files: tuple[Contribution, ...]

    def to_json(self) -> dict[str, Any]:
        """As JSON, without the contributions; rows have verdicts where judges were asked for."""
        fields = {key: value for key, value in vars(self).items() if key != "files"}
        rows = [vars(row) for row in self.rows]
        if not self.protocol.told_apart:
            rows = [{key: value for key, value in row.items() if key != "told_apart"} for row in rows]
        corpora = [asdict(corpus) | {"skipped": [file.as_json() for file in corpus.skipped]} for corpus in self.corpora]
        return fields | {"protocol": asdict(self.protocol), "corpora": corpora, "rows": rows}
