"""What embeddings there are: for the list that ``nebula-tune embeddings`` prints, and for fetching weights by name."""

from __future__ import annotations

import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from nebula_tune.additions import package_of
from nebula_tune.embedding import (
    COALA,
    EMBEDDINGS,
    OPENL3,
    Embedding,
    embedding_class,
    make_embedding,
    other_embeddings,
)
from nebula_tune.errors import UserInputError
from nebula_tune.notices import warn_once
from nebula_tune.words import printable

if TYPE_CHECKING:
    from rich.console import Console

OWN = "none needed"
TIMED_SOUNDS = 2


@dataclass(frozen=True)
class Entry:
    """One embedding as it is with its default options: ``dimensions`` are those of a sound, all frames together."""

    name: str
    dimensions: int
    sample_rate: int  # Hz
    seconds: float
    licence: str  # of the weights
    ready: bool
    remedy: str  # what makes it ready; empty if it is


def entries() -> list[Entry]:
    """All embeddings in the registry's order, then those of other packages. Looks for weights, loads none."""
    others = other_embeddings()
    return [
        _entry(name, f"of {package_of(others[name])}" if name in others else OWN) for name in (*EMBEDDINGS, *others)
    ]


def fetch(name: str, base_url: str | None = None, console: Console | None = None) -> Path | None:
    """Get an embedding's weights into the cache; where they are, or None for one that needs none.

    ``base_url`` is a mirror of OpenL3's folder of weights. Coala's are not fetched: see the error. Raises
    EmbeddingError for an unknown name and for weights that cannot be had, StorageError if they cannot be kept.
    """
    from nebula_tune.embedding import aisfx, coala
    from nebula_tune.embedding.openl3 import weight_files as files

    embedding_class(name)  # refuses an unknown name
    if name in OPENL3:
        return files.find(_stem(name)) or files.fetch(_stem(name), base_url, console)
    if name == "aisfx":
        return aisfx.find() or aisfx.fetch(console)
    if name in COALA:
        return coala.files_in_cache(COALA[name]["model"])[0]
    return None


def seconds_a_sound(embedding: Embedding) -> float:
    """Measured on this machine, with as many threads as torch has now: noise, which has no silent window."""
    from nebula_tune.embedding.openl3 import OpenL3

    if isinstance(embedding, OpenL3):
        return embedding.cost(1).seconds
    seeded = torch.Generator("cpu").manual_seed(0)
    audio = torch.rand(TIMED_SOUNDS, embedding.samples, generator=seeded, dtype=torch.float32, device="cpu") - 0.5
    embedding.embed_batch(audio[:1])
    start = time.perf_counter()
    embedding.embed_batch(audio).sum().item()
    return (time.perf_counter() - start) / TIMED_SOUNDS


def _stem(name: str) -> str:
    from nebula_tune.embedding.openl3 import weight_files as files

    return files.stem(OPENL3[name]["representation"], OPENL3[name]["content"])


def _entry(name: str, licence: str) -> Entry:
    """An embedding's entry; ``licence`` is what is said of one that none of the networks is."""
    from nebula_tune.embedding import aisfx, coala
    from nebula_tune.embedding.openl3 import weight_files as files

    remedy = f"nebula-tune embeddings --fetch {name}"
    if name in OPENL3:
        ready = files.find(_stem(name)) is not None
        frames = 36  # of 4 s, every 0.1 s, centred
        return Entry(name, frames * OPENL3[name]["size"], 48000, 4.0, files.LICENCE, ready, "" if ready else remedy)
    if name == "aisfx":
        ready = aisfx.find() is not None
        return Entry(name, 1024, 44100, 4.0, aisfx.WHEEL.licence, ready, "" if ready else remedy)
    if name in COALA:
        ready = coala.find(COALA[name]["model"]) is not None
        remedy = f"git clone {coala.ADDRESS} {coala.home()}"
        return Entry(name, 2304, 22000, 4.0, coala.LICENCE, ready, "" if ready else remedy)
    if name == "scattering":
        ready = find_spec("kymatio") is not None  # to build its filters takes seconds
        return Entry(name, 8175, 32000, 2.0, OWN, ready, "" if ready else "pip install kymatio")
    try:
        embedding = make_embedding(name)
        return Entry(name, embedding.numbers, embedding.sample_rate, embedding.seconds, licence, True, "")
    except Exception as error:  # whatever another package may raise; of ours, a library that is not installed
        reason = str(error) if isinstance(error, UserInputError) else f"embedding {name} {licence} fails: {error!r}"
        warn_once(f"warning: {printable(reason)}")
        return Entry(name, 0, 0, 0.0, licence, False, reason)
