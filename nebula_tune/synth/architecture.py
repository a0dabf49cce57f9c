"""What every synth architecture has in common: drawing, mapping, batches, rates."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from nebula_tune.constellation import Constellation, load_sounds
from nebula_tune.errors import NebulaError, SettingsError, UserInputError
from nebula_tune.nebula import Nebula
from nebula_tune.numerics import own_numerics
from nebula_tune.synth import gpu_draw, synth1b1
from nebula_tune.synth.backends import BACKENDS, Renderer
from nebula_tune.synth.limits import MOST_NUMBERS
from nebula_tune.synth.named_panel import NamedPanel
from nebula_tune.synth.noise import ROWS, noise_rows
from nebula_tune.synth.parameters import CONTROL_RATE, Controls, Panel
from nebula_tune.synth.placing import place
from nebula_tune.synth.sounding import Sounding


class Synth(ABC):
    """A synth architecture under one nebula or constellation. Subclasses give a ``panel`` and a patch (:meth:`play`).

    Args:
        nebula: a Nebula, a Constellation, a file of either, or a shipped nebula's name; "default" is the architecture's
            own. What a nebula does not list is as in that.
        batch_size: sounds a batch.
        sample_rate: Hz of the audio. Control signals run at 441 Hz whatever it is.
        seconds: length of each sound.
        device: where audio is computed and returned.
        dtype: torch.float32, or torch.float64 for a reference.
        backend: "fast" for the architecture's renderer for this device, "reference" for the patch in plain torch,
            "auto" for the first where there is one. Where gradients are asked for, the patch is always used.
        threads: threads of the fast CPU renderer; None for one a core. It cannot change the audio.

    Raises UserInputError and NebulaError for settings that cannot be used.
    """

    panel: ClassVar[Panel]
    dearness: ClassVar[int] = 1  # how many times the Voice's sound one costs, roughly: so many fewer are looked through
    hand_made: ClassVar[str | None] = None  # a shipped nebula that stands beside tuned ones
    preset_suffix: ClassVar[str] = ""  # how the names of files end that the instrument itself opens; "": it has none
    study: ClassVar[str | None] = None  # the shipped study that ``auto`` stands for; None: as for the Voice
    differentiable: ClassVar[bool] = True  # whether audio has gradients by human values
    control_rate = CONTROL_RATE

    def __init__(
        self,
        nebula: Nebula | Constellation | str | Path = "default",
        batch_size: int = 128,
        sample_rate: int = 44100,
        seconds: float = 4.0,
        device: str | torch.device = "cpu",
        *,
        dtype: torch.dtype = torch.float32,
        backend: str = "auto",
        threads: int | None = None,
    ) -> None:
        if batch_size < 1 or sample_rate < 1000 or not 0 < seconds <= 3600:
            raise UserInputError(
                f"a synth needs batch_size >= 1, sample_rate >= 1000 and 0 < seconds <= 3600, "
                f"not {batch_size}, {sample_rate}, {seconds}"
            )
        sounds = self.resolve_sounds(nebula)
        self.constellation = sounds if isinstance(sounds, Constellation) else None
        self.nebula = sounds.nebula if isinstance(sounds, Constellation) else sounds
        self.batch_size = batch_size
        self.sample_rate = int(sample_rate)
        self.device = torch.device(device)
        self.dtype = dtype
        self.samples = round(seconds * sample_rate)
        frames = round(seconds * self.control_rate)
        if frames < 2:
            raise UserInputError(
                f"a sound needs two control frames, {2 / self.control_rate:.4f} seconds; not {seconds}"
            )
        self.control_frames = torch.arange(frames, device=self.device, dtype=dtype)
        self._noise = torch.from_numpy(noise_rows(self.samples)).to(self.device, dtype)
        curves, symmetric = self.panel.arrays(self.nebula)
        self._curves = torch.from_numpy(curves).to(self.device)
        order = np.argsort(self.panel.draw_order)
        self._columns = torch.from_numpy(np.concatenate([order, len(order) + order])).to(self.device)
        self._symmetric = torch.from_numpy(symmetric).to(self.device)
        flags = torch.from_numpy(synth1b1.is_train(0, synth1b1.PERIOD + batch_size))
        self._train = flags.to(self.device)  # kept there: to bring each batch's would wait for the batches before it
        self._renderer = self._choose(backend, threads)

    @classmethod
    def written_panel(cls, source: str | None) -> NamedPanel | None:
        """The panel of a name or file (None: the synth's own); None of a synth whose panel nobody writes.

        Raises SettingsError for one that cannot be used.
        """
        if source is not None:
            raise SettingsError(f"--panel {source}: this synth has one panel, its own; leave it out")
        return None

    @classmethod
    def under(cls, panel: NamedPanel | None) -> type[Synth]:
        """The architecture of that panel: itself, of a synth whose panel nobody writes. Raises SettingsError."""
        if panel is not None:
            raise SettingsError(f"panel {panel.name}: this synth has one panel, its own")
        return cls

    @classmethod
    def versions(cls) -> Mapping[str, str]:
        """What else a sound's bits depend on, by name, beside the versions that every study keeps."""
        return {}

    @classmethod
    def resolve(cls, nebula: Nebula | str | Path) -> Nebula:
        """A nebula for this architecture, complete; "default" is the architecture's own, unless it is a file.

        Raises NebulaError for one that cannot be read, or names parameters this synth does not have.
        """
        if isinstance(nebula, Nebula):
            return cls.panel.complete(nebula)
        if str(nebula) == "default" and not Path(nebula).is_file():
            return cls.panel.default_nebula
        return cls.panel.complete(Nebula.load(nebula))

    @classmethod
    def resolve_sounds(cls, source: Nebula | Constellation | str | Path) -> Nebula | Constellation:
        """:meth:`resolve`, where a constellation or its file will do too. Raises NebulaError."""
        if not isinstance(source, Nebula | Constellation) and (str(source) != "default" or Path(source).is_file()):
            source = load_sounds(source)
        if not isinstance(source, Constellation):
            return cls.resolve(source)
        if source.parameters != cls.panel.names:
            raise NebulaError(f"this constellation is not one of {cls.__name__}'s: its parameters are others")
        return replace(source, nebula=cls.panel.complete(source.nebula))

    @property
    def backend(self) -> str:
        """What computes the audio: "fast" or "reference"."""
        return "fast" if self._renderer else "reference"

    @property
    def parameter_names(self) -> tuple[str, ...]:
        """Dotted names in registration order: the columns of every parameter array."""
        return self.panel.names

    @own_numerics()
    @torch.no_grad()
    def __call__(self, batch_index: int) -> tuple[Tensor, Tensor, Tensor]:
        """Batch number ``batch_index`` of this nebula's sounds; with the default nebula, of synth1B1.

        Returns audio (batch_size, samples) float32, raw parameters (batch_size, parameters) float32 in 0..1, and
        whether each sound belongs to the training set, (batch_size,) bool.
        """
        first = batch_index * self.batch_size
        raw, audio = self._batch(first)
        return audio, raw, self._train[first % synth1b1.PERIOD :][: self.batch_size].clone()

    def _batch(self, first_index: int) -> tuple[Tensor, Tensor]:
        """Raw parameters and audio of the batch that begins at a sound."""
        raw = self.draw(first_index, self.batch_size)
        return raw, self.render(raw, first_index)

    def draw(self, first_index: int, sounds: int) -> Tensor:
        """Raw parameters (sounds, parameters) float32 of the sounds from ``first_index`` on.

        Under a constellation the atom is picked by the first number after the sound's own.
        """
        if self.constellation is None or self.constellation.is_base:
            return self._numbers(first_index, sounds, len(self.panel))
        draws, following = self.draw_with_coins(first_index, sounds)
        return place(self.constellation, draws, following[:, int(np.argmin(self.panel.draw_order))])

    def draw_with_coins(self, first_index: int, sounds: int) -> tuple[Tensor, Tensor]:
        """A nebula's :meth:`draw`, and one more uniform number a parameter from the same generators."""
        count = len(self.panel)
        numbers = self._numbers(first_index, sounds, 2 * count)
        return numbers[:, :count], numbers[:, count:]

    def to_human(self, raw: Tensor) -> Tensor:
        """Human values (sounds, parameters) float64 of raw ones under this nebula."""
        graph = raw.requires_grad and torch.is_grad_enabled()
        if self.device.type == "cuda" and gpu_draw.ready() and raw.is_cuda and not graph:
            return gpu_draw.to_human(raw, self.panel.ends(raw.device), self._curves, self._symmetric)
        return self.panel.to_human(raw, self._curves, self._symmetric)

    def to_raw(self, human: Tensor) -> Tensor:
        """Raw values (sounds, parameters) float64 of human ones under this nebula; values are clipped to the range."""
        return self.panel.to_raw(human.to(self.device), self._curves, self._symmetric)

    def render(self, raw: Tensor, first_index: int = 0) -> Tensor:
        """Audio (sounds, samples) of raw parameters (sounds, parameters); noise rows count from ``first_index``."""
        return self.render_human(self.to_human(raw.to(self.device)), first_index)

    @own_numerics()
    def render_human(self, human: Tensor, first_index: int = 0) -> Tensor:
        """Audio (sounds, samples) of human values (sounds, parameters)."""
        human = human.to(self.device)
        if self._renderer and not (human.requires_grad and torch.is_grad_enabled()):
            return self._renderer(human, first_index)
        rows = (first_index + torch.arange(len(human), dtype=torch.int64, device=self.device)) % ROWS
        return self.play(Controls(self.panel, human.to(self.dtype)), self._noise[rows])

    def upsample(self, control: Tensor) -> Tensor:
        """Control signals (sounds, signals, frames) at audio rate, (sounds, signals, samples); linear in between."""
        return torch.nn.functional.interpolate(control, self.samples, mode="linear", align_corners=True)

    def presets(self, human: Tensor, indices: Sequence[int]) -> list[bytes]:
        """Files that the instrument itself opens, of human values (sounds, parameters) and the sounds' indices.

        Raises SettingsError where it has none.
        """
        raise SettingsError("--presets is for instruments with files of their own: --synth vital, --synth dx7")

    def renderer(self, threads: int | None) -> Renderer | None:
        """A fast renderer for this synth's device and dtype; None where there is none."""
        return None

    def _numbers(self, first_index: int, sounds: int, count: int) -> Tensor:
        """``count`` numbers of each sound in registration order (then again), drawn on the device where that goes."""
        columns = self._columns[:count]
        if self.device.type == "cuda" and gpu_draw.ready() and count <= MOST_NUMBERS:
            synth1b1.check(first_index, sounds)
            first = torch.full((1,), first_index, dtype=torch.int64, device=self.device)
            return gpu_draw.draw(first, sounds, columns)
        numbers = torch.from_numpy(synth1b1.draw(first_index, sounds, count)).to(self.device)
        return torch.empty_like(numbers).index_copy_(1, columns, numbers)

    def _choose(self, backend: str, threads: int | None) -> Renderer | None:
        if backend not in BACKENDS:
            raise UserInputError(f"no backend {backend!r}; known: {', '.join(BACKENDS)}")
        if threads is not None and threads < 1:
            raise UserInputError(f"threads must be 1 or more, not {threads}")
        renderer = None if backend == "reference" else self.renderer(threads)
        if backend == "fast" and renderer is None:
            raise UserInputError(f"no fast backend for {type(self).__name__} in {self.dtype} on {self.device}")
        return renderer

    @abstractmethod
    def play(self, controls: Controls, noise: Tensor) -> Tensor:
        """From knobs (each (sounds, 1)) and noise (sounds, samples) to audio (sounds, samples)."""

    @classmethod
    @abstractmethod
    def sounding(cls, human: Tensor) -> Sounding:
        """Pitches of the oscillators, of human values (sounds, parameters)."""
