"""`nebula-tune compare`: distances between corpora, each with each and with itself (section 5 and Table 3)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import NDArray

from nebula_tune.arrays import Matrix
from nebula_tune.corpus.groups import GroupBy
from nebula_tune.corpus.source import Source
from nebula_tune.distance import Distance, make_distance
from nebula_tune.distance.inference import halvings, infer_from_sums
from nebula_tune.embedding import Embedding
from nebula_tune.embedding.embed import Embedded, embed_source
from nebula_tune.errors import SettingsError
from nebula_tune.evaluate import telling
from nebula_tune.evaluate import trials as protocol
from nebula_tune.evaluate.comparison import Comparison, Contribution, DescribedCorpus, Distances, Protocol
from nebula_tune.evaluate.ears import Counting, Ears, Note
from nebula_tune.evaluate.matrices import across, among
from nebula_tune.synth import Synth, architecture
from nebula_tune.synth.indices import Purpose, first_index

TRIAL_SOUNDS = 1000  # of each corpus, in the paper's trials
JUDGE_SECONDS = 40  # of one core, to train networks for a row (docs/evaluation.md)
FEW_GROUPS = 20  # fewer make the interval and the p-value rough


@dataclass(frozen=True)
class ComparedCorpus:
    """One side of a comparison: its name in the tables, its sounds, and the number of each sound's group."""

    name: str
    embedded: Embedded
    grouped_by: GroupBy
    groups: NDArray[np.intp]

    @property
    def count(self) -> int:
        """How many groups."""
        return int(self.groups.max()) + 1

    @property
    def described(self) -> DescribedCorpus:
        """What the report says of it."""
        return DescribedCorpus(self.name, len(self.groups), self.grouped_by.value, self.count, self.embedded.skipped)


def compare(texts: Sequence[str], ears: Ears, how: Protocol, note: Note, counting: Counting) -> list[Comparison]:
    """A report for each embedding: its corpora, a row for each pair and for each corpus with itself, nearest first, and
    each sound's contribution (:func:`_contributions`).

    A row has the mean and standard deviation of eq. 2 over the paper's trials of n against n sounds, and the unbiased
    estimate of all sounds with its 95 % interval and p-value. Of a corpus with itself: eq. 2 over its halvings, and
    mean and 95 % range of the unbiased estimate over halvings that keep groups whole, which is what chance makes of one
    law; it has no p-value. Where judges were asked for, ``told_apart`` is what :func:`telling.verdicts` says of the
    row.

    Args:
        texts: the corpora, two at least: folders, nebulae or constellations (file or name), white-noise.
        ears: embeddings, preparation and distance.
        how: how they are compared.
        note: told what will take long, and what to beware of.
        counting: called with the steps that are done and how many there are.

    Raises:
        UserInputError: for what cannot be compared.
    """
    if len(texts) < 2:
        raise SettingsError("compare needs two corpora at least: folders, nebulae or white-noise")
    sources, synth = [Source.parse(text) for text in texts], architecture(how.synth, how.panel)
    reports = [
        _under(name, embedding, sources, synth, ears=ears, how=how, note=note, counting=counting)
        for name, embedding in ears.open().items()
    ]
    if how.told_apart:
        reports = _told_apart(reports, sources, synth, how, note=note, counting=counting)
    return reports


def _told_apart(
    reports: Sequence[Comparison],
    sources: Sequence[Source],
    synth: type[Synth],
    how: Protocol,
    *,
    note: Note,
    counting: Counting,
) -> list[Comparison]:
    """All reports with the judges' verdicts in their rows: judges hear with none of the reports' embeddings."""
    corpora = reports[0].corpora
    places = {(a.name, b.name): (i, j) for i, a in enumerate(corpora) for j, b in enumerate(corpora)}
    note(f"telling corpora apart: up to {JUDGE_SECONDS} seconds of one core for each of {len(reports[0].rows)} rows")
    grouped_by = [GroupBy(corpus.grouped_by) for corpus in corpora]
    verdicts = telling.verdicts(sources, grouped_by, synth, sounds=how.sounds, seed=how.seed, count=counting)
    return [
        replace(report, rows=tuple(replace(row, told_apart=verdicts[places[row.a, row.b]]) for row in report.rows))
        for report in reports
    ]


def _under(
    name: str,
    embedding: Embedding,
    sources: Sequence[Source],
    synth: type[Synth],
    *,
    ears: Ears,
    how: Protocol,
    note: Note,
    counting: Counting,
) -> Comparison:
    cost = embedding.cost_note(how.sounds * len(sources))
    if cost:
        note(f"{name}: {cost}")
    corpora = []
    for k, (source, label) in enumerate(zip(sources, _labels(sources), strict=True)):
        first = first_index(Purpose.COMPARE, k)  # no two corpora share draws: they would be alike for that
        embedded = embed_source(
            source, embedding, ears.style, synth, first, sounds=how.sounds, progress=counting, most=how.sounds
        )
        by = source.group_by(GroupBy(how.group_by))
        by, groups = embedded.groups(by)
        if len(set(groups)) < 2:
            raise SettingsError(f"{label} is one folder, so one group; use --group-by file")
        corpora.append(ComparedCorpus(label, embedded, by, np.unique(groups, return_inverse=True)[1]))
    notes = _notes(corpora, how)
    for text in notes:
        note(f"{name}: {text}")
    rows, files = measure(corpora, make_distance(ears.distance), how, counting)
    return Comparison(
        embedding=name,
        distance=ears.distance,
        prepare=ears.prepare,
        protocol=how,
        corpora=tuple(corpus.described for corpus in corpora),
        rows=tuple(rows),
        notes=tuple(notes),
        files=tuple(files),
    )


def measure(
    corpora: Sequence[ComparedCorpus], distance: Distance, how: Protocol, counting: Counting
) -> tuple[list[Distances], list[Contribution]]:
    """Rows of the table, nearest first, and sounds' contributions, both as :func:`compare` reports them.

    Args:
        corpora: that are compared, embedded.
        distance: of two vectors.
        how: sounds a trial, trials and seed.
        counting: called with the steps that are done and how many there are.
    """
    matrices = _matrices(corpora, distance, counting)
    rows = []
    for i, j in combinations_with_replacement(range(len(corpora)), 2):
        pair = corpora[i], corpora[j]
        rows.append(_itself(pair[0], matrices[i, i], how) if i == j else _row(*pair, matrices, (i, j), how))
        counting(len(rows), len(matrices))
    return sorted(rows, key=lambda row: row.mmd_mean), _contributions(corpora, matrices)


def _labels(sources: Sequence[Source]) -> list[str]:
    """Corpora as they were given; one that was given before gets a number, and sounds of its own if it is a nebula."""
    seen: Counter[str] = Counter()
    labels = []
    for source in sources:
        seen[source.text] += 1
        labels.append(source.text if seen[source.text] == 1 else f"{source.text} ({seen[source.text]})")
    return labels


def _notes(corpora: Sequence[ComparedCorpus], how: Protocol) -> list[str]:
    notes = []
    for corpus in corpora:
        several = sum(count > 1 for count in Counter(corpus.embedded.folders).values())
        if corpus.count < FEW_GROUPS:
            notes.append(f"{corpus.name} has {corpus.count} groups; its intervals and p-values are rough")
        elif how.group_by == "auto" and corpus.grouped_by is GroupBy.FILE and several > 1:
            notes.append(
                f"{corpus.name} lies in {several} folders and is grouped by file; if they are kits or packs, "
                "--group-by folder makes honest intervals"
            )
    for k, first in enumerate(corpora):
        contents = {vector.tobytes() for vector in first.embedded.vectors}
        for second in corpora[k + 1 :]:
            shared = sum(vector.tobytes() in contents for vector in second.embedded.vectors)
            if shared:
                notes.append(f"{first.name} and {second.name} share {shared} sounds, and are nearer for that")
    return notes


def _matrices(
    corpora: Sequence[ComparedCorpus], distance: Distance, counting: Counting
) -> dict[tuple[int, int], Matrix]:
    """Distances of all sounds of corpus i to all of j, i <= j: the one matrix that all else is read from."""
    vectors, matrices = [corpus.embedded.vectors for corpus in corpora], {}
    places = list(combinations_with_replacement(range(len(corpora)), 2))
    for i, j in places:
        matrices[i, j] = among(vectors[i], distance) if i == j else across(vectors[i], vectors[j], distance)
        counting(len(matrices), len(places))
    return matrices


def _row(
    a: ComparedCorpus, b: ComparedCorpus, matrices: dict[tuple[int, int], Matrix], place: tuple[int, int], how: Protocol
) -> Distances:
    i, j = place
    xx, xy, yy = matrices[i, i], matrices[i, j], matrices[j, j]
    most = min(len(xx), len(yy))
    n = how.n or min(TRIAL_SOUNDS, most // 2)
    if n > most:
        raise SettingsError(f"--n {n}: a trial takes no more than the {most} sounds of {a.name} or {b.name}")
    values = protocol.between(xx, xy, yy, n=n, trials=how.trials, rng=np.random.default_rng([how.seed, i, j]))
    labels = np.concatenate([a.groups, b.groups + a.count])
    sizes = np.bincount(labels).astype(np.float64)
    sums = _sums(np.block([[xx, xy], [xy.T, yy]]), labels)
    inference = infer_from_sums(sums, sizes, np.arange(len(sizes)) < a.count, how.seed)
    row = _paper(a, b, values, n)
    return replace(row, mmd_unbiased=inference.mmd_unbiased, ci95=inference.ci95, p_value=inference.p_value)


def _itself(corpus: ComparedCorpus, xx: Matrix, how: Protocol) -> Distances:
    n = min(how.n or TRIAL_SOUNDS, len(xx) // 2)
    values = protocol.within(xx, n=n, trials=how.trials, rng=np.random.default_rng([how.seed, len(xx)]))
    row = _paper(corpus, corpus, values, n)
    if corpus.count < 4:  # no two groups a half
        return row
    halves = halvings(_sums(xx, corpus.groups), np.bincount(corpus.groups).astype(np.float64), how.seed)
    low, high = np.quantile(halves, [0.025, 0.975])
    return replace(row, mmd_unbiased=float(halves.mean()), ci95=(max(0.0, float(low)), max(0.0, float(high))))


def _paper(a: ComparedCorpus, b: ComparedCorpus, values: NDArray[np.float64], n: int) -> Distances:
    """What the paper's trials say."""
    return Distances(a.name, b.name, mmd_mean=float(values.mean()), mmd_std=float(values.std(ddof=1)), n=n)


def _sums(matrix: Matrix, labels: NDArray[np.intp]) -> NDArray[np.float64]:
    """Sums of distances between groups, zero within a group."""
    count = int(labels.max()) + 1
    if count == len(labels):  # every sound its own group
        sums = np.empty((count, count))
        sums[np.ix_(labels, labels)] = matrix
    else:
        columns = np.zeros((len(labels), count))
        np.add.at(columns.T, labels, matrix.T)
        sums = np.zeros((count, count))
        np.add.at(sums, labels, columns)
    np.fill_diagonal(sums, 0)
    return sums


def _contributions(corpora: Sequence[ComparedCorpus], matrices: dict[tuple[int, int], Matrix]) -> list[Contribution]:
    """Each sound's part in each distance of its corpus to another, farthest first.

    ``contribution`` of y_j: 2 mean d(x, y_j) - mean d(y', y_j) - mean d(x, x'), whose mean over a corpus is the
    unbiased estimate where every sound is its own group; groups weigh by how many pairs they have.
    """
    files = []
    within = [_to_other_groups(corpus, matrices[k, k]) for k, corpus in enumerate(corpora)]
    for j, corpus in enumerate(corpora):
        to_own, own_pairs = within[j]
        for i, other in enumerate(corpora):
            if i == j:
                continue
            cross = matrices[i, j].T if i < j else matrices[j, i]
            to_other = cross.mean(axis=1, dtype=np.float64)
            sums, pairs = within[i]
            near = to_own * len(to_own) / own_pairs
            part = 2 * to_other - near - sums.sum() / pairs
            files += [
                Contribution(
                    corpus=corpus.name,
                    against=other.name,
                    file=corpus.embedded.names[k],
                    contribution=float(part[k]),
                    distance_to_other=float(to_other[k]),
                    distance_to_own=float(near[k]),
                )
                for k in np.argsort(-part)
            ]
    return files


def _to_other_groups(corpus: ComparedCorpus, matrix: Matrix) -> tuple[NDArray[np.float64], int]:
    """Each sound's sum of distances to sounds of other groups, and how many such ordered pairs there are."""
    sizes = np.bincount(corpus.groups)
    sums = matrix.sum(axis=1, dtype=np.float64)
    for group in np.flatnonzero(sizes > 1):
        members = np.flatnonzero(corpus.groups == group)
        sums[members] -= matrix[np.ix_(members, members)].sum(axis=1, dtype=np.float64)
    return sums, len(sums) ** 2 - int((sizes**2).sum())
