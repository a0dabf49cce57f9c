"""Build four folders of real sounds for benchmarks, each from Debian packages, a sub-folder a group.

hydrogen-drumkits  drum hits, a group a kit: the files as they are
pitched-notes      notes of real instruments out of a General MIDI soundfont, a group an instrument
textures           two-second pieces of rain, wind, water, fire, night and crowds, a group a recording or place
spoken-letters     spoken letters and syllables, a group a language

python benchmarks/corpora.py FOLDER [--only NAME]

Needs apt-get and dpkg-deb with Debian's package lists (apt-get update), and room for about 2 GB of temporary files.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import soundfile
from numpy.typing import NDArray

Audio = NDArray[np.int16]  # (frames, channels)
Packages = dict[str, Path]  # a package's name -> the folder it was unpacked to
T = TypeVar("T")

AUDIO = {".wav", ".flac", ".aiff", ".ogg"}
SILENT = 0.001  # a file with no sample above this share of full scale is silent (-60 dB)


class Sound(NamedTuple):
    """One sound to be written, at FOLDER/CORPUS/group/name.flac."""

    group: str
    name: str
    audio: Audio
    rate: int


# Drums


def drumkits(packages: Packages, out: Path) -> None:
    """Copy every kit's audio; two kits hold an all-zero placeholder, which stays out."""
    kits = packages["hydrogen-drumkits"] / "usr/share/hydrogen/data/drumkits"
    for path in sorted(kits.glob("*/*")):
        if path.suffix.lower() in AUDIO and audible(read(path)[0]):
            (out / path.parent.name).mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, out / path.parent.name / path.name)


# Pitched notes

# General MIDI programs (from 0) that are instruments: no synthesizers (38-39, 50-51, 54, 62-63, 80-103),
# no drums (47, 112-119), no orchestra hit (55), no sound effects (120-127).
INSTRUMENTS = (*range(38), *range(40, 47), 48, 49, 52, 53, *range(56, 62), *range(64, 80), *range(104, 112))
NOTES_EACH, NOTES_FEWEST = 6, 3  # notes taken of an instrument at most; with fewer than this it is left out
NOTE_SHORTEST, NOTE_LONGEST, NOTE_FADE = 0.3, 2.5, 0.05  # seconds; many samples end where their loop does: faded
GENERATOR_INSTRUMENT, GENERATOR_SAMPLE = 41, 53  # what a zone points to, as SoundFont 2.04 numbers it

RECORDS = {
    "phdr": [("name", "S20"), ("program", "<u2"), ("bank", "<u2"), ("bag", "<u2"), ("unused", "<u4", 3)],
    "inst": [("name", "S20"), ("bag", "<u2")],
    "pbag": [("generator", "<u2"), ("modulator", "<u2")],
    "ibag": [("generator", "<u2"), ("modulator", "<u2")],
    "pgen": [("kind", "<u2"), ("amount", "<u2")],
    "igen": [("kind", "<u2"), ("amount", "<u2")],
    "shdr": [
        *(("name", "S20"), ("start", "<u4"), ("end", "<u4"), ("loop", "<u4", 2)),
        *(("rate", "<u4"), ("key", "u1"), ("cents", "i1"), ("link", "<u2"), ("kind", "<u2")),
    ],
}


@dataclass(frozen=True)
class SoundFont:
    """A SoundFont 2 file: a RIFF file of 16-bit samples (smpl) and of tables that say who uses which."""

    data: bytes

    @cached_property
    def chunks(self) -> dict[str, tuple[int, int]]:
        """Each chunk's start and size, by its name."""
        found: dict[str, tuple[int, int]] = {}
        at = 0
        while at + 8 <= len(self.data):
            name, size = self.data[at : at + 4].decode("latin-1"), int.from_bytes(self.data[at + 4 : at + 8], "little")
            found[name] = (at + 8, size)
            at += 12 if name in ("RIFF", "LIST") else 8 + size + size % 2
        return found

    def table(self, name: str) -> NDArray[np.void]:
        """One of the tables of RECORDS; its last record only ends it."""
        record = np.dtype(RECORDS[name])
        start, size = self.chunks[name]
        return np.frombuffer(self.data, record, size // record.itemsize, start)

    @cached_property
    def tables(self) -> dict[str, NDArray[np.void]]:
        return {name: self.table(name) for name in RECORDS}

    def pointed(self, level: str, owner: int, kind: int) -> list[int]:
        """What a preset (level p) or an instrument (level i) points to by generators of a kind."""
        owners = self.tables["phdr" if level == "p" else "inst"]
        bags, generators = self.tables[level + "bag"], self.tables[level + "gen"]
        first, last = (bags[owners[place]["bag"]]["generator"] for place in (owner, owner + 1))
        return [int(each["amount"]) for each in generators[first:last] if each["kind"] == kind]

    def preset(self, program: int) -> int | None:
        """The place of a program of bank 0 in the table of presets."""
        presets = self.tables["phdr"][:-1]
        found = np.flatnonzero((presets["bank"] == 0) & (presets["program"] == program))
        return int(found[0]) if len(found) else None

    def samples(self, preset: int) -> list[int]:
        """The samples a preset uses, in the file's order."""
        instruments = self.pointed("p", preset, GENERATOR_INSTRUMENT)
        return sorted({sample for each in instruments for sample in self.pointed("i", each, GENERATOR_SAMPLE)})

    def name(self, sample: int) -> str:
        """A sample's name without its channel: this file's stereo pairs are known only by (L) and (R), or L and R."""
        return re.sub(r"\(?[LR]\)?$", "", self.tables["shdr"][sample]["name"].decode("latin-1"))

    def audio(self, sample: int) -> Audio:
        header, (start, _) = self.tables["shdr"][sample], self.chunks["smpl"]
        first, last = int(header["start"]), int(header["end"])
        return np.frombuffer(self.data, "<i2", last - first, start + 2 * first)[:, None]


def pitched(packages: Packages) -> Iterator[Sound]:
    """Notes of each instrument, spread over its samples, one channel of each; the first to use a sample has it."""
    path = packages["fluid-soundfont-gm"] / "usr/share/sounds/sf2/FluidR3_GM.sf2"
    font, taken = SoundFont(path.read_bytes()), set[str]()
    for program in INSTRUMENTS:
        preset = font.preset(program)
        samples = {} if preset is None else {font.name(each): each for each in reversed(font.samples(preset))}
        own = sorted(sample for name, sample in samples.items() if name not in taken)
        taken.update(samples)
        notes = [note for each in own if (note := one_note(font, program, preset, each)) is not None]
        if len(notes) >= NOTES_FEWEST:
            yield from spread(notes, NOTES_EACH)


def one_note(font: SoundFont, program: int, preset: int | None, sample: int) -> Sound | None:
    rate, audio = int(font.tables["shdr"][sample]["rate"]), font.audio(sample)
    if len(audio) < NOTE_SHORTEST * rate:
        return None
    audio = faded(audio[: int(NOTE_LONGEST * rate)], 0, int(NOTE_FADE * rate))
    group = f"{program:03}-{plain(font.tables['phdr'][preset]['name'].decode('latin-1'))}"
    return Sound(group, f"{sample:04}-{plain(font.name(sample))}", audio, rate)


# Textures

TILES, FLARE, TANKS = "games/megaglest/tilesets", "games/flare/mods", "games/btanks/data/sounds"
MINES = "games/minetest/games/minetest_game/mods"
# A group -> its package, and its recordings below /usr/share.
TEXTURES = {
    "autumn-night": ("megaglest-data", f"{TILES}/autumn/sounds/nightime.ogg"),
    "autumn-rain": ("megaglest-data", f"{TILES}/autumn/sounds/rain.ogg"),
    "autumn-day": ("megaglest-data", f"{TILES}/autumn/sounds/sunny_day.ogg"),
    "birch-forest-day": ("megaglest-data", f"{TILES}/birch_forest/sounds/day.ogg"),
    "birch-forest-night": ("megaglest-data", f"{TILES}/birch_forest/sounds/night.ogg"),
    "birch-forest-rain": ("megaglest-data", f"{TILES}/birch_forest/sounds/rain.ogg"),
    "dark-forest-day": ("megaglest-data", f"{TILES}/dark_forest/sounds/day.ogg"),
    "dark-forest-night": ("megaglest-data", f"{TILES}/dark_forest/sounds/night.ogg"),
    "desert-day": ("megaglest-data", f"{TILES}/desert2/sounds/day.ogg"),
    "desert-night": ("megaglest-data", f"{TILES}/desert2/sounds/night.ogg"),
    "desert-rain": ("megaglest-data", f"{TILES}/desert2/sounds/rain.wav"),
    "jungle-day": ("megaglest-data", f"{TILES}/jungle/sounds/day.ogg"),
    "jungle-night": ("megaglest-data", f"{TILES}/jungle/sounds/night.ogg"),
    "mediterranean-day": ("megaglest-data", f"{TILES}/mediterran/sounds/desertday.ogg"),
    "mediterranean-night": ("megaglest-data", f"{TILES}/mediterran/sounds/night.ogg"),
    "spring-day": ("megaglest-data", f"{TILES}/spring/sounds/day.ogg"),
    "campaign-rain": ("flare-game", f"{FLARE}/empyrean_campaign/soundfx/environment/rain.ogg"),
    "open-wind": ("flare-game", f"{FLARE}/fantasycore/soundfx/environment/wind_loop.ogg"),
    "cave-wind": ("flare-game", f"{FLARE}/fantasycore/soundfx/environment/cave_wind_loop.ogg"),
    "city": ("btanks-data", f"{TANKS}/ambient/city.ogg"),
    "forest": ("btanks-data", f"{TANKS}/ambient/forest.ogg"),
    "swamp": ("btanks-data", f"{TANKS}/ambient/swamp.ogg"),
    "train": ("btanks-data", f"{TANKS}/train.ogg"),
    "fire": ("minetest-data", f"{MINES}/fire/sounds/fire_[fls]*.ogg"),
    "lake": ("minetest-data", f"{MINES}/env_sounds/sounds/env_sounds_water.*.ogg"),
    "lava": ("minetest-data", f"{MINES}/env_sounds/sounds/env_sounds_lava.*.ogg"),
    "football-crowd": ("etw-data", "games/etw/crowd/crowd*.wav"),
    "rising-water": ("caveexpress-data", "games/caveexpress/sounds/water-rising.ogg"),
    "seashore": ("csoundqt-examples", "csoundqt/Examples/SourceMaterials/Seashore.wav"),
}
PIECE, PIECES_EACH, PIECE_FADE = 2.0, 10, 0.005  # seconds; pieces of a group at most; seconds
PIECE_QUIETEST = 0.001  # root mean square of a piece, full scale 1: quieter ones are not taken


def textures(packages: Packages) -> Iterator[Sound]:
    """Pieces of each group's recordings, spread over their length, none overlapping another."""
    for group, (package, pattern) in TEXTURES.items():
        paths = sorted((packages[package] / "usr/share").glob(pattern))
        if not paths:
            raise SystemExit(f"{package} has no {pattern}")
        yield from spread([piece for path in paths for piece in pieces(group, path)], PIECES_EACH)


def pieces(group: str, path: Path) -> Iterator[Sound]:
    """A recording cut into equal pieces end to end, the silent ones left out."""
    audio, rate = read(path)
    length, fade = int(PIECE * rate), int(PIECE_FADE * rate)
    for start in range(0, len(audio) - length + 1, length):
        piece = audio[start : start + length]
        if np.sqrt(np.mean(np.square(piece / 32768))) >= PIECE_QUIETEST:
            yield Sound(group, f"{plain(path.stem)}-{start // length:02}", faded(piece, fade, fade), rate)


# Spoken letters

SPOKEN_EACH, SPOKEN_SHORTEST, SPOKEN_LONGEST = 18, 0.1, 4.0  # of a language at most; seconds
SPOKEN_FRAME, SPOKEN_FLOOR, SPOKEN_MARGIN = 0.01, 0.01, 3  # seconds; of the loudest frame; frames kept around speech


def spoken(packages: Packages) -> Iterator[Sound]:
    """Letters (alpha) and syllables (syllab) of each language, spread over its alphabet."""
    for language in sorted((packages["klettres-data"] / "usr/share/klettres").iterdir()):
        heard = [sound for path in sorted(language.glob("*/*.ogg")) if (sound := one_spoken(language, path))]
        yield from spread(distinct(heard), SPOKEN_EACH)


def one_spoken(language: Path, path: Path) -> Sound | None:
    audio, rate = read(path)
    audio = trimmed(audio, int(SPOKEN_FRAME * rate))
    if not audible(audio) or not SPOKEN_SHORTEST <= len(audio) / rate <= SPOKEN_LONGEST:
        return None
    return Sound(plain(language.name), f"{path.parent.name}-{plain(path.stem)}", audio, rate)


def trimmed(audio: Audio, frame: int) -> Audio:
    """Audio without the quiet before and after: frames more than 40 dB below the loudest one."""
    frames = len(audio) // frame
    level = np.sqrt(np.mean(np.square(audio[: frames * frame].reshape(frames, -1) / 32768), axis=1))
    loud = np.flatnonzero(level > SPOKEN_FLOOR * level.max(initial=0))
    if not len(loud):
        return audio[:0]
    return audio[max(loud[0] - SPOKEN_MARGIN, 0) * frame : (loud[-1] + 1 + SPOKEN_MARGIN) * frame]


# Shared


def read(path: Path) -> tuple[Audio, int]:
    """A file's audio in 16 bits; one that goes over full scale (a lossy one may) is scaled down to it."""
    audio, rate = soundfile.read(path, dtype="float64", always_2d=True)
    loudest = np.abs(audio).max(initial=1 / 32768)
    scale = 32768 if loudest <= 1 else 32767 / loudest
    return np.clip(np.round(audio * scale), -32768, 32767).astype(np.int16), rate


def audible(audio: Audio) -> bool:
    return bool(np.any(np.abs(audio.astype(np.int32)) > SILENT * 32768))


def plain(name: str) -> str:
    """A name as a file name: small ASCII letters, digits and single hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower().replace("#", "-sharp-")).strip("-") or "x"


def spread(items: Sequence[T], most: int) -> list[T]:
    """At most so many of the items, evenly over all of them."""
    places = np.linspace(0, len(items) - 1, min(most, len(items))).round().astype(int)
    return [items[place] for place in places]


def faded(audio: Audio, start: int, end: int) -> Audio:
    """Audio with its first and last frames faded by half a cosine."""
    gain = np.ones(len(audio))
    gain[:start] = 0.5 - 0.5 * np.cos(np.pi * np.arange(start) / max(start, 1))
    gain[len(gain) - end :] = 0.5 + 0.5 * np.cos(np.pi * np.arange(1, end + 1) / max(end, 1))
    return np.round(audio * gain[:, None]).astype(np.int16)


def distinct(sounds: Sequence[Sound]) -> list[Sound]:
    """The sounds without those whose audio came before."""
    return list({sound.audio.tobytes(): sound for sound in reversed(sounds)}.values())[::-1]


def written(make: Callable[[Packages], Iterator[Sound]]) -> Callable[[Packages, Path], None]:
    """A builder that writes what a maker of sounds makes."""

    def builder(packages: Packages, out: Path) -> None:
        for sound in make(packages):
            path = out / sound.group / f"{sound.name}.flac"
            if path.exists():
                raise SystemExit(f"{path}: two sounds of this name")
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, sound.audio, sound.rate, subtype="PCM_16")

    return builder


def fetch(package: str, below: Path) -> tuple[Path, str]:
    """Download and unpack a Debian package. Returns where it is, and its version."""
    place = below / package
    place.mkdir()
    subprocess.run(["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", package], cwd=place, check=True)
    (archive,) = place.glob("*.deb")
    field = ["dpkg-deb", "--field", str(archive), "Version"]
    version = subprocess.run(field, capture_output=True, text=True, check=True).stdout.strip()
    subprocess.run(["dpkg-deb", "-x", str(archive), str(place)], check=True)
    archive.unlink()
    return place, version


def checked(folder: Path) -> str:
    """What a corpus holds, in words. Raises SystemExit for a file that is unreadable, silent, or there twice."""
    seen: dict[str, Path] = {}
    seconds = 0.0
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        audio, rate = read(path)
        key = hashlib.sha256(audio.tobytes()).hexdigest()
        if key in seen or not audible(audio):
            raise SystemExit(f"{path}: silent, or the same as {seen.get(key)}")
        seen[key] = path
        seconds += len(audio) / rate
    groups = len({path.parent for path in seen.values()})
    return f"{len(seen)} files, {groups} groups, {seconds:.0f} s"


CORPORA: dict[str, tuple[tuple[str, ...], Callable[[Packages, Path], None]]] = {
    "hydrogen-drumkits": (("hydrogen-drumkits",), drumkits),
    "pitched-notes": (("fluid-soundfont-gm",), written(pitched)),
    "textures": (tuple(sorted({package for package, _ in TEXTURES.values()})), written(textures)),
    "spoken-letters": (("klettres-data",), written(spoken)),
}


def build(name: str, out: Path) -> None:
    """Build one corpus and print its line."""
    packages, builder = CORPORA[name]
    if out.exists():
        raise SystemExit(f"{out} is there already")
    with tempfile.TemporaryDirectory() as temporary:
        fetched = {package: fetch(package, Path(temporary)) for package in packages}
        builder({package: place for package, (place, _) in fetched.items()}, out)
    versions = ", ".join(f"{package} {version}" for package, (_, version) in fetched.items())
    print(f"{out}: {versions}; {checked(out)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", choices=CORPORA, metavar="NAME", help=", ".join(CORPORA))
    arguments = parser.parse_args()
    for name in [arguments.only] if arguments.only else CORPORA:
        build(name, arguments.folder / name)


if __name__ == "__main__":
    main()
