"""How easily corpora are told from each other, and halves of one from each other: ``compare --told-apart``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nebula_tune.corpus.groups import GroupBy
from nebula_tune.corpus.prepare import Prepare
from nebula_tune.corpus.source import Source
from nebula_tune.embedding import Embedding, make_embedding
from nebula_tune.embedding.embed import embed_source
from nebula_tune.evaluate.classifier_test import classifier_test
from nebula_tune.evaluate.ears import Counting
from nebula_tune.evaluate.network_judge import SOUNDS, network_test
from nebula_tune.synth import Synth
from nebula_tune.synth.indices import Purpose, first_index

LEAST_GROUPS = 4  # of a corpus whose halves are told apart: two a half
# The judges, as reports name them, and what each looks at (specs/ear.md, section 4).
EYES: Mapping[str, Mapping[str, Any]] = {
    "network": {"name": "picture"},
    "linear": {"name": "mss", "sample_rate": 22050, "seconds": 1.0},
}
Verdict = dict[str, float]


@dataclass(frozen=True)
class JudgedSounds:
    """What a judge takes of a corpus: vectors (sounds, D) and the group of each sound, a name or a number."""

    vectors: NDArray[np.float32]
    groups: NDArray[Any]

    def halves(self, seed: int) -> tuple[JudgedSounds, JudgedSounds] | None:
        """Half of the groups each, by chance; None where there are fewer than four."""
        names = np.random.default_rng(seed).permutation(np.unique(self.groups))
        if len(names) < LEAST_GROUPS:
            return None
        first = np.isin(self.groups, names[: len(names) // 2])
        return JudgedSounds(self.vectors[first], self.groups[first]), JudgedSounds(
            self.vectors[~first], self.groups[~first]
        )


def judge_figure(
    judge: str, x: JudgedSounds, y: JudgedSounds, *, seed: int = 0, most: int = SOUNDS, device: str = "cpu"
) -> float:
    """One judge's figure in telling sounds x from y; 0.5 = it cannot.

    Args:
        judge: its name among EYES. The network gives an AUC, the linear classifier a balanced accuracy.
        x: what the judge sees of sounds to be told from y.
        y: what it sees of real sounds.
        seed: of the network's training.
        most: sounds of each side that the network takes at most.
        device: torch's name of where the network is trained.

    Raises:
        UserInputError: where the network has fewer than two groups on a side.
    """
    sides = x.vectors, y.vectors, y.groups.tolist(), x.groups.tolist()
    if judge == "network":
        return network_test(*sides, seeds=(seed,), most=most, device=device)
    return classifier_test(*sides)


def verdicts(
    sources: Sequence[Source],
    grouped_by: Sequence[GroupBy],
    synth: type[Synth],
    *,
    sounds: int,
    seed: int,
    count: Counting,
) -> dict[tuple[int, int], Verdict | None]:
    """For corpora i <= j: the network's AUC, and the balanced accuracy of the linear classifier under ``mss``.

    For i = j two halves of the corpus's groups are told apart; None where there are fewer than four groups. Onsets are
    aligned whatever else the comparison does.

    Args:
        sources: the corpora.
        grouped_by: how the sounds of each are grouped.
        synth: the architecture of nebulae's sounds.
        sounds: of each corpus at most; more than 500 are never judged.
        seed: of the halves and of the network's training.
        count: called with the steps that are done and how many there are.
    """
    places = list(combinations_with_replacement(range(len(sources)), 2))
    figures: dict[tuple[int, int], Verdict | None] = dict.fromkeys(places)
    for number, (judge, eye) in enumerate(EYES.items()):
        embedding = make_embedding(**eye)
        corpora = [
            _sounds(
                source,
                by,
                embedding,
                synth,
                first=first_index(Purpose.COMPARE, k),
                sounds=min(sounds, SOUNDS),
                count=count,
            )
            for k, (source, by) in enumerate(zip(sources, grouped_by, strict=True))
        ]
        for done, (i, j) in enumerate(places):
            pair = corpora[i].halves(seed) if i == j else (corpora[i], corpora[j])
            if pair is not None:
                figures[i, j] = (figures[i, j] or {}) | {judge: judge_figure(judge, *pair, seed=seed)}
            count(number * len(places) + done + 1, len(EYES) * len(places))
    return figures


def _sounds(
    source: Source, by: GroupBy, embedding: Embedding, synth: type[Synth], *, first: int, sounds: int, count: Counting
) -> JudgedSounds:
    embedded = embed_source(source, embedding, Prepare.ONSET, synth, first, sounds=sounds, progress=count, most=sounds)
    return JudgedSounds(embedded.vectors, np.asarray(embedded.groups(by)[1]))
