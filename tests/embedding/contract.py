"""What every embedding promises: a test class for each inherits this, overrides ``name`` and says its ``shape``."""

import json

import pytest
import torch

from nebula_tune.embedding import EMBEDDINGS, Embedding, make_embedding
from nebula_tune.errors import EmbeddingError


class EmbeddingContract:
    hears_level = False  # whether the same sound louder has another vector
    shape: tuple[int, int]  # (frames, dimensions) of a sound
    registry = EMBEDDINGS

    @pytest.fixture(scope="class")
    @classmethod
    def options(cls):
        """Options it is made with."""
        return {}

    @pytest.fixture(scope="class")
    @classmethod
    def name(cls):
        raise NotImplementedError

    @pytest.fixture(scope="class")
    @classmethod
    def embedding(cls, name, options):
        return make_embedding(name, **options)

    @pytest.fixture(scope="class")
    @classmethod
    def audio(cls, embedding):
        """Five sounds: noise, a decaying tone, a click, a quiet noise, silence."""
        time = torch.arange(embedding.samples) / embedding.sample_rate
        noise = torch.randn(embedding.samples, generator=torch.Generator().manual_seed(3))
        click = torch.zeros(embedding.samples)
        click[embedding.samples // 3] = 1.0
        tone = 0.5 * torch.sin(2 * torch.pi * 440 * time) * torch.exp(-1.5 * time)
        return torch.stack([0.1 * noise, tone, click, 1e-3 * noise.flip(0), torch.zeros_like(time)])

    @pytest.fixture(scope="class")
    @classmethod
    def vectors(cls, embedding, audio):
        return embedding.embed_batch(audio)

    def test_is_registered_under_its_name(self, name, embedding):
        assert name in self.registry
        assert isinstance(embedding, Embedding)
        assert embedding.name == name == embedding.settings["name"]

    def test_vectors_are_float32_of_the_promised_shape(self, vectors, audio):
        assert vectors.dtype == torch.float32
        assert tuple(vectors.shape) == (len(audio), *self.shape)
        assert not vectors.requires_grad

    def test_every_vector_is_finite_and_silence_has_one(self, embedding, vectors, audio):
        assert vectors.isfinite().all()
        silence = embedding.embed_batch(torch.zeros(2, embedding.samples))
        assert torch.equal(silence[0], silence[1])
        assert torch.equal(silence[0], vectors[-1])

    def test_different_sounds_have_different_vectors(self, vectors):
        flat = vectors.flatten(1)
        distances = torch.cdist(flat, flat, p=1)
        distances.fill_diagonal_(torch.inf)
        assert distances.min() > 1e-3 * flat.abs().sum(dim=1).mean()

    def test_a_vector_does_not_depend_on_the_batch(self, embedding, vectors, audio):
        order = torch.tensor([3, 1, 0])
        assert torch.equal(embedding.embed_batch(audio[order]), vectors[order])
        assert torch.equal(embedding.embed_batch(audio[1:2]), vectors[1:2])

    @pytest.mark.slow  # two threads that wait for each other on busy cores
    def test_a_vector_hardly_depends_on_threads(self, embedding, vectors, audio):
        threads = torch.get_num_threads()
        try:
            torch.set_num_threads(1 if threads > 1 else 2)
            # Not bit for bit: which elements a logarithm takes in one vector instruction depends on the split.
            assert torch.allclose(embedding.embed_batch(audio[:2]), vectors[:2], rtol=1e-5, atol=1e-5)
        finally:
            torch.set_num_threads(threads)

    def test_another_instance_gives_the_same(self, name, options, embedding, vectors, audio):
        other = make_embedding(name, **options)
        assert other.settings == embedding.settings
        assert torch.equal(other.embed_batch(audio[:2]), vectors[:2])

    def test_level_is_heard_or_not_as_promised(self, embedding, vectors, audio):
        quiet = embedding.embed_batch(audio[:3] / 8)
        same = torch.allclose(quiet, vectors[:3], rtol=1e-4, atol=1e-4)
        assert same != self.hears_level, "hears_level says whether the same sound louder has another vector"

    def test_audio_is_not_changed(self, embedding, audio):
        before = audio.clone()
        embedding.embed_batch(audio)
        assert torch.equal(audio, before)

    def test_settings_survive_json(self, embedding):
        assert json.loads(json.dumps(embedding.settings)) == embedding.settings
        assert "device" not in embedding.settings

    def test_an_unknown_option_is_one_clear_line(self, name, options):
        with pytest.raises(EmbeddingError, match="nonsense") as caught:
            make_embedding(name, **options, nonsense=1)
        assert "\n" not in str(caught.value)
