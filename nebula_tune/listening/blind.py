"""A blinded listening test as one page, and its key as another file (the paper, section 6)."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nebula_tune.corpus.source import Sound, Source
from nebula_tune.errors import CorpusError, SettingsError
from nebula_tune.files import write_atomically
from nebula_tune.html import one_file
from nebula_tune.listening.analysis import Power
from nebula_tune.listening.design import (
    FEWEST_AMONG,
    FEWEST_PAIRS,
    LETTERS,
    MOST_AMONG,
    MOST_PAIRS,
    PAIRS,
    AmongDesign,
    AmongKey,
    Compared,
    Design,
    Key,
    Trials,
)
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
    """Where a test and its key are, and what it can show, in words."""

    page: Path
    key: Path
    power: str


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
    _check(out, pairs, seed, target_kind)
    seed = secrets.randbelow(2**31) if seed is None else seed
    design = Design(pairs, np.random.default_rng([seed, pairs]))
    wanted = 2 * pairs + design.catches
    sounds, compared = _play([a, b], synth, [(wanted, pairs)] * 2, seed)
    key = Key(
        a=compared[0], b=compared[1], target_kind=printable(target_kind), pairs=pairs, seed=seed,
        salt=secrets.token_hex(16), trials=design.trials,
        browse={"one": design.first_owner, "two": "B" if design.first_owner == "A" else "A"},
    )  # fmt: skip
    return _write(out, key, design, sounds, str(Power.of(pairs)))


def write_among(
    sources: Sequence[Source],
    synth: type[Synth],
    out: Path,
    *,
    target_kind: str = KIND,
    pairs: int = PAIRS,
    seed: int | None = None,
) -> Written:
    """Write the page of a test among several, and its key beside it; as :func:`write_test`, without whole sets.

    Args:
        sources: FEWEST_AMONG to MOST_AMONG, all different; a folder needs as many sounds as it has pairs.
        synth: the architecture of nebulae's sounds.
        out: the page, ``NAME.html``; a new file.
        target_kind: what listeners are told to look for, in a few words.
        pairs: of sounds to compare, of all nebulae together; at least as many as there are nebulae.
        seed: of the order and the choice of sounds; None: one is drawn, so that nobody knows the order.

    Raises:
        SettingsError: for what cannot be.
        CorpusError: for too few sounds that can be heard.
        StorageError: where a file cannot be written.
    """
    _check(out, pairs, seed, target_kind)
    if not FEWEST_AMONG <= len(sources) <= MOST_AMONG:
        raise SettingsError(f"--among takes {FEWEST_AMONG} to {MOST_AMONG} sources, not {len(sources)}")
    if pairs < len(sources):
        raise SettingsError(f"--pairs {pairs}: {len(sources)} nebulae need as many at least")
    contents = [source.content(synth) for source in sources]
    for place, content in enumerate(contents):
        if content in contents[:place]:
            same = sources[contents.index(content)].text
            raise SettingsError(f"{sources[place].text} and {same} are the same; give each once")
    seed = secrets.randbelow(2**31) if seed is None else seed
    design = AmongDesign(len(sources), pairs, np.random.default_rng([seed, pairs]))
    counts = [design.counts[letter] for letter in LETTERS[: len(sources)]]
    sounds, compared = _play(sources, synth, list(zip(counts, counts, strict=True)), seed)
    key = AmongKey(
        among=compared, target_kind=printable(target_kind), pairs=pairs, seed=seed, salt=secrets.token_hex(16),
        trials=design.trials,
    )  # fmt: skip
    each = 2 * pairs / len(sources)
    says = f"{pairs} pairs of {len(sources)} nebulae, each in about {each:.0f}; more listeners narrow the intervals"
    return _write(out, key, design, sounds, says)


def _play(
    sources: Sequence[Source], synth: type[Synth], counts: Sequence[tuple[int, int]], seed: int
) -> tuple[Owned, list[Compared]]:
    """MP3 of so many sounds of each source (wanted, and the least that will do), and what the key says of each."""
    letters = LETTERS[: len(sources)]
    selections = [
        _choose(source, synth, wanted=wanted, least=least, owner=letter, seed=seed)
        for letter, source, (wanted, least) in zip(letters, sources, counts, strict=True)
    ]
    names = [source.name for source in sources]
    sounds: Owned = {}
    compared = []
    for letter, source, (clips, passed_over) in zip(letters, sources, selections, strict=True):
        sounds |= {(letter, number): mp3 for number, mp3 in enumerate(_encode(clips))}
        name = source.name if names.count(source.name) == 1 else source.text
        compared.append(Compared(name=printable(name), content=source.content(synth), passed_over=passed_over))
    return sounds, compared


def _write(out: Path, key: Key | AmongKey, design: Trials, sounds: Owned, says: str) -> Written:
    """Write the key and its page."""
    hiss = [ready(_noise(key.seed, number), SAMPLE_RATE, SECONDS) for number in range(design.catches + 1)]
    faint = [sound * np.float32(10 ** (WRONG_DB / 20)) for sound in hiss[1:]]
    sounds = sounds | {("wrong", number): mp3 for number, mp3 in enumerate(_encode(faint))}
    key_bytes = (key.model_dump_json(indent=1) + "\n").encode()
    page = _page(design, sounds, _encode(hiss[:1])[0], key.target_kind, hashlib.sha256(key_bytes).hexdigest())
    write_atomically(_key_path(out), key_bytes)
    write_atomically(out, page)
    return Written(out, _key_path(out), says)


def _key_path(out: Path) -> Path:
    return out.with_name(f"{out.stem}.key.json")


def _check(out: Path, pairs: int, seed: int | None, target_kind: str) -> None:
    if not FEWEST_PAIRS <= pairs <= MOST_PAIRS:
        raise SettingsError(f"--pairs {pairs}: {FEWEST_PAIRS} to {MOST_PAIRS}; more would make a page over 20 MB")
    if seed is not None and not 0 <= seed < 2**31:
        raise SettingsError(f"--seed {seed}: 0 to {2**31 - 1}")
    if not target_kind.strip() or len(target_kind) > 200:
        raise SettingsError("--target-kind: a few words, like 'drum hits'")
    if out.suffix != ".html":
        raise SettingsError(f"--out {out}: a file that ends in .html")
    for path in (out, _key_path(out)):
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


def lay_out(design: Trials, sounds: Owned, volume: bytes, key: str) -> tuple[dict[str, Any], dict[str, bytes]]:
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

    test: dict[str, Any] = {"key": key, "volume": name(volume), "trials": [], "browse": None}
    for trial in design.trials:
        left, right = (name(sounds[played]) for played in design.plays[trial.id])
        test["trials"].append({"id": trial.id, "left": left, "right": right})
    if design.first_owner is not None:
        owners = {"one": design.first_owner, "two": "B" if design.first_owner == "A" else "A"}
        numbers = range(design.pairs, 2 * design.pairs)
        test["browse"] = {which: [name(sounds[owner, number]) for number in numbers] for which, owner in owners.items()}
    if len({len(mp3) for mp3 in named.values()}) != 1:
        raise SettingsError("the MP3 encoder of this libsndfile gives sounds of one length several sizes; update it")
    return test, {opaque: named[opaque] for opaque in sorted(named)}


def _page(design: Trials, sounds: Owned, volume: bytes, target_kind: str, key: str) -> bytes:
    test, named = lay_out(design, sounds, volume, key)
    audio = {opaque: base64.b64encode(mp3).decode() for opaque, mp3 in named.items()}
    trials = len(design.trials)
    return one_file(
        TEMPLATES, "listen", test=test, audio=audio, kind=target_kind, key=key, trials=trials,
        pairs=design.pairs if test["browse"] else 0, minutes=round(trials * SECONDS_A_TRIAL / 60),
    )  # fmt: skip
