"""What a run finds out, typed: the parts of its report, each to JSON and back.

Reports that earlier versions stored lack parts: those fields are optional, and a part that is not there is left out of
the JSON, unless it is said to be None.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict


def figure(distance: float) -> str:
    """A distance in digits: they are thousands under one embedding and thousandths under another."""
    return f"{distance:.1f}" if abs(distance) >= 100 else f"{distance:.4g}"


class Found(BaseModel):
    """Something found out. Unknown keys of a later version are read over."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    def to_json(self) -> dict[str, Any]:
        """As JSON: fields in their order, without those that were never given."""
        return self.model_dump(mode="json", exclude_unset=True)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Inverse of :meth:`to_json`."""
        return cls.model_validate(content)


class Row(Found):
    """A line of a score card: how far sounds are from the held-out part of a target.

    Attributes:
        mmd: eq. 2 of the paper.
        mmd_unbiased: the unbiased estimate, with its 95 % interval ``ci95``.
        p_value: of "both follow one law".
        n, m: sounds, and held-out sounds.
        parts: the same under each of several embeddings, by name.
        shares: of the sounds that penalties count, by :data:`nebula_tune.penalties.SHARES`.
    """

    mmd: float
    mmd_unbiased: float
    ci95: tuple[float, float]
    p_value: float
    n: int
    m: int
    parts: dict[str, Row] | None = None
    shares: dict[str, float] | None = None


class Spread(Found):
    """A nebula's own spread E d(x, x') (section 6.2), its 95 % interval, and the shares that penalties count."""

    value: float
    ci95: tuple[float, float]
    silent: float
    clipped: float
    under_midi_24: float
    over_midi_108: float
    wide_sweep: float


class Reached(Found):
    """How near a pool of sounds comes to one target sound: see :func:`nebula_tune.evaluate.reach.reach`."""

    name: str
    to_pool: float
    to_target: float
    ratio: float
    cluster: int


class ReachedCluster(Found):
    """How near a pool comes to a cluster of target sounds; the names of the farthest are examples."""

    cluster: int
    size: int
    unreached: int
    median_ratio: float
    examples: list[str]


class Reach(Found):
    """How near a pool of sounds comes to a target: see :func:`nebula_tune.evaluate.reach.reach`."""

    pool: int
    unreached: float
    median_ratio: float
    clusters: list[ReachedCluster]
    sounds: list[Reached]


class SecondOpinion(Found):
    """The score card under an embedding that nothing was tuned on.

    ``told_apart``: a linear classifier's balanced accuracies under it, of runs before there was a network judge.
    """

    embedding: str
    heldout: dict[str, Row]
    told_apart: dict[str, float | int | str] | None = None


class Verdicts(Found):
    """How easily judges tell each nebula's sounds from real ones, by the nebula's name; 0.5 = cannot tell.

    Attributes:
        real: which part of the target the real sounds are, ``real_sounds`` their number.
        network: areas under the ROC.
        linear: balanced accuracies.
    """

    real: str
    real_sounds: int
    network: dict[str, float]
    linear: dict[str, float]


class Novelty(Found):
    """Whether a constellation's sounds are new: see :func:`nebula_tune.evaluate.novelty.novelty`."""

    to_atoms: float
    among_atoms: float | None
    to_target: float
    among_real: float
    copies: float


class FittedRound(Found):
    """A round of fitting a constellation: what was tried on validation sounds, and what did best."""

    round: int
    shrinkage: float
    spread: float
    best: float
    by_shrinkage: dict[str, float]
    by_spread: dict[str, float]
    effective_atoms: float


class FittedConstellation(Found):
    """How a constellation was fitted; ``value`` is J of its weights, at most ``gap`` above the least there is."""

    spread: float
    shrinkage: float
    rounds: int
    atoms: int
    effective_atoms: float
    value: float
    gap: float
    lost_by_pruning: float
    validation: list[FittedRound]


class ConstellationFile(Found):
    """Where a constellation was written."""

    file: str


class ConstellationReport(FittedConstellation, ConstellationFile):
    """A constellation's file, how it was fitted, and how new its sounds are."""

    novelty: Novelty


class Judged(Found):
    """What is said of the tuned nebula, of the start, of the hand-made one, and of the constellation."""

    heldout: dict[str, Row] | None
    gap_closed: float | None
    spread: dict[str, Spread] | None = None
    improves: bool | None = None
    reach: Reach | None = None
    other: SecondOpinion | None = None
    told_apart: Verdicts | None = None
    doubts: list[str] | None = None
    constellation: ConstellationReport | None = None


class ChosenCandidate(Found):
    """An end or snapshot of a search: after so many ``trials`` of a phase, so far from the held-in sounds."""

    phase: int
    sampler: str
    trials: int
    distance: float


class Chosen(Found):
    """Which candidate an embedding that no trial heard found nearest, by fresh ``sounds`` of each."""

    by: str
    sounds: int
    chosen: int
    candidates: list[ChosenCandidate]


class EndedEarly(Found):
    """A phase that ended before all its trials: its score no longer moved."""

    phase: int
    sampler: str
    trials: int
    of: int


class SearchReport(Found):
    """How a search went; ``divergence_from_start`` of its result is in nats."""

    ended_early: list[EndedEarly] = []
    chosen: Chosen | None = None
    divergence_from_start: float | None = None


class StudyReport(Found):
    """What a report is about: the study, its files, trials (by phase, with failures), time and target."""

    study: str
    storage: str
    nebula: str
    embedding: str
    distance: str = "l1"
    trials: dict[str, int]
    seconds: float
    target: dict[str, Any] | None


class RunReport(StudyReport, Judged, SearchReport):
    """The whole of what a finished study tells: how the search went, what is said of its nebula, what it is about."""

    @classmethod
    def joined(cls, searched: SearchReport, judged: Judged, about: StudyReport) -> Self:
        """The whole of its three parts; what a part was never given, the whole is not either."""
        parts = (searched, judged, about)
        return cls(**{name: getattr(part, name) for part in parts for name in part.model_fields_set})
