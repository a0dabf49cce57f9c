"""How near `match` comes: to sounds of a synth at parameters that nobody is told, and to real ones.

    python benchmarks/match.py hidden [--synth vital] [--sounds 50]     # adds rows to match.jsonl
    python benchmarks/match.py real FOLDER [--nebula NEBULA] [--synth vital] [--sounds 50]
    python benchmarks/match.py table benchmarks/match.jsonl             # prints the table of match.md
    python benchmarks/match.py picture FOLDER --sounds 12 --out FILE.png    # docs/match.png

`hidden`: sounds of a synth's own nebula, drawn where no pool is. Beside each match stand the nearest of the pool before
the search, separable CMA-ES from the start preset (the middle of every parameter) with as many renders, and the same
preset at another noise row: the floor. `real`: sounds of a folder, spread over it. All are heard by the ears used and
by `mss` and `scattering`, which nothing was matched by. Distances are over that of two random sounds, `hidden` of the
synth's own nebula, `real` of the folder. A row that is there is not worked out again.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from cmaes import SepCMA
from numpy.typing import NDArray
from vital import cpu_seconds

from nebula_tune import match
from nebula_tune.arrays import Floats, Raw, Vectors
from nebula_tune.corpus.folder import find_audio
from nebula_tune.corpus.prepare import Prepare
from nebula_tune.embedding import make_embedding
from nebula_tune.embedding.embed import embed_files, vectors_of
from nebula_tune.evaluate.picture import BANDS
from nebula_tune.execution.where import Where
from nebula_tune.matching.hearing import Hearing, MatchPrior, Ruler, open_ears
from nebula_tune.matching.match import EARS, RANDOM, extents, shortlist
from nebula_tune.study.plan import named_embeddings
from nebula_tune.study.settings import EmbeddingSettings
from nebula_tune.synth.indices import Purpose, first_index
from nebula_tune.synth.placing import to_raw
from nebula_tune.synth.vital.player import IDLE

HIDDEN = first_index(Purpose.MATCH, 200)  # past every pool of small seeds
OTHERS = {  # ears that nothing is matched by
    "mss": named_embeddings("mss"),
    "scattering": [EmbeddingSettings.model_validate({"name": "scattering", "sample_rate": 16000, "seconds": 1.0})],
}
RATE, SECONDS = 44100, 4.0


class Ears:
    """Ears, and distances of a prior's sounds under them, over that of two random sounds: of a folder, or its own."""

    def __init__(self, prior: MatchPrior, named: Sequence[EmbeddingSettings], folder: Path | None) -> None:
        self.ears = open_ears(named)
        self.hearing = Hearing(prior, self.ears, Prepare.ONSET, Where(executor="inline"), print)
        if folder is None:
            random = self.hearing.vectors(prior.draw(HIDDEN + 10**5, RANDOM), HIDDEN)
        else:
            random = np.stack(list(self.files(spread_over(folder, RANDOM)).values()))
        self.ruler = Ruler(self.ears, random)

    def file(self, path: Path) -> Vectors:
        """Vector of a file under all ears. Raises ValueError for one that cannot be used."""
        found = self.files([path])
        if path not in found:
            raise ValueError("it cannot be used")
        return found[path]

    def files(self, paths: Sequence[Path]) -> dict[Path, Vectors]:
        """Vectors of the files that can be used, under all ears; of absolute paths."""
        heard = [embed_files(paths, Path("/"), ear.embedding, Prepare.ONSET) for ear in self.ears]
        rows = {path: [found[path.relative_to("/").as_posix()] for found in heard] for path in paths}
        usable = {path: row for path, row in rows.items() if not any(isinstance(vector, str) for vector in row)}
        return {path: np.concatenate([np.asarray(vector) for vector in row]) for path, row in usable.items()}

    def distances(self, raw: Raw, index: int, target: Vectors) -> Floats:
        """Of presets (presets, parameters), whose noise counts from an index on."""
        return self.ruler.distances(self.hearing.vectors(raw, index), target)


class Scale:
    """The ears that matches are found by, and those that they are not."""

    def __init__(self, prior: MatchPrior, folder: Path | None = None) -> None:
        self.used = Ears(prior, named_embeddings(EARS), folder)
        self._all = [self.used, *(Ears(prior, named, folder) for named in OTHERS.values())]

    def of(self, path: Path) -> Callable[[Raw, int], list[float]]:
        """What tells a preset's distances to a file. Raises ValueError for a file that cannot be used."""
        heard = [(ears, ears.file(path)) for ears in self._all]
        return lambda raw, index: [float(ears.distances(raw[None], index, target)[0]) for ears, target in heard]


def spent() -> float:
    """CPU-seconds so far; the processes that played Vital end here, so that they are counted."""
    IDLE.close()
    return cpu_seconds()


def raw_of(preset: Any) -> Raw:
    """Raw parameters (parameters,) of a match."""
    return np.array(list(preset.raw.values()), dtype=np.float32)


def matched(distances: Callable[[Raw, int], list[float]], path: Path, prior: MatchPrior, nebula: str) -> dict[str, Any]:
    """A sound's match, as a row; ``distances`` tells a preset's to that sound."""
    began = spent()
    panel = prior.panel.name if prior.panel else None
    [found] = match(path, nebula=nebula, synth=prior.synth_name, panel=panel, where=Where(executor="inline"))
    seconds = spent() - began
    best, pool = found.presets[0], found.pool_best
    return {
        "match": distances(raw_of(best), best.index),
        "pool": distances(raw_of(pool), pool.index),
        "seconds": seconds,
    }


def from_the_middle(ears: Ears, target: Vectors, parameters: int, renders: int) -> tuple[Raw, int]:
    """Separable CMA-ES from the start preset, the median of every raw parameter: the nearest and its index."""
    search = SepCMA(mean=np.zeros(parameters), sigma=1.0, seed=0)
    best, nearest = np.inf, (np.zeros(parameters, dtype=np.float32), HIDDEN)
    for begin in range(0, renders, search.population_size):
        points = [search.ask() for _ in range(search.population_size)]
        raw = to_raw(np.stack(points))
        totals = ears.distances(raw, HIDDEN + begin, target)
        search.tell(list(zip(points, totals.tolist(), strict=True)))
        if totals.min() < best:
            best, nearest = totals.min(), (raw[totals.argmin()], HIDDEN + begin + int(totals.argmin()))
    return nearest


def hidden(synth: str, sounds: int, rows: Path) -> None:
    prior = MatchPrior.of("default", synth, None)
    scale, known = Scale(prior), there(rows)
    draws, (pool, renders) = prior.draw(HIDDEN, sounds), extents(prior.synth.dearness)
    with tempfile.TemporaryDirectory() as folder:
        for k, raw in enumerate(draws):
            key = ["hidden", synth, "default", str(k)]
            if key in known:
                continue
            path = Path(folder) / f"{k}.wav"
            human = prior.player(RATE, SECONDS)
            audio = human.render(torch.from_numpy(raw[None]), HIDDEN + k)[0].cpu().numpy()
            soundfile.write(path, audio, RATE, subtype="FLOAT")
            try:
                distances = scale.of(path)
                row = matched(distances, path, prior, "default")
            except (ValueError, KeyError) as error:
                print(f"{k}: left out: {error}")
                continue
            row["floor"] = distances(raw, HIDDEN + k + 7)
            as_many = renders + shortlist(pool)
            row["middle"] = distances(*from_the_middle(scale.used, scale.used.file(path), len(raw), as_many))
            keep(rows, key, row)


def real(folder: Path, nebula: str, synth: str, sounds: int, rows: Path) -> None:
    prior = MatchPrior.of(nebula, synth, None)
    scale, known = Scale(prior, folder), there(rows)
    for path in spread_over(folder, sounds):
        key = [folder.name, synth, Path(nebula).name, path.relative_to(folder.absolute()).as_posix()]
        if key not in known:
            try:
                keep(rows, key, matched(scale.of(path), path, prior, nebula))
            except ValueError as error:
                print(f"{path}: left out: {error}")


def picture(folder: Path, nebula: str, synth: str, sounds: int, out: Path) -> None:
    """Spectrograms (the network judge's pictures): sounds of a folder, their matches, and the pool's nearest."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    prior, eye = MatchPrior.of(nebula, synth, None), make_embedding("picture")
    chosen = spread_over(folder, sounds)
    found = match(chosen, nebula=nebula, synth=synth, where=Where(executor="inline"))

    def seen(preset: Any) -> Vectors:
        audio = prior.player(RATE, SECONDS).render(torch.from_numpy(raw_of(preset)[None]), preset.index)
        vectors: Vectors = vectors_of(audio, RATE, eye, Prepare.ONSET).cpu().numpy()
        return vectors[0]

    figure, axes = pyplot.subplots(3, len(found), figsize=(len(found), 3.1), squeeze=False)
    for column, one in zip(axes.T, found, strict=True):
        path = Path(one.sound)
        target = np.asarray(embed_files([path], path.parent, eye, Prepare.ONSET)[path.name])
        for axis, sound in zip(column, (target, seen(one.presets[0]), seen(one.pool_best)), strict=True):
            axis.imshow(sound.reshape(-1, BANDS).T, origin="lower", aspect="auto", cmap="magma", vmin=0, vmax=1)
            axis.set(xticks=[], yticks=[])
        column[0].set_title(path.stem[:16], fontsize=7)
    for axis, name in zip(axes[:, 0], ("sound", "match", "pool's nearest"), strict=True):
        axis.set_ylabel(name, fontsize=8)
    figure.subplots_adjust(0.25 / len(found), 0.01, 0.999, 0.93, 0.03, 0.05)
    figure.savefig(out, dpi=80)
    print(out)


def spread_over(folder: Path, sounds: int) -> list[Path]:
    """So many files of a folder, evenly spread over their order."""
    files = find_audio(folder.absolute())
    return [files[place] for place in np.linspace(0, len(files) - 1, sounds).round().astype(int)]


def there(rows: Path) -> list[list[str]]:
    return [json.loads(line)["key"] for line in rows.read_text().splitlines()] if rows.exists() else []


def keep(rows: Path, key: Sequence[str], row: dict[str, Any]) -> None:
    with open(rows, "a") as file:
        file.write(json.dumps({"key": list(key), **row}) + "\n")
    print(*key, {name: np.round(value, 3).tolist() for name, value in row.items()}, flush=True)


def interval(values: NDArray[Any]) -> str:
    """Median, with its 95 % interval by resampling sounds."""
    rng = np.random.default_rng(0)
    medians = np.median(rng.choice(values, (2000, len(values))), axis=1)
    low, high = np.percentile(medians, [2.5, 97.5])
    return f"{np.median(values):.2f} ({low:.2f} to {high:.2f})"


def table(rows: Path) -> str:
    """By data set, synth and prior; then, of real sounds, each way beside each other, sound by sound."""
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for line in rows.read_text().splitlines():
        row = json.loads(line)
        groups.setdefault(tuple(row["key"][:3]), []).append(row)
    titles = [
        "sounds", "synth, prior", "n", "pool's nearest", "match", "CMA-ES from the middle", "floor",
        "match / pool's nearest", "nearer", *(f"under `{ear}`" for ear in OTHERS), "CPU-s a sound",
    ]  # fmt: skip
    lines = [f"| {' | '.join(titles)} |", "| --- | --- |" + " ---: |" * (len(titles) - 2)]
    for (what, synth, nebula), found in groups.items():
        match, pool = (np.array([row[name] for row in found]) for name in ("match", "pool"))
        cells = [
            what,
            f"{synth}, {nebula}",
            str(len(found)),
            f"{np.median(pool[:, 0]):.3f}",
            f"{np.median(match[:, 0]):.3f}",
        ]
        for name in ("middle", "floor"):
            cells.append(f"{np.median([row[name][0] for row in found]):.3f}" if name in found[0] else "–")
        for ear in range(1 + len(OTHERS)):
            nearer = f"{(match[:, ear] <= pool[:, ear]).sum()}"
            ratio = interval(match[:, ear] / pool[:, ear])
            cells += [f"{ratio}, {nearer}"] if ear else [ratio, nearer]
        cells.append(f"{np.median([row['seconds'] for row in found]):.1f}")
        lines.append(f"| {' | '.join(cells)} |")
    of_real = {key: found for key, found in groups.items() if key[0] != "hidden"}
    return "\n".join([*lines, *(["", *table_of_real(of_real)] if of_real else [])])


def table_of_real(groups: dict[tuple[str, str, str], list[dict[str, Any]]]) -> list[str]:
    """Median distances of matches under each ear, and how many sounds each way matches nearer than the first one."""
    ears = ("the ears used", *OTHERS)
    lines = [f"| synth, prior | {' | '.join(f'{ear} | nearer than the first row' for ear in ears)} |"]
    lines.append("| --- |" + " ---: |" * (2 * len(ears)))
    first: dict[str, list[float]] = {}
    for (_, synth, nebula), found in groups.items():
        matches = {row["key"][3]: row["match"] for row in found}
        first = first or matches
        both = [name for name in matches if name in first]
        cells = []
        for ear in range(len(ears)):
            nearer = sum(matches[name][ear] < first[name][ear] for name in both)
            cells += [interval(np.array([match[ear] for match in matches.values()])), f"{nearer} of {len(both)}"]
        lines.append(f"| {synth}, {nebula} | {' | '.join(cells)} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("hidden", "real", "table", "picture"))
    parser.add_argument("place", nargs="?", type=Path, help="folder of real sounds, or the file of rows")
    parser.add_argument("--synth", default="voice")
    parser.add_argument("--nebula", default="default")
    parser.add_argument("--sounds", type=int, default=50)
    parser.add_argument("--rows", type=Path, default=Path(__file__).with_suffix(".jsonl"))
    parser.add_argument("--out", type=Path, default=Path("match.png"))
    asked = parser.parse_args()
    if asked.what == "hidden":
        hidden(asked.synth, asked.sounds, asked.rows)
    elif asked.what == "real":
        real(asked.place, asked.nebula, asked.synth, asked.sounds, asked.rows)
    elif asked.what == "picture":
        picture(asked.place, asked.nebula, asked.synth, asked.sounds, asked.out)
    else:
        print(table(asked.place or asked.rows))


if __name__ == "__main__":
    main()
