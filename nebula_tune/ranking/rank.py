"""`nebula-tune rank`: both experiments of section 4.2 on one data set, for any embeddings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nebula_tune.arrays import Vectors
from nebula_tune.distance import make_distance
from nebula_tune.embedding import Embedding
from nebula_tune.embedding.embed import embed_files, seconds_a_sound
from nebula_tune.errors import CorpusError
from nebula_tune.evaluate.ears import Counting, Ears, Note
from nebula_tune.ranking.ordering import (
    TRITONE,
    Draws,
    Scores,
    by_chance,
    differences,
    judge,
    mean_and_interval,
    ruler,
    unit,
)
from nebula_tune.ranking.ranked_sets import RankedDataset

FEW_PRESETS = 30


@dataclass(frozen=True)
class Experiments:
    """Sizes of the experiments: presets a trial and trials of experiment 2, how far apart its two sounds are (None:
    a tritone for a data set of pitches, else any), and the seed of all choices."""

    presets: int = 200
    trials: int = 600
    apart: int | None = None
    seed: int = 0


def rank(root: Path, ears: Ears, experiments: Experiments, note: Note, counting: Counting) -> dict[str, Any]:
    """The report of a data set: a row for each embedding, as it is and normed, best first; and what was left out.

    ``ceiling`` is eq. 1 of a ruler that knows the ranks themselves; beside it what chance gives.

    Args:
        root: the data set's folder.
        ears: embeddings, preparation and distance.
        experiments: their sizes and seed.
        note: told what makes the figures rough.
        counting: called with the files or trials that are done and how many there are.

    Raises:
        CorpusError: where fewer than two presets are left.
    """
    embeddings = ears.open()
    dataset, vectors = _embed(RankedDataset.read(root), root, embeddings, ears, counting)
    ranks = [preset.ranks for preset in dataset.presets]
    apart = experiments.apart or (TRITONE if dataset.kind == "pitch" else None)
    draws = Draws.make(ranks, experiments.seed, experiments.presets, experiments.trials, apart)
    _tell(dataset, draws, experiments, note)

    scores: dict[str, Scores] = {}
    rows = []
    for name, embedding in embeddings.items():
        cost = seconds_a_sound(embedding)
        for normed in (False, True):
            representation = unit(vectors[name]) if normed else vectors[name]
            label = f"{name} normed" if normed else name
            scores[label] = judge(representation, ranks, draws, make_distance(ears.distance), counting)
            rows.append(
                {
                    "representation": label,
                    "embedding": name,
                    "normed": normed,
                    "spearman": asdict(mean_and_interval(scores[label].spearman)),
                    "dcg": asdict(mean_and_interval(scores[label].dcg)),
                    "dimensions": representation[0].shape[1],
                    "seconds_a_sound": cost,
                }
            )
        vectors[name] = []  # as large as memory, some of them
    rows.sort(key=lambda row: -row["spearman"]["mean"])
    sounds = 2 * len(draws.trials[0])
    return {
        "dataset": str(root),
        "kind": dataset.kind,
        "presets": len(dataset.presets),
        "sounds": sum(map(len, ranks)),
        "ears": asdict(ears),
        "experiments": asdict(experiments) | {"apart": apart, "presets": len(draws.trials[0])},
        "ceiling": float(ruler(ranks, draws).mean()),
        "spearman_by_chance": float(by_chance(ranks, draws).mean()),
        "dcg_by_chance": float(np.mean(1 / np.log2(np.arange(2, sounds + 1)))),
        "rows": rows,
        "differences": [asdict(difference) for difference in differences(scores)],
        "skipped": [file.as_json() for file in dataset.skipped],
    }


def _embed(
    dataset: RankedDataset, root: Path, embeddings: Mapping[str, Embedding], ears: Ears, counting: Counting
) -> tuple[RankedDataset, dict[str, list[Vectors]]]:
    """Vectors of each preset's sounds under each embedding; the same sounds under all of them."""
    files = [file for preset in dataset.presets for file in preset.files]
    embedded = {
        name: embed_files([file.path for file in files], root, embedding, ears.style, counting)
        for name, embedding in embeddings.items()
    }
    unusable = {
        file: reason for vectors in embedded.values() for file, reason in vectors.items() if isinstance(reason, str)
    }
    usable = dataset.without(unusable)
    if len(usable.presets) < 2:
        first = f"; first left out: {usable.skipped[0].name}: {usable.skipped[0].reason}" if usable.skipped else ""
        raise CorpusError(
            f"{root} holds {len(usable.presets)} presets of at least 3 usable sounds in <preset>/<rank>.<ext>; "
            f"at least 2 are needed{first}"
        )
    return usable, {
        name: [np.stack([vectors[file.name] for file in preset.files]) for preset in usable.presets]
        for name, vectors in embedded.items()
    }


def _tell(dataset: RankedDataset, draws: Draws, experiments: Experiments, note: Note) -> None:
    if len(dataset.presets) < FEW_PRESETS:
        note(f"note: {len(dataset.presets)} presets are few; the intervals are wide for a reason")
    if draws.usable < len(dataset.presets):
        note(
            f"note: {len(dataset.presets) - draws.usable} presets have no two sounds so far apart: not in experiment 2"
        )
    if len(draws.trials[0]) < experiments.presets:
        note(
            f"note: experiment 2 has {2 * len(draws.trials[0])} sounds a trial, not {2 * experiments.presets}: "
            "its DCG is higher for that"
        )
