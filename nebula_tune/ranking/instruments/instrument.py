"""The interface of every instrument whose presets are swept for a ranked data set."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from nebula_tune.documents import UnreadableError, read_content
from nebula_tune.errors import SettingsError

PlayedSounds = NDArray[np.float32]

SAMPLE_RATE = 44100  # Hz
SECONDS = 4.0  # of each sound (the paper, section 4.1.1)
HELD = 3.0  # seconds between note on and note off

# What may be swept, and through which ranks: a piano's keys and MIDI velocities (sections 4.1.1 and 4.1.2), and
# hundredths of a parameter's range.
RANKS = {"pitch": range(21, 109), "velocity": range(1, 128), "timbre": range(101)}
STEPS = {"pitch": 3, "velocity": 2, "timbre": 4}  # between ranks, where nothing else is asked
LARGEST_BANK = 2**24  # bytes of a file of presets
PITCH, VELOCITY = 69, 64  # of whatever is not swept: A440, and the middle


class Instrument(ABC):
    """A synthesizer with presets. ``kinds`` is what can be swept with it; ``settings`` all that changes a sound."""

    name: ClassVar[str]
    kinds: ClassVar[Sequence[str]]

    @property
    @abstractmethod
    def settings(self) -> Mapping[str, Any]:
        """JSON-serialisable."""

    @abstractmethod
    def presets(self, seed: int) -> Iterable[str]:
        """Names of all presets, fit for folders, in a random order that the seed decides."""

    @abstractmethod
    def sounds(self, preset: str, kind: str, ranks: Sequence[int]) -> PlayedSounds:
        """The preset at each rank, (ranks, samples) at SAMPLE_RATE."""

    def ranks(self, kind: str, step: int | None) -> list[int]:
        """The ranks to sweep through. Raises SettingsError for what this instrument has not."""
        if kind not in self.kinds:
            raise SettingsError(f"{self.name} has no {kind} to sweep; it has {' and '.join(self.kinds)}")
        if step is not None and not 1 <= step <= len(RANKS[kind]) // 3:
            raise SettingsError(f"--step {step}: 1 to {len(RANKS[kind]) // 3} for {kind}")
        return list(RANKS[kind][:: step or STEPS[kind]])


def bank_content(path: Path) -> bytes:
    """A file of presets, whole. Raises SettingsError for one that is no file, or too large for presets."""
    try:
        return read_content(path, LARGEST_BANK)
    except UnreadableError as error:
        raise SettingsError(f"cannot read bank {path}: {error}") from error


def note(kind: str, rank: int) -> tuple[int, int]:
    """(MIDI pitch, velocity) of a rank: one of both is swept."""
    return (rank, VELOCITY) if kind == "pitch" else (PITCH, rank)
