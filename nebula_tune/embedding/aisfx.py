"""aiSFX: a network trained to index sound-effect libraries (Ma and Lerch, ISMIR 2022), a second ear with real weights.

The network is X-Sequential-CE of PyPI's ``aisfx`` 0.1.2, whose wheel holds the weights. Nothing of that package is
run or imported: its checkpoint is read as tensors only, its spectrogram (by Essentia) and network are written anew
here. It hears the level of a sound too, so sounds are to be prepared to the same level.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tempfile
import zipfile
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from nebula_tune.corpus.cache import is_there
from nebula_tune.embedding.base import Embedding
from nebula_tune.embedding.checkpoint import LARGEST_FILE, checked, content_of, hash_of, load
from nebula_tune.embedding.convolution import fold, in_equal_batches
from nebula_tune.embedding.download import WeightsAddress, keep, verify, weights_folder
from nebula_tune.embedding.mel import triangles
from nebula_tune.embedding.screen import tell, usual_console, waiting
from nebula_tune.errors import EmbeddingError

if TYPE_CHECKING:
    from rich.console import Console

FFT_SIZE, HOP, BANDS = 2048, 1024, 96
BLOCK, BLOCK_HOP = 100, 50  # spectrogram frames: 2.3 s, every 1.2 s
LARGEST_VALUE = 9.457798957824707  # of the spectrograms it was trained on, which are divided by it
EPSILON = 1e-5  # of the batch normalisations
CHANNELS = (1, 64, 128, 256, 512)
BLOCKS_AT_ONCE = {"cpu": 1, "cuda": 16}
WEIGHTS_FILE = "aisfx-0.1.2-checkpoint.pth"
# The checkpoint also holds a few numpy integers, by numpy 1's or 2's name: all else that is not a tensor is refused.
_scalar = np.int64(0).__reduce__()[0]
NUMPY_SCALARS: list[Any] = [
    (_scalar, "numpy.core.multiarray.scalar"),
    (_scalar, "numpy._core.multiarray.scalar"),
    np.dtype,
    type(np.dtype(np.int64)),
]
MEMBER = "aisfx/models/checkpoint.pth"
WHEEL = WeightsAddress(
    file="aisfx-0.1.2-py2.py3-none-any.whl",
    url="PyPI's aisfx 0.1.2",
    licence="CC BY 4.0 (Alison B. Ma, Alexander Lerch)",
    citation='Ma, Lerch, "Representation Learning for the Automatic Indexing of Sound Effects Libraries", ISMIR 2022',
    sha256="bfe219950715af179e9a1653e7117cc1852baef267cd6596c42cad74afe1d194",
)


class AiSFX(Embedding):
    """Vectors of 512 dimensions, one for each block of 100 spectrogram frames (2 blocks for 4 s at 44.1 kHz).

    ``weights`` is the checkpoint, or the wheel that holds it; without it they are looked for in the cache and in an
    installed ``aisfx`` package, then fetched. Raises EmbeddingError if they are missing or wrong.
    """

    name: ClassVar[str] = "aisfx"
    sample_rate = 44100

    def __init__(self, weights: str | Path | None = None, device: str = "cpu", seconds: float = 4.0) -> None:
        self.seconds = seconds
        self.device = torch.device(device)
        layers = read_checkpoint(find_or_fetch() if weights is None else Path(weights))
        self._weights_sha256 = hash_of(layers)
        self._convolutions = [
            (kernel.to(self.device, memory_format=torch.channels_last), bias.to(self.device))
            for kernel, bias in folded(layers)
        ]

    @property
    def settings(self) -> dict[str, Any]:
        return {"name": self.name, "version": 1, "seconds": self.seconds, "weights": self._weights_sha256}

    def embed_batch(self, audio: Tensor) -> Tensor:
        blocks = torch.cat([blocks_of(self._spectrogram(sound)) for sound in audio])
        vectors = in_equal_batches(self._forward, blocks, BLOCKS_AT_ONCE.get(self.device.type, 1))
        return vectors.reshape(len(audio), -1, CHANNELS[-1])

    def _spectrogram(self, sound: Tensor) -> Tensor:
        """log10(1 + 10^4 x mel power) over its largest value, (frames, 96), of one sound (samples,)."""
        sound = sound.to(self.device, torch.float64)
        # The first frame is centred on the first sample; the last is the last to begin before the sound's end.
        frames = -(-(len(sound) + FFT_SIZE // 2) // HOP)
        padded = functional.pad(sound, (FFT_SIZE // 2, FFT_SIZE))
        framed = padded.unfold(0, FFT_SIZE, HOP)[:frames]
        spectrum = torch.fft.rfft(framed * self._window)
        power = (spectrum.real.square() + spectrum.imag.square()) @ self._filters
        return (torch.log10(1 + 1e4 * power) / LARGEST_VALUE).float()

    @cached_property
    def _window(self) -> Tensor:
        return torch.hann_window(FFT_SIZE, periodic=False, dtype=torch.float64, device=self.device)

    @cached_property
    def _filters(self) -> Tensor:
        """Triangles whose sides are straight in mel (HTK's), not in Hz, each divided by its sum: (bins, 96)."""

        def mel(hz: Any) -> Any:
            return 1127 * np.log1p(np.asarray(hz) / 700)

        edges = np.linspace(0, mel(self.sample_rate / 2), BANDS + 2)
        filters = triangles(edges, mel(np.arange(FFT_SIZE // 2 + 1) * (self.sample_rate / FFT_SIZE)))
        return torch.from_numpy(filters / filters.sum(axis=0)).to(self.device)

    def _forward(self, blocks: Tensor) -> Tensor:
        """Vectors (blocks, 512) of spectrograms (blocks, 100, 96)."""
        maps = blocks[:, None].contiguous(memory_format=torch.channels_last)
        for number, (kernel, bias) in enumerate(self._convolutions):
            maps = functional.conv2d(maps, kernel, bias, padding=1).relu_()
            if number in (1, 3, 5):
                maps = functional.max_pool2d(maps, 2)
        return maps.mean(dim=3).amax(dim=2)


def blocks_of(spectrogram: Tensor) -> Tensor:
    """Whole blocks (blocks, 100, 96) of a spectrogram (frames, 96); a shorter one is filled up with zeros."""
    missing = max(0, BLOCK - len(spectrogram))
    return functional.pad(spectrogram, (0, 0, 0, missing)).unfold(0, BLOCK, BLOCK_HOP).transpose(1, 2)


def expected_shapes() -> dict[str, tuple[int, ...]]:
    """The network's tensors in the checkpoint, by name."""
    shapes: dict[str, tuple[int, ...]] = {}
    for block in range(1, 5):
        before, after = CHANNELS[block - 1], CHANNELS[block]
        for number, inputs in ((1, before), (2, after)):
            prefix = f"embedding_net.conv_block{block}"
            shapes[f"{prefix}.conv{number}.weight"] = (after, inputs, 3, 3)
            for part in ("weight", "bias", "running_mean", "running_var"):
                shapes[f"{prefix}.bn{number}.{part}"] = (after,)
    return shapes


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """The network's tensors of a checkpoint, or of the wheel that holds it. Runs none of its code."""
    content = content_of(path, "aisfx")
    try:
        content = wheel_member(content) if path.suffix == ".whl" else content
    except (KeyError, zipfile.BadZipFile) as error:
        raise EmbeddingError(f"{path} cannot be read as aisfx weights: {error}") from error
    with torch.serialization.safe_globals(NUMPY_SCALARS):
        loaded = load(content, path, "aisfx")
    tensors = loaded[0] if isinstance(loaded, tuple) and loaded else loaded
    return checked(tensors, expected_shapes(), path, "aisfx")


def wheel_member(wheel: bytes) -> bytes:
    """The checkpoint in a wheel's content. Raises KeyError, BadZipFile where there is none."""
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        if archive.getinfo(MEMBER).file_size > LARGEST_FILE:  # more than it says is not unpacked
            raise zipfile.BadZipFile(f"{MEMBER} is larger than {LARGEST_FILE >> 20} MiB")
        return archive.read(MEMBER)


def folded(layers: dict[str, Tensor]) -> list[tuple[Tensor, Tensor]]:
    """(kernel, bias) float32 of the eight convolutions, each with the batch normalisation that follows it."""
    convolutions = []
    for block in range(1, 5):
        for number in (1, 2):
            prefix = f"embedding_net.conv_block{block}"
            parts = (layers[f"{prefix}.bn{number}.{p}"] for p in ("weight", "bias", "running_mean", "running_var"))
            no_bias = torch.zeros(CHANNELS[block], dtype=torch.float32, device="cpu")
            kernel, bias = fold(layers[f"{prefix}.conv{number}.weight"], no_bias, tuple(parts), EPSILON)
            convolutions.append((kernel.float(), bias.float()))
    return convolutions


def find() -> Path | None:
    """The weights if they are on this machine: in the cache, or in an installed ``aisfx`` package."""
    places = [weights_folder() / WEIGHTS_FILE]
    package = find_spec("aisfx")  # looks, does not import
    if package is not None and package.submodule_search_locations:
        places += [Path(folder) / "models" / "checkpoint.pth" for folder in package.submodule_search_locations]
    return next((place for place in places if is_there(place)), None)


def fetch(console: Console | None = None) -> Path:
    """Get the wheel through pip, verified, and keep its checkpoint in the cache; nothing is installed.

    Raises EmbeddingError if pip cannot get it, StorageError if it cannot be kept.
    """
    path = weights_folder() / WEIGHTS_FILE
    if is_there(path):
        return path
    console = console or usual_console()
    with tempfile.TemporaryDirectory() as folder, waiting(console, "fetching aisfx from PyPI (23 MB)"):
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        run = subprocess.run([*command, "--dest", folder, "aisfx==0.1.2"], capture_output=True, text=True)  # noqa: S603
        wheel = Path(folder) / WHEEL.file
        if run.returncode or not wheel.is_file():
            reason = [line for line in run.stderr.splitlines() if line.startswith("ERROR")] or ["no wheel came"]
            raise EmbeddingError(f"pip cannot fetch aisfx 0.1.2 ({reason[-1].removeprefix('ERROR: ')})")
        content = wheel.read_bytes()
    verify(WHEEL, content)
    keep(path, wheel_member(content))
    tell(console, str(path))
    tell(console, f"Licence: {WHEEL.licence}. Please cite: {WHEEL.citation}")
    return path


def find_or_fetch() -> Path:
    """The weights, fetched on first need. Raises EmbeddingError with all the ways to get them."""
    path = find()
    if path is not None:
        return path
    try:
        return fetch()
    except EmbeddingError as error:
        raise EmbeddingError(
            f"aisfx needs weights, and {error}. Either run `nebula-tune embeddings --fetch aisfx` when online, or "
            "`pip install --no-deps aisfx==0.1.2`, or give its wheel or checkpoint with --weights"
        ) from error
