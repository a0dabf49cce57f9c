"""The contract of embeddings, for each of them."""

import subprocess
import sys

import pytest
import torch

from nebula_tune.embedding import OPENL3, make_embedding
from nebula_tune.embedding.embed import one_thread
from nebula_tune.errors import EmbeddingError
from nebula_tune.testing import EmbeddingContract


class TestLogMel(EmbeddingContract):
    name = "logmel"
    shape = (1, 480)


class TestModulation(EmbeddingContract):
    name = "modulation"
    shape = (1, 864)


class TestMultiScaleSpectrogram(EmbeddingContract):
    name = "mss"
    shape = (1, 28926)
    hears_level = True


class TestScattering(EmbeddingContract):
    name = "scattering"
    shape = (15, 545)

    def test_sounds_that_one_transform_takes_together_keep_their_bits(self, embedding, audio):
        many = torch.cat([audio, audio.flip(1)])  # more than go into one transform, and a rest
        with one_thread():
            alone = [embedding.embed_batch(sound[None])[0] for sound in many]
            assert torch.equal(embedding.embed_batch(many), torch.stack(alone))


class TestAiSFX(EmbeddingContract):
    name = "aisfx"
    shape = (2, 512)
    hears_level = True

    @pytest.fixture(scope="class")
    @classmethod
    def options(cls, aisfx_weights):
        return {"weights": aisfx_weights}


class TestCoala(EmbeddingContract):
    name = "coala-dual-ae-c"
    shape = (2, 1152)
    hears_level = True

    @pytest.fixture(scope="class")
    @classmethod
    def options(cls, coala_weights):
        return {"weights": coala_weights}


class TestCoalaCNN(TestCoala):
    name = "coala-cnn"
    shape = (4, 1152)

    @pytest.fixture(scope="class")
    @classmethod
    def options(cls, coala_weights):
        return {"weights": coala_weights, "seconds": 10.0}


class TestOpenL3(EmbeddingContract):
    name = "openl3-music-mel128-512"
    shape = (2, 512)

    @pytest.fixture(scope="class")
    @classmethod
    def options(cls, openl3_weights):
        return {"weights": openl3_weights["mel128"], "hop": 1.0, "seconds": 1.0}


class TestOpenL3Active(TestOpenL3):
    @pytest.fixture(scope="class")
    @classmethod
    def options(cls, openl3_weights):
        return {"weights": openl3_weights["mel128"], "hop": 1.0, "seconds": 1.0, "active": True}


class TestOpenL3Linear6144(EmbeddingContract):
    name = "openl3-env-linear-6144"
    shape = (2, 6144)

    @pytest.fixture(scope="class")
    @classmethod
    def options(cls, openl3_weights):
        options = {"weights": openl3_weights["linear"], "hop": 0.5, "center": False, "seconds": 1.5}
        return {**options, "frontend": "kapre", "precision": "bfloat16"}


def test_there_are_twelve_openl3_names():
    assert len(OPENL3) == 12
    assert OPENL3["openl3-env-linear-6144"] == {"content": "env", "representation": "linear", "size": 6144}


def test_an_openl3_name_cannot_be_overruled_by_an_option(openl3_weights):
    with pytest.raises(EmbeddingError, match="size"):
        make_embedding("openl3-music-mel256-512", size=6144, weights=openl3_weights["mel256"])


def test_heavy_packages_are_imported_only_when_used():
    code = (
        "import sys, nebula_tune.embedding.openl3, nebula_tune.embedding.aisfx, nebula_tune.embedding.scattering\n"
        "import nebula_tune.embedding.catalogue, nebula_tune.embedding.coala\n"
        "print([m for m in ('h5py', 'kymatio', 'scipy', 'tensorflow', 'aisfx', 'sklearn') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
