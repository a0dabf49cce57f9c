"""Nebulae judged by ears and classifiers that no search saw: what `specs` call winning the ear.

    python benchmarks/ear.py judge TARGET NAME=NEBULA ... [--seed 0] [--others FOLDER ...] [--rows benchmarks/ear.jsonl]
        [--synth vital/vital-drum]
    python benchmarks/ear.py table benchmarks/ear.jsonl
    python benchmarks/ear.py power TARGET
    python benchmarks/ear.py bound TARGET NEBULA [--sounds 100000] [--by ears|network]
    python benchmarks/ear.py pictures TARGET NAME=NEBULA ... --out FILE.png

TARGET is a folder of real sounds, a sub-folder a kit, instrument or pack (benchmarks/corpora.py makes such). For each
nebula or constellation, `judge` adds a row to a file of JSON lines, and a row is not worked out again:

* the unbiased l1 MMD of its fresh sounds to the fifth of the target that a study of that --seed holds out, under each
  embedding, over the target's own mean distance;
* how easily the linear classifier (`mss`) and the network judge tell its sounds from the target's, cross-fitted over
  whole sub-folders, with each sub-folder's part of the AUC (so that two nebulae can be compared by paired intervals);
* the share that a network trained on REAL sounds only (the target against --others) takes for the target's kind;
* shares of sounds that rest under MIDI 24, sweep widely, or reach full scale.

`bound` picks sounds of a very large pool of a nebula and says how easily the judges tell those from the target's: what
picking can do. By `ears`: the one nearest each of the target's under `logmel` and `modulation`. By `network`: those
that networks like the judge itself, trained on the same target, take for real most.

All sounds are new ones: index ranges that no study uses.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nebula_tune.corpus.cache import digest
from nebula_tune.corpus.groups import hold_out
from nebula_tune.corpus.prepare import RENDER_RATE, Prepare, as_read, prepare
from nebula_tune.corpus.source import Source
from nebula_tune.distance import L1, l1_mmd
from nebula_tune.distance.joint import Joint, Part
from nebula_tune.distance.mmd import mean_within
from nebula_tune.embedding import Embedding, make_embedding
from nebula_tune.embedding.embed import Embedded, embed_source, one_thread
from nebula_tune.evaluate.classifier_test import classifier_test
from nebula_tune.evaluate.network_judge import SOUNDS, Judge, out_of_fold, share_taken_for
from nebula_tune.evaluate.picture import BANDS
from nebula_tune.execution.inline import InlineExecutor
from nebula_tune.penalties import SHARES, penalties
from nebula_tune.scoring import Request, ScorerSpec
from nebula_tune.synth import NamedPanel, Synth, architecture, panel_of
from nebula_tune.synth.voice import Voice
from nebula_tune.trial import Point

FIRST = 12 * 2**28  # of the sounds judged: past every range of nebula_tune.synth.indices
EARS: dict[str, tuple[dict[str, Any], int]] = {  # options, and fresh sounds of a nebula
    "logmel": ({}, 1024),
    "modulation": ({}, 1024),
    "mss": ({"sample_rate": 22050, "seconds": 1.0}, 1024),
    "aisfx": ({}, 256),
    "scattering": ({}, 128),
}
NETWORK_SEEDS = (0,)
BLOCK = 4096  # sounds of a pool heard together
LINEAR_SOUNDS = 256
POOL_TRAINING = 512  # random sounds of a pool that networks which pick from it are trained on
ROUNDS = 3  # of such networks
PLAYED: tuple[str, NamedPanel | None] = ("voice", None)  # the nebulae's synth and its panel; --synth sets others
SYNTH: type[Synth] = Voice  # their class
SHARED_SOUNDS = 1024  # whose shares are counted, fewer of a dear synth


@cache
def ear(name: str) -> Embedding:
    return make_embedding(name, **EARS.get(name, ({}, 0))[0])


def vectors(source: str, name: str, sounds: int) -> Embedded:
    """A corpus under an embedding; sounds of a nebula are new ones. Kept in the cache folder."""
    return embed_source(Source.parse(source), ear(name), Prepare.ONSET, SYNTH, FIRST, sounds=sounds)


def groups_of(real: Embedded) -> list[str]:
    """The sub-folder of each sound; of a folder without any, its file."""
    return list(real.folders if len(set(real.folders)) > 1 else real.keys)


def shares(nebula: str) -> dict[str, float]:
    voice = SYNTH(nebula, 64, 32000, 2.5)
    found = []
    for first in range(FIRST, FIRST + SHARED_SOUNDS // math.isqrt(SYNTH.dearness), 64):
        human = voice.to_human(voice.draw(first, 64))
        found.append(penalties(SYNTH, voice.render_human(human, first), human))
    return dict(zip(SHARES, np.concatenate(found).mean(axis=0).tolist(), strict=True))


@dataclass(frozen=True)
class Judged:
    """What is judged: a nebula's file or name, its name in the table, the target, and the seed of its study."""

    target: str
    label: str
    nebula: str
    seeds: tuple[int, ...]
    ears: tuple[str, ...]

    @property
    def key(self) -> str:
        path = Path(self.nebula)
        return digest(
            [Path(self.target).name, self.label, self.seeds, path.read_text() if path.exists() else self.nebula]
        )


def distances(judged: Judged) -> dict[str, dict[str, float]]:
    """Unbiased l1 MMD to each seed's held-out fifth over the target's mean distance, under each embedding."""
    found: dict[str, dict[str, float]] = {str(seed): {} for seed in judged.seeds}
    for name in judged.ears:
        real = vectors(judged.target, name, 0)
        fresh, scale = vectors(judged.nebula, name, EARS[name][1]).vectors, mean_within(real.vectors)
        for seed in judged.seeds:
            held = hold_out(real.keys, seed)  # by file, as the studies are run
            found[str(seed)][name] = l1_mmd(fresh, real.vectors[held]).mmd_unbiased / scale
    return found


def network(judged: Judged) -> dict[str, Any]:
    """AUC of the network judge, mean over seeds; and each sub-folder's sum of wins and number of sounds."""
    real = vectors(judged.target, "picture", 0)
    groups = groups_of(real)
    fresh = vectors(judged.nebula, "picture", 1024).vectors
    parts: dict[str, list[float]] = {}
    aucs = []
    for seed in NETWORK_SEEDS:
        run = out_of_fold(fresh, real.vectors, groups, seed=seed)
        aucs.append(run.auc)
        for place, won in zip(run.y.kept, run.wins, strict=True):
            parts.setdefault(groups[place], []).append(float(won))
    return {"auc": float(np.mean(aucs)), "by_seed": aucs, "groups": {k: [sum(v), len(v)] for k, v in parts.items()}}


def taken_for(target: str, others: Sequence[str], nebulae: Sequence[str]) -> dict[str, float]:
    """Share of each nebula's sounds taken for the target's kind by networks trained on real sounds only."""
    torch.set_num_threads(1)
    real = vectors(target, "picture", 0)
    rest = [vectors(folder, "picture", 0) for folder in others]
    groups = [f"{number}/{name}" for number, one in enumerate(rest) for name in one.folders]
    fresh = {nebula: vectors(nebula, "picture", 1024).vectors for nebula in nebulae}
    return share_taken_for(real.vectors, groups_of(real), np.concatenate([one.vectors for one in rest]), groups, fresh)


def judge(judged: Judged) -> dict[str, Any]:
    torch.set_num_threads(1)
    with one_thread():
        real = vectors(judged.target, "mss", 0)
        fresh = vectors(judged.nebula, "mss", EARS["mss"][1]).vectors[:LINEAR_SOUNDS]
        return {
            "key": judged.key,
            "target": Path(judged.target).name,
            "label": judged.label,
            "distance": distances(judged),
            "linear": classifier_test(fresh, real.vectors, groups_of(real)),
            "network": network(judged),
            "shares": shares(judged.nebula),
        }


def power(target: str) -> None:
    """What the network judge reads where the answer is known: two draws of one nebula, and halves of the target."""
    torch.set_num_threads(1)
    real = vectors(target, "picture", 0)
    folders = np.array(real.folders)
    names = np.unique(folders)
    half = np.isin(folders, np.random.default_rng(0).permutation(names)[: len(names) // 2])
    run = out_of_fold(real.vectors[half], real.vectors[~half], folders[~half].tolist(), folders[half].tolist())
    print(f"half of the kits against the other half: {run.auc:.3f}")
    for name in ("default", "drum"):
        both = vectors(name, "picture", 1024).vectors
        twice = out_of_fold(both[:512], both[512:], [str(k) for k in range(512)])
        against = out_of_fold(both, real.vectors, folders.tolist())
        print(f"{name}: two draws {twice.auc:.3f}; against the target {against.auc:.3f}")


def pool(nebula: str, names: Sequence[str], sounds: int) -> Iterator[tuple[int, np.ndarray]]:
    """A large pool of a nebula's sounds, block by block: its first index, and the vectors under some embeddings."""
    curves, symmetric = SYNTH.panel.arrays(SYNTH.resolve(nebula))
    point = Point(curves, symmetric.astype(float))
    spec = ScorerSpec(PLAYED[0], [{"name": name} for name in names], Prepare.ONSET, None, "cpu", panel=PLAYED[1])
    with InlineExecutor(spec) as executor:
        for first in range(FIRST, FIRST + sounds, BLOCK):
            yield first, executor.vectors(Request(point, first, min(BLOCK, FIRST + sounds - first)))


def nearest(target: str, nebula: str, sounds: int) -> list[int]:
    """Indices of a pool's sounds that are the nearest to one of the target's under `logmel` and `modulation`."""
    named = ("logmel", "modulation")
    real = [torch.from_numpy(vectors(target, name, 0).vectors) for name in named]
    reference = torch.cat(real, dim=1)
    parts = [Part(name, found.shape[1], L1(), 1.0) for name, found in zip(named, real, strict=True)]
    distance = Joint(parts).frozen_on(reference)
    least, where = torch.full((len(reference),), np.inf), torch.zeros(len(reference), dtype=torch.int64)
    for first, found in pool(nebula, named, sounds):
        closest = distance.pairwise(reference, torch.from_numpy(found)).min(dim=1)
        where = torch.where(closest.values < least, closest.indices + first, where)
        least = torch.minimum(least, closest.values)
    return [int(index) for index in where.unique()]


def likeliest(target: str, nebula: str, sounds: int) -> list[list[int]]:
    """Indices of a pool's sounds that networks take for real most: as many as are judged, of each round.

    The first network is trained on random sounds of the pool against the target, each next one also on what the ones
    before picked; picked are the likeliest by the mean logit of all. The target's sounds are those that judge later.
    """
    real = vectors(target, "picture", 0).vectors
    real = real.reshape(len(real), -1, BANDS)
    seen = np.concatenate([found.astype(np.float16) for _, found in pool(nebula, ["picture"], sounds)])
    seen = seen.reshape(len(seen), -1, BANDS)
    against, logits, rounds = seen[:POOL_TRAINING], np.zeros(len(seen)), []
    for number in range(ROUNDS):
        network = Judge(against.astype(np.float32), real, (1, number))
        for first in range(0, len(seen), BLOCK):
            logits[first : first + BLOCK] += network.scores(seen[first : first + BLOCK].astype(np.float32))
        picked = np.argsort(-logits, kind="stable")[:SOUNDS]
        against = np.concatenate([against, seen[picked]])
        rounds.append((FIRST + picked).tolist())
    return rounds


def tell(target: str, nebula: str, picked: Sequence[int]) -> str:
    """How easily the network and the linear classifier tell the target from sounds of some indices; their shares."""
    heard = [ear("picture"), ear("mss")]
    voice = SYNTH(nebula, 1, RENDER_RATE, Prepare.ONSET.render_seconds(max(one.seconds for one in heard)))
    raw = torch.cat([voice.draw(index, 1) for index in picked])
    audio = torch.cat([voice.render(raw[k : k + 1], index) for k, index in enumerate(picked)])
    fresh = []
    for one in heard:
        prepared = prepare(as_read(audio, RENDER_RATE, one.sample_rate, Prepare.ONSET), one.samples)
        fresh.append(one.embed_batch(prepared).flatten(1).numpy())
    real = [vectors(target, name, 0) for name in ("picture", "mss")]
    groups = groups_of(real[0])
    auc = out_of_fold(fresh[0], real[0].vectors, groups).auc
    order = np.random.default_rng(0).permutation(len(picked))[:LINEAR_SOUNDS]
    linear = classifier_test(fresh[1][order], real[1].vectors, groups)
    shared = dict(zip(SHARES, penalties(SYNTH, audio, voice.to_human(raw)).mean(axis=0).tolist(), strict=True))
    counted = ", ".join(f"{name} {100 * shared[name]:.0f} %" for name in ("under_midi_24", "wide_sweep"))
    return f"{len(picked)} sounds: network {auc:.3f}, linear {linear:.3f}, {counted}"


def bound(target: str, nebula: str, sounds: int, by: str) -> None:
    """What picking from a large pool can do, by what two embeddings find nearest or by networks."""
    torch.set_num_threads(1)
    found = [nearest(target, nebula, sounds)] if by == "ears" else likeliest(target, nebula, sounds)
    for number, picked in enumerate(found, start=1):
        print(f"{target}, {sounds} of {nebula}, by {by}, round {number}: {tell(target, nebula, picked)}", flush=True)


def pictures(target: str, nebulae: Sequence[str], out: Path, columns: int = 14) -> None:
    """A row of random sounds' spectrograms (the network judge's pictures) for the target and each NAME=NEBULA."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    torch.set_num_threads(1)
    real = vectors(target, "picture", 0).vectors
    rows = {"target": real[np.random.default_rng(0).permutation(len(real))]}
    for text in nebulae:
        label, _, nebula = text.partition("=")
        rows[label] = vectors(nebula, "picture", 1024).vectors
    figure, axes = pyplot.subplots(len(rows), columns, figsize=(columns, 1.05 * len(rows)))
    for (label, found), row in zip(rows.items(), axes, strict=True):
        for axis, sound in zip(row, found[:columns], strict=True):
            axis.imshow(sound.reshape(-1, 64).T, origin="lower", aspect="auto", cmap="magma", vmin=0, vmax=1)
            axis.set(xticks=[], yticks=[])
        row[0].set_ylabel(label, fontsize=8)
    figure.subplots_adjust(0.02, 0.01, 0.999, 0.99, 0.03, 0.05)
    figure.savefig(out, dpi=80)
    print(out)


def told(row: dict[str, Any], seed: str) -> str:
    """One row of a table, for one seed's held-out sounds."""
    found = row["distance"][seed]
    far = " | ".join(f"{found[name]:.3f}" if name in found else "-" for name in EARS)
    taken = "-" if row["taken"] is None else f"{row['taken']:.2f}"
    low, wide, full = (100 * row["shares"][name] for name in ("under_midi_24", "wide_sweep", "clipped"))
    return (
        f"| {row['label']} | {seed} | {far} | {row['linear']:.3f} | {row['network']['auc']:.3f} | {taken} | {low:.0f} "
        f"| {wide:.0f} | {full:.0f} |"
    )


def median(rows: list[dict[str, Any]]) -> str:
    """The row of medians of a label, over its nebulae and seeds."""
    every = [one for row in rows for one in row["distance"].values()]
    far = " | ".join(f"{np.median([one[name] for one in every]):.3f}" if name in every[0] else "-" for name in EARS)
    taken = [row["taken"] for row in rows if row["taken"] is not None]
    figures = [np.median([row["linear"] for row in rows]), np.median([row["network"]["auc"] for row in rows])]
    counted = [100 * np.median([row["shares"][k] for row in rows]) for k in ("under_midi_24", "wide_sweep", "clipped")]
    return (
        f"| **{rows[0]['label']}** | median | {far} | {figures[0]:.3f} | {figures[1]:.3f} | "
        + (f"{np.median(taken):.2f}" if taken else "-")
        + "".join(f" | {value:.0f}" for value in counted)
        + " |"
    )


def paired(better: list[dict[str, Any]], worse: list[dict[str, Any]]) -> str:
    """By how much the network tells some nebulae less easily than others, on average: interval by sub-folders."""
    groups = worse[0]["network"]["groups"]
    count = np.array([groups[name][1] for name in groups])

    def wins(rows: list[dict[str, Any]]) -> np.ndarray:
        return np.mean([[row["network"]["groups"][name][0] for name in groups] for row in rows], axis=0)

    won = wins(worse) - wins(better)
    without = (won.sum() - won) / (count.sum() - count)
    error = float(np.sqrt((len(won) - 1) / len(won) * np.sum((without - without.mean()) ** 2)))
    gap = float(won.sum() / count.sum())
    return f"{gap:.3f} ({gap - 1.96 * error:.3f} to {gap + 1.96 * error:.3f})"


def table(rows: list[dict[str, Any]]) -> None:
    """Every row as markdown, by target and label, with medians, and paired intervals of the network's AUC."""
    for target in dict.fromkeys(row["target"] for row in rows):
        mine = [row for row in rows if row["target"] == target]
        print(f"\n### {target}\n")
        print(f"| nebula | seed | {' | '.join(EARS)} | linear | network | taken for it | <24 | wide | full |")
        print("| --- " * (len(EARS) + 8) + "|")
        labels = {label: [row for row in mine if row["label"] == label] for label in sorted({r["label"] for r in mine})}
        for of_label in labels.values():
            for row in sorted(of_label, key=lambda row: list(row["distance"])):
                print("\n".join(told(row, seed) for seed in row["distance"]))
            print(median(of_label))
        print("\nNetwork AUC under that of another, mean over nebulae, with its interval by sub-folders:\n")
        for better, worse in (("tuned", "drum"), ("tuned", "start"), ("tuned", "before"), ("constellation", "tuned")):
            if better in labels and worse in labels:
                print(f"* {better} under {worse}: {paired(labels[better], labels[worse])}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["judge", "table", "power", "bound", "pictures"])
    parser.add_argument("target")
    parser.add_argument("nebulae", nargs="*", metavar="NAME=NEBULA")
    parser.add_argument("--seed", default="0", help="of the study; several, with commas, of nebulae that none made")
    parser.add_argument("--sounds", type=int, default=100_000, help="of the pool that `bound` picks from")
    parser.add_argument("--by", choices=["ears", "network"], default="ears", help="what `bound` picks by")
    parser.add_argument("--others", nargs="*", default=[])
    parser.add_argument("--ears", default="logmel,modulation,mss,aisfx,scattering")
    parser.add_argument("--rows", type=Path, default=Path(__file__).with_name("ear.jsonl"))
    parser.add_argument("--out", type=Path, default=Path("ear.png"))
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--synth", default="voice", help="the nebulae's: SYNTH, or SYNTH/PANEL")
    arguments = parser.parse_args()
    global PLAYED, SYNTH
    name, _, panel = arguments.synth.partition("/")
    PLAYED = name, panel_of(name, panel or None)
    SYNTH = architecture(*PLAYED)
    if arguments.what == "pictures":
        pictures(arguments.target, arguments.nebulae, arguments.out)
        return
    if arguments.what == "power":
        power(arguments.target)
        return
    if arguments.what == "bound":
        bound(arguments.target, arguments.nebulae[0], arguments.sounds, arguments.by)
        return
    if arguments.what == "table":
        table([json.loads(line) for line in Path(arguments.target).read_text().splitlines()])
        return
    done = (
        {json.loads(line)["key"] for line in arguments.rows.read_text().splitlines()}
        if arguments.rows.exists()
        else set()
    )
    asked = [
        Judged(
            arguments.target,
            *text.split("=", 1),
            tuple(int(seed) for seed in arguments.seed.split(",")),
            tuple(arguments.ears.split(",")),
        )
        for text in arguments.nebulae
    ]
    asked = [one for one in asked if one.key not in done]
    taken = taken_for(arguments.target, arguments.others, [one.nebula for one in asked]) if arguments.others else {}
    with ProcessPoolExecutor(arguments.processes) as pool:
        for one, row in zip(asked, pool.map(judge, asked), strict=True):
            row["taken"] = taken.get(one.nebula)
            with arguments.rows.open("a") as file:
                file.write(json.dumps(row) + "\n")
            print("\n".join(told(row, seed) for seed in row["distance"]), flush=True)


if __name__ == "__main__":
    main()
