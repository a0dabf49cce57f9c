"""Yamaha's DX7 through dexed-py, which brings no presets: they are read from .syx banks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from nebula_tune.corpus.cache import digest
from nebula_tune.errors import SettingsError
from nebula_tune.ranking.instruments.instrument import (
    HELD,
    SAMPLE_RATE,
    SECONDS,
    Instrument,
    PlayedSounds,
    bank_content,
    note,
)

BANKS = Path("/usr/share/hexter")  # Debian's package hexter
SUFFIXES = (".syx", ".dx7")
PACKED, BANK_VOICES, NAME = 128, 32, slice(118, 128)  # bytes of a voice, voices of a bulk dump, where a name is
BULK = re.compile(rb"\xf0\x43.\x09\x20\x00", re.DOTALL)  # head of a dump of 32 voices (DX7 manual, "MIDI data format")


class DX7(Instrument):
    """All different voices of the banks in a folder: bulk dumps, or files of packed voices without a head (.dx7).

    Raises SettingsError where dexed-py or the banks are missing.
    """

    name: ClassVar[str] = "dx7"
    kinds: ClassVar[Sequence[str]] = ("velocity", "pitch")

    def __init__(self, banks: Path | None = None) -> None:
        try:
            import dexed
        except ImportError as error:
            raise SettingsError("a DX7 needs dexed-py: pip install 'nebula-tune[dx7]'") from error
        self._dexed, self._synth = dexed, dexed.DexedSynth(sample_rate=SAMPLE_RATE)
        self._voices = read_banks(banks or BANKS)

    @property
    def settings(self) -> Mapping[str, Any]:
        return {"voices": digest([voice.hex() for voice in self._voices.values()])}

    def presets(self, seed: int) -> Iterable[str]:
        names = list(self._voices)
        return [names[k] for k in np.random.default_rng(seed).permutation(len(names))]

    def sounds(self, preset: str, kind: str, ranks: Sequence[int]) -> PlayedSounds:
        self._synth.load_patch(self._dexed.Patch.from_packed(self._voices[preset]))
        return np.stack([self._synth.render(*note(kind, rank), HELD, SECONDS) for rank in ranks]).astype(np.float32)


def read_banks(folder: Path) -> dict[str, bytes]:
    """Packed voices (128 bytes) by name; a voice that is in several banks is taken once. Raises SettingsError."""
    if not folder.is_dir():
        raise SettingsError(
            f"no folder {folder} of DX7 banks (.syx): give one with --banks; Debian's package hexter has some"
        )
    voices: dict[bytes, str] = {}
    for path in sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file()):
        for number, voice in enumerate(_packed_voices(bank_content(path)), start=1):
            title = re.sub(r"[^A-Za-z0-9]+", "-", voice[NAME].decode("ascii", "replace")).strip("-")
            voices.setdefault(voice, f"{path.stem}-{number:03d}-{title}")
    if not voices:
        raise SettingsError(f"{folder} holds no DX7 banks: no .syx file there is a dump of 32 voices")
    return {name: voice for voice, name in voices.items()}


def _packed_voices(content: bytes) -> Iterator[bytes]:
    """Voices of all bulk dumps of a file; or, where it has no head, of the file."""
    starts = [head.end() for head in BULK.finditer(content)]
    bodies = [content[start : start + BANK_VOICES * PACKED] for start in starts]
    if not content.startswith(b"\xf0"):
        bodies = [content]
    for body in bodies:
        if len(body) % PACKED == 0:
            yield from (body[k : k + PACKED] for k in range(0, len(body), PACKED))
