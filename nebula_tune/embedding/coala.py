"""Coala: an encoder of sounds that was aligned with one of their Freesound tags; three rows of the paper's Table 2.

Favory, Drossos, Virtanen and Serra, "COALA: Co-Aligned Autoencoders for Learning Semantically Enriched Audio
Representations", 2020. The networks are those of its authors' repository (ADDRESS): ``dual-ae-c`` and ``dual-e-c``,
with and without decoders in training, and ``cnn``, trained to predict the tags. Its files are read as tensors and
numbers only; the spectrogram (by librosa there) and the network are written anew here, from the repository's utils.py,
encode.py and models_t1000.py.
"""

from __future__ import annotations

import hashlib
import pickletools
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from nebula_tune.corpus.cache import is_there
from nebula_tune.embedding.base import Embedding
from nebula_tune.embedding.checkpoint import checked, content_of, hash_of, load
from nebula_tune.embedding.convolution import fold, in_equal_batches
from nebula_tune.embedding.download import weights_folder
from nebula_tune.embedding.mel import mel_filters
from nebula_tune.errors import EmbeddingError

FFT_SIZE, HOP, BANDS = 1024, 512, 96
PATCH = 96  # spectrogram frames: 2.2 s
LONGEST, PATCHES = 10.0, 4  # seconds that every sound is filled up to, and the whole patches in them
NOISE = 5e-4  # the largest number that is added to a sample
FLOOR = float(np.finfo(np.float32).eps)  # added to magnitudes before the logarithm
LAYERS, CHANNELS, SIZE = 5, 128, 1152
EPSILON = 1e-5  # of the batch normalisations
PATCHES_AT_ONCE = {"cpu": 1, "cuda": 64}

ADDRESS = "https://github.com/xavierfav/coala"
LICENCE = "MIT (Xavier Favory)"
SCALER = "scaler_top_1000.pkl"
# Each model's checkpoint in the repository, and what its encoder is called in there.
MODELS = {
    "dual-ae-c": ("saved_models/dual_ae_c/audio_encoder_epoch_200.pt", "audio_encoder"),
    "dual-e-c": ("saved_models/dual_e_c/audio_encoder_epoch_200.pt", "audio_encoder"),
    "cnn": ("saved_models/cnn/audio_encoder_epoch_20.pt", "encoder"),
}


class Coala(Embedding):
    """Vectors of 1152 = 128 x 3 x 3 dimensions, one for each patch of 96 spectrogram frames (2 patches for 4 s).

    As its authors use it, the vector is the encoder's own output, not that of the layers that training adds after it.
    A sound is filled up to 10 s, and noise of at most 5e-4 is added to all of it, here always the same noise; so
    silence has a vector. Patches that begin after the sound's end are the same for all sounds and left out.

    ``model`` is dual-ae-c, dual-e-c or cnn. ``weights`` is a copy of the authors' repository, or its checkpoint with
    the scaler beside it; without it the copy is looked for in the cache. Raises EmbeddingError if they are missing or
    wrong, and for ``seconds`` over 10. ``device`` is torch's name of where it runs.
    """

    name: str  # type: ignore[misc]  # one class, three names
    sample_rate = 22000  # not 22050

    def __init__(
        self,
        model: str = "dual-ae-c",
        weights: str | Path | None = None,
        device: str = "cpu",
        seconds: float = 4.0,
    ) -> None:
        if model not in MODELS:
            raise EmbeddingError(f"no Coala model {model!r}; known: {', '.join(MODELS)}")
        if not 0 < seconds <= LONGEST:
            raise EmbeddingError(f"Coala takes seconds over 0 and at most {LONGEST:.0f}, not {seconds}")
        self.name = f"coala-{model}"
        self.seconds = seconds
        self.device = torch.device(device)
        checkpoint, scaler = files_in_cache(model) if weights is None else files_of(model, Path(weights))
        layers = read_checkpoint(checkpoint, model)
        scale, shift = read_scaler(scaler)
        scaler_sha256 = hashlib.sha256(np.concatenate([scale, shift]).tobytes()).hexdigest()
        self._hashes = {"weights": hash_of(layers), "scaler": scaler_sha256}
        self._scale, self._shift = (torch.from_numpy(numbers.copy()).to(self.device) for numbers in (scale, shift))
        self._convolutions = [
            (kernel.to(self.device, memory_format=torch.channels_last), bias.to(self.device))
            for kernel, bias in folded(layers)
        ]

    @property
    def settings(self) -> dict[str, Any]:
        return {"name": self.name, "version": 1, "seconds": self.seconds, **self._hashes}

    def embed_batch(self, audio: Tensor) -> Tensor:
        patches = torch.cat([self._patches(sound) for sound in audio])
        vectors = in_equal_batches(self._forward, patches, PATCHES_AT_ONCE.get(self.device.type, 1))
        return vectors.reshape(len(audio), -1, SIZE)

    def _patches(self, sound: Tensor) -> Tensor:
        """Scaled logarithms of mel magnitudes, (patches, 96 bands, 96 frames), of one sound (samples,)."""
        count = min(PATCHES, -(-len(sound) // (PATCH * HOP)))
        padded = self._noise[: count * PATCH * HOP].clone()
        samples = sound[: len(padded)].to(self.device, torch.float64)
        padded[: len(samples)] += samples
        padded = functional.pad(padded[None], (FFT_SIZE // 2, 0), mode="reflect")[0]  # frames are centred
        spectrum = torch.fft.rfft(padded.unfold(0, FFT_SIZE, HOP) * self._window)
        magnitudes = (spectrum.real.square() + spectrum.imag.square()).sqrt() @ self._filters
        logarithms = torch.log(magnitudes + FLOOR).reshape(count, PATCH, BANDS).transpose(1, 2)
        return (logarithms * self._scale + self._shift).float()

    @cached_property
    def _noise(self) -> Tensor:
        """10 s of it. Its authors draw it anew for each sound; numpy promises never to change this generator's."""
        noise = np.random.RandomState(0).random_sample(round(LONGEST * self.sample_rate))
        return torch.from_numpy(NOISE * noise).to(self.device)

    @cached_property
    def _window(self) -> Tensor:
        return torch.hann_window(FFT_SIZE, periodic=True, dtype=torch.float64, device=self.device)

    @cached_property
    def _filters(self) -> Tensor:
        """Slaney's triangles, (bins, 96)."""
        filters = mel_filters(self.sample_rate, FFT_SIZE, BANDS, htk=False)
        return torch.from_numpy(filters.T.astype(np.float64)).to(self.device)

    def _forward(self, patches: Tensor) -> Tensor:
        """Vectors (patches, 1152) of patches (patches, 96, 96)."""
        maps = patches[:, None].contiguous(memory_format=torch.channels_last)
        for kernel, bias in self._convolutions:
            maps = functional.conv2d(maps, kernel, bias, stride=2, padding=1).relu_()
        return maps.flatten(1)


def expected_shapes(model: str) -> dict[str, tuple[int, ...]]:
    """The encoder's tensors in a model's checkpoint, by name."""
    encoder = MODELS[model][1]
    shapes: dict[str, tuple[int, ...]] = {}
    for layer in range(LAYERS):  # each is a convolution, its normalisation, a ReLU and a dropout
        shapes[f"{encoder}.{4 * layer}.weight"] = (CHANNELS, CHANNELS if layer else 1, 4, 4)
        shapes[f"{encoder}.{4 * layer}.bias"] = (CHANNELS,)
        for part in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{encoder}.{4 * layer + 1}.{part}"] = (CHANNELS,)
    return shapes


def read_checkpoint(path: Path, model: str) -> dict[str, Tensor]:
    """The encoder's tensors, in the order of ``expected_shapes``. Raises EmbeddingError."""
    return checked(load(content_of(path, "Coala"), path, "Coala"), expected_shapes(model), path, f"coala-{model}")


def folded(layers: dict[str, Tensor]) -> list[tuple[Tensor, Tensor]]:
    """(kernel, bias) float32 of the five convolutions, each with the batch normalisation that follows it."""
    tensors = list(layers.values())
    convolutions = []
    for kernel, bias, *normalisation in (tensors[first : first + 6] for first in range(0, len(tensors), 6)):
        kernel, bias = fold(kernel, bias, tuple(normalisation), EPSILON)
        convolutions.append((kernel.float(), bias.float()))
    return convolutions


def read_scaler(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """What a patch's 96 frames are multiplied by and what is added, float64: scikit-learn's pickled MinMaxScaler.

    Its authors fitted it with frames, not bands, as features. The file is not unpickled: the two arrays are looked
    up in the listing of its instructions, none of which is followed. Raises EmbeddingError.
    """
    content = content_of(path, "Coala")
    try:
        listing = [argument for _, argument, _ in pickletools.genops(content)]
        scale, shift = (array_after(name, listing) for name in ("scale_", "min_"))
    except ValueError as error:
        raise EmbeddingError(
            f"{path} is not the scaler of {ADDRESS}: no pickled MinMaxScaler of {PATCH} numbers"
        ) from error
    if not (np.isfinite(scale).all() and np.isfinite(shift).all() and (scale > 0).all()):
        raise EmbeddingError(f"{path} has numbers that are not finite, or multiplies by some not over 0")
    return scale, shift


def array_after(name: str, listing: list[Any]) -> np.ndarray:
    """The 96 numbers, float64, that a pickle's listing has after an attribute's name. Raises ValueError."""
    types = {4 * PATCH: "<f4", 8 * PATCH: "<f8"}
    for argument in listing[listing.index(name) :]:
        if isinstance(argument, bytes | bytearray) and len(argument) in types:
            return np.frombuffer(argument, types[len(argument)]).astype("<f8")
    raise ValueError(f"no array after {name}")


def home() -> Path:
    """Where a copy of the authors' repository is looked for."""
    return weights_folder() / "coala"


def files_of(model: str, place: Path) -> tuple[Path, Path]:
    """Checkpoint and scaler of a copy of the repository, or of a checkpoint in one or with the scaler beside it."""
    checkpoint = (place / MODELS[model][0] if place.is_dir() else place).absolute()
    beside, published = checkpoint.with_name(SCALER), checkpoint.parent.parent.parent / SCALER
    return checkpoint, published if is_there(published) and not is_there(beside) else beside


def find(model: str) -> Path | None:
    """The model's checkpoint if it and the scaler are in the cache."""
    files = files_of(model, home())
    return files[0] if all(is_there(file) for file in files) else None


def files_in_cache(model: str) -> tuple[Path, Path]:
    """Checkpoint and scaler in the cache. Raises EmbeddingError saying how to get them there."""
    if find(model) is None:
        raise EmbeddingError(
            f"coala-{model} needs weights, which are to be got by hand: either `git clone {ADDRESS} {home()}`, or give "
            f"--weights FILE, its {MODELS[model][0]}, with its {SCALER} in the same folder"
        )
    return files_of(model, home())
