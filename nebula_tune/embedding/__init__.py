"""Embeddings by name: audio in, vectors out."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from nebula_tune.embedding.base import Embedding
from nebula_tune.errors import EmbeddingError

# name: where its class is; imported when asked for.
EMBEDDINGS = {
    "logmel": "nebula_tune.embedding.logmel:LogMel",
}


def make_embedding(name: str, **options: Any) -> Embedding:
    """The embedding of that name. Raises EmbeddingError for an unknown name or option."""
    if name not in EMBEDDINGS:
        raise EmbeddingError(f"no embedding {name!r}; known: {', '.join(EMBEDDINGS)}")
    module, _, attribute = EMBEDDINGS[name].partition(":")
    factory = getattr(import_module(module), attribute)
    try:
        embedding: Embedding = factory(**options)
    except TypeError as error:
        raise EmbeddingError(f"embedding {name} does not take these options: {error}") from error
    return embedding


__all__ = ["EMBEDDINGS", "Embedding", "make_embedding"]
