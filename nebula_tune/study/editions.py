"""What ``--study`` meant before: a study goes on with the edition that it was begun with.

Shipped studies change, and so does what a word of a study file stands for. Editions that were shipped before are kept
in ``studies/earlier`` as ``NAME.NUMBER.yaml``, all settings written out, for defaults change too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nebula_tune.corpus.prepare import Prepare
from nebula_tune.errors import SettingsError
from nebula_tune.files import shipped
from nebula_tune.study.plan import AUTO, Plan, differences
from nebula_tune.study.settings import StudySettings, load_study

# Parts that change no trial: a study may gain them once it is begun, each with the settings that only it uses.
GAINED_LATER: Mapping[str, tuple[str, ...]] = {
    "constellation": (),
    "other_embedding": ("other_sounds",),
    "judges": (),
}


@dataclass(frozen=True)
class Edition:
    """Settings that ``--study`` stands for or stood for, and what to call them."""

    called: str
    settings: StudySettings

    def __str__(self) -> str:
        return f"{self.called} ({self.settings.heard_as}, prepare {self.settings.prepare.spelling})"


def other_editions(study: str) -> Iterator[Edition]:
    """All that ``--study`` may have stood for when a stored study was begun; ``auto`` may have chosen otherwise."""
    if Path(study).is_file():
        yield Edition(study, load_study(study, onset=Prepare.ONSET_1))
        return
    names = AUTO if study == "auto" else (study,)
    for name in names:
        yield Edition(name, load_study(name))
    for name in names:
        for path in sorted((shipped("studies") / "earlier").glob(f"{name}.*.yaml")):
            yield Edition(f"an earlier {name}", load_study(str(path)))


def nearest_edition(
    stored: dict[str, Any], editions: Iterable[Edition], planned: Callable[[StudySettings], Plan]
) -> tuple[Edition, Plan] | None:
    """The edition, planned, that differs least from a study's stored settings: in nothing, where it is the study's own.

    ``planned`` puts the options of the command over settings. None where no edition can take these options.
    """
    candidates = []
    for edition in editions:
        with suppress(SettingsError):  # as --weights, where this edition has several embeddings
            plan = planned(edition.settings)
            now = plan.resolved()
            whole = with_gains(stored, now)
            candidates.append((len(differences(whole, now)), whole != stored, edition, plan))
    return min(candidates, key=lambda candidate: candidate[:2])[2:] if candidates else None


def with_gains(stored: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """Stored settings with the parts that only the new ones have, of those that a study may gain once it is begun."""
    before, after = stored["study"], now["study"]
    gained = [(part, *its_own) for part, its_own in GAINED_LATER.items() if after[part] and not before.get(part)]
    return stored | {"study": before | {key: after[key] for keys in gained for key in keys}}
