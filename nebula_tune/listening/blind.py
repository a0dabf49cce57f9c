"""A blinded listening test as one page, and its key as another file (the paper, section 6)."""

from __future__ import annotations

import base64
import hashlib
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nebula_tune.corpus.source import Sound, Source
from nebula_tune.errors import CorpusError, SettingsError
from nebula_tune.files import write_atomically
from nebula_tune.html import one_file
from nebula_tune.listening.analysis import Power
from nebula_tune.listening.design import FEWEST_PAIRS, MOST_PAIRS, PAIRS, Compared, Design, Key
from nebula_tune.listening.sounds import encode_alike, ready
from nebula_tune.synth import Synth
from nebula_tune.synth.indices import Purpose, first_index
from nebula_tune.words import printable

TEMPLATES = Path(__file__).resolve().parent / "templates"
SAMPLE_RATE = 44100
SECONDS = 3.0  # of each sound
COMPRESSION = 0.8  # of libsndfile's MP3 encoder: 112 kbit/s
WRONG_DB = -50.0  # of the faint hiss that a catch has on one side, relative to the sounds
KIND = "the sounds you are looking for"
SECONDS_A_TRIAL = 12.0  # of a listener's time, roughly
DRAWN_AT_MOST = 20  # times the sounds that are needed, before a source counts as silent
Owned = dict[tuple[str, int], bytes]  # MP3 by owner and number


@dataclass(frozen=True)
class Written:
    """Where a test and its key are, and what it can show."""

    page: Path
    key: Path
    power: Power


def write_test(
    a: Source,
    b: Source,
    synth: type[Synth],
    out: Path,
    *,
    target_kind: str = KIND,
    pairs: int = PAIRS,
    seed: int | None = None,
) -> Written:
    """Write the page ``out`` and its key beside it (``NAME.key.json``).

    Args:
        a: folder, nebula, constellation or white noise; a folder needs at least ``pairs`` sounds.
        b: likewise, what it is compared with.
        synth: the architecture of nebulae's sounds.
        out: the page, ``NAME.html``; a new file.
        target_kind: what listeners are told to look for, in a few words.
        pairs: of sounds to compare, FEWEST_PAIRS to MOST_PAIRS.
        seed: of the order and the choice of sounds; None: one is drawn, so that nobody knows the order.

    Raises:
        SettingsError: for what cannot be.
        CorpusError: for too few sounds that can be heard.
        StorageError: where a file cannot be written.
    """
    key_path = out.with_name(f"{out.stem}.key.json")
    _check(out, key_path, pairs, seed, target_kind)
    target_kind = printable(target_kind)
    seed = secrets.randbelow(2**31) if seed is None else seed
    random = np.random.default_rng([seed, pairs])
    design = Design(pairs, random)
    sounds: Owned = {}
    compared = []
    wanted = 2 * pairs + design.catches
    selections = [
        _choose(source, synth, wanted=wanted, least=pairs, owner=owner, seed=seed)
        for owner, source in (("A", a), ("B", b))
    ]
    for owner, source, (clips, passed_over) in zip("AB", (a, b), selections, strict=True):
        sounds |= {(owner, number): mp3 for number, mp3 in enumerate(_encode(clips))}
        name = source.name if a.name != b.name else source.text
        compared.append(Compared(name=printable(name), content=source.content(synth), passed_over=passed_over))
    hiss = [ready(_noise(seed, number), SAMPLE_RATE, SECONDS) for number in range(design.catches + 1)]
    faint = [sound * np.float32(10 ** (WRONG_DB / 20)) for sound in hiss[1:]]
    sounds |= {("wrong", number): mp3 for number, mp3 in enumerate(_encode(faint))}
    key = Key(
        a=compared[0], b=compared[1], target_kind=target_kind, pairs=pairs, seed=seed, salt=secrets.token_hex(16),
        trials=design.trials, browse={"one": design.first_owner, "two": "B" if design.first_owner == "A" else "A"},
    )  # fmt: skip
    key_bytes = (key.model_dump_json(indent=1) + "\n").encode()
    page = _page(design, sounds, _encode(hiss[:1])[0], target_kind, hashlib.sha256(key_bytes).hexdigest())
    write_atomically(key_path, key_bytes)
    write_atomically(out, page)
    return Written(out, key_path, Power.of(pairs))


def _check(out: Path, key: Path, pairs: int, seed: int | None, target_kind: str) -> None:
    if not FEWEST_PAIRS <= pairs <= MOST_PAIRS:
        raise SettingsError(f"--pairs {pairs}: {FEWEST_PAIRS} to {MOST_PAIRS}; more would make a page over 20 MB")
    if seed is not None and not 0 <= seed < 2**31:
        raise SettingsError(f"--seed {seed}: 0 to {2**31 - 1}")
    if not target_kind.strip() or len(target_kind) > 200:
        raise SettingsError("--target-kind: a few words, like 'drum hits'")
    if out.suffix != ".html":
        raise SettingsError(f"--out {out}: a file that ends in .html")
    for path in (out, key):
        if path.exists():
            raise SettingsError(f"{path} exists, and may have ballots; give another --out, or remove it")


def _choose(
    source: Source, synth: type[Synth], *, wanted: int, least: int, owner: str, seed: int
) -> tuple[list[Sound], int]:
    """Sounds to play and how many were passed over. A folder with fewer than wanted gives some of them again.

    Both owners' nebulae begin at the same index; which of their sounds meet is the design's matter.
    """
    random = np.random.default_rng([seed, ord(owner)])
    first = first_index(Purpose.LISTENING, seed)
    clips: list[Sound] = []
    passed_over = 0
    for drawn, sound in enumerate(source.stream(synth, first, rate=SAMPLE_RATE, seconds=SECONDS, random=random)):
        if sound is None:
            passed_over += 1
        else:
            clips.append(ready(sound.audio, SAMPLE_RATE, SECONDS))
        if len(clips) == wanted or drawn == DRAWN_AT_MOST * wanted:
            break
    if len(clips) < least:
        raise CorpusError(
            f"{source.text} has {len(clips)} sounds that can be heard; {least} pairs need as many. Give fewer --pairs"
        )
    while len(clips) < wanted:  # the browse page and the catches take any again
        again = random.permutation(len(clips))[: wanted - len(clips)]
        clips += [clips[place] for place in again]
    return clips, passed_over


def _noise(seed: int, number: int) -> Sound:
    noise: Sound = np.random.default_rng([seed, 1000 + number]).standard_normal(
        round(SECONDS * SAMPLE_RATE), np.float32
    )
    return noise


def _encode(sounds: list[Sound]) -> list[bytes]:
    return encode_alike(sounds, SAMPLE_RATE, COMPRESSION)


def lay_out(design: Design, sounds: Owned, volume: bytes, key: str) -> tuple[dict[str, Any], dict[str, bytes]]:
    """What the page is given: the test, which names sounds, and the sounds by name, in the names' order.

    Names are opaque, and each is played in one place: a sound that is played twice is there twice.

    Args:
        design: the trials, and which sounds each plays.
        sounds: MP3 of every sound, by owner and number.
        volume: MP3 of the sound to set the volume by.
        key: SHA-256 of the key's file.

    Raises:
        SettingsError: where sounds of one length have several sizes, which would tell them apart.
    """
    named: dict[str, bytes] = {}

    def name(mp3: bytes) -> str:
        opaque = design.opaque()
        named[opaque] = mp3
        return opaque

    test: dict[str, Any] = {"key": key, "volume": name(volume), "trials": [], "browse": {}}
    for trial in design.trials:
        left, right = (name(sounds[played]) for played in design.plays[trial.id])
        test["trials"].append({"id": trial.id, "left": left, "right": right})
    other = "B" if design.first_owner == "A" else "A"
    for which, owner in (("one", design.first_owner), ("two", other)):
        numbers = range(design.pairs, 2 * design.pairs)
        test["browse"][which] = [name(sounds[owner, number]) for number in numbers]
    if len({len(mp3) for mp3 in named.values()}) != 1:
        raise SettingsError("the MP3 encoder of this libsndfile gives sounds of one length several sizes; update it")
    return test, {opaque: named[opaque] for opaque in sorted(named)}


def _page(design: Design, sounds: Owned, volume: bytes, target_kind: str, key: str) -> bytes:
    test, named = lay_out(design, sounds, volume, key)
    audio = {opaque: base64.b64encode(mp3).decode() for opaque, mp3 in named.items()}
    trials = len(design.trials)
    return one_file(
        TEMPLATES, "listen", test=test, audio=audio, kind=target_kind, key=key, pairs=design.pairs, trials=trials,
        minutes=round(trials * SECONDS_A_TRIAL / 60),
    )  # fmt: skip
