"""What every embedding promises: a test class for each inherits this and says its ``name`` and ``shape``."""

from __future__ import annotations

import json
from typing import ClassVar

import pytest
import torch
from torch import Tensor

from nebula_tune.embedding import Embedding, embedding_class, make_embedding
from nebula_tune.errors import EmbeddingError


class EmbeddingContract:
    """Tests of one embedding.

    Attributes:
        name: what it is found by.
        shape: frames and dimensions of a sound.
        hears_level: whether the same sound louder has another vector.
    """

    name: ClassVar[str]
    shape: ClassVar[tuple[int, int]]
    hears_level: ClassVar[bool] = False

    @pytest.fixture(scope="class")
    @classmethod
    def options(cls) -> dict[str, object]:
        """Options it is made with: none, unless a test class says otherwise."""
        return {}

    @pytest.fixture(scope="class")
    @classmethod
    def embedding(cls, options: dict[str, object]) -> Embedding:
        """What is tested."""
        return make_embedding(cls.name, **options)

    @pytest.fixture(scope="class")
    @classmethod
    def audio(cls, embedding: Embedding) -> Tensor:
        """Five sounds: noise, a decaying tone, a click, a quiet noise, silence."""
        time = torch.arange(embedding.samples, dtype=torch.float32, device="cpu") / embedding.sample_rate
        seeded = torch.Generator("cpu").manual_seed(3)
        noise = torch.randn(embedding.samples, generator=seeded, dtype=torch.float32, device="cpu")
        click = torch.zeros(embedding.samples, dtype=torch.float32, device="cpu")
        click[embedding.samples // 3] = 1.0
        tone = 0.5 * torch.sin(2 * torch.pi * 440 * time) * torch.exp(-1.5 * time)
        return torch.stack([0.1 * noise, tone, click, 1e-3 * noise.flip(0), torch.zeros_like(time)])

    @pytest.fixture(scope="class")
    @classmethod
    def vectors(cls, embedding: Embedding, audio: Tensor) -> Tensor:
        """Those of the five sounds."""
        return embedding.embed_batch(audio)

    def test_is_found_by_its_name(self, embedding: Embedding) -> None:
        assert type(embedding) is embedding_class(self.name)
        assert isinstance(embedding, Embedding)
        assert embedding.name == self.name == embedding.settings["name"]

    def test_vectors_are_float32_of_the_promised_shape(self, vectors: Tensor, audio: Tensor) -> None:
        assert vectors.dtype == torch.float32
        assert tuple(vectors.shape) == (len(audio), *self.shape)
        assert not vectors.requires_grad

    def test_every_vector_is_finite_and_silence_has_one(
        self, embedding: Embedding, vectors: Tensor, audio: Tensor
    ) -> None:
        assert vectors.isfinite().all()
        silence = embedding.embed_batch(torch.zeros(2, embedding.samples, dtype=torch.float32, device="cpu"))
        assert torch.equal(silence[0], silence[1])
        assert torch.equal(silence[0], vectors[-1])

    def test_different_sounds_have_different_vectors(self, vectors: Tensor) -> None:
        flat = vectors.flatten(1)
        distances = torch.cdist(flat, flat, p=1)
        distances.fill_diagonal_(torch.inf)
        assert distances.min() > 1e-3 * flat.abs().sum(dim=1).mean()

    def test_a_vector_does_not_depend_on_the_batch(self, embedding: Embedding, vectors: Tensor, audio: Tensor) -> None:
        order = [3, 1, 0]
        assert torch.equal(embedding.embed_batch(audio[order]), vectors[order])
        assert torch.equal(embedding.embed_batch(audio[1:2]), vectors[1:2])

    def test_a_vector_hardly_depends_on_threads(self, embedding: Embedding, vectors: Tensor, audio: Tensor) -> None:
        threads = torch.get_num_threads()
        try:
            torch.set_num_threads(1 if threads > 1 else 2)
            # Not bit for bit: which elements a logarithm takes in one vector instruction depends on the split.
            assert torch.allclose(embedding.embed_batch(audio[:2]), vectors[:2], rtol=1e-5, atol=1e-5)
        finally:
            torch.set_num_threads(threads)

    def test_another_instance_gives_the_same(
        self, options: dict[str, object], embedding: Embedding, vectors: Tensor, audio: Tensor
    ) -> None:
        """Made with the same options, an embedding is the same, and gives the same audio the same vectors."""
        other = make_embedding(self.name, **options)
        assert other.settings == embedding.settings
        assert torch.equal(other.embed_batch(audio[:2]), vectors[:2])

    def test_level_is_heard_or_not_as_promised(self, embedding: Embedding, vectors: Tensor, audio: Tensor) -> None:
        quiet = embedding.embed_batch(audio[:3] / 8)
        same = torch.allclose(quiet, vectors[:3], rtol=1e-4, atol=1e-4)
        assert same != self.hears_level, "hears_level says whether the same sound louder has another vector"

    def test_audio_is_not_changed(self, embedding: Embedding, audio: Tensor) -> None:
        before = audio.clone()
        embedding.embed_batch(audio)
        assert torch.equal(audio, before)

    def test_settings_survive_json_and_name_no_device(self, embedding: Embedding, options: dict[str, object]) -> None:
        assert json.loads(json.dumps(embedding.settings)) == embedding.settings
        assert make_embedding(self.name, **options, device="cpu").settings == embedding.settings
        assert "device" not in embedding.settings

    def test_an_unknown_option_is_one_clear_line(self, options: dict[str, object]) -> None:
        with pytest.raises(EmbeddingError, match="nonsense") as caught:
            make_embedding(self.name, **options, nonsense=1)
        assert "\n" not in str(caught.value)
