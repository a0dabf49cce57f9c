"""Embeddings by name: audio in, vectors out."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from inspect import Parameter, signature
from typing import Any

from nebula_tune.additions import added, class_at, load_added, package_of
from nebula_tune.embedding.base import Embedding
from nebula_tune.errors import EmbeddingError, NebulaTuneError

# OpenL3's twelve names, and what each means to its class.
OPENL3: dict[str, dict[str, Any]] = {
    f"openl3-{content}-{representation}-{size}": {"content": content, "representation": representation, "size": size}
    for content in ("music", "env")
    for representation in ("mel256", "mel128", "linear")
    for size in (512, 6144)
}

# Coala's three names, likewise.
COALA: dict[str, dict[str, Any]] = {f"coala-{model}": {"model": model} for model in ("dual-ae-c", "dual-e-c", "cnn")}

# name: where its class is; imported when asked for.
EMBEDDINGS = {
    "logmel": "nebula_tune.embedding.logmel:LogMel",
    "modulation": "nebula_tune.embedding.modulation:Modulation",
    "mss": "nebula_tune.embedding.mss:MultiScaleSpectrogram",
    "scattering": "nebula_tune.embedding.scattering:Scattering",
    "aisfx": "nebula_tune.embedding.aisfx:AiSFX",
    **dict.fromkeys(OPENL3, "nebula_tune.embedding.openl3:OpenL3"),
    **dict.fromkeys(COALA, "nebula_tune.embedding.coala:Coala"),
}

# What judges look at: made and cached like any other, but nothing is tuned or chosen by it.
JUDGES = {"picture": "nebula_tune.evaluate.picture:Picture"}


def other_embeddings() -> dict[str, EntryPoint]:
    """Embeddings of other packages, by name."""
    return added("embedding", EMBEDDINGS | JUDGES)


def refuse_judge(name: str) -> None:
    """Raises EmbeddingError for a judge's: no study hears with it, nor does a user name it as an embedding."""
    if name in JUDGES:
        raise EmbeddingError(f"{name} is for the network judge only; embeddings are {', '.join(EMBEDDINGS)}")


def embedding_class(name: str) -> type[Embedding]:
    """The class behind a name, a judge's too. Raises EmbeddingError for an unknown one."""
    known = EMBEDDINGS | JUDGES
    if name not in known:
        others = other_embeddings()
        if name in others:
            another: type[Embedding] = load_added("embedding", others[name], Embedding)
            return another
        raise EmbeddingError(f"no embedding {name!r}; known: {', '.join([*EMBEDDINGS, *others])}")
    try:
        implementation: type[Embedding] = class_at(known[name])
    except ModuleNotFoundError as error:
        raise EmbeddingError(f"embedding {name} needs {error.name}, which the ears alone do not have") from error
    return implementation


def make_embedding(name: str, **options: Any) -> Embedding:
    """The embedding of that name, a judge's too. Raises EmbeddingError for an unknown name or option."""
    factory: Any = embedding_class(name)
    fixed = (OPENL3 | COALA).get(name, {})
    _refuse_unknown(name, factory, fixed, options)
    try:
        embedding: Embedding = factory(**fixed, **options)
    except TypeError as error:
        raise EmbeddingError(f"embedding {name} does not take these options: {error}") from error
    except Exception as error:
        if name in EMBEDDINGS | JUDGES or isinstance(error, NebulaTuneError):
            raise
        package = package_of(other_embeddings()[name])
        raise EmbeddingError(f"embedding {name} of {package} cannot be made: {error!r}") from error
    return embedding


def _refuse_unknown(name: str, factory: Any, fixed: dict[str, Any], options: dict[str, Any]) -> None:
    """Raise EmbeddingError for options that an embedding does not have, or that its name decides."""
    parameters = signature(factory).parameters.values()
    if any(parameter.kind is Parameter.VAR_KEYWORD for parameter in parameters):
        return
    known = [parameter.name for parameter in parameters if parameter.name not in fixed]
    if unknown := [option for option in options if option not in known]:
        words = ["weights (it has none)" if option == "weights" else option for option in unknown]
        takes = ", ".join(option for option in known if option != "device")
        raise EmbeddingError(
            f"embedding {name} does not take these options: {', '.join(words)}; it takes {takes or 'none'}"
        )


__all__ = ["EMBEDDINGS", "JUDGES", "Embedding", "embedding_class", "make_embedding", "other_embeddings", "refuse_judge"]
