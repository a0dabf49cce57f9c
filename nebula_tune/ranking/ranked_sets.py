"""Data sets whose sounds have a known order: ``<root>/<preset>/<rank>.<ext>`` (sections 4.1 and 4.2 of the paper).

A rank is an integer, such as a MIDI note or a velocity. What cannot be used is named, with the reason, and left out.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nebula_tune.corpus.folder import Skipped, SoundFile, Unusable, audio_files, fingerprint
from nebula_tune.documents import read_json
from nebula_tune.ranking.sweeps import LEAST_SOUNDS, MANIFEST


@dataclass(frozen=True)
class Preset:
    """One preset's sounds in the order of their ranks, all different."""

    name: str
    ranks: tuple[int, ...]
    files: tuple[SoundFile, ...]


@dataclass(frozen=True)
class RankedDataset:
    """Presets with at least three sounds, sorted by name; what was left out; and the kind, where the set tells it."""

    presets: tuple[Preset, ...]
    skipped: tuple[Skipped, ...]
    kind: str | None

    @classmethod
    def read(cls, root: Path) -> RankedDataset:
        """Find presets and ranks, and files that are the same byte for byte. Raises CorpusError for no folder."""
        listing = audio_files(root)
        skipped = listing.passed_over
        files: dict[str, dict[int, list[SoundFile]]] = defaultdict(lambda: defaultdict(list))
        for path in listing.paths:
            name = path.relative_to(root).as_posix()
            if path.parent == root:
                skipped.append(Skipped(name, "in no preset's folder"))
            elif not re.fullmatch(r"[+-]?\d+", path.stem):
                skipped.append(Skipped(name, "its name is no integer rank"))
            else:
                try:
                    file = fingerprint(path, root)
                    files[file.folder][int(path.stem)].append(file)
                except Unusable as error:
                    skipped.append(Skipped(name, str(error)))
        kind, missing = _manifest(root, files)
        skipped += missing
        presets, seen = [], dict[frozenset[str], str]()
        for name in sorted(files):
            preset = _preset(name, files[name], skipped)
            content = frozenset(file.key for file in preset.files)
            if content and content in seen:
                skipped.append(Skipped(name, f"a copy of preset {seen[content]}"))
            else:
                seen[content] = name
                presets.append(preset)
        return cls(tuple(presets), tuple(skipped), kind).without({})

    def without(self, unusable: Mapping[str, str]) -> RankedDataset:
        """The data set less some files (name: reason), and less presets that then have fewer than three sounds."""
        skipped = [*self.skipped, *(Skipped(name, reason) for name, reason in unusable.items())]
        presets = []
        for preset in self.presets:
            kept = [(r, f) for r, f in zip(preset.ranks, preset.files, strict=True) if f.name not in unusable]
            if len(kept) < LEAST_SOUNDS:
                skipped.append(Skipped(preset.name, f"{len(kept)} different sounds; {LEAST_SOUNDS} are needed"))
            else:
                presets.append(Preset(preset.name, tuple(r for r, _ in kept), tuple(f for _, f in kept)))
        return RankedDataset(tuple(presets), tuple(skipped), self.kind)


def _preset(name: str, by_rank: Mapping[int, list[SoundFile]], skipped: list[Skipped]) -> Preset:
    """Sounds of one rank each, and of equal sounds the one of the lowest rank."""
    kept: dict[str, tuple[int, SoundFile]] = {}
    for rank in sorted(by_rank):
        first, *others = by_rank[rank]
        if others:
            skipped += [Skipped(file.name, f"rank {rank} is there {len(others) + 1} times") for file in by_rank[rank]]
        elif first.key in kept:
            skipped.append(Skipped(first.name, f"the same sound as {kept[first.key][1].name}"))
        else:
            kept[first.key] = rank, first
    return Preset(name, tuple(rank for rank, _ in kept.values()), tuple(file for _, file in kept.values()))


def _manifest(root: Path, files: Mapping[str, Mapping[int, object]]) -> tuple[str | None, list[Skipped]]:
    """Kind of a data set made by nebula-tune, and its files that are not there any more."""
    path = root / MANIFEST
    if not path.is_file():
        return None, []
    try:
        manifest = read_json(path)
        kind, sounds = str(manifest["kind"]), manifest.get("sounds", {})
        missing = [
            Skipped(f"{preset}/{rank}.flac", "missing: dataset.json lists it")
            for preset, ranks in sounds.items()
            for rank in ranks
            if rank not in files.get(preset, {})
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None, [Skipped(MANIFEST, "cannot be read")]
    return kind, missing
