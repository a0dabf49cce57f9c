"""A study resolved: everything that decides its result, and nothing that does not."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from nebula_tune.corpus.prepare import Prepare
from nebula_tune.distance import distance_names
from nebula_tune.documents import UnreadableError, parse_json
from nebula_tune.embedding import refuse_judge
from nebula_tune.errors import SettingsError, StudyError
from nebula_tune.files import shipped
from nebula_tune.nebula import Nebula
from nebula_tune.search import AnySampler, Sampler, Space
from nebula_tune.study.settings import (
    ConstellationSettings,
    EmbeddingSettings,
    StudySettings,
    load_study,
)
from nebula_tune.synth import NamedPanel, Synth, architecture
from nebula_tune.synth.indices import Purpose, first_index
from nebula_tune.trial import Point

AUTO = ("full", "full-aisfx", "laptop")  # the studies that ``auto`` chooses from: the first that can be run well here
UNREAD = (ValueError, LookupError, TypeError, AttributeError)  # what stored settings raise that are another program's


@dataclass(frozen=True)
class Plan:
    """A resolved study: equal plans on equal targets give equal nebulae."""

    settings: StudySettings
    synth_name: str
    start: Nebula
    tune: tuple[str, ...]
    freeze: tuple[str, ...]
    seed: int
    group_by: str
    target_sounds: int
    panel: NamedPanel | None = None

    @property
    def synth(self) -> type[Synth]:
        """The synth's architecture."""
        return architecture(self.synth_name, self.panel)

    @property
    def space(self) -> Space:
        """The search space around the start nebula."""
        panel = self.synth.panel
        return Space.around(
            panel.names,
            self.point(self.start),
            self.settings.space.curve,
            flags=self.settings.space.symmetric,
            tune=self.tune,
            freeze=self.freeze,
        )

    @property
    def hand_made(self) -> dict[str, Nebula]:
        """The shipped nebula that stands beside tuned ones, by its name; nothing where the synth has none."""
        name = self.synth.hand_made
        return {} if name is None else {name: Nebula.load(shipped("nebulae") / f"{name}.json")}

    def point(self, nebula: Nebula) -> Point:
        """A nebula as a point."""
        curves, symmetric = self.synth.panel.arrays(nebula)
        return Point(curves, symmetric.astype(float))

    def nebula(self, point: Point) -> Nebula:
        """A point as a nebula, its flags hardened."""
        return self.synth.panel.nebula(point.curves, point.symmetric)

    def sampler(self, number: int, space: Space, best: Point) -> Sampler:
        """The sampler of phase ``number``; ``best`` is where the phases before ended."""
        return self.settings.search[number].make(space, best, self.seed * 1000 + number, self.settings.sounds)

    def side_by_side(self) -> list[list[int]]:
        """Numbers of the phases in order, grouped: those of one group do not need each other's results."""
        return side_by_side(self.settings.search)

    def trial_index(self, phase: int, draw: int) -> int:
        """First sound index of set number ``draw`` of a phase."""
        before = sum(p.trials for p in self.settings.search[:phase])
        return first_index(Purpose.TRIALS, self.seed, (before + draw) * self.settings.sounds)

    def resolved(self) -> dict[str, Any]:
        """As JSON, to store, to compare and to read back with :meth:`read`."""
        settings = self.settings.model_copy(update={"guards": self.settings.guarded})
        return {
            "study": json.loads(settings.model_dump_json()),
            "synth": self.synth_name,
            **({"panel": self.panel.to_json()} if self.panel else {}),
            "start": self.start.as_json(),
            "tune": list(self.tune),
            "freeze": list(self.freeze),
            "seed": self.seed,
            "group_by": self.group_by,
            "target_sounds": self.target_sounds,
        }

    @classmethod
    def read(cls, resolved: Mapping[str, Any]) -> Plan:
        """Inverse of :meth:`resolved`."""
        return cls(
            settings=_validated(json.dumps(_as_it_was(resolved["study"]))),
            synth_name=resolved["synth"],
            start=Nebula.from_json(resolved["start"]),
            tune=tuple(resolved["tune"]),
            freeze=tuple(resolved["freeze"]),
            seed=resolved["seed"],
            group_by=resolved["group_by"],
            target_sounds=resolved["target_sounds"],
            panel=NamedPanel.from_json(resolved["panel"]) if "panel" in resolved else None,
        )

    @classmethod
    def stored(cls, row: Mapping[str, Any]) -> Plan:
        """The plan in a study's row of the database. Raises StudyError where it is none that this program reads."""
        with _readable(row):
            return cls.read(stored_json(row, "settings"))


def stored_search(row: Mapping[str, Any]) -> Sequence[AnySampler]:
    """The phases of the study in a row of the database, without the rest of its plan. Raises as :meth:`Plan.stored`."""
    with _readable(row):
        return _validated(json.dumps(_as_it_was(stored_json(row, "settings")["study"]))).search


def side_by_side(search: Sequence[AnySampler]) -> list[list[int]]:
    """Numbers of phases in order, grouped: those of one group do not need each other's results."""
    groups: list[list[int]] = []
    for number, phase in enumerate(search):
        if number == 0 or phase.needs_best:
            groups.append([])
        groups[-1].append(number)
    return groups


@lru_cache(maxsize=64)
def _validated(study: str) -> StudySettings:
    """A study's settings from their JSON; many studies of a database have the same."""
    return StudySettings.model_validate_json(study)


@contextmanager
def _readable(row: Mapping[str, Any]) -> Iterator[None]:
    """Whatever a row's settings raise inside, where they are none that this program reads, is a StudyError."""
    try:
        yield
    except StudyError:
        raise
    except UNREAD as error:
        first = str(error).split("\n", maxsplit=1)[0]
        raise StudyError(
            f"study {row['name']}: its settings in the database cannot be read: {type(error).__name__}: {first}; "
            "a newer nebula-tune may have written them"
        ) from error


def stored_json(row: Mapping[str, Any], column: str) -> dict[str, Any]:
    """The JSON object in a column of a study's row. Raises StudyError where it is none."""
    try:
        content = parse_json(row[column])
        if isinstance(content, dict):
            return content
        why = "not a JSON object"
    except (UnreadableError, TypeError) as error:
        why = str(error)
    raise StudyError(f"study {row['name']}: its {column} in the database cannot be read: {why}")


def _as_it_was(study: dict[str, Any]) -> dict[str, Any]:
    """A stored study with what its version did where today's default is another: no witness ended early or knew of
    curvature, preparation was version 1, and a weight of the other embedding did nothing."""
    then = {"patience": None, "curvature": False, "cooling": 0.0}
    search = [then | p if p["sampler"] == "witness" else p for p in study["search"]]
    other = {"other_embedding": reporting | {"weight": 1.0}} if (reporting := study.get("other_embedding")) else {}
    return {"prepare": Prepare.ONSET_1.value} | study | {"search": search} | other


def brought_up_to_date(stored: dict[str, Any]) -> dict[str, Any]:
    """A stored study with the settings that its version did not have yet. Raises StudyError for what is no study."""
    if not isinstance(stored.get("study"), dict):
        raise StudyError("settings in the database are not a study's")
    try:
        return Plan.read(stored).resolved()
    except UNREAD:  # of a later version: its settings stand as they are
        return stored


def differences(stored: Any, now: Any, place: str = "") -> list[str]:
    """What differs between two JSON values, as ``place: stored -> now``."""
    if isinstance(stored, dict) and isinstance(now, dict):
        keys = sorted(stored.keys() | now.keys())
        return [d for key in keys for d in differences(stored.get(key), now.get(key), f"{place}.{key}".lstrip("."))]
    if stored == now:
        return []
    long = isinstance(stored, list) and len(stored) > 8
    return [f"{place} differs" if long else f"{place}: {json.dumps(stored)} -> {json.dumps(now)}"]


def choose_study(name: str, ready: Callable[[str], bool]) -> tuple[StudySettings, str]:
    """The study asked for, and a line on what ``auto`` chose and why; ``ready`` tells if an embedding can be used."""
    if name != "auto":
        return load_study(name), ""
    import torch

    *wanted, fallback = AUTO
    missing = []
    for full in wanted if torch.cuda.is_available() else ():
        settings = load_study(full)
        lacking = [embedding.name for embedding in settings.heard if not ready(embedding.name)]
        if not lacking:
            return settings, f"study {full}: there is a GPU, and all weights for {settings.heard_as} are here"
        missing += lacking
    reason = f"the weights of {' and '.join(missing)} are not here" if missing else "there is no GPU here"
    settings = load_study(fallback)
    return settings, f"study {fallback}, with the weight-free {settings.heard_as}: {reason}"


def override(
    settings: StudySettings,
    *,
    objective: str | None,
    embedding: str | None,
    weights: str | None,
    trials: int | None,
    sounds: int | None,
    distance: str | None = None,
    constellation: bool | None = None,
    classes: bool = False,
) -> StudySettings:
    """A study with command-line options over it.

    Args:
        settings: the study's; what is None below stays as it is there.
        objective: match or diversity.
        embedding: a name, or several with weights: ``logmel=1,mss=0.5``.
        weights: weights file for one embedding.
        trials: in all, at least 1; phases are scaled in proportion.
        sounds: of a trial, at least 8.
        distance: a distance's name.
        constellation: whether one is fitted.
        classes: whether each class of the target is fitted by itself.

    Raises:
        SettingsError: for values it cannot take.
    """
    if objective is not None and objective not in ("match", "diversity"):
        raise SettingsError(f"--objective {objective!r}: it is match or diversity")
    if trials is not None and trials < 1:
        raise SettingsError(f"--trials {trials}: at least 1")
    if sounds is not None and sounds < 8:
        raise SettingsError(f"--sounds {sounds}: at least 8 sounds a trial")
    changes: dict[str, Any] = {}
    if objective is not None:
        changes["objective"] = objective
    if embedding is not None and embedding != settings.heard_as:
        several = named_embeddings(embedding)
        changes |= (
            {"embedding": None, "embeddings": several} if several[1:] else {"embedding": several[0], "embeddings": ()}
        )
    if weights is not None:
        base = changes.get("embedding", settings.embedding)
        if base is None:
            raise SettingsError("--weights is for one embedding; of several, each names its own in the study file")
        changes["embedding"] = EmbeddingSettings(name=base.name, **{**base.options, "weights": weights})
    if distance is not None:
        if distance not in distance_names():
            raise SettingsError(f"--distance {distance!r}: it is {', '.join(distance_names())}")
        changes["distance"] = distance
    if sounds is not None:
        changes["sounds"] = sounds
    if constellation is False and classes:
        raise SettingsError("--classes are a constellation's; leave out --no-constellation")
    if constellation is False:
        changes["constellation"] = None
    elif constellation or classes:
        asked = settings.constellation or ConstellationSettings()
        changes["constellation"] = asked.model_copy(update={"classes": asked.classes or classes})
    settings = settings.model_copy(update=changes)
    return settings.with_trials(trials) if trials is not None else settings


def named_embeddings(text: str) -> tuple[EmbeddingSettings, ...]:
    """An embedding's name; or several as ``logmel=1,mss=0.5``. Raises SettingsError."""
    embeddings = []
    for part in text.split(","):
        name, _, weight = part.partition("=")
        refuse_judge(name.strip())
        try:
            embeddings.append(EmbeddingSettings(name=name.strip(), weight=float(weight or 1)))
        except ValueError:
            raise SettingsError(f"--embedding {text!r}: a weight is a number above 0, as in logmel=1,mss=0.5") from None
    if len({embedding.name for embedding in embeddings}) < len(embeddings):
        raise SettingsError(f"--embedding {text!r}: each embedding once")
    if len(embeddings) == 1 and embeddings[0].weight != 1:
        raise SettingsError(f"--embedding {text!r}: a weight goes with several, as in logmel=1,mss=0.5")
    return tuple(embeddings)
