"""Study files: what a study does, read strictly from YAML."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from nebula_tune.corpus.prepare import Prepare
from nebula_tune.distance import distance_names
from nebula_tune.documents import InvalidError, UnreadableError, read_yaml
from nebula_tune.embedding import refuse_judge
from nebula_tune.errors import SettingsError
from nebula_tune.files import shipped
from nebula_tune.search import AnySampler, Reevaluation
from nebula_tune.strict import AtLeastOne, Positive, Strict, Weight, first_problem


class SpaceSettings(Strict):
    """Range of curves (log-uniform) and whether symmetric flags are searched."""

    curve: tuple[Positive, Positive] = (0.1, 10.0)
    symmetric: bool = True

    @model_validator(mode="after")
    def _ordered(self) -> SpaceSettings:
        if self.curve[0] >= self.curve[1]:
            raise ValueError("curve is [lowest, highest], lowest first")
        return self


class ReevaluateSettings(Strict):
    """How many of the best trials are scored again, and how often; 0 repeats: not at all.

    With ``halving`` the worse half is dropped round by round, and only the last have all repeats.
    """

    top: AtLeastOne = 25
    repeats: Annotated[int, Field(ge=0, le=2**31)] = 30
    halving: bool = False


class ConstellationSettings(Strict):
    """A constellation fitted on the tuned nebula.

    ``pool`` sounds a round, at most ``rounds`` of them; ``validation`` fresh sounds for each of ``spreads``;
    ``shrinkages`` are the shares of the nebula's own sounds that are mixed into the target, of which the best is taken.
    With ``classes`` the target's sub-folders name classes, each is fitted by itself, and atoms carry their class.
    """

    pool: Annotated[int, Field(ge=64, le=2**18)] = 6144
    rounds: Annotated[int, Field(ge=1, le=4)] = 2
    validation: Annotated[int, Field(ge=128, le=2**16)] = 4096
    spreads: Annotated[tuple[Annotated[float, Field(ge=0, le=1)], ...], Field(min_length=1)] = (
        0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5,
    )  # fmt: skip
    shrinkages: Annotated[tuple[Annotated[float, Field(ge=0, lt=1)], ...], Field(min_length=1)] = (
        0.0, 0.1, 0.2, 0.3, 0.4,
    )  # fmt: skip
    classes: bool = False


class EmbeddingSettings(Strict):
    """An embedding by name, with its own options; its weight among several."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)
    name: str
    weight: Positive = 1.0

    @field_validator("name")
    @classmethod
    def _is_no_judges(cls, name: str) -> str:
        refuse_judge(name)
        return name

    @model_validator(mode="after")
    def _device_is_the_workers(self) -> EmbeddingSettings:
        if "device" in self.options:
            raise ValueError("device is no setting of a study; every worker uses its own")
        return self

    @property
    def options(self) -> dict[str, Any]:
        """All but name and weight."""
        return dict(self.model_extra or {})


def _by_name(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


NamedEmbedding = Annotated[EmbeddingSettings, BeforeValidator(_by_name)]


class GuardSettings(Strict):
    """What each guard weighs: 1 is as much, where all sounds are guilty, as the target's own mean distance."""

    silent: Weight = 0.0
    clipped: Weight = 0.0
    pitch: Weight = 0.0
    sweep: Weight = 0.0

    @property
    def shares(self) -> dict[str, float]:
        """The weight of each share that is counted."""
        return {
            "silent": self.silent,
            "clipped": self.clipped,
            "under_midi_24": self.pitch,
            "over_midi_108": self.pitch,
            "wide_sweep": self.sweep,
        }


class ChooseSettings(Strict):
    """What chooses among a search's ends and snapshots: an embedding that no trial hears, on ``sounds`` fresh ones."""

    embedding: NamedEmbedding
    sounds: Annotated[int, Field(ge=64, le=2**16)] = 512

    @model_validator(mode="after")
    def _has_no_weight(self) -> ChooseSettings:
        if self.embedding.weight != 1:
            raise ValueError("one embedding chooses; a weight goes with several that trials hear")
        return self


DIVERSITY_GUARDS = GuardSettings(silent=1.0, pitch=1.0, sweep=0.5)


class StudySettings(Strict):
    """A whole study file: one embedding, or several with weights."""

    objective: Literal["match", "diversity"] = "match"
    embedding: NamedEmbedding | None = None
    embeddings: tuple[NamedEmbedding, ...] = ()
    distance: str = "l1"
    guards: GuardSettings | None = None
    prior_weight: Weight = 0.0
    tune: tuple[str, ...] = ()
    freeze: tuple[str, ...] = ()
    prepare: Prepare = Prepare.ONSET
    sounds: Annotated[int, Field(ge=8, le=2**24)] = 256
    space: SpaceSettings = SpaceSettings()
    search: Annotated[tuple[AnySampler, ...], Field(min_length=1)]
    reevaluate: ReevaluateSettings = ReevaluateSettings()
    choose: ChooseSettings | None = None
    constellation: ConstellationSettings | None = None
    other_embedding: NamedEmbedding | None = None
    other_sounds: Annotated[int, Field(ge=16, le=1024)] = 256
    judges: bool = True

    @field_validator("distance")
    @classmethod
    def _is_a_distance(cls, name: str) -> str:
        if name not in distance_names():
            raise ValueError(f"it is one of {', '.join(map(repr, distance_names()))}")
        return name

    @field_validator("other_embedding")
    @classmethod
    def _other_has_no_weight(cls, other: EmbeddingSettings | None) -> EmbeddingSettings | None:
        if other is not None and other.weight != 1:
            raise ValueError("one embedding reports; a weight goes with several that trials hear")
        return other

    @model_validator(mode="after")
    def _one_or_several_embeddings(self) -> StudySettings:
        if (self.embedding is None) == (not self.embeddings):
            raise ValueError("give embedding (one) or embeddings (a list of several)")
        if self.embedding is not None and self.embedding.weight != 1:
            raise ValueError("a weight goes with several: embeddings: [{name: …, weight: …}, …]")
        names = [embedding.name for embedding in self.embeddings]
        if len(set(names)) < len(names):
            raise ValueError("embeddings: each once")
        return self

    @property
    def heard(self) -> tuple[EmbeddingSettings, ...]:
        """All embeddings of the study, one or several."""
        return self.embeddings or ((self.embedding,) if self.embedding else ())

    @property
    def heard_as(self) -> str:
        """The embedding's name; of several, each with its weight, as ``--embedding`` takes them."""
        several = ",".join(f"{embedding.name}={embedding.weight:g}" for embedding in self.embeddings)
        return several or self.heard[0].name

    @property
    def chooser(self) -> EmbeddingSettings | None:
        """The embedding that chooses among ends and snapshots; None where trials hear it too, or there is no target."""
        if self.choose is None or self.objective == "diversity":
            return None
        chooser = self.choose.embedding
        return None if chooser.name in {embedding.name for embedding in self.heard} else chooser

    @property
    def second_opinion(self) -> EmbeddingSettings | None:
        """The embedding that reports beside the study's own; None where trials hear it, or it chooses."""
        taken = {embedding.name for embedding in (*self.heard, *filter(None, [self.chooser]))}
        return None if self.other_embedding is None or self.other_embedding.name in taken else self.other_embedding

    @property
    def guarded(self) -> GuardSettings:
        """The study's guards; where it names none, none for a match and DIVERSITY_GUARDS for diversity."""
        return self.guards or (DIVERSITY_GUARDS if self.objective == "diversity" else GuardSettings())

    @property
    def trials(self) -> int:
        """Trials of all phases of the search."""
        return sum(phase.trials for phase in self.search)

    @property
    def reevaluations(self) -> int:
        """Scores of the re-evaluation, with as many trials as it takes at most; none where a chooser chooses."""
        again = self.reevaluate
        if self.chooser is not None:
            return 0
        return Reevaluation(again.top + len(self.search), again.repeats, again.halving).total if again.repeats else 0

    def with_trials(self, total: int) -> StudySettings:
        """The same study with ``total`` trials, phases scaled in proportion (at least one each where there is room)."""
        share = [phase.trials * total / self.trials for phase in self.search]
        counts = [int(s) for s in share]
        by_rest = sorted(range(len(share)), key=lambda k: (counts[k] > 0, counts[k] - share[k]))
        for k in by_rest[: total - sum(counts)]:
            counts[k] += 1
        for k in [k for k, count in enumerate(counts) if count == 0]:
            largest = counts.index(max(counts))
            if counts[largest] > 1:
                counts[largest], counts[k] = counts[largest] - 1, 1
        scaled = [
            phase.model_copy(update={"trials": count})
            for phase, count in zip(self.search, counts, strict=True)
            if count > 0
        ]
        return self.model_copy(update={"search": tuple(scaled)})


def load_study(source: str, onset: Prepare = Prepare.ONSET) -> StudySettings:
    """A study file by path, or a shipped study by name. Raises SettingsError naming file, line and key.

    ``onset`` is the version of preparation that a file means by ``prepare: onset``, and where it says nothing.
    """
    path = Path(source)
    if not path.is_file():
        path = shipped("studies") / f"{source}.yaml"
    if not path.is_file():
        raise SettingsError(f"no study {source!r}: neither a file nor a shipped study ({', '.join(shipped_studies())})")
    try:
        data, lines = read_yaml(path)
    except InvalidError as error:
        raise SettingsError(f"{path}: {error}") from error
    except UnreadableError as error:
        raise SettingsError(f"cannot read study {path}: {error}") from error
    try:
        return StudySettings.model_validate_json(json.dumps(_with_version(data, onset), default=str))
    except ValidationError as error:
        raise SettingsError(f"{path}{first_problem(error, lines)}") from None


def _with_version(data: Any, onset: Prepare) -> Any:
    """A study file's data with the version of preparation that its word, or no word, stands for."""
    named = data.get("prepare", "onset") if isinstance(data, dict) else None
    if not isinstance(named, str):
        return data
    try:
        return data | {"prepare": onset if named == "onset" else Prepare.named(named)}
    except ValueError:
        return data  # its validation says what is wrong


def shipped_studies() -> list[str]:
    """Names of the studies that come with nebula-tune."""
    return sorted(path.stem for path in shipped("studies").glob("*.yaml"))
