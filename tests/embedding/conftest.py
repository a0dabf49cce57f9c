"""What the tests of embeddings share: seeded weights, the official code's outputs, a cache of their own."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.embedding import aisfx_checkpoint, coala_repository
from tests.embedding.fixtures import make_random_weights

FIXTURES = Path(__file__).parent / "fixtures"
PAYLOADS = {
    "mel256": "0fd8a4d3b6f0dea52abf6caf2abfc5c86a6e460c64a5fe2cef1cd45c49199c4f",
    "mel128": "d5753d3755563ef28ff16b9859c43a9a97ea27b05fbd2b89fb57dacee6e4d8a1",
    "linear": "3a2757774974d5393d2bbdc49d1d4bf1ec7d03881616f08f4ee15ad67184a967",
}


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """As trials are scored; and two threads that wait for each other are slow where others work too."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def openl3_weights(tmp_path_factory):
    """{representation: path} of the seeded weight files the expected outputs were made with."""
    folder = tmp_path_factory.mktemp("weights")
    paths = {}
    for representation, seed in make_random_weights.SEEDS.items():
        layers = make_random_weights.make_layers(seed)
        assert make_random_weights.payload_sha256(layers) == PAYLOADS[representation]
        paths[representation] = folder / f"openl3_audio_{representation}_music.h5"
        make_random_weights.write_h5(paths[representation], layers)
    return paths


@pytest.fixture(scope="session")
def aisfx_weights(tmp_path_factory):
    """Path of a seeded checkpoint in aisfx's format."""
    path = tmp_path_factory.mktemp("aisfx") / "checkpoint.pth"
    aisfx_checkpoint.write(path)
    return path


@pytest.fixture(scope="session")
def coala_weights(tmp_path_factory):
    """Folder like Coala's repository, with seeded checkpoints and a scaler that scikit-learn 0.22.1 pickled."""
    folder = tmp_path_factory.mktemp("coala")
    with np.load(FIXTURES / "expected_coala.npz") as file:
        coala_repository.write(folder, file["scaler/protocol 4"].tobytes())
    return folder


@pytest.fixture(scope="session")
def expected():
    """{key: array} of all the official code's outputs."""
    arrays = {}
    for name in ("synthetic", "meldb", "legacy"):
        with np.load(FIXTURES / f"expected_{name}.npz") as file:
            arrays |= {key: file[key] for key in file.files if key != "meta"}
    return arrays


@pytest.fixture(scope="session")
def sounds(expected):
    """{name: (samples,) float64} of the test sounds, 44.1 kHz."""
    return {key.removeprefix("audio/"): array / 32768.0 for key, array in expected.items() if key.startswith("audio/")}


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache folder; nothing else on this machine is looked at."""
    monkeypatch.setenv("NEBULA_TUNE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"
