"""How unlike people find sounds: a csv of ratings, read strictly, whichever of three ways it is laid out.

Square, with the sounds' names as its first row and first column; or a row for each pair, under the header
``sound_1,sound_2,dissimilarity``; or that with a column ``listener``. Every error names the file and the line.
"""

from __future__ import annotations

import csv
import io
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

import numpy as np

from nebula_tune.arrays import Floats
from nebula_tune.documents import UnreadableError, decoded, read_content
from nebula_tune.errors import CorpusError, brief, shortened

FIRST, SECOND, VALUE, LISTENER = "sound_1", "sound_2", "dissimilarity", "listener"
LISTED = f"{FIRST},{SECOND},{VALUE}"
MOST_SOUNDS = 300
MOST_CELLS = 50_000_000  # of all listeners' matrices together

Line = tuple[int, list[str]]  # its number in the file, and its cells


@dataclass(frozen=True)
class Ratings:
    """What a csv says of its sounds.

    Attributes:
        names: of the sounds, in the csv's order.
        listeners: by name; empty where the csv does not tell them apart.
        matrices: each listener's dissimilarities, or one matrix of all, (listeners or 1, sounds, sounds), symmetric;
            nan where a pair was not rated, and from a sound to itself.
        doubts: what looks wrong about the csv, in words.
    """

    names: tuple[str, ...]
    listeners: tuple[str, ...]
    matrices: Floats
    doubts: tuple[str, ...] = ()

    @property
    def mean(self) -> Floats:
        """The mean over listeners, (sounds, sounds); nan where nobody rated a pair."""
        return mean_over(self.matrices)

    def of(self, places: Sequence[int]) -> Ratings:
        """The ratings of some of the sounds, by their places."""
        kept = self.matrices[:, places][:, :, places]
        return replace(self, names=tuple(self.names[place] for place in places), matrices=kept)


def mean_over(matrices: Floats) -> Floats:
    """The mean of matrices (listeners, sounds, sounds), pair by pair, of what is there; nan where nothing is."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a pair that nobody rated
        mean: Floats = np.nanmean(matrices, axis=0)
    return mean


def read_ratings(path: Path) -> Ratings:
    """The ratings in a csv. Raises CorpusError with the file and the line."""
    (number, header), *lines = _lines(path)
    if VALUE in map(str.lower, header):
        return _listed(path, (number, [cell.lower() for cell in header]), lines)
    return _square(path, (number, header), lines)


def _refuse(path: Path, line: int, why: str) -> NoReturn:
    raise CorpusError(f"{path}:{line}: {why}")


def _lines(path: Path) -> list[Line]:
    """Lines that are not empty: a header and at least one below it."""
    try:
        text = decoded(read_content(path))
    except UnreadableError as error:
        _refuse(path, 1, str(error))
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    lines: list[Line] = []
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                lines.append((reader.line_num, [cell.strip() for cell in cells]))
    except csv.Error as error:
        _refuse(path, reader.line_num, f"it is no csv: {error}")
    if len(lines) < 2:
        _refuse(path, len(lines) or 1, "a header and ratings below it are needed")
    if len(lines[0][1]) == 1:
        _refuse(path, lines[0][0], "one column; columns are separated by commas")
    return lines


def _number(path: Path, line: int, text: str, column: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        _refuse(path, line, f"{brief(text)} under {shortened(column)} is no finite number")
    return value


def _check_width(path: Path, line: int, cells: Sequence[str], header: Sequence[str]) -> None:
    if len(cells) != len(header):
        _refuse(path, line, f"{len(cells)} cells, where the header has {len(header)}")


def _square(path: Path, header: Line, lines: Sequence[Line]) -> Ratings:
    at, columns = header[0], header[1][1:]
    if "" in columns:
        _refuse(path, at, f"column {columns.index('') + 2} has no name")
    if double := next((name for k, name in enumerate(columns) if name in columns[:k]), None):
        _refuse(path, at, f"two columns are named {brief(double)}")
    if len(columns) > MOST_SOUNDS:
        _refuse(path, at, f"{len(columns)} sounds; {MOST_SOUNDS} are the most")
    places = {name: place for place, name in enumerate(columns)}
    values = np.full((len(columns),) * 2, np.nan)
    seen: set[str] = set()
    for line, cells in lines:
        _check_width(path, line, cells, header[1])
        name = cells[0]
        if name not in places:
            _refuse(
                path, line, f"row {brief(name)} has no column of that name (ratings by pairs have the header {LISTED})"
            )
        if name in seen:
            _refuse(path, line, f"a second row {brief(name)}")
        seen.add(name)
        for column, cell in zip(columns, cells[1:], strict=True):
            if cell:  # an empty one was not rated
                values[places[name], places[column]] = _number(path, line, cell, column)
    if lacking := [name for name in columns if name not in seen]:
        _refuse(path, lines[-1][0], f"the last line, and there was no row {brief(lacking[0])}")
    if not np.isfinite(values).any():
        _refuse(path, lines[-1][0], "the last line, and nothing was rated")
    return Ratings(tuple(columns), (), _symmetric(values)[None], tuple(_doubts(columns, values)))


def _symmetric(values: Floats) -> Floats:
    """The mean of both orders of a pair, or the one that was rated; a triangle of zeros was not."""
    values = values.copy()
    np.fill_diagonal(values, np.nan)
    for triangle in (np.tril_indices(len(values), -1), np.triu_indices(len(values), 1)):
        if not np.nan_to_num(values[triangle]).any():
            values[triangle] = np.nan
    return mean_over(np.stack([values, values.T]))


def _doubts(names: Sequence[str], values: Floats) -> list[str]:
    """What looks wrong about a square as it stands: similarities, or rows under each other's names."""
    whole = np.isfinite(values)
    own = np.diag(values)
    if np.isfinite(own).all() and (own == values[whole].max()).all() and values[whole].min() < own[0]:
        return ["the largest numbers are from each sound to itself: these look like similarities, not dissimilarities"]
    itself = [_itself(row, float(values[whole].min())) for row in values]
    if None in itself or len(set(itself)) < len(itself) or itself == list(range(len(itself))):
        return []
    swapped = [f"{names[row]} reads as {names[place]}" for row, place in enumerate(itself) if place not in (None, row)]
    return [f"rows look permuted, by where each is nearest to itself: {'; '.join(swapped)}"]


def _itself(row: Floats, least: float) -> int | None:
    """The column at which a row is nearest to itself: the only empty cell or else the only least; None: unclear."""
    empty = np.flatnonzero(np.isnan(row))
    candidates = empty if len(empty) else np.flatnonzero(row == least)
    return int(candidates[0]) if len(candidates) == 1 else None


def _listed(path: Path, header: Line, lines: Sequence[Line]) -> Ratings:
    at, columns = header
    if sorted(columns) not in (sorted([FIRST, SECOND, VALUE]), sorted([FIRST, SECOND, VALUE, LISTENER])):
        _refuse(path, at, f"the header is {shortened(','.join(columns))}, not {LISTED} with or without {LISTENER}")
    names: dict[str, int] = {}
    listeners: dict[str, int] = {}
    rated: list[tuple[int, int, int, float]] = []
    for line, cells in lines:
        _check_width(path, line, cells, columns)
        cell = dict(zip(columns, cells, strict=True))
        for column in columns:
            if not cell[column]:
                _refuse(path, line, f"nothing under {column}")
        value = _number(path, line, cell[VALUE], VALUE)
        a, b = (names.setdefault(cell[column], len(names)) for column in (FIRST, SECOND))
        listener = listeners.setdefault(cell.get(LISTENER, ""), len(listeners))
        if max(len(names) - MOST_SOUNDS, len(listeners) * len(names) ** 2 - MOST_CELLS) > 0:
            _refuse(path, line, f"too many: {len(names)} sounds, {len(listeners)} listeners")
        if a != b:
            rated.append((listener, a, b, value))
    if not rated:
        _refuse(path, lines[-1][0], "the last line, and no two different sounds were rated")
    return Ratings(
        tuple(names), tuple(listeners) if LISTENER in columns else (), _matrices(rated, len(listeners), len(names))
    )


def _matrices(rated: Sequence[tuple[int, int, int, float]], listeners: int, sounds: int) -> Floats:
    """Matrices (listeners, sounds, sounds) of (listener, sound, sound, rating); of several ratings of a pair the mean,
    in whichever order its sounds were."""
    sums, counts = np.zeros((2, listeners, sounds, sounds))
    for listener, a, b, value in rated:
        for pair in ((a, b), (b, a)):
            sums[listener, *pair] += value
            counts[listener, *pair] += 1
    return np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)
