"""Networks that PyTorch saved: tensors by name, every shape checked, nothing executed."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nebula_tune.documents import UnreadableError, read_content
from nebula_tune.errors import EmbeddingError

LARGEST_FILE = 256 * 2**20  # bytes of a file of weights, packed or not; those of OpenL3 are of 19 MB


def content_of(path: Path, network: str) -> bytes:
    """A file of weights, whole. Raises EmbeddingError for one that is no file, or too large for any of our networks."""
    try:
        return read_content(path, LARGEST_FILE)
    except UnreadableError as error:
        raise EmbeddingError(f"{path} cannot be read as {network} weights: {error}") from error


def load(content: bytes, path: Path, network: str) -> Any:
    """What ``torch.save`` wrote, of plain containers and tensors only. Raises EmbeddingError naming file and network.

    All other types are refused, but for those that ``torch.serialization.safe_globals`` allows at the time.
    """
    try:
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file makes torch raise errors of some ten kinds
        raise EmbeddingError(
            f"{path} cannot be read as {network} weights: it is damaged, or PyTorch did not save it, or it holds more "
            "than tensors"
        ) from error


def checked(tensors: Any, shapes: Mapping[str, tuple[int, ...]], path: Path, network: str) -> dict[str, Tensor]:
    """The tensors of those names and shapes, float32, in that order; others in the file are left out.

    Args:
        tensors: what the file holds, by name.
        shapes: of the tensors that are wanted, by name.
        path: of the file, for an error to name.
        network: what errors call it.

    Raises:
        EmbeddingError: naming file and tensor.
    """
    if not isinstance(tensors, dict):
        raise EmbeddingError(f"{path} is not a checkpoint of {network}: it holds a {type(tensors).__name__}")
    layers = {}
    for name, shape in shapes.items():
        if not isinstance(tensors.get(name), Tensor):
            raise EmbeddingError(f"{path} is not a checkpoint of {network}: it has no tensor {name}")
        layers[name] = tensors[name].float()
        if layers[name].shape != shape:
            raise EmbeddingError(f"{path}: {name} has shape {tuple(layers[name].shape)} where {network} has {shape}")
        if not layers[name].isfinite().all() or (name.endswith("running_var") and layers[name].min() < 0):
            raise EmbeddingError(f"{path}: {name} has numbers that are not finite, or a negative variance")
    return layers


def hash_of(layers: Mapping[str, Tensor]) -> str:
    """SHA-256 of the numbers, little-endian float32, in the order of the layers."""
    digest = hashlib.sha256()
    for tensor in layers.values():
        digest.update(tensor.contiguous().numpy().astype("<f4").tobytes())
    return digest.hexdigest()
