"""Weight files are read by order, every shape checked; whatever else a file is gets one clear line."""

import gzip
import shutil

import h5py
import numpy as np
import pytest

from nebula_tune.embedding.openl3.keras_file import read_weights
from nebula_tune.errors import EmbeddingError
from tests.embedding.conftest import PAYLOADS


@pytest.fixture
def copy(openl3_weights, tmp_path):
    path = tmp_path / "weights.h5"
    shutil.copy(openl3_weights["mel256"], path)
    return path


def test_a_packed_file_reads_the_same(openl3_weights, tmp_path):
    packed = tmp_path / "weights.h5.gz"
    packed.write_bytes(gzip.compress(openl3_weights["mel256"].read_bytes(), compresslevel=1))
    assert read_weights(packed).sha256 == read_weights(openl3_weights["mel256"]).sha256 == PAYLOADS["mel256"]


def test_layers_are_taken_by_order_whatever_their_names(copy):
    with h5py.File(copy, "r+") as file:
        names = [name.decode() for name in file.attrs["layer_names"]]
        for number, name in enumerate(names):
            file.move(name, f"layer_{99 - number}")
        file.attrs["layer_names"] = [f"layer_{99 - number}".encode() for number in range(len(names))]
    assert read_weights(copy).sha256 == PAYLOADS["mel256"]


def test_a_file_of_version_0_2_reads_the_same(copy):
    """Such files hold the frontend's layer too, and some keep it all under model_weights."""
    with h5py.File(copy, "r+") as file:
        root = file.create_group("model_weights")
        for name in [name.decode() for name in file.attrs["layer_names"]]:
            file.move(name, f"model_weights/{name}")
        layer = root.create_group("melspectrogram_1")
        layer.attrs["weight_names"] = [b"melspectrogram_1/real_kernels:0"]
        layer.create_dataset("melspectrogram_1/real_kernels:0", data=np.zeros((4, 1), np.float32))
        root.attrs["layer_names"] = [b"input_1", b"melspectrogram_1", *file.attrs["layer_names"][1:]]
        del file.attrs["layer_names"]
    assert read_weights(copy).sha256 == PAYLOADS["mel256"]


def no_attributes(file):
    del file.attrs["layer_names"]


def no_weight_names(file):
    del file["conv2d_3"].attrs["weight_names"]


def a_layer_less(file):
    file.attrs["layer_names"] = file.attrs["layer_names"][:-1]


def another_shape(file):
    del file["conv2d_3/conv2d_3/kernel:0"]
    file["conv2d_3/conv2d_3/kernel:0"] = np.zeros((5, 5, 64, 128), np.float32)


def a_missing_dataset(file):
    del file["conv2d_3/conv2d_3/bias:0"]


def a_link_to_another_file(file):
    del file["conv2d_3/conv2d_3/bias:0"]
    file["conv2d_3/conv2d_3/bias:0"] = h5py.ExternalLink("/etc/hosts", "/x")


def not_a_number(file):
    file["conv2d_3/conv2d_3/bias:0"][0] = np.nan


def whole_numbers(file):
    del file["conv2d_3/conv2d_3/bias:0"]
    file["conv2d_3/conv2d_3/bias:0"] = np.zeros(128, np.int32)


def a_negative_variance(file):
    file["batch_normalization_3/batch_normalization_3/moving_variance:0"][0] = -1


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (no_attributes, "no attribute layer_names"),
        (no_weight_names, "no attribute weight_names"),
        (a_layer_less, "15 layers"),
        (another_shape, r"conv2d_3 has shapes \(\(5, 5, 64, 128\)"),
        (a_missing_dataset, "does not hold it"),
        (a_link_to_another_file, "does not hold it"),
        (not_a_number, "not finite"),
        (whole_numbers, "not of floating-point numbers"),
        (a_negative_variance, "negative variance"),
    ],
)
def test_a_damaged_file_is_one_line(damage, said, copy):
    with h5py.File(copy, "r+") as file:
        damage(file)
    refused(copy, said)


def refused(path, said):
    with pytest.raises(EmbeddingError, match=said) as caught:
        read_weights(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_weight_file_is_one_line(copy, tmp_path):
    content = copy.read_bytes()
    for name, bad in {
        "text": b"not weights",
        "empty": b"",
        "half.h5": content[: len(content) // 2],
        "half.h5.gz": gzip.compress(content, compresslevel=0)[:100000],
        "bad.h5.gz": b"\x1f\x8b\x08\x00" + bytes(100),
    }.items():
        (tmp_path / name).write_bytes(bad)
        refused(tmp_path / name, "cannot be read as OpenL3 weights")
    refused(tmp_path / "nowhere.h5", "No such file")
    refused(tmp_path, "Is a directory")
