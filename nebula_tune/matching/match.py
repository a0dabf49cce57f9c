"""Matching: the presets of a synth whose sounds are nearest to given ones."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from nebula_tune.arrays import Floats, Raw, Vectors
from nebula_tune.corpus.cache import digest
from nebula_tune.corpus.folder import Skipped, Unusable, audio_files, fingerprint
from nebula_tune.corpus.prepare import Prepare
from nebula_tune.embedding.embed import embed_files
from nebula_tune.errors import CorpusError, SettingsError
from nebula_tune.execution.where import Where
from nebula_tune.matching.hearing import DRAWS_ONLY, Hearing, MatchEar, MatchPrior, Ruler, open_ears
from nebula_tune.matching.matched import Matched, MatchedPreset
from nebula_tune.matching.output import DEFAULT_SECONDS, LONGEST_SECONDS, MatchFolder
from nebula_tune.matching.pool import QUICK, Pool, draw_pool
from nebula_tune.matching.refine import POPULATION, NearPreset, refine
from nebula_tune.numerics import own_numerics
from nebula_tune.study.plan import named_embeddings
from nebula_tune.synth.indices import Purpose, first_index

EARS = "logmel=1,modulation=1"
POOL, KEEP, RENDERS = 65536, 5, 4096
LEAST_POOL = 256
SHORTLIST = 512  # of the pool's nearest by the first ear, heard by all
NEAR = 64  # of these, whose spread tells how far to step; the least shortlist
RANDOM = 256  # sounds of the pool that stand for any: what distances are measured in

Staging = Callable[[str], AbstractContextManager[Callable[[int, int], None]]]


def shortlist(pool: int) -> int:
    """How many of a pool's nearest by the first ear are heard by all: fewer of a small pool, as of a dear synth's."""
    return min(SHORTLIST, max(NEAR, pool // NEAR))


def extents(dearness: int) -> tuple[int, int]:
    """Sounds of a pool, and those that searches render, of a synth that is so many times as dear as the Voice.

    The latter are fewer by the root only: a search of ten rounds has not come far.
    """
    return POOL // dearness, RENDERS // math.isqrt(dearness)


@contextmanager
def _silently(_: str) -> Iterator[Callable[[int, int], None]]:
    yield lambda *_: None


@own_numerics()
def match(
    sounds: str | Path | Sequence[str | Path],
    *,
    nebula: str | Path = "default",
    synth: str = "voice",
    panel: str | None = None,
    embedding: str = EARS,
    pool: int | None = None,
    keep: int = KEEP,
    renders: int | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    seconds: float = DEFAULT_SECONDS,
    where: Where | None = None,
    note: Callable[[str], None] = lambda _: None,
    stage: Staging = _silently,
) -> list[Matched]:
    """Presets whose sounds are nearest to each given sound, nearest first.

    Random sounds are drawn from a nebula; those nearest by the first ear are heard by all; from the nearest of them
    searches go on. The same arguments give the same presets.

    Args:
        sounds: audio files, or folders of such.
        nebula: what the random sounds are drawn from: a nebula's or constellation's file or name.
        synth: the synth's architecture.
        panel: the synth's, a name or file; None: its own.
        embedding: the ears with their weights, as ``logmel=1,modulation=1``; the first one hears the whole pool.
        pool: how many random sounds; None: 65,536, and so many fewer as a synth is dearer than the Voice (Vital 4,096).
        keep: presets of each sound.
        renders: sounds that the searches of one sound may render; 0 takes the pool's nearest as they are; None: 4,096,
            likewise, but by the root (Vital 1,024).
        seed: everything random derives from it.
        out: folder to write audio and parameters to; None: nothing is written.
        seconds: of the audio that is written.
        where: on which executor sounds are rendered; None: chosen as ``run`` does.
        note: told what a user should know.
        stage: given what is under way, opens a progress to be told (done, total).

    Raises:
        SettingsError: for options that cannot be used.
        CorpusError: where there is no sound that can be read, or a folder that holds other matches.
        NebulaError, EmbeddingError: for a nebula or ear that cannot be used.
    """
    prior = MatchPrior.of(nebula, synth, panel)
    looked, searched = extents(prior.synth.dearness)
    extent = _Extent(looked if pool is None else pool, keep, searched if renders is None else renders, seed)
    ears = open_ears(named_embeddings(embedding))
    matcher = _Matcher(prior, ears, extent, where or Where(), note)
    files = list(_files([sounds] if isinstance(sounds, str | Path) else sounds))
    if out is None:
        return matcher.match(files, [None] * len(files), stage)
    if not 0 < seconds <= LONGEST_SECONDS:
        raise SettingsError(f"--seconds {seconds}: above 0, at most {LONGEST_SECONDS:g}")
    folders = [Path(out)] if len(files) == 1 else [Path(out) / name for name in _folder_names(files)]
    return matcher.match(files, matcher.claim(files, folders, seconds), stage)


@dataclass(frozen=True)
class _Sound:
    """An audio file and what it is called."""

    path: Path
    name: str


def _files(sounds: Sequence[str | Path]) -> Iterator[_Sound]:
    """The files of what was given, folders read through. Raises CorpusError."""
    if not sounds:
        raise CorpusError("name a sound to match: an audio file, or a folder of such")
    for given in map(Path, sounds):
        if given.is_dir():
            yield from (_Sound(path, path.relative_to(given).as_posix()) for path in audio_files(given).paths)
        elif given.exists():
            yield _Sound(given, given.name)
        else:
            raise CorpusError(f"{given} does not exist; give an audio file, or a folder of such")


def _folder_names(sounds: Sequence[_Sound]) -> list[str]:
    """A folder's name for each sound: without its ending where that is enough, numbered where names are alike."""
    short = [Path(sound.name).with_suffix("").as_posix() for sound in sounds]
    count = Counter(short)
    names: list[str] = []
    for sound, name in zip(sounds, short, strict=True):
        wanted = name if count[name] == 1 else sound.name
        taken = sum(other == wanted or other.startswith(f"{wanted} (") for other in names)
        names.append(f"{wanted} ({taken + 1})" if taken else wanted)
    return names


@dataclass(frozen=True)
class _Extent:
    """How much is looked through, and kept. Raises SettingsError for what cannot be."""

    pool: int
    keep: int
    renders: int
    seed: int

    def __post_init__(self) -> None:
        if self.pool < LEAST_POOL:
            raise SettingsError(f"--pool {self.pool}: at least {LEAST_POOL} sounds")
        if not 1 <= self.keep <= NEAR:
            raise SettingsError(f"--keep {self.keep}: 1 to {NEAR} presets")
        if self.renders < 0 or 0 < self.renders < POPULATION:
            raise SettingsError(f"--renders {self.renders}: 0, or at least {POPULATION}")

    @property
    def first_index(self) -> int:
        """The pool's first sound."""
        return first_index(Purpose.MATCH, self.seed)


class _Matcher:
    """A prior, ears and an extent, for all sounds."""

    def __init__(
        self, prior: MatchPrior, ears: Sequence[MatchEar], extent: _Extent, where: Where, note: Callable[[str], None]
    ) -> None:
        self._prior, self._ears, self._extent = prior, ears, extent
        self._where, self._note = where, note

    def claim(self, sounds: Sequence[_Sound], folders: Sequence[Path], seconds: float) -> list[MatchFolder]:
        """The folders of sounds' matches, claimed for them. Raises CorpusError, StorageError."""
        what = {
            "synth": self._prior.synth_name,
            "nebula": digest(self._prior.content),
            "ears": [[ear.embedding.settings, ear.weight] for ear in self._ears],
            **asdict(self._extent),
        }
        claimed = []
        for sound, folder in zip(sounds, folders, strict=True):
            try:
                key = fingerprint(sound.path, sound.path.parent).key
            except Unusable as error:
                key = str(error)  # such a sound is left out, and said to be
            claimed.append(MatchFolder(folder, what | {"sound": key}, seconds))
        for place in claimed:
            place.claim()
        return claimed

    def match(self, sounds: Sequence[_Sound], folders: Sequence[MatchFolder | None], stage: Staging) -> list[Matched]:
        """Match each sound and write what was found; what an earlier call has finished is not done again."""
        results: dict[_Sound, Matched | None] = {
            sound: folder.finished() if folder else None for sound, folder in zip(sounds, folders, strict=True)
        }
        vectors = {sound: both for sound, *both in self._vectors([sound for sound in sounds if results[sound] is None])}
        if vectors:
            with stage("drawing random sounds") as progress:
                pool = draw_pool(
                    self._prior, self._ears[0], self._extent.first_index, self._extent.pool,
                    where=self._where, note=self._note, progress=progress,
                )  # fmt: skip
            with Hearing(self._prior, self._ears, Prepare.ONSET, self._where, self._note) as hearing:
                ground = _Ground(pool, hearing, self._ears)
                for sound, folder in zip(sounds, folders, strict=True):
                    if sound in vectors:
                        quick, vector = vectors[sound]
                        with stage(f"matching {sound.name}") as progress:
                            presets = self._match(ground, quick, vector, progress)
                        matched = self._matched(sound, ground, vector, presets)
                        results[sound] = folder.write(matched, self._prior) if folder else matched
        return [matched for matched in results.values() if matched is not None]

    def _vectors(self, sounds: Sequence[_Sound]) -> Iterator[tuple[_Sound, Vectors, Vectors]]:
        """Each sound that can be used, with its vector under the first ear made quickly, and under all ears."""
        skipped: list[Skipped] = []
        for sound in sounds:
            folder = sound.path.parent
            vectors = [
                embed_files([sound.path], folder, ear.embedding, style)[sound.path.name]
                for ear, style in ((self._ears[0], QUICK), *((ear, Prepare.ONSET) for ear in self._ears))
            ]
            if isinstance(vectors[0], str) or isinstance(vectors[-1], str):
                skipped.append(Skipped(sound.name, str(next(v for v in vectors if isinstance(v, str)))))
                continue
            arrays = [np.asarray(vector) for vector in vectors]
            yield sound, arrays[0], np.concatenate(arrays[1:])
        for file in skipped:
            self._note(f"{file.name} is left out: {file.reason}")
        if skipped and len(skipped) == len(sounds):
            raise CorpusError(f"no sound can be used; {skipped[0].name}: {skipped[0].reason}")

    def _match(
        self, ground: _Ground, quick: Vectors, vector: Vectors, progress: Callable[[int, int], None]
    ) -> list[NearPreset]:
        """The pool's nearest and what the searches found, all nearest first; the pool's best is the last one."""
        pool = ground.nearest(quick, vector)
        presets = pool
        if self._extent.renders:
            presets = refine(
                pool[:NEAR],
                partial(ground.residuals, target=vector),
                renders=self._extent.renders,
                first_index=self._extent.first_index + self._extent.pool + len(pool),
                seed=self._extent.seed,
                progress=progress,
            )
        return [*presets[: self._extent.keep], pool[0]]

    def _matched(self, sound: _Sound, ground: _Ground, vector: Vectors, nearest: list[NearPreset]) -> Matched:
        player, names = self._prior.player(*DRAWS_ONLY), ground.ruler.names
        human = player.to_human(torch.from_numpy(np.stack([near.raw for near in nearest]))).tolist()

        def named(values: Floats) -> dict[str, float]:
            return dict(zip(names, values.tolist(), strict=True))

        *presets, best = [
            MatchedPreset(
                index=near.index,
                distance=near.total,
                by_ear=named(by_ear),
                raw=dict(zip(player.parameter_names, near.raw.tolist(), strict=True)),
                human=dict(zip(player.parameter_names, values, strict=True)),
            )
            for near, by_ear, values in zip(nearest, ground.by_ear(nearest), human, strict=True)
        ]
        random_by_ear = ground.ruler.by_ear(ground.ruler.residuals(ground.random, vector))
        return Matched(
            sound=str(sound.path),
            name=sound.name,
            presets=presets,
            pool_best=best,
            random_distance=float(np.median(ground.ruler.distances(ground.random, vector))),
            random_by_ear=named(np.median(random_by_ear, axis=0)),
        )


class _Ground:
    """A pool, and how far its sounds and others are from a target."""

    def __init__(self, pool: Pool, hearing: Hearing, ears: Sequence[MatchEar]) -> None:
        self.pool, self._hearing = pool, hearing
        self._quick = Ruler(ears[:1], pool.vectors[:RANDOM])
        self.random = hearing.vectors(pool.raw[:RANDOM], pool.first_index)
        self.ruler = Ruler(ears, self.random)

    def nearest(self, quick: Vectors, target: Vectors) -> list[NearPreset]:
        """The pool's sounds nearest to a target by the first ear; by all ears nearest first."""
        far = self._quick.distances(self.pool.vectors, quick)
        raw = self.pool.raw[np.argsort(far, kind="stable")[: shortlist(len(self.pool))]]
        index = self.pool.first_index + len(self.pool)
        residuals = self.residuals(raw, index, target)
        near = [NearPreset(raw[k], index + k, residuals[k]) for k in range(len(raw))]
        return sorted(near, key=lambda preset: preset.total)

    def residuals(self, raw: Raw, index: int, target: Vectors) -> Floats:
        """Residuals (sounds, D) against a target of raw parameters, whose noise counts from an index on."""
        return self.ruler.residuals(self._hearing.vectors(raw, index), target)

    def by_ear(self, presets: Sequence[NearPreset]) -> Floats:
        """Distances (presets, ears)."""
        return self.ruler.by_ear(np.stack([preset.residuals for preset in presets]))
