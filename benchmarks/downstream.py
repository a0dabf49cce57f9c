"""Does tuning the law help learning? Encoders trained on synthetic sounds, probed on real drums of kits never seen.

    python benchmarks/downstream.py run KITS [--more NAME=NEBULA ...] [--augmented NAME ...] [--seeds 0,1]
    python benchmarks/downstream.py table benchmarks/downstream.jsonl
    python benchmarks/downstream.py classes KITS

KITS is a folder of real drum sounds, a sub-folder a kit (python benchmarks/corpora.py FOLDER --only hydrogen-drumkits
makes one). `classes` shows which instrument the rule reads in which file's name; look at it first.

`run` trains one small convolutional network for each nebula, `default` and `drum` first, then each of --more:
NEBULA is a file of a nebula or constellation, or a shipped one's name; with @SYNTH behind it another synth's, and with
@SYNTH/PANEL under one of its panels:

    --more tuned=nebulae/kits.json --more constellation=nebulae/kits.constellation.json --more fm=default@fm

Training is by contrast (InfoNCE): of 64 pairs of sounds the network tells which belong together. A pair is a sound
and another of nearby parameters: the same, moved by Gaussian noise in Gaussian coordinates. Nothing real, and no
label, is used. Then the network is frozen, and a linear probe on its vectors learns instruments on four fifths of
the kits and is asked about the others, five times over. Beside these stand, under the same probe:

    untrained        the network as it is before training
    kits, augmented  trained by contrast on the real sounds of each split's training kits; a pair is one sound twice,
                     each time moved by up to 46 ms, made lighter or darker by up to 6 dB, and tilted by up to 6 dB
                     from the middle band to the ends
    NAME, augmented  of a NAME in --augmented: the nebula's sounds in pairs of that kind: what pairing does
    logmel, aisfx    vectors of the package's own embeddings (--ears)

All networks have equal steps and pairs a step, and all nebulae as many sounds (--sounds); the kits have as many as
they have. Every row is added to --rows as one line of JSON and not worked out again. `table` averages the rows of one
name, and gives balanced accuracy with 95 % intervals by resampling kits, and paired differences with theirs.

Cost, on one thread of a weak core: 30 CPU-seconds a network, rendering included, and five times that for the kits' own.
--device cuda renders and trains on a GPU; give it more --sounds and --steps.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax
from torch import Tensor, nn
from torch.nn import functional

from nebula_tune.constellation import load_sounds
from nebula_tune.corpus.cache import digest
from nebula_tune.corpus.prepare import RENDER_RATE, Prepare
from nebula_tune.corpus.source import Source, content_of
from nebula_tune.embedding import make_embedding
from nebula_tune.embedding.embed import embed_files, embed_source, one_thread, vectors_of
from nebula_tune.errors import NebulaTuneError, UserInputError
from nebula_tune.evaluate.picture import BANDS, RANGE_DB, Picture
from nebula_tune.numerics import own_numerics
from nebula_tune.synth import Voice, architecture
from nebula_tune.synth.architecture import Synth
from nebula_tune.synth.noise import ROWS
from nebula_tune.synth.placing import to_gaussian, to_raw

VERSION = 1  # of what a row means
FIRST = 13 * 2**28  # of the sounds trained on: past every range of nebula_tune.synth.indices, and of benchmarks/ear.py
STEP = 2**20  # between the sounds of two seeds
BLOCK = 64  # sounds rendered at a time

# Set before anything was measured, and not tuned since: a setting chosen by the table would flatter whom it suits.
JITTER = 0.25  # deviation of a pair's parameters, in Gaussian coordinates; a nebula's own is 1
CHANNELS = (16, 32, 64, 96)
PROJECTION = 64  # dimensions in which pairs are told
TEMPERATURE = 0.1
PAIRS = 64  # a step
LEARNING_RATE, HIGHEST_RATE = 1e-3, 4e-3  # AdamW's: where the cycle begins, and its top
POOLED = 2  # frames of a picture that are averaged into one, of 11.6 ms
SHIFT = 4  # such frames by which an augmented sound is moved at most
GAIN_DB, TILT_DB = 6.0, 6.0  # at most; the tilt is that of the outermost bands

SPLITS = 5
INNER_SPLITS = 3  # by which the probe chooses its penalty, within the training kits
PENALTIES = np.logspace(1, -5, 7)  # of weights, where vectors have a mean squared length of 1
RESAMPLES = 4000
SMALLEST = 1e-6  # deviation of a dimension, as a share of the largest, below which the probe leaves it out

Vectors = NDArray[np.float32]
Counts = dict[str, dict[str, list[float]]]  # of each kit and class: sounds that were told right, and all

# A class is read from a name's words: "HiHatOpen-0" is "hi hat open 0". A name of no class or of two is left out.
CLASSES = {
    "bass drum": r"\b(kick|bd|bassdrum|k)\b",
    "snare": r"\b([jr]?snare|sn|sd)\b",
    "tom": r"\b((floor)?tom|tomh|tm|ft|t)\b",
    "closed hat": r"\b(hat|hihat|hhat|hh)\b.*\b(closed|cl)\b|\b(hhclosed|closehihat|chh)\b",
    "open hat": r"\b(hat|hihat|hhat|hh)\b.*\b(open|op)\b|\b(hhopen|openhat|ohh|ho)\b",
    "crash": r"\b(crash|cra|cc)\b",
    "ride": r"\b(ride|rd|rc)\b",
    "clap": r"\bclap\b",
}
NEITHER = r"\b(rim|rimshot|off|semi|bell|cup)\b"  # ways to play that make another sound: left out


# Names


def instrument(file: str) -> str | None:
    """The class that a file's name says; None where it says none, two, or another way to play."""
    letters = r"(?<=[a-z])(?=[A-Z])|(?<=[A-Za-z])(?=\d)|(?<=\d)(?=[A-Za-z])|[^A-Za-z0-9]+"
    words = " ".join(re.sub(letters, " ", Path(file).stem).lower().split())
    named = [name for name, pattern in CLASSES.items() if re.search(pattern, words)]
    return named[0] if len(named) == 1 and not re.search(NEITHER, words) else None


def split_groups(groups: Sequence[str], splits: int, seed: int = 0) -> NDArray[np.intp]:
    """The split (sounds,) in which each sound is asked about: whole groups, shared out evenly by sounds.

    Raises UserInputError where there are fewer groups than splits.
    """
    sizes = Counter(groups)
    if len(sizes) < splits:
        raise UserInputError(f"{splits} splits need as many kits with named sounds; there are {len(sizes)}")
    shuffled = np.random.default_rng(seed).permutation(sorted(sizes)).tolist()
    filled, of_group = [0] * splits, {}
    for group in sorted(shuffled, key=lambda group: -sizes[group]):
        of_group[group] = int(np.argmin(filled))
        filled[of_group[group]] += sizes[group]
    return np.array([of_group[group] for group in groups])


@dataclass(frozen=True)
class Kits:
    """Real sounds: their folder, their kits that are left out, where each is and what it is, pictures, content."""

    folder: str
    without: tuple[str, ...]
    names: tuple[str, ...]
    pictures: Tensor
    content: str

    @staticmethod
    def load(folder: str, without: Sequence[str] = ()) -> Kits:
        """Raises UserInputError for a folder that cannot be used, or has no kit of a name to leave out."""
        every = embed_source(Source.parse(folder), Picture(), Prepare.ONSET, Voice, FIRST)
        if missing := set(without) - {kit_of(name) for name in every.names}:
            raise UserInputError(f"{folder} has no kit {', '.join(sorted(missing))}; see `classes`")
        used = np.array([kit_of(name) not in without for name in every.names])
        names = tuple(name for name, keep in zip(every.names, used, strict=True) if keep)
        content = digest(sorted(zip(names, np.array(every.keys)[used].tolist(), strict=True)))
        return Kits(folder, tuple(without), names, pooled(torch.from_numpy(every.vectors[used])), content)

    @cached_property
    def kits(self) -> NDArray[np.str_]:
        return np.array([kit_of(name) for name in self.names])

    @cached_property
    def labels(self) -> NDArray[np.str_]:
        """The class of each sound, or ""."""
        return np.array([instrument(name) or "" for name in self.names])

    @cached_property
    def named(self) -> NDArray[np.bool_]:
        return self.labels != ""

    @cached_property
    def splits(self) -> NDArray[np.intp]:
        """The split of each sound's kit; -1 for kits without a named sound."""
        of_kit = dict(zip(self.kits[self.named], split_groups(self.kits[self.named].tolist(), SPLITS), strict=True))
        return np.array([of_kit.get(kit, -1) for kit in self.kits])


def kit_of(name: str) -> str:
    return Path(name).parent.as_posix()


# Sounds and pairs


@dataclass(frozen=True)
class Sounds:
    """A name in the table, and a nebula or constellation (file or name) of a synth."""

    label: str
    nebula: str
    synth: type[Synth] = Voice

    @staticmethod
    def parse(text: str) -> Sounds:
        """NAME=NEBULA, NAME=NEBULA@SYNTH or NAME=NEBULA@SYNTH/PANEL. Raises UserInputError."""
        label, _, rest = text.partition("=")
        nebula, _, how = rest.partition("@")
        if not label or not nebula:
            raise UserInputError(f"--more {text}: it is NAME=NEBULA, NAME=NEBULA@SYNTH or NAME=NEBULA@SYNTH/PANEL")
        synth, _, panel = how.partition("/")
        kind = architecture(synth or "voice")
        return Sounds(label, nebula, architecture(synth, panel) if panel else kind)  # type: ignore[call-arg]

    @property
    def content(self) -> Any:
        own = self.nebula == "default" and not Path(self.nebula).is_file()
        sounds = self.synth.panel.default_nebula if own else load_sounds(self.nebula)
        return [self.synth.__name__, list(self.synth.panel.names), content_of(sounds, self.synth)]

    def pairs(self, count: int, seed: int, device: str, jitter: float = JITTER) -> Tensor:
        """Pictures (2, count, frames, bands) of so many sounds, and of one nearby each."""
        picture = Picture(device)
        player = self.synth(self.nebula, BLOCK, RENDER_RATE, Prepare.ONSET.render_seconds(picture.seconds), device)
        blocks = []
        for begin in range(0, count, BLOCK):
            first, sounds = FIRST + seed * STEP + begin, min(BLOCK, count - begin)
            raw = player.draw(first, sounds)
            # The other sound has noise of its own, too: equal noise would give a pair away.
            rendered = (player.render(raw, first), player.render(nearby(raw, first, jitter), first + ROWS // 2))
            views = [pooled(vectors_of(audio, RENDER_RATE, picture, Prepare.ONSET)) for audio in rendered]
            blocks.append(torch.stack(views).cpu())
        return torch.cat(blocks, dim=1)


def nearby(raw: Tensor, first: int, jitter: float) -> Tensor:
    """Raw parameters (sounds, parameters) moved by noise that depends on the first sound's index alone."""
    noise = np.random.default_rng(first).standard_normal(raw.shape)
    return torch.from_numpy(to_raw(to_gaussian(raw.cpu().numpy()) + jitter * noise)).to(raw.device)


def pooled(pictures: Tensor) -> Tensor:
    """Flat pictures (sounds, frames * bands) as (sounds, fewer frames, bands), every few frames averaged."""
    frames = pictures.reshape(len(pictures), -1, BANDS)
    whole = frames.shape[1] // POOLED * POOLED
    return frames[:, :whole].reshape(len(frames), -1, POOLED, BANDS).mean(dim=2)


def augmented(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Pictures, each moved in time, made lighter or darker, and tilted over its bands; what is at the floor stays."""
    count, frames, _ = pictures.shape
    uniform = torch.rand(2, count, 1, 1, generator=generator) * 2 - 1
    slope = torch.linspace(-1, 1, BANDS)
    change = (uniform[0] * GAIN_DB + uniform[1] * TILT_DB * slope) / RANGE_DB
    louder = torch.where(pictures > 0, pictures + change.to(pictures.device), 0.0).clamp(0, 1)
    shift = torch.randint(0, SHIFT + 1, (count, 1), generator=generator).to(pictures.device)
    padded = functional.pad(louder, (0, 0, SHIFT, 0))
    places = torch.arange(frames, device=pictures.device) + SHIFT - shift
    return padded.gather(1, places[..., None].expand(-1, -1, BANDS))


# Networks


class Encoder(nn.Module):
    """Four strided convolutions over time and bands; their mean and maximum over both is a sound's vector."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for into, out in zip((1, *CHANNELS), CHANNELS, strict=False):
            layers += [nn.Conv2d(into, out, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(out), nn.ReLU()]
        self.features = nn.Sequential(*layers)
        size = 2 * CHANNELS[-1]
        self.head = nn.Sequential(nn.Linear(size, size // 2), nn.ReLU(), nn.Linear(size // 2, PROJECTION))
        self.to(memory_format=torch.channels_last)

    def forward(self, pictures: Tensor) -> Tensor:
        """Vectors (sounds, 2 * CHANNELS[-1]) of pictures (sounds, frames, bands): what is probed."""
        maps = self.features(pictures[:, None])
        return torch.cat([maps.mean(dim=(2, 3)), maps.amax(dim=(2, 3))], dim=1)

    def vectors(self, pictures: Tensor) -> Vectors:
        device = next(self.parameters()).device
        with own_numerics(), one_thread(), torch.no_grad():
            return torch.cat([self.eval()(part.to(device)).cpu() for part in pictures.split(PAIRS)]).numpy()


def encoder(seed: int) -> Encoder:
    """A network before training; torch's own random state is left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return Encoder()


def trained(pictures: Tensor, steps: int, seed: int, device: str = "cpu") -> Encoder:
    """A network trained by contrast on pairs.

    ``pictures`` (2, sounds, frames, bands) are pairs; or (sounds, frames, bands), of which augmentation makes pairs.
    """
    with own_numerics(), one_thread(), torch.enable_grad():
        network, generator = encoder(seed).to(device).train(), torch.Generator().manual_seed(seed)
        pictures = pictures.to(device)
        optimizer = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE)
        cycle = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, HIGHEST_RATE, total_steps=steps, div_factor=HIGHEST_RATE / LEARNING_RATE
        )
        for chosen in batches(pictures.shape[-3], steps, generator):
            loss = contrast(network.head(network(two_views(pictures, chosen.to(device), generator))))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            cycle.step()
    return network


def two_views(pictures: Tensor, chosen: Tensor, generator: torch.Generator) -> Tensor:
    """Pictures (2 * pairs, frames, bands) of the chosen sounds: the first of every pair, then the second."""
    if pictures.dim() == 4:
        return pictures[:, chosen].flatten(0, 1)
    return torch.cat([augmented(pictures[chosen], generator) for _ in range(2)])


def contrast(projected: Tensor) -> Tensor:
    """InfoNCE, both ways: each sound's partner among all partners, by the cosine (van den Oord et al., 2018)."""
    first, second = functional.normalize(projected, dim=1).chunk(2)
    logits, partner = first @ second.T / TEMPERATURE, torch.arange(len(first), device=projected.device)
    return (functional.cross_entropy(logits, partner) + functional.cross_entropy(logits.T, partner)) / 2


def batches(sounds: int, steps: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Places of the sounds of each step, PAIRS of them and none twice (all where there are fewer), shuffled again
    when all were used."""
    size = min(PAIRS, sounds)
    while steps > 0:
        order = torch.randperm(sounds, generator=generator)
        for chosen in order[: sounds // size * size].split(size)[:steps]:
            steps -= 1
            yield chosen


# The probe


def probe(vectors: Vectors, labels: NDArray[np.str_], groups: Sequence[str], new: Vectors) -> NDArray[np.str_]:
    """Classes (new,) that a linear classifier tells: logistic regression, each class of equal weight in all.

    Vectors (sounds, D) are standardised by the training part; the penalty is the one with the best balanced accuracy
    on groups left out within it (the larger of equals). Raises UserInputError for fewer than three groups.
    """
    mean, deviation = vectors.mean(axis=0, dtype=np.float64), vectors.std(axis=0, dtype=np.float64)
    used = deviation > SMALLEST * max(float(deviation.max()), 1e-300)
    if not used.any():
        used[:], deviation = True, np.ones_like(deviation)
    x, z = ((part[:, used] - mean[used]) / deviation[used] / np.sqrt(used.sum()) for part in (vectors, new))
    # The penalty does not mind a rotation: into the space of the sounds, of which there are mostly fewer.
    axes = np.linalg.svd(x, full_matrices=False)[2]
    x, z = x @ axes.T, z @ axes.T
    names, numbers = np.unique(labels, return_inverse=True)
    inner = split_groups(groups, INNER_SPLITS)
    told = np.empty((len(PENALTIES), len(x)), dtype=np.intp)
    for split in range(INNER_SPLITS):
        asked = inner == split
        for k, weights in enumerate(regularised(x[~asked], numbers[~asked], len(names))):
            told[k, asked] = values(x[asked], weights).argmax(axis=1)
    best = int(np.argmax([np.mean([(row == numbers)[numbers == k].mean() for k in range(len(names))]) for row in told]))
    *_, weights = regularised(x, numbers, len(names), PENALTIES[: best + 1])
    return names[values(z, weights).argmax(axis=1)]


def regularised(
    x: NDArray[np.float64], numbers: NDArray[np.intp], classes: int, penalties: NDArray[np.float64] = PENALTIES
) -> Iterator[NDArray[np.float64]]:
    """Weights (D + 1, classes), the last row added to all, for each penalty, each begun at those of the one before."""
    counts = np.bincount(numbers, minlength=classes)
    share = (1 / np.maximum(counts, 1) / (counts > 0).sum())[numbers, None]
    target = np.eye(classes)[numbers]

    def loss(flat: NDArray[np.float64], penalty: float) -> tuple[float, NDArray[np.float64]]:
        weights = flat.reshape(-1, classes)
        logs = log_softmax(values(x, weights), axis=1)
        error = (np.exp(logs) - target) * share
        gradient = np.concatenate([x.T @ error + penalty * weights[:-1], error.sum(axis=0, keepdims=True)])
        height = penalty / 2 * np.square(weights[:-1]).sum() - (share * target * logs).sum()
        return float(height), gradient.ravel()

    flat = np.zeros((x.shape[1] + 1) * classes)
    for penalty in penalties:
        flat = minimize(loss, flat, (penalty,), jac=True, method="L-BFGS-B").x
        yield flat.reshape(-1, classes)


def values(x: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    return x @ weights[:-1] + weights[-1]


def told_right(kits: Kits, vectors_for: Callable[[int], Vectors]) -> Counts:
    """How many sounds of each kit and class the probe tells right, and of how many.

    ``vectors_for`` a split gives vectors (sounds, D) of all sounds by an encoder that knew none of that split's.
    """
    right = np.zeros(len(kits.names))
    for split in range(SPLITS):
        vectors, asked = vectors_for(split), kits.splits == split
        train, test = ~asked & kits.named, asked & kits.named
        answers = probe(vectors[train], kits.labels[train], kits.kits[train].tolist(), vectors[test])
        right[test] = answers == kits.labels[test]
    counts: Counts = {}
    for kit, label, answer in zip(kits.kits[kits.named], kits.labels[kits.named], right[kits.named], strict=True):
        cell = counts.setdefault(str(kit), {}).setdefault(str(label), [0.0, 0])
        cell[0] += float(answer)
        cell[1] += 1
    return counts


# Rows


@dataclass(frozen=True)
class Setting:
    """How networks are trained: sounds of a nebula, steps, torch's device."""

    sounds: int
    steps: int
    device: str


@dataclass(frozen=True)
class Bench:
    """Kits, how networks are trained, and the file of rows."""

    kits: Kits
    setting: Setting
    rows: Path

    def ear(self, name: str) -> None:
        """Vectors of one of the package's own embeddings."""
        embedding, folder = make_embedding(name, device=self.setting.device), Path(self.kits.folder)

        def count() -> Counts:
            every = embed_files([folder / each for each in self.kits.names], folder, embedding, Prepare.ONSET)
            if reasons := [f"{each}: {vector}" for each, vector in every.items() if isinstance(vector, str)]:
                raise UserInputError(f"{folder}/{reasons[0]}, under {name}")
            vectors = np.stack([every[each] for each in self.kits.names])
            return told_right(self.kits, lambda _: vectors)

        self._row(name, None, embedding.settings, count)

    def untrained(self, seed: int) -> None:
        vectors = encoder(seed).vectors(self.kits.pictures)
        self._row("untrained", seed, "untrained", lambda: told_right(self.kits, lambda _: vectors))

    def real(self, seed: int) -> None:
        """Networks trained on the real sounds of each split's training kits, named or not."""

        def of_split(split: int) -> Vectors:
            known = self.kits.pictures[torch.from_numpy(self.kits.splits != split)]
            network = trained(known, self.setting.steps, seed, self.setting.device)
            return network.vectors(self.kits.pictures)

        self._row("kits, augmented", seed, "kits", lambda: told_right(self.kits, of_split))

    def synthetic(self, sounds: Sounds, seed: int, augment: bool) -> None:
        content, pictures = sounds.content, []

        def of(network: Encoder) -> Counts:
            vectors = network.vectors(self.kits.pictures)
            return told_right(self.kits, lambda _: vectors)

        def by_parameters() -> Counts:
            pictures.append(sounds.pairs(self.setting.sounds, seed, self.setting.device))
            return of(trained(pictures[0], self.setting.steps, seed, self.setting.device))

        def by_augmentation() -> Counts:
            pairs = pictures or [sounds.pairs(self.setting.sounds, seed, self.setting.device)]
            return of(trained(pairs[0][0], self.setting.steps, seed, self.setting.device))

        self._row(sounds.label, seed, content, by_parameters)
        if augment:
            self._row(f"{sounds.label}, augmented", seed, [content, "augmented"], by_augmentation)

    def _row(self, label: str, seed: int | None, content: Any, count: Callable[[], Counts]) -> None:
        """Add a row, unless it is there."""
        trains = seed is not None and label != "untrained"
        how = [self.setting.sounds, self.setting.steps] if trains else []
        key = digest([VERSION, self.kits.content, label, seed, content, how])
        if self.rows.exists() and any(row["key"] == key for row in read(self.rows)):
            return
        began = time.process_time()
        counts = count()
        row = {
            "key": key,
            "kits": Path(self.kits.folder).name,
            "without": list(self.kits.without),
            "label": label,
            "seed": seed,
            "setting": {"sounds": self.setting.sounds, "steps": self.setting.steps} if trains else None,
            "device": self.setting.device,
            "cpu_seconds": round(time.process_time() - began, 1),
            "counts": counts,
        }
        with self.rows.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(f"{label}, seed {seed}: {accuracy([row])[0]:.3f}, {row['cpu_seconds']} CPU-seconds", flush=True)


def read(path: Path) -> list[dict[str, Any]]:
    """Rows of a file. Raises UserInputError."""
    try:
        rows = [json.loads(line) for line in path.read_text().splitlines()]
    except (OSError, ValueError) as error:
        raise UserInputError(f"{path}: not a file of rows, as `run` writes them: {error}") from None
    if not all(isinstance(row, dict) and {"key", "counts"} <= row.keys() for row in rows):
        raise UserInputError(f"{path}: not a file of rows, as `run` writes them")
    return rows


# The table


def summed(rows: Sequence[dict[str, Any]]) -> NDArray[np.float64]:
    """Sounds told right and all, (kits, classes, 2), on average over rows; kits in the order of their names."""
    table = [
        [[row["counts"][kit].get(name, [0, 0]) for name in CLASSES] for kit in sorted(row["counts"])] for row in rows
    ]
    return np.array(table, dtype=np.float64).mean(axis=0)


def balanced(counts: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Balanced accuracy (resamples,) where each kit counts as often as ``weights`` (resamples, kits) say.

    Of classes that a resample has not, none counts.
    """
    right, every = (np.einsum("rk,kc->rc", weights, counts[..., k]) for k in range(2))
    with np.errstate(invalid="ignore"):
        return np.nanmean(right / every, axis=1)


def resampled(kits: int) -> NDArray[np.float64]:
    """How often each kit is drawn, (1 + RESAMPLES, kits): once each, then with replacement."""
    drawn = np.random.default_rng(0).multinomial(kits, np.full(kits, 1 / kits), RESAMPLES)
    return np.concatenate([np.ones((1, kits)), drawn])


def accuracy(
    rows: Sequence[dict[str, Any]], less: Sequence[dict[str, Any]] | None = None
) -> tuple[float, float, float]:
    """Balanced accuracy of rows on average, less that of others, and its 95 % interval by kits."""
    weights = resampled(len(rows[0]["counts"]))
    figures = balanced(summed(rows), weights)
    if less is not None:
        figures = figures - balanced(summed(less), weights)
    low, high = np.quantile(figures[1:], [0.025, 0.975])
    return float(figures[0]), float(low), float(high)


def told(figure: tuple[float, float, float]) -> str:
    return f"{figure[0]:.3f} ({figure[1]:.3f} to {figure[2]:.3f})"


def table(rows: list[dict[str, Any]]) -> None:
    """Markdown: each name's balanced accuracy, its differences, and how much of each class is told right."""
    settings = [
        json.loads(text) for text in dict.fromkeys(json.dumps(row["setting"]) for row in rows if row["setting"])
    ]
    for corpus in dict.fromkeys((row["kits"], tuple(row["without"])) for row in rows):
        of_corpus = [row for row in rows if (row["kits"], tuple(row["without"])) == corpus]
        for setting in settings:
            mine = [row for row in of_corpus if row["setting"] in (None, setting)]
            if any(row["setting"] for row in mine):
                without = f", without {', '.join(corpus[1])}" if corpus[1] else ""
                print(f"\n### {corpus[0]}{without}; {setting['sounds']} sounds, {setting['steps']} steps\n")
                of_one_setting(mine)


def of_one_setting(rows: list[dict[str, Any]]) -> None:
    labels = {
        label: [row for row in rows if row["label"] == label] for label in dict.fromkeys(r["label"] for r in rows)
    }
    peers = [name for name in ("untrained", "default", "drum") if name in labels]
    over = " | ".join(f"over `{name}`" for name in peers)
    print(f"| trained on | balanced accuracy | each row | {over} | CPU-seconds |")
    print("| --- " * (len(peers) + 4) + "|")
    for label, mine in labels.items():
        gaps = [told(accuracy(mine, labels[name])) if name != label else "" for name in peers]
        each, seconds = [f"{accuracy([row])[0]:.3f}" for row in mine], np.mean([row["cpu_seconds"] for row in mine])
        print(f"| {label} | {told(accuracy(mine))} | {', '.join(each)} | {' | '.join(gaps)} | {seconds:.0f} |")
    sizes = summed(rows)[..., 1].sum(axis=0)
    print("\nShare told right of each class, in percent:\n")
    print(f"| trained on | {' | '.join(f'{name} ({size:.0f})' for name, size in zip(CLASSES, sizes, strict=True))} |")
    print("| --- " * (len(CLASSES) + 1) + "|")
    for label, mine in labels.items():
        right, every = np.moveaxis(summed(mine).sum(axis=0), -1, 0)
        shares = [f"{100 * a / b:.0f}" if b else "-" for a, b in zip(right, every, strict=True)]
        print(f"| {label} | {' | '.join(shares)} |")
    print(f"\n{sum(row['cpu_seconds'] for row in rows) / 60:.1f} CPU-minutes in all.")


def classes(folder: str, without: Sequence[str]) -> None:
    """Each kit's split and its files by class; what is left out comes last."""
    kits = Kits.load(folder, without)
    for kit in np.unique(kits.kits):
        mine = kits.kits == kit
        print(f"\n{kit}: split {kits.splits[mine][0]}")
        for name in (*CLASSES, ""):
            files = [Path(kits.names[k]).name for k in np.flatnonzero(mine & (kits.labels == name))]
            if files:
                print(f"  {name or 'left out'} ({len(files)}): {', '.join(sorted(files))}")
    print(f"\n{kits.named.sum()} of {len(kits.names)} sounds, of {len(np.unique(kits.kits[kits.named]))} kits")


def run(arguments: argparse.Namespace) -> None:
    sources = [Sounds("default", "default"), Sounds("drum", "drum"), *map(Sounds.parse, arguments.more)]
    labels = [each.label for each in sources]
    if unknown := set(arguments.augmented) - set(labels):
        raise UserInputError(f"--augmented {' '.join(sorted(unknown))}: the names are {', '.join(labels)}")
    for each in sources:
        _ = each.content  # a file that cannot be read is told before anything is trained
    if not arguments.rows.parent.is_dir():
        raise UserInputError(f"--rows {arguments.rows}: there is no folder {arguments.rows.parent}")
    setting = Setting(arguments.sounds, arguments.steps, arguments.device)
    bench = Bench(Kits.load(arguments.place, arguments.without), setting, arguments.rows)
    for name in arguments.ears:
        bench.ear(name)
    for seed in arguments.seeds:
        bench.untrained(seed)
        for each in sources:
            bench.synthetic(each, seed, each.label in arguments.augmented)
        bench.real(seed)


def numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def usable(text: str) -> str:
    """A device that torch knows and has."""
    try:
        torch.empty(1, device=text)
    except (RuntimeError, AssertionError) as error:
        raise argparse.ArgumentTypeError(str(error).splitlines()[0]) from None
    return text


def natural(text: str) -> int:
    if int(text) < 2:
        raise ValueError
    return int(text)


def parsed(given: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["run", "table", "classes"])
    parser.add_argument("place", help="the folder of kits; for `table` the file of rows")
    parser.add_argument("--more", action="append", default=[], metavar="NAME=NEBULA", help="another nebula to train on")
    parser.add_argument("--augmented", nargs="*", default=[], metavar="NAME", help="also in pairs by augmentation")
    parser.add_argument("--without", nargs="*", default=[], metavar="KIT", help="kits that are left out of everything")
    parser.add_argument(
        "--ears", nargs="*", default=["logmel", "aisfx"], help="the package's embeddings to stand beside"
    )
    parser.add_argument("--seeds", type=numbers, default=[0], help="of sounds and networks, with commas; default: 0")
    parser.add_argument("--sounds", type=natural, default=2048, help="of a nebula, and as many partners; %(default)s")
    parser.add_argument("--steps", type=natural, default=600, help=f"of {PAIRS} pairs; %(default)s")
    parser.add_argument(
        "--device", type=usable, default="cpu", help="torch's name of where to render and train; %(default)s"
    )
    parser.add_argument("--rows", type=Path, default=Path(__file__).with_name("downstream.jsonl"))
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> None:
    arguments = parsed(sys.argv[1:] if given is None else given)
    try:
        if arguments.what == "table":
            table(read(Path(arguments.place)))
        elif arguments.what == "classes":
            classes(arguments.place, arguments.without)
        else:
            run(arguments)
    except NebulaTuneError as error:
        print(f"downstream.py: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None


if __name__ == "__main__":
    main()
