"""`nebula-tune rank --people`: which ears order sounds as people do, by ratings of your own or of anybody's.

A set is a folder with ``sounds/`` and ``dissimilarity.csv`` (:mod:`nebula_tune.ranking.ratings`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nebula_tune.arrays import Floats
from nebula_tune.corpus.folder import audio_files
from nebula_tune.distance import make_distance
from nebula_tune.embedding.embed import embed_files
from nebula_tune.errors import CorpusError, SettingsError
from nebula_tune.evaluate.ears import Counting, Ears, Note
from nebula_tune.evaluate.matrices import among
from nebula_tune.ranking.agreement import MEASURES, Agreement, agreement, mantel, mean_agreement, p_value
from nebula_tune.ranking.alignment import CHANCE, doubtful_listeners
from nebula_tune.ranking.ratings import Ratings, mean_over, read_ratings

WEIGHTLESS = ("logmel", "modulation", "mss", "scattering", "logmel+modulation")
SOUNDS, RATINGS = "sounds", "dissimilarity.csv"
LEAST_SOUNDS = 4  # of a set: with fewer, no sound has three others
RESAMPLES = 2000  # of the sets
FEW_SETS = 5
LISTED = 5  # names in a line

Together = tuple[str, ...]  # embeddings that hear as one ear


@dataclass(frozen=True)
class RatedSet:
    """One set: what people say, and where each of its sounds is."""

    name: str
    ratings: Ratings
    files: tuple[Path, ...]

    def of(self, places: Sequence[int]) -> RatedSet:
        """The set with some of its sounds, by their places."""
        return RatedSet(self.name, self.ratings.of(places), tuple(self.files[place] for place in places))

    @property
    def usable(self) -> bool:
        """Whether people say enough for every measure."""
        mean = self.ratings.mean
        return len(self.files) >= LEAST_SOUNDS and bool(np.isfinite(astuple(agreement(mean, mean))).all())


@dataclass(frozen=True)
class SetReport:
    """A set: its size, its listeners, and how each of them agrees with the rest (None: not told apart)."""

    set: str
    sounds: int
    pairs: int
    listeners: int
    ceiling: Agreement | None


@dataclass(frozen=True)
class SetRow:
    """What one ear says of one set, and how often chance would say so."""

    set: str
    agreement: Agreement
    mantel_p: float


@dataclass(frozen=True)
class EarRow:
    """An ear: its mean over sets, with the 95 % interval of resampled sets (None: one set), and each set's."""

    ear: str
    agreement: Agreement
    ci95: dict[str, tuple[float, float]] | None
    mantel_p: float
    sets: tuple[SetRow, ...]


@dataclass(frozen=True)
class PeopleReport:
    """Ears, best first by anchor sound; the sets; people's agreement with each other, over ``ceiling_sets`` sets; and
    what does not match or looks wrong."""

    people: str
    ears: Ears
    rows: tuple[EarRow, ...]
    sets: tuple[SetReport, ...]
    ceiling: Agreement | None
    ceiling_sets: int
    remarks: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """As JSON; a measure that a set cannot tell is null."""
        report: dict[str, Any] = _without_nan(asdict(self))
        return report


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(each) for each in value]
    return None if isinstance(value, float) and np.isnan(value) else value


def parse_ears(texts: Sequence[str]) -> list[Together]:
    """Ears as they are typed, embeddings joined by ``+``. Raises SettingsError."""
    ears = [tuple(part.strip() for part in text.split("+")) for text in texts]
    for text, parts in zip(texts, ears, strict=True):
        if "" in parts or len(set(parts)) < len(parts):
            raise SettingsError(f"--embedding {text!r}: different names joined by +, like logmel+modulation")
    if len({frozenset(parts) for parts in ears}) < len(ears):
        raise SettingsError("an --embedding is named twice")
    return ears


def embeddings_of(together: Sequence[Together]) -> tuple[str, ...]:
    """The embeddings that some ears are made of, each once."""
    return tuple(dict.fromkeys(name for parts in together for name in parts))


def rank_people(
    root: Path, together: Sequence[Together], ears: Ears, *, seed: int, note: Note, counting: Counting
) -> PeopleReport:
    """How far each ear agrees with the ratings of the sets in a folder.

    Args:
        root: the folder of sets.
        together: the ears: one embedding, or several, each over its mean distance in the set.
        ears: all embeddings that these name, preparation and distance.
        seed: of permutations and resampled sets.
        note: told what does not match or looks wrong, a line each.
        counting: called with the files that are done and how many there are.

    Raises:
        CorpusError: for a csv that cannot be read, with its line; and where no set is left.
    """
    remarks: list[str] = []
    embeddings = ears.open()
    sets = _sets(root, remarks)
    files = [file for each in sets for file in each.files]
    vectors = {name: embed_files(files, root, each, ears.style, counting) for name, each in embeddings.items()}
    unusable = {file: why for each in vectors.values() for file, why in each.items() if isinstance(why, str)}
    sets = list(_left(sets, unusable, root, remarks))
    if not sets:
        raise CorpusError(f"{root}: no set is left that can be used; {remarks[-1]}")
    for each in sets:
        remarks += [f"{each.name}: {doubt}" for doubt in (*each.ratings.doubts, *doubtful_listeners(each.ratings))]

    names = [[file.relative_to(root).as_posix() for file in each.files] for each in sets]
    matrices = {
        ear: [_distances([by_file[name] for name in of_set], ears.distance) for of_set in names]
        for ear, by_file in vectors.items()
    }
    rows = [_row("+".join(parts), sets, _joined([matrices[part] for part in parts]), seed) for parts in together]
    rows.sort(key=lambda row: -row.agreement.anchor)
    remarks += _unfit(sets, rows)
    for line in remarks:
        note(line)
    if len(sets) < FEW_SETS:
        note(f"note: few sets ({len(sets)}): what is resampled is sets, and one alone has no interval")
    reports = [_described(each) for each in sets]
    ceilings = [each.ceiling for each in reports if each.ceiling is not None]
    ceiling = mean_agreement(ceilings) if ceilings else None
    return PeopleReport(str(root), ears, tuple(rows), tuple(reports), ceiling, len(ceilings), tuple(remarks))


def _sets(root: Path, remarks: list[str]) -> list[RatedSet]:
    """Every set in a folder, with the sounds that have a name and a file."""
    if not root.is_dir():
        raise CorpusError(f"{root} does not exist, or is no folder")
    folders = sorted(path for path in root.iterdir() if path.is_dir())
    rated = [folder for folder in folders if (folder / RATINGS).exists() and (folder / SOUNDS).is_dir()]
    if not rated:
        raise CorpusError(f"{root} holds no set: a set is a folder in it with {SOUNDS}/ and {RATINGS}")
    for folder in folders:
        if folder not in rated and ((folder / RATINGS).exists() or (folder / SOUNDS).is_dir()):
            lacks = SOUNDS if (folder / RATINGS).exists() else RATINGS
            remarks.append(f"{folder.name}: left out, it has no {lacks}")
    return [_matched(folder, remarks) for folder in rated]


def _matched(folder: Path, remarks: list[str]) -> RatedSet:
    """A set with the sounds that the csv and the folder both have; a name is a file's, with or without extension."""
    ratings = read_ratings(folder / RATINGS)
    named: dict[str, list[Path]] = defaultdict(list)
    sounds = folder / SOUNDS
    paths = audio_files(sounds).paths
    for path in paths:
        for name in {path.relative_to(sounds).as_posix(), path.relative_to(sounds).with_suffix("").as_posix()}:
            named[name].append(path)
    places = [place for place, name in enumerate(ratings.names) if len(named.get(name, ())) == 1]
    files = tuple(named[ratings.names[place]][0] for place in places)
    lacking = [name for name in ratings.names if not named.get(name)]
    several = [name for name in ratings.names if len(named.get(name, ())) > 1]
    matched = {path for name in ratings.names for path in named.get(name, ())}
    unrated = [path.relative_to(sounds).as_posix() for path in paths if path not in matched]
    _tell(remarks, folder.name, lacking, f"{RATINGS} names what {SOUNDS}/ has no file of")
    _tell(remarks, folder.name, several, f"{RATINGS} names what {SOUNDS}/ has several files of")
    _tell(remarks, folder.name, unrated, f"{SOUNDS}/ has files that {RATINGS} does not name")
    twice = [name for name, path in zip(ratings.of(places).names, files, strict=True) if files.count(path) > 1]
    if twice:
        raise CorpusError(f"{folder / RATINGS}:1: {' and '.join(twice[:2])} are one file of {SOUNDS}/; name it one way")
    return RatedSet(folder.name, ratings.of(places), files)


def _tell(remarks: list[str], set_name: str, names: Sequence[str], what: str) -> None:
    if names:
        more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
        remarks.append(f"{set_name}: {what}: {', '.join(names[:LISTED])}{more}")


def _left(sets: Sequence[RatedSet], unusable: Mapping[str, str], root: Path, remarks: list[str]) -> Iterator[RatedSet]:
    """Sets without sounds that an ear cannot use, and only such as people say something about."""
    for each in sets:
        names = [file.relative_to(root).as_posix() for file in each.files]
        lost = [f"{Path(name).name} ({unusable[name]})" for name in names if name in unusable]
        _tell(remarks, each.name, lost, "sounds that cannot be used")
        kept = each.of([place for place, name in enumerate(names) if name not in unusable])
        if kept.usable:
            yield kept
        else:
            remarks.append(f"{each.name}: left out, it takes {LEAST_SOUNDS} sounds and ratings that differ")


def _distances(vectors: Sequence[object], distance: str) -> Floats:
    """Distances (sounds, sounds) of vectors."""
    return among(np.asarray(vectors, dtype=np.float32), make_distance(distance)).astype(np.float64)


def _joined(parts: Sequence[Sequence[Floats]]) -> list[Floats]:
    """Distances of each set heard by several embeddings: their sum, each over its mean in that set."""
    if len(parts) == 1:
        return list(parts[0])
    return [sum((_over_mean(matrix) for matrix in of_set), np.zeros(())) for of_set in zip(*parts, strict=True)]


def _over_mean(matrix: Floats) -> Floats:
    mean = float(matrix[np.triu_indices(len(matrix), 1)].mean())
    return matrix / mean if mean > 0 else matrix


def _row(ear: str, sets: Sequence[RatedSet], distances: Sequence[Floats], seed: int) -> EarRow:
    rows, permuted = [], []
    for number, (each, matrix) in enumerate(zip(sets, distances, strict=True)):
        people = each.ratings.mean
        correlations = mantel(people, matrix, [seed, number])
        permuted.append(correlations)
        rows.append(SetRow(each.name, agreement(people, matrix), p_value(correlations)))
    agreements = [row.agreement for row in rows]
    return EarRow(
        ear=ear,
        agreement=mean_agreement(agreements),
        ci95=_intervals(agreements, seed) if len(rows) > 1 else None,
        mantel_p=p_value(np.mean(permuted, axis=0)),
        sets=tuple(rows),
    )


def _intervals(agreements: Sequence[Agreement], seed: int) -> dict[str, tuple[float, float]]:
    """Of each measure's mean the 95 % interval over resampled sets, the same sets for every ear."""
    sets = np.random.default_rng(seed).integers(len(agreements), size=(RESAMPLES, len(agreements)))
    values = {measure: np.array([getattr(each, measure) for each in agreements]) for measure in MEASURES}
    ends = {
        measure: np.nanpercentile(np.nanmean(value[sets], axis=1), [2.5, 97.5]) for measure, value in values.items()
    }
    return {measure: (float(low), float(high)) for measure, (low, high) in ends.items()}


def _unfit(sets: Sequence[RatedSet], rows: Sequence[EarRow]) -> list[str]:
    """A line for each set that no ear agrees with."""
    by_set = {each.name: [row.sets[number].mantel_p for row in rows] for number, each in enumerate(sets)}
    return [
        f"{name}: no ear agrees with it better than by chance (p {min(values):.2f}): are its names those of its sounds?"
        for name, values in by_set.items()
        if min(values) > CHANCE
    ]


def _described(rated: RatedSet) -> SetReport:
    """A set, and how each of its listeners agrees with the mean of the others."""
    matrices = rated.ratings.matrices
    ceilings = [
        agreement(mean_over(np.delete(matrices, number, axis=0)), matrices[number])
        for number in range(len(matrices) if len(matrices) > 1 else 0)
    ]
    return SetReport(
        set=rated.name,
        sounds=len(rated.files),
        pairs=int(np.isfinite(rated.ratings.mean).sum()) // 2,
        listeners=len(rated.ratings.listeners),
        ceiling=mean_agreement(ceilings) if ceilings else None,
    )
