"""A study's target: embedded, grouped, and split into a part that is fitted and a part that is held out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nebula_tune.corpus.cache import cached_file, digest
from nebula_tune.corpus.groups import GroupBy, hold_out
from nebula_tune.corpus.source import Source
from nebula_tune.embedding.base import Embedding
from nebula_tune.embedding.embed import LEAST_SOUNDS, Embedded, Progress, embed_source
from nebula_tune.errors import CorpusError
from nebula_tune.objective import Target
from nebula_tune.study.plan import Plan
from nebula_tune.study.yardstick import Yardstick
from nebula_tune.synth.indices import Purpose, first_index
from nebula_tune.words import printable

CLASS_LEAST = 8  # held-in sounds of a class
GroupedVectors = tuple[NDArray[np.float32], list[str]]  # vectors (sounds, D), and each sound's group


@dataclass(frozen=True)
class SplitTarget:
    """Vectors of a target and which of them no trial may see."""

    source: Source
    embedded: Embedded
    grouped_by: GroupBy
    groups: NDArray[np.str_]
    held: NDArray[np.bool_]

    @classmethod
    def load(
        cls, source: Source, plan: Plan, embeddings: Sequence[Embedding], progress: Progress | None = None
    ) -> SplitTarget:
        """Embed a source and split it as the plan says.

        Args:
            source: the target.
            plan: of the study.
            embeddings: whose vectors stand one after the other.
            progress: called with the sounds that are done and how many there are; None: nobody is told.

        Raises:
            CorpusError: for a source that cannot be used.
        """
        embedded = embed_corpus(source, plan, embeddings, Purpose.TARGET, progress=progress)
        by, groups = embedded.groups(GroupBy(plan.group_by))
        return cls(source, embedded, by, np.array(groups), hold_out(groups, plan.seed))

    @property
    def held_in(self) -> GroupedVectors:
        """What trials are scored against."""
        return self.embedded.vectors[~self.held], self.groups[~self.held].tolist()

    @property
    def held_out(self) -> GroupedVectors:
        """What only the score card sees."""
        return self.embedded.vectors[self.held], self.groups[self.held].tolist()

    @cached_property
    def classes(self) -> NDArray[np.str_]:
        """Each sound's class: the target's sub-folder it lies in. Raises CorpusError where those name no classes."""
        if not any(self.embedded.folders):
            raise CorpusError(f"--classes: {self.source.text} has no sub-folders to name classes")
        if self.grouped_by is GroupBy.FOLDER:
            raise CorpusError(
                f"--classes: the folders of {self.source.text} are held out together, so they name kits or packs, not "
                "classes; with sub-folders like kick/ and snare/, add --group-by file"
            )
        names = np.array([printable(folder.split("/")[0]) for folder in self.embedded.folders])
        if "" in names or "." in names:
            raise CorpusError(f"--classes: some sounds of {self.source.text} lie in no sub-folder that names a class")
        fitted = Counter(names[~self.held].tolist())
        few = sorted(name for name in set(names.tolist()) if fitted[name] < CLASS_LEAST)
        if len(fitted) < 2 or few:
            raise CorpusError(
                f"--classes: {self.source.text} needs two classes at least, of {CLASS_LEAST} sounds each that are not "
                f"held out; too few in: {', '.join(few) or 'one class only'}. If its folders name kits, leave it out"
            )
        return names

    @property
    def told_classes(self) -> str:
        """A line on the classes found. Raises CorpusError as :attr:`classes`."""
        named = ", ".join(f"{name} ({count})" for name, count in sorted(Counter(self.classes.tolist()).items()))
        return f"classes, from the names of the target's sub-folders: {named}"

    @cached_property
    def described(self) -> dict[str, Any]:
        """As JSON: its content and how it was read and split."""
        return {
            "content": self.embedded.content,
            "source": self.source.text,
            "usable": len(self.embedded.keys),
            "held_out": int(self.held.sum()),
            "skipped": [file.as_json() for file in self.embedded.skipped],
            "grouped_by": self.grouped_by.value,
            "groups": len(set(self.groups.tolist())),
        }

    def save_for_workers(self, plan: Plan, embeddings: Sequence[Embedding], yardstick: Yardstick) -> Path:
        """Write the held-in part where workers load it from; the file is named by its content."""
        vectors, groups = self.held_in
        settings = [embedding.settings for embedding in embeddings]
        content = digest([self.embedded.content, settings, plan.settings.prepare, groups, yardstick.as_json()])
        return cached_file(f"targets/{content}.npz", lambda path: Target.save(path, vectors, yardstick.mean_distance))


def embed_corpus(
    source: Source,
    plan: Plan,
    embeddings: Sequence[Embedding],
    purpose: Purpose,
    *,
    progress: Progress | None = None,
    sounds: int | None = None,
    most: int | None = None,
) -> Embedded:
    """A source's vectors under a plan's preparation.

    Of a nebula, ``sounds`` of them (or the plan's count), from the indices of ``purpose``; of a folder ``most``. With
    several embeddings a sound's vectors stand one after the other; a file that one of them skips is not used.
    ``progress`` is called with the sounds that are done and how many there are.
    """
    first, count = first_index(purpose, plan.seed), sounds or plan.target_sounds
    parts = [
        embed_source(
            source, embedding, plan.settings.prepare, plan.synth, first, sounds=count, progress=progress, most=most
        )
        for embedding in embeddings
    ]
    return parts[0] if len(parts) == 1 else _joined(source, parts)


def _joined(source: Source, parts: Sequence[Embedded]) -> Embedded:
    """The sounds that all embeddings could use, with the vectors of all."""
    places = [{key: k for k, key in enumerate(part.keys)} for part in parts]
    kept = [key for key in parts[0].keys if all(key in place for place in places)]
    if len(kept) < LEAST_SOUNDS:
        raise CorpusError(
            f"{source.text}: all embeddings together can use {len(kept)} sounds; {LEAST_SOUNDS} are needed"
        )
    rows = [[place[key] for key in kept] for place in places]
    listed = [file for part in parts for file in part.skipped]
    skipped = {file.name: file for file in sorted(listed, key=lambda file: file.files > 0)}  # not used by one: not used
    return Embedded(
        np.concatenate([part.vectors[row] for part, row in zip(parts, rows, strict=True)], axis=1),
        tuple(kept),
        tuple(parts[0].names[k] for k in rows[0]),
        tuple(parts[0].folders[k] for k in rows[0]),
        tuple(sorted(skipped.values(), key=lambda file: (not file.is_kind, file.name))),
    )
