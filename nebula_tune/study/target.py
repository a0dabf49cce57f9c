"""A study's target: embedded, grouped, and split into a part that is fitted and a part that is held out."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nebula_tune.corpus.cache import cache_folder, digest
from nebula_tune.corpus.groups import GroupBy, hold_out
from nebula_tune.distance import mean_within
from nebula_tune.embedding.base import Embedding
from nebula_tune.embedding.embedded import Embedded, Progress, Source, embed_source
from nebula_tune.scoring import Target
from nebula_tune.study.indices import Purpose, first_index
from nebula_tune.study.plan import Plan

Part = tuple[NDArray[np.float32], list[str]]  # vectors (sounds, D), and each sound's group


@dataclass(frozen=True)
class SplitTarget:
    """Vectors of a target and which of them no trial may see."""

    source: Source
    embedded: Embedded
    grouped_by: GroupBy
    groups: NDArray[np.str_]
    held: NDArray[np.bool_]

    @classmethod
    def load(cls, source: Source, plan: Plan, embedding: Embedding, progress: Progress | None = None) -> SplitTarget:
        """Embed a source and split it as the plan says. Raises CorpusError."""
        embedded = embed_corpus(source, plan, embedding, Purpose.TARGET, progress)
        by, groups = embedded.groups(GroupBy(plan.group_by))
        return cls(source, embedded, by, np.array(groups), hold_out(groups, plan.seed))

    @property
    def held_in(self) -> Part:
        """What trials are scored against."""
        return self.embedded.vectors[~self.held], self.groups[~self.held].tolist()

    @property
    def held_out(self) -> Part:
        """What only the score card sees."""
        return self.embedded.vectors[self.held], self.groups[self.held].tolist()

    @cached_property
    def described(self) -> dict[str, Any]:
        """As JSON: its content and how it was read and split."""
        return {
            "content": self.embedded.content,
            "source": self.source.text,
            "usable": len(self.embedded.keys),
            "held_out": int(self.held.sum()),
            "skipped": [{"name": s.name, "reason": s.reason} for s in self.embedded.skipped],
            "grouped_by": self.grouped_by.value,
            "groups": len(set(self.groups.tolist())),
        }

    def save_for_workers(self, plan: Plan, embedding: Embedding) -> Path:
        """Write the held-in part where workers load it from; the file is named by its content."""
        vectors, groups = self.held_in
        content = digest([self.embedded.content, embedding.settings, plan.settings.prepare, groups])
        path = cache_folder() / "targets" / f"{content}.npz"
        if not path.exists():
            Target.save(path, vectors, mean_within(vectors, groups))
        return path


def embed_corpus(
    source: Source, plan: Plan, embedding: Embedding, purpose: Purpose, progress: Progress | None = None
) -> Embedded:
    """A source's vectors under a plan's preparation; a nebula's sounds from the indices of ``purpose``."""
    first = first_index(purpose, plan.seed)
    return embed_source(source, embedding, plan.settings.prepare, plan.synth, first, plan.target_sounds, progress)
