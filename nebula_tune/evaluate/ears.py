"""The embeddings that a comparison is asked for, made ready."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nebula_tune.corpus.prepare import Prepare
from nebula_tune.embedding import Embedding, make_embedding, refuse_judge
from nebula_tune.embedding.base import own_device
from nebula_tune.errors import SettingsError

# Those without a scale of their own: a bandwidth fitted on what is compared would be a yardstick that moves with it.
DISTANCES = ("l1", "euclidean")

Note = Callable[[str], None]
Counting = Callable[[int, int], None]


@dataclass(frozen=True)
class Ears:
    """With what sounds are heard: names of embeddings, one's weights, preparation, and the distance of vectors.

    Raises SettingsError for what there is not, EmbeddingError for a judge's embedding.
    """

    embeddings: Sequence[str]
    weights: str | None
    prepare: str
    distance: str

    def __post_init__(self) -> None:
        try:
            Prepare.named(self.prepare)
        except ValueError:
            raise SettingsError(f"--prepare {self.prepare!r}: it is onset or rms-only") from None
        if self.distance not in DISTANCES:
            raise SettingsError(f"--distance {self.distance!r}: it is {' or '.join(DISTANCES)}")
        if self.weights is not None and len(self.embeddings) != 1:
            raise SettingsError("--weights is for one --embedding; name that one alone")
        if len(set(self.embeddings)) < len(self.embeddings):
            raise SettingsError("an --embedding is named twice")
        for name in self.embeddings:
            refuse_judge(name)

    @property
    def style(self) -> Prepare:
        """How sounds are prepared."""
        return Prepare.named(self.prepare)

    def open(self) -> dict[str, Embedding]:
        """Every embedding by its name, weights read. Raises EmbeddingError."""
        options = {"device": own_device()} | ({"weights": self.weights} if self.weights else {})
        return {name: make_embedding(name, **options) for name in self.embeddings}
