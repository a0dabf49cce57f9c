"""Reading OpenL3's weight files: HDF5 as Keras wrote it, every shape checked, nothing executed."""

from __future__ import annotations

import gzip
import hashlib
import io
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nebula_tune.embedding.base import library
from nebula_tune.embedding.checkpoint import LARGEST_FILE, content_of
from nebula_tune.errors import EmbeddingError

# (channels in, channels out) of the eight 3x3 convolutions; each is preceded by a batch normalisation of its input.
CONVOLUTIONS = ((1, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 512), (512, 512))
NORMALISED = (1, 64, 64, 128, 128, 256, 256, 512)  # channels of each batch normalisation


def expected_shapes() -> list[tuple[tuple[int, ...], ...]]:
    """Shapes of the 16 layers in forward order: gamma, beta, mean, variance; then kernel, bias; eight times."""
    layers: list[tuple[tuple[int, ...], ...]] = []
    for channels, (inputs, outputs) in zip(NORMALISED, CONVOLUTIONS, strict=True):
        layers.append(((channels,),) * 4)
        layers.append(((3, 3, inputs, outputs), (outputs,)))
    return layers


@dataclass(frozen=True)
class KerasWeights:
    """The numbers of one network, float32: 16 layers in forward order, each a tuple of arrays."""

    layers: tuple[tuple[np.ndarray, ...], ...]

    @property
    def sha256(self) -> str:
        """Hash of the numbers in forward order, little-endian: the same however the file is packed."""
        digest = hashlib.sha256()
        for layer in self.layers:
            for array in layer:
                digest.update(np.ascontiguousarray(array, "<f4").tobytes())
        return digest.hexdigest()


def read_weights(path: str | Path) -> KerasWeights:
    """Weights of an official ``.h5`` file, or of the same packed with gzip.

    Layers are taken by their order, as upstream does, for their automatic names differ between versions. Files of
    openl3 0.2, which also hold the frontend's layer, will do. Raises EmbeddingError, naming file and layer.
    """
    path = Path(path)
    content = content_of(path, "OpenL3")
    try:
        file = unpacked(content, path) if content[:2] == b"\x1f\x8b" else io.BytesIO(content)
        return KerasWeights(tuple(read_layers(file, path)))
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise EmbeddingError(f"{path} cannot be read as OpenL3 weights (.h5 or .h5.gz): {reason}") from error


def unpacked(packed: bytes, path: Path) -> io.BytesIO:
    """A gzipped file's content."""
    with gzip.GzipFile(fileobj=io.BytesIO(packed)) as stream:
        content = stream.read(LARGEST_FILE + 1)
    if len(content) > LARGEST_FILE:
        raise EmbeddingError(f"{path} unpacks to over {LARGEST_FILE >> 20} MB: these are not OpenL3 weights")
    return io.BytesIO(content)


def read_layers(content: io.BufferedIOBase, path: Path) -> list[tuple[np.ndarray, ...]]:
    """The 16 layers with weights of an open file, checked against the network."""
    h5py = library("h5py", "OpenL3")
    with h5py.File(content, "r") as file:
        root = file["model_weights"] if "layer_names" not in file.attrs and "model_weights" in file else file
        layers = []
        for name in names_of(root, "layer_names", path):
            if "spectrogram" in name:
                continue  # the frontend of openl3 0.2 files; ours is frontend.py
            group = member(root, name, path)
            weights = names_of(group, "weight_names", path)
            if weights:
                layers.append((name, [member(group, weight, path) for weight in weights]))
        expected = expected_shapes()
        if len(layers) != len(expected):
            raise EmbeddingError(f"{path} has {len(layers)} layers with weights; OpenL3's audio network has 16")
        return [checked(*layer, shapes, path) for layer, shapes in zip(layers, expected, strict=True)]


def names_of(group: Any, attribute: str, path: Path) -> list[str]:
    """A list of names kept as an attribute, in the order Keras wrote them."""
    if attribute not in group.attrs:
        raise EmbeddingError(f"{path} is not a Keras weight file: {group.name} has no attribute {attribute}")
    names = np.asarray(group.attrs[attribute]).ravel().tolist()
    return [name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name) for name in names]


def member(group: Any, name: str, path: Path) -> Any:
    """A group or dataset that an attribute names, if it is in this very file."""
    h5py = library("h5py", "OpenL3")
    if isinstance(group.get(name, getlink=True), h5py.ExternalLink) or name not in group:
        raise EmbeddingError(f"{path} is damaged: it names {group.name}/{name} but does not hold it")
    return group[name]


def checked(name: str, datasets: list[Any], shapes: tuple[tuple[int, ...], ...], path: Path) -> tuple[np.ndarray, ...]:
    """A layer's arrays as float32, if their shapes are those expected. Shapes are looked at before reading.

    Args:
        name: of the layer, for an error to name.
        datasets: of the open file, not read yet.
        shapes: expected of them, in their order.
        path: of the file, for an error to name.

    Raises:
        EmbeddingError: for other shapes, and for numbers that no network has.
    """
    file_shapes = tuple(getattr(dataset, "shape", ()) for dataset in datasets)
    if file_shapes != shapes:
        raise EmbeddingError(f"{path}: layer {name} has shapes {file_shapes} where OpenL3's audio network has {shapes}")
    if any(dataset.dtype.kind != "f" for dataset in datasets):
        raise EmbeddingError(f"{path}: layer {name} is not of floating-point numbers")
    arrays = tuple(np.asarray(dataset[()], dtype=np.float32) for dataset in datasets)
    if not all(np.isfinite(array).all() for array in arrays):
        raise EmbeddingError(f"{path}: layer {name} has numbers that are not finite")
    if len(arrays) == 4 and (arrays[3] < 0).any():
        raise EmbeddingError(f"{path}: layer {name} has a negative variance")
    return arrays
