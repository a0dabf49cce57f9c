"""aisfx agrees with the official package, and its checkpoint is read without running anything."""

import pickle

import numpy as np
import pytest
import torch

from nebula_tune.embedding import catalogue, make_embedding
from nebula_tune.embedding.aisfx import LARGEST_VALUE, AiSFX, blocks_of
from nebula_tune.errors import EmbeddingError
from tests.embedding.aisfx_checkpoint import tensors
from tests.embedding.conftest import FIXTURES


@pytest.fixture(scope="module")
def official():
    with np.load(FIXTURES / "expected_aisfx.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def ear(aisfx_weights):
    return AiSFX(weights=aisfx_weights)


def test_the_spectrogram_agrees_with_essentia(ear, sounds, official):
    ours = ear._spectrogram(torch.from_numpy(sounds["short"])) * LARGEST_VALUE
    assert ours.shape == official["spectrogram/short"].shape
    assert np.abs(ours.numpy() - official["spectrogram/short"]).max() < 1e-4


def test_the_network_agrees_with_the_official_one(ear, official):
    blocks = np.random.RandomState(12).rand(2, 100, 96).astype(np.float32)
    vectors = torch.cat([ear._forward(torch.from_numpy(block)[None]) for block in blocks]).numpy()
    assert np.abs(vectors - official["seeded/blocks"]).max() < 1e-5


@pytest.mark.slow  # fetches 25 MB from PyPI
@pytest.mark.parametrize("sound", ["clicks", "sweep"])
def test_vectors_agree_with_the_official_package_and_weights(sound, sounds, official):
    catalogue.fetch("aisfx")
    vectors = make_embedding("aisfx").embed_batch(torch.from_numpy(sounds[sound])[None])[0].numpy()
    assert np.abs(vectors - official[f"official/{sound}"]).max() < 1e-4


def test_blocks_are_whole_and_a_short_sound_is_filled_up():
    assert blocks_of(torch.ones(174, 96)).shape == (2, 100, 96)
    short = blocks_of(torch.ones(14, 96))
    assert short.shape == (1, 100, 96)
    assert short[0, 14:].abs().sum() == 0


class Malicious:
    def __reduce__(self):
        return print, ("executed",)


def test_code_in_a_checkpoint_is_not_run(tmp_path, capsys):
    torch.save((Malicious(), {}), tmp_path / "new.pth")
    (tmp_path / "old.pth").write_bytes(pickle.dumps(Malicious(), protocol=2))
    for name in ("new.pth", "old.pth"):
        with pytest.raises(EmbeddingError, match="cannot be read") as caught:
            AiSFX(weights=tmp_path / name)
        assert "\n" not in str(caught.value)
    assert "executed" not in capsys.readouterr().out


def test_wrong_checkpoints_are_one_clear_line(tmp_path):
    short = tensors()
    short["embedding_net.conv_block2.conv1.weight"] = torch.zeros(128, 64, 5, 5)
    missing = tensors()
    del missing["embedding_net.conv_block4.bn2.bias"]
    for content, said in [
        ((short, {}), r"\(128, 64, 5, 5\)"),
        (missing, "bn2.bias"),
        ([1, 2], "not a checkpoint of aisfx"),
    ]:
        torch.save(content, tmp_path / "bad.pth")
        with pytest.raises(EmbeddingError, match=said):
            AiSFX(weights=tmp_path / "bad.pth")
    (tmp_path / "bad.whl").write_bytes(b"no wheel")
    (tmp_path / "empty.pth").touch()
    for name in ("bad.whl", "nowhere.pth", "empty.pth"):
        with pytest.raises(EmbeddingError, match="cannot be read"):
            AiSFX(weights=tmp_path / name)
