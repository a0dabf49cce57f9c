"""A kit as files: sounds levelled and without loops, and the SFZ file that puts them on keys."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nebula_tune.arrays import Raw
from nebula_tune.constellation import Constellation
from nebula_tune.corpus.cache import digest
from nebula_tune.corpus.claim import claim_folder
from nebula_tune.corpus.prepare import LEAD_SECONDS, is_silent
from nebula_tune.corpus.source import Sound, content_of
from nebula_tune.corpus.writer import write_audio
from nebula_tune.errors import NebulaError, SettingsError
from nebula_tune.files import write_atomically
from nebula_tune.kit.keys import FIRST_KEY, HATS, LAST_KEY, drum_keys
from nebula_tune.listening.sounds import ready
from nebula_tune.machine import cores
from nebula_tune.nebula import Nebula
from nebula_tune.synth import Synth

SAMPLE_RATE = 44100
CLAIM, SFZ, SAMPLES = "kit.json", "kit.sfz", "samples"
KEYS, ROBINS = 16, 4
LENGTH = 2.0  # seconds of a sound at most
TRIES = 20  # times the sounds that are wanted, before a nebula counts as silent
PITCH_KNOB = "keyboard.midi_f0"
LOWEST_NOTE, HIGHEST_NOTE, NOTE_STEP = 21, 108, 3  # a piano's keys, and semitones from one sound to the next
PICKED = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True)
class Zone:
    """Keys that play the same sounds, one after the other (round robins).

    Attributes:
        name: what it is called.
        lowest, highest: its keys, as MIDI notes.
        center: the key at which its sounds are as they are.
        sounds: each (samples,).
        cuts_off: whether another such zone ends its sound, as a closed hi-hat ends an open one's.
    """

    name: str
    lowest: int
    highest: int
    center: int
    sounds: Sequence[Sound]
    cuts_off: bool = False

    @property
    def files(self) -> list[str]:
        """Names of its sounds' files."""
        plain = PICKED.sub("-", self.name.lower()).strip("-") or "hit"
        return [f"{self.center:03d}-{plain[:60]}-{number}.wav" for number in range(1, len(self.sounds) + 1)]


def write_kit(
    synth: type[Synth],
    source: Nebula | Constellation,
    folder: Path,
    *,
    keys: int = KEYS,
    robins: int = ROBINS,
    first_index: int = 0,
    seconds: float = LENGTH,
    pitched: bool = False,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> Path:
    """Write a folder that samplers open: ``kit.sfz``, and ``samples/`` with its sounds. Returns the SFZ file's path.

    A constellation whose atoms carry classes has each on its key of General MIDI. Other sounds are on neighbouring
    keys from C2 (36) up, low ones first, by their spectral centre. A pitched kit is one sound over the whole keyboard,
    rendered anew every three semitones.

    Args:
        synth: the architecture.
        source: what hits are drawn from.
        folder: for the kit alone; a kit that is there is written over if it is of the same sounds.
        keys: how many, where no classes say it.
        robins: sounds a key has, played in turn.
        first_index: of the first sound drawn; of a pitched kit, the sound.
        seconds: each sound's length at most.
        pitched: one sound over the keyboard.
        progress: told the sounds that are done and how many there are.

    Raises:
        SettingsError: for numbers that cannot be, or a pitched kit of a synth without a pitch.
        NebulaError: for a nebula that is silent.
        CorpusError: for a folder that holds something else.
    """
    if not 1 <= keys <= LAST_KEY - FIRST_KEY + 1:
        raise SettingsError(f"--count {keys}: 1 to {LAST_KEY - FIRST_KEY + 1} keys")
    if not 1 <= robins <= 64:
        raise SettingsError(f"--robins {robins}: 1 to 64 sounds a key")
    if not 0.05 <= seconds <= 60:
        raise SettingsError(f"--seconds {seconds}: 0.05 to 60")
    player = _Player(synth, source, first_index, seconds)
    settings = {
        "nebula": digest(content_of(source, synth)), "synth": synth.__name__, "keys": keys, "robins": robins,
        "first": first_index, "seconds": seconds, "pitched": pitched,
    }  # fmt: skip
    classes = sorted(set(source.classes)) if isinstance(source, Constellation) else []
    if pitched and PITCH_KNOB not in synth.panel.index:
        raise SettingsError(f"{synth.__name__} has no {PITCH_KNOB}, so it cannot be played over the keyboard")
    claim_folder(folder / CLAIM, settings, holds="a kit")
    if pitched:
        zones = list(_keyboard(player, progress))
    elif classes:
        zones = list(_of_classes(player, classes, robins, progress))
    else:
        zones = list(_by_centre(player, keys, robins, progress))
    with ThreadPoolExecutor(max(4, cores())) as pool:
        list(pool.map(lambda zone: _write_sounds(zone, folder / SAMPLES), zones))
    path = folder / SFZ
    write_atomically(path, sfz(zones, melodic=pitched).encode())
    return path


def sfz(zones: Sequence[Zone], melodic: bool) -> str:
    """The text of an SFZ file (sfzformat.com) with a group a zone.

    Args:
        zones: in the order of their keys.
        melodic: whether a sound ends with its key, rather than playing to its end.
    """
    mode = "no_loop" if melodic else "one_shot"
    lines = ["<control>", f"default_path={SAMPLES}/", "", "<global>", f"loop_mode={mode}"]
    lines += ["ampeg_release=0.2"] if melodic else []
    for zone in zones:
        lines += ["", f"// {' '.join(zone.name.split())}".rstrip()]
        lines += [f"<group> lokey={zone.lowest} hikey={zone.highest} pitch_keycenter={zone.center}"]
        lines[-1] += f" seq_length={len(zone.sounds)}" if len(zone.sounds) > 1 else ""
        lines[-1] += " group=1 off_by=1" if zone.cuts_off else ""
        for number, file in enumerate(zone.files, 1):
            place = f" seq_position={number}" if len(zone.sounds) > 1 else ""
            lines.append(f"<region>{place} sample={file}")
    return "\n".join(lines) + "\n"


class _Player:
    """Draws sounds that are heard, levelled for a kit."""

    def __init__(self, synth: type[Synth], source: Nebula | Constellation, first_index: int, seconds: float) -> None:
        self._synth, self._source, self._seconds = synth, source, seconds
        self.first_index = first_index

    def hits(self, count: int, only: str | None = None) -> list[Sound]:
        """So many sounds, silent ones left out; of one class of a constellation's atoms, where that is named."""
        source = self._source
        if only is not None and isinstance(source, Constellation):
            source = source.of_class(only)
        player = self._synth(source, count, SAMPLE_RATE, self._seconds + LEAD_SECONDS)
        hits: list[Sound] = []
        for begin in range(self.first_index, self.first_index + TRIES * count, count):
            audio = player.render(player.draw(begin, count), begin).cpu()
            silent = is_silent(audio).tolist()
            hits += [sound for sound, unheard in zip(audio.numpy(), silent, strict=True) if not unheard]
            if len(hits) >= count:
                return [self._ready(sound) for sound in hits[:count]]
        raise NebulaError(f"of {TRIES * count} sounds of {only or 'this nebula'} fewer than {count} are to be heard")

    def notes(self, notes: Sequence[int]) -> Iterator[Sound]:
        """The first sound at each pitch, MIDI notes."""
        player = self._synth(self._source, 1, SAMPLE_RATE, self._seconds + LEAD_SECONDS)
        human = player.to_human(player.draw(self.first_index, 1))
        for note in notes:
            human[:, self._synth.panel.index[PITCH_KNOB]] = note
            yield self._ready(player.render_human(human, self.first_index)[0].cpu().numpy())

    def _ready(self, sound: Sound) -> Sound:
        return ready(sound, SAMPLE_RATE, self._seconds)


def _of_classes(
    player: _Player, classes: Sequence[str], robins: int, progress: Callable[[int, int], None]
) -> Iterator[Zone]:
    for number, (name, key) in enumerate(drum_keys(classes).items()):
        progress(number, len(classes))
        yield Zone(name, key, key, key, player.hits(robins, name), key in HATS)
    progress(len(classes), len(classes))


def _by_centre(player: _Player, keys: int, robins: int, progress: Callable[[int, int], None]) -> Iterator[Zone]:
    """Zones of sounds of like spectral centre, low to high: those of a key are neighbours."""
    progress(0, keys)
    hits = player.hits(keys * robins)
    centres = np.array([spectral_centre(sound, SAMPLE_RATE) for sound in hits])
    order = np.argsort(centres, kind="stable")
    for number in range(keys):
        members = order[number * robins : (number + 1) * robins]
        key = FIRST_KEY + number
        yield Zone(f"{centres[members].mean():.0f} Hz", key, key, key, [hits[k] for k in members])
    progress(keys, keys)


def _keyboard(player: _Player, progress: Callable[[int, int], None]) -> Iterator[Zone]:
    notes = list(range(LOWEST_NOTE, HIGHEST_NOTE + 1, NOTE_STEP))
    below, above = (NOTE_STEP - 1) // 2, NOTE_STEP // 2
    for number, (note, sound) in enumerate(zip(notes, player.notes(notes), strict=True)):
        progress(number, len(notes))
        lowest = 0 if note == notes[0] else note - below
        highest = LAST_KEY if note == notes[-1] else note + above
        yield Zone(f"note {note}", lowest, highest, note, [sound])
    progress(len(notes), len(notes))


def spectral_centre(sound: Sound, rate: int) -> float:
    """Mean frequency of a sound (samples,), weighted by power on a logarithmic scale, Hz; 0 for silence."""
    power = np.square(np.abs(np.fft.rfft(sound)))[1:]
    if not power.any():
        return 0.0
    frequency = np.fft.rfftfreq(len(sound), 1 / rate)[1:]
    return float(np.exp((power * np.log(frequency)).sum() / power.sum()))


def _write_sounds(zone: Zone, folder: Path) -> None:
    for file, sound in zip(zone.files, zone.sounds, strict=True):
        write_audio(folder / file, _trimmed(sound), SAMPLE_RATE)


def _trimmed(sound: Sound) -> Raw:
    """Without the silence at its end, below a 16-bit step."""
    loud = np.flatnonzero(np.abs(sound) > 2**-15)
    return sound[: loud[-1] + 1] if len(loud) else sound[:1]
