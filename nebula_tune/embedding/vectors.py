"""Sounds to vectors: files read, prepared and embedded, or audio as it is. Needs no synth: the ears alone have it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from nebula_tune.arrays import Vectors
from nebula_tune.corpus.cache import VectorCache
from nebula_tune.corpus.folder import SoundFile, Unusable, fingerprint, read_sound
from nebula_tune.corpus.prepare import Prepare, as_read, prepare
from nebula_tune.embedding.base import Embedding
from nebula_tune.errors import CorpusError
from nebula_tune.numerics import own_numerics

TOGETHER = 8  # files read and embedded by one thread; a vector does not depend on the others

Progress = Callable[[int, int], None]
FileVector = tuple[SoundFile, NDArray[np.float32], str]  # a file, its vector (D,), and what is to be told of it


def vectors_of_files(paths: Sequence[str | Path], embedding: Embedding, style: Prepare = Prepare.ONSET) -> Vectors:
    """Vectors (files, D) of audio files, in their order, frames of a sound one after another.

    They are kept in the cache. Raises CorpusError naming the first file that cannot be used, and why.

    Args:
        paths: of the files; any format that libsndfile reads.
        embedding: what makes vectors of them.
        style: how they are prepared.
    """
    if not paths:
        return np.zeros((0, embedding.numbers), np.float32)
    absolute = [Path(path).absolute() for path in paths]
    folder = Path(os.path.commonpath([path.parent for path in absolute]))
    outcomes = embed_files(absolute, folder, embedding, style)
    vectors: list[NDArray[np.float32]] = []
    for path in absolute:
        outcome = outcomes[path.relative_to(folder).as_posix()]
        if isinstance(outcome, str):
            raise CorpusError(f"{path}: {outcome}")
        vectors.append(outcome)
    return np.stack(vectors)


@own_numerics()
def embed_files(
    paths: Sequence[Path], folder: Path, embedding: Embedding, style: Prepare, progress: Progress | None = None
) -> dict[str, NDArray[np.float32] | str]:
    """Vector (D,) of each file below a folder, by its relative name; or the reason why it cannot be used.

    Args:
        paths: of the files.
        folder: which all of them lie below.
        embedding: what makes vectors of them.
        style: how they are prepared.
        progress: called with the files that are done and how many there are; None: nobody is told.
    """
    cache = VectorCache({"embedding": embedding.settings, "prepare": style})
    outcomes: dict[str, NDArray[np.float32] | str] = {}
    with one_thread():
        for path, loaded in read_and_embed(paths, folder, embedding, style, cache):
            name = path.relative_to(folder).as_posix()
            outcomes[name] = str(loaded) if isinstance(loaded, Unusable) else loaded[1]
            if progress:
                progress(len(outcomes), len(paths))
    return outcomes


def vectors_of(audio: torch.Tensor, rate: int, embedding: Embedding, style: Prepare) -> torch.Tensor:
    """Vectors (sounds, D) of a synth's sounds, read as files are and prepared.

    Args:
        audio: sounds as the synth rendered them, (sounds, samples).
        rate: Hz of these.
        embedding: what makes vectors of them.
        style: how they are prepared.
    """
    audio = as_read(audio, rate, embedding.sample_rate, style)
    return embedding.embed_batch(prepare(audio, embedding.samples, style)).flatten(1)


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread an operation: so the number of cores changes no bit, and files are embedded beside each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def read_and_embed(
    paths: Sequence[Path], folder: Path, embedding: Embedding, style: Prepare, cache: VectorCache
) -> Iterator[tuple[Path, FileVector | Unusable]]:
    """Each file's vector (D,), in order; files that cannot be used come as the reason why.

    Args:
        paths: of the files.
        folder: which all of them lie below.
        embedding: what makes vectors of them.
        style: how they are prepared.
        cache: where vectors are kept.
    """

    def load(some: Sequence[Path]) -> list[tuple[Path, FileVector | Unusable]]:
        outcomes: dict[Path, FileVector | Unusable] = {}
        new: list[tuple[Path, SoundFile, str, torch.Tensor]] = []
        for path in some:
            try:
                file = fingerprint(path, folder)
                vector = cache.get(file.key)
                if vector is None:
                    sound = read_sound(path, embedding.sample_rate, style)
                    audio = prepare(torch.from_numpy(sound.audio)[None], embedding.samples, style)
                    new.append((path, file, sound.note, audio))
                else:
                    outcomes[path] = file, vector, cache.note(file.key)
            except Unusable as error:
                outcomes[path] = error
        if new:
            vectors = embedding.embed_batch(torch.cat([audio for *_, audio in new])).flatten(1).cpu().numpy()
            for (path, file, note, _), vector in zip(new, vectors, strict=True):
                if note:
                    cache.put_note(file.key, note)
                cache.put(file.key, vector)
                finite = np.isfinite(vector).all()
                outcomes[path] = (file, vector, note) if finite else Unusable("not finite once embedded")
        return [(path, outcomes[path]) for path in some]

    with ThreadPoolExecutor() as pool:
        for loaded in pool.map(load, [paths[k : k + TOGETHER] for k in range(0, len(paths), TOGETHER)]):
            yield from loaded
