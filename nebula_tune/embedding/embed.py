"""A corpus as vectors: a folder, a nebula's sounds or white noise, embedded once and cached by content."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import singledispatch
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from nebula_tune.corpus.cache import VectorCache, digest
from nebula_tune.corpus.folder import Skipped, SoundFile, Unusable
from nebula_tune.corpus.groups import GroupBy
from nebula_tune.corpus.prepare import Prepare, prepare
from nebula_tune.corpus.source import Folder, Source, Synthetic
from nebula_tune.embedding.base import Embedding
from nebula_tune.embedding.vectors import Progress, embed_files, one_thread, read_and_embed, vectors_of
from nebula_tune.errors import CorpusError
from nebula_tune.machine import cores
from nebula_tune.numerics import own_numerics
from nebula_tune.synth import Synth

__all__ = [
    "LEAST_SOUNDS",
    "SYNTHETIC_SOUNDS",
    "Embedded",
    "Progress",
    "embed_files",
    "embed_source",
    "one_thread",
    "seconds_a_sound",
    "side_by_side",
    "vectors_of",
]

BATCH = 32  # sounds
SYNTHETIC_SOUNDS = 2000
LEAST_SOUNDS = 16

Item = TypeVar("Item")
Made = TypeVar("Made")


@dataclass(frozen=True)
class Embedded:
    """Usable sounds of a corpus: vectors (sounds, D), content keys, names, folders; and what was skipped."""

    vectors: NDArray[np.float32]
    keys: tuple[str, ...]
    names: tuple[str, ...]
    folders: tuple[str, ...]
    skipped: tuple[Skipped, ...]

    @property
    def content(self) -> str:
        """Digest of all sounds, whatever their names and order."""
        return digest(sorted(self.keys))

    def groups(self, by: GroupBy) -> tuple[GroupBy, list[str]]:
        """How sounds are grouped, decided, and each sound's group; a group is named by what it holds, not by where."""
        by = by.resolve(self.folders)
        if by is GroupBy.FILE:
            return by, list(self.keys)
        first: dict[str, str] = {}
        for folder, key in zip(self.folders, self.keys, strict=True):
            first[folder] = min(first.get(folder, key), key)
        return by, [first[folder] for folder in self.folders]


@own_numerics()
def embed_source(
    source: Source,
    embedding: Embedding,
    style: Prepare,
    synth: type[Synth],
    first_index: int,
    *,
    sounds: int = SYNTHETIC_SOUNDS,
    progress: Progress | None = None,
    most: int | None = None,
) -> Embedded:
    """Vectors of a source, from the cache where they are there.

    Args:
        source: where the sounds are from.
        embedding: what makes vectors of them.
        style: how they are prepared.
        synth: the architecture of a nebula's sounds.
        first_index: index of the first sound of a nebula, or of white noise.
        sounds: how many of these.
        progress: called with the sounds that are done and how many there are; None: nobody is told.
        most: files of a folder that are taken, at random but always the same; None: all.

    Raises:
        CorpusError: for a folder that cannot be used.
    """
    cache = VectorCache({"embedding": embedding.settings, "prepare": style})
    indices = range(first_index, first_index + sounds)
    with one_thread():
        return _embedded(source, _Wanted(embedding, style, cache, synth, indices, most, progress or (lambda *_: None)))


def seconds_a_sound(embedding: Embedding) -> float:
    """Of one core, however busy the machine is; on a GPU, by the clock. Noise, which has no silent window."""
    clock = time.perf_counter if torch.cuda.is_available() else time.process_time
    seeded = torch.Generator("cpu").manual_seed(0)
    audio = torch.rand(1, embedding.samples, generator=seeded, dtype=torch.float32, device="cpu") - 0.5
    with one_thread():
        embedding.embed_batch(audio)  # the first is slower
        began = clock()
        embedding.embed_batch(audio).sum().item()
        return clock() - began


def side_by_side(function: Callable[[Item], Made], items: Iterable[Item]) -> list[Made]:
    """A function of each of some items, as many at a time as there are cores, each by one thread; in their order."""
    with one_thread(), ThreadPoolExecutor(cores()) as pool:
        return list(pool.map(function, items))


@dataclass(frozen=True)
class _Wanted:
    """What is wanted of a source, as :func:`embed_source` is asked for it."""

    embedding: Embedding
    style: Prepare
    cache: VectorCache
    synth: type[Synth]
    indices: range
    most: int | None
    progress: Progress


@singledispatch
def _embedded(source: Source, wanted: _Wanted) -> Embedded:
    raise TypeError(f"{type(source).__name__} has no way to be embedded")


@_embedded.register
def _(source: Folder, wanted: _Wanted) -> Embedded:
    folder, listing = source.path, source.listing()
    paths = list(listing.paths)
    if wanted.most is not None and len(paths) > wanted.most:  # a random choice, wherever the folder is
        sample = sorted(paths, key=lambda path: digest(path.relative_to(folder).as_posix()))[: wanted.most]
        paths = [path for path in paths if path in set(sample)]
    skipped = listing.passed_over
    files: dict[str, SoundFile] = {}
    vectors: dict[str, NDArray[np.float32]] = {}
    seen: dict[bytes, str] = {}

    loading = read_and_embed(paths, folder, wanted.embedding, wanted.style, wanted.cache)
    for number, (path, loaded) in enumerate(loading):
        name = path.relative_to(folder).as_posix()
        if isinstance(loaded, Unusable):
            skipped.append(Skipped(name, str(loaded)))
        else:
            file, vector, note = loaded
            content = hashlib.sha256(vector.tobytes()).digest()
            if content in seen:
                skipped.append(Skipped(name, f"duplicate of {seen[content]}"))
            else:
                seen[content] = name
                files[file.key], vectors[file.key] = file, vector
                if note:
                    skipped.append(Skipped(name, note, files=0))
        wanted.progress(number + 1, len(paths))

    if len(files) < LEAST_SOUNDS:
        raise CorpusError(
            f"{folder} holds {len(files)} usable sounds of {len(paths)} files; at least {LEAST_SOUNDS} are needed"
            + _first_skipped(skipped)
        )
    keys = sorted(files)  # by content: names and their order cannot change a sum
    return Embedded(
        np.stack([vectors[key] for key in keys]),
        tuple(keys),
        tuple(files[key].name for key in keys),
        tuple(files[key].folder for key in keys),
        tuple(skipped),
    )


def _first_skipped(skipped: Sequence[Skipped]) -> str:
    """The first file that is left out, and kinds of files that are not read, in brackets."""
    kinds = [file for file in skipped if file.is_kind]
    first = next((file for file in skipped if file.files and not file.is_kind), None)
    parts = [f"first skipped: {first.name}: {first.reason}"] if first else []
    parts += [f"{kind.name}: {kind.reason}" for kind in kinds]
    return f" ({'; '.join(parts)})" if parts else ""


@_embedded.register
def _(source: Synthetic, wanted: _Wanted) -> Embedded:
    content, indices, embedding = source.content(wanted.synth), wanted.indices, wanted.embedding
    keys = tuple(digest([content, index]) for index in indices)
    cache_key = digest(keys)
    vectors = wanted.cache.get(cache_key)
    if vectors is None:
        read = source.reader(wanted.synth, BATCH, wanted.style, embedding.sample_rate, embedding.seconds)
        parts = []
        for start in range(indices.start, indices.stop, BATCH):
            count = min(BATCH, indices.stop - start)
            batch = prepare(read(start, count), embedding.samples, wanted.style)
            parts.append(embedding.embed_batch(batch).flatten(1).cpu().numpy())
            wanted.progress(start + count - indices.start, len(indices))
        vectors = np.concatenate(parts)
        wanted.cache.put(cache_key, vectors)
    return Embedded(vectors, keys, tuple(str(i) for i in indices), ("",) * len(indices), ())
