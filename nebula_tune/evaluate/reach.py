"""Is it the distance or the voice? Which sounds of a target no sound of a synth comes near.

A search can fail because the distance misleads it, or because the synth has no such sounds. For each target sound, the
distance to its nearest in a large pool of the synth's sounds stands beside the distance to its nearest other target
sound: what the pool stays far from, the synth (under that nebula) cannot play.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nebula_tune.arrays import Vectors
from nebula_tune.corpus.groups import GroupBy
from nebula_tune.corpus.prepare import Prepare
from nebula_tune.corpus.source import NebulaSounds, Source
from nebula_tune.distance import Distance, make_distance
from nebula_tune.embedding import make_embedding, refuse_judge
from nebula_tune.embedding.embed import Progress, embed_source
from nebula_tune.errors import UserInputError
from nebula_tune.results import Reach, Reached, ReachedCluster
from nebula_tune.synth import architecture
from nebula_tune.synth.indices import Purpose, first_index

MOST = 1000  # target sounds looked at, evenly spaced; all pairs of them are compared
CLUSTERS = 12  # at most
SOUNDS_A_CLUSTER = 5  # at least, on average
EXAMPLES = 5  # names of a cluster's farthest sounds


def reach(target: Vectors, names: Sequence[str], groups: Sequence[str], pool: Vectors, distance: Distance) -> Reach:
    """How near a pool of sounds (N, D) comes to each sound of a target (m, D).

    ``sounds``: for each (of at most 1000) ``to_pool``, its distance to the nearest sound of the pool; ``to_target``, to
    the nearest target sound of another group; ``ratio`` of the two; and the ``cluster`` it is in. A sound is unreached
    where the ratio is above 1: the pool stays farther from it than the rest of the target does. ``unreached``: their
    share. ``clusters`` (complete linkage), those with most unreached sounds first, with the names of the farthest.

    The nearest of few is farther than the nearest of many: give a pool of several times the target's sounds. Raises
    UserInputError for fewer than two groups.
    """
    if len(set(groups)) < 2:
        raise UserInputError("reach needs target sounds of at least two groups")
    some = slice(None, None, -(-len(target) // MOST))
    names, labels = list(names)[some], np.unique(np.asarray(groups)[some], return_inverse=True)[1]
    sounds = torch.from_numpy(np.ascontiguousarray(target[some]))
    distances = distance.pairwise(sounds, sounds)
    other = torch.from_numpy(labels[:, None] != labels[None])
    to_target = distances.masked_fill(~other, float("inf")).amin(dim=1).double().numpy()
    to_pool = distance.nearest(sounds, torch.from_numpy(pool)).double().numpy()
    ratio = to_pool / np.maximum(to_target, np.finfo(np.float32).tiny)
    unreached = ratio > 1
    cluster = _clusters(distances.numpy())
    return Reach(
        pool=len(pool),
        unreached=float(unreached.mean()),
        median_ratio=float(np.median(ratio)),
        clusters=_described(names, cluster, ratio, unreached),
        sounds=[
            Reached(name=name, to_pool=p, to_target=t, ratio=r, cluster=c)
            for name, p, t, r, c in zip(
                names, to_pool.tolist(), to_target.tolist(), ratio.tolist(), cluster.tolist(), strict=True
            )
        ],
    )


def diagnose(
    target: str,
    nebula: str = "default",
    *,
    pool: int = 6144,
    embedding: str = "logmel",
    distance: str = "l1",
    group_by: str = "auto",
    synth: str = "voice",
    panel: str | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """:func:`reach` of a nebula's or constellation's first sounds to a target, both embedded and cached.

    Args:
        target: a folder, a nebula or constellation (file or name), or white-noise.
        nebula: a nebula's or constellation's file or name.
        pool: how many of its sounds, at least 1.
        embedding: an embedding's name.
        distance: a distance's name.
        group_by: how the target's sounds are grouped: folder, file or auto.
        synth: the name of the nebula's architecture.
        panel: its panel, a name or file; None: its own.
        progress: called with the sounds that are done and how many there are; None: nobody is told.

    Raises:
        UserInputError: for what cannot be used.
        CorpusError: for a folder that cannot be used.
    """
    grouping = GroupBy.named(group_by)
    if pool < 1:
        raise UserInputError(f"--pool {pool}: at least 1")
    refuse_judge(embedding)
    kind, ear, measure = architecture(synth, panel), make_embedding(embedding), make_distance(distance)
    voice = NebulaSounds(nebula, kind.resolve_sounds(nebula))
    embedded_target = embed_source(
        Source.parse(target), ear, Prepare.ONSET, kind, first_index(Purpose.TARGET, 0), progress=progress
    )
    sounds = embed_source(voice, ear, Prepare.ONSET, kind, first_index(Purpose.POOL, 0), sounds=pool, progress=progress)
    by, groups = embedded_target.groups(grouping)
    frozen = measure.frozen_on(torch.from_numpy(embedded_target.vectors))
    about = {"target": target, "embedding": embedding, "distance": frozen.settings, "nebula": nebula}
    return (
        about
        | {"grouped_by": by.value}
        | reach(embedded_target.vectors, embedded_target.names, groups, sounds.vectors, frozen).to_json()
    )


def _clusters(distances: Vectors) -> NDArray[np.intp]:
    """Number of each sound's cluster, from 0, by their matrix of distances (m, m)."""
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    count = max(1, min(CLUSTERS, len(distances) // SOUNDS_A_CLUSTER))
    tree = linkage(squareform(distances, checks=False), method="complete")
    numbers: NDArray[np.intp] = fcluster(tree, count, criterion="maxclust") - 1
    return numbers


def _described(
    names: Sequence[str], cluster: NDArray[np.intp], ratio: NDArray[np.float64], unreached: NDArray[np.bool_]
) -> list[ReachedCluster]:
    described = []
    for number in np.unique(cluster):
        members = np.flatnonzero(cluster == number)
        farthest = members[np.argsort(-ratio[members], kind="stable")][:EXAMPLES]
        described.append(
            ReachedCluster(
                cluster=int(number),
                size=len(members),
                unreached=int(unreached[members].sum()),
                median_ratio=float(np.median(ratio[members])),
                examples=[names[k] for k in farthest],
            )
        )
    return sorted(described, key=lambda cluster: (-cluster.unreached, cluster.cluster))
