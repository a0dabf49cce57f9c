"""The network judge: how easily a small convolutional network tells sounds from real ones (0.5 = it cannot).

A two-sample test by a classifier (Lopez-Paz and Oquab, "Revisiting classifier two-sample tests", 2017) that looks at
pictures of sounds (:class:`nebula_tune.evaluate.picture.Picture`). It is trained for each question anew and judges
sounds of groups that it was not trained on. Network and training are those of specs/ear.md, section 4. Nothing is
tuned or chosen by it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from nebula_tune.arrays import Floats
from nebula_tune.embedding.embed import one_thread
from nebula_tune.errors import UserInputError
from nebula_tune.evaluate.picture import BANDS, RANGE_DB
from nebula_tune.numerics import own_numerics

# The network and its training: specs/ear.md, section 4.
CHANNELS = (16, 32, 48, 64)
DROPOUT = 0.3
EPOCHS = 12  # each of as many sounds as both sides have together
BATCH = 64
HALF = BATCH // 2  # of each side in every batch
LEARNING_RATE = 2e-3  # AdamW's own; where the cycle begins
HIGHEST_RATE = 4e-3  # of the cycle
NETWORKS = 2  # whose logits are averaged

FOLDS = 3  # fewer where there are fewer groups; five give the same figure within 0.01 for twice the cost
GAIN_DB = 6.0  # a picture is lightened or darkened by as much at most
LEAST_STEPS = 60  # of a training: with 12, 22 and 22 sounds read 0.83; with 60, 0.93; with 120, 0.93
SOUNDS = 500  # of each side at most
PASSING = 0.9  # share of unseen real sounds that `share_taken_for` passes

Pictures = NDArray[np.float32]
Indices = NDArray[np.intp]


@dataclass(frozen=True)
class ScoredSide:
    """One side's sounds as judges saw them, each (sounds,): which they are, the fold that left each out, its logit.

    ``kept`` are places in what was given, ascending: all, or as many as were chosen.
    """

    kept: Indices
    folds: Indices
    scores: Floats


@dataclass(frozen=True)
class OutOfFold:
    """Both sides' scores by networks that were trained without them; a higher one is more like y.

    Which y are chosen, and their folds, depend on y, its groups, the seed and the number of folds, not on x: runs
    against one y can be paired, sound by sound, by their ``wins``.
    """

    x: ScoredSide
    y: ScoredSide

    @property
    def wins(self) -> Floats:
        """Of each y, the share of its fold's x that score lower (ties count half): (sounds of y,)."""
        shares = np.zeros(len(self.y.scores))
        for fold in np.unique(self.y.folds):
            mine = self.y.folds == fold
            shares[mine] = wins(self.x.scores[self.x.folds == fold], self.y.scores[mine])
        return shares

    @property
    def auc(self) -> float:
        """Area under the ROC within each fold (networks of different folds have no common scale), averaged over y."""
        return float(self.wins.mean())


def network_test(
    x: Pictures,
    y: Pictures,
    groups_y: Sequence[str],
    groups_x: Sequence[str] | None = None,
    *,
    seeds: Sequence[int] = (0,),
    most: int = SOUNDS,
    device: str = "cpu",
) -> float:
    """AUC in telling pictures x from y, mean over seeds: see :func:`out_of_fold`.

    ``groups_y``, ``groups_x``, ``most`` and ``device`` are as it has them; each of ``seeds`` makes a run of its own.
    """
    runs = [out_of_fold(x, y, groups_y, groups_x, seed=seed, most=most, device=device) for seed in seeds]
    return float(np.mean([run.auc for run in runs]))


def out_of_fold(
    x: Pictures,
    y: Pictures,
    groups_y: Sequence[str],
    groups_x: Sequence[str] | None = None,
    *,
    seed: int = 0,
    most: int = SOUNDS,
    device: str = "cpu",
) -> OutOfFold:
    """Scores of sounds by networks that were trained on other groups of both sides.

    On a CPU the same numbers for the same input, however many threads torch has; torch's own random state is left
    alone. 500 and 500 sounds take half a minute of one core, 100 and 256 hardly less, for they have more folds.

    Args:
        x: pictures (n, frames, 64), or flattened (n, frames * 64), of sounds to be told from y.
        y: pictures of real sounds.
        groups_y: each y's group; a group is never split between training and judging.
        groups_x: likewise; without it every x is its own group.
        seed: of the choice of sounds, folds and networks.
        most: sounds of each side at most, chosen at random.
        device: torch's name of where to train.

    Raises:
        UserInputError: for a side of fewer than two groups.
    """
    (picked_x, kept_x, folds_x), (picked_y, kept_y, folds_y) = _folded((x, groups_x), (y, groups_y), most, seed)
    scores_x, scores_y = np.zeros(len(kept_x)), np.zeros(len(kept_y))
    for fold in range(int(folds_y.max()) + 1):
        judge = Judge(picked_x[folds_x != fold], picked_y[folds_y != fold], (seed, fold), device)
        scores_x[folds_x == fold] = judge.scores(picked_x[folds_x == fold])
        scores_y[folds_y == fold] = judge.scores(picked_y[folds_y == fold])
    return OutOfFold(ScoredSide(kept_x, folds_x, scores_x), ScoredSide(kept_y, folds_y, scores_y))


def share_taken_for(
    kind: Pictures,
    groups_kind: Sequence[str],
    others: Pictures,
    groups_others: Sequence[str],
    sounds: Mapping[str, Pictures],
    *,
    seed: int = 0,
    most: int = SOUNDS,
    device: str = "cpu",
) -> dict[str, float]:
    """Share of each corpus's ``sounds`` that networks trained on real sounds only take for the kind.

    Trained to tell real sounds of a kind from other real ones. For each fold the threshold is the one that passes 90 %
    of the kind's groups left out of training; shares are averaged over folds.

    Args:
        kind: pictures of real sounds of the kind, shaped as :func:`out_of_fold` has them.
        groups_kind: group of each; a group is never split between training and judging.
        others: pictures of real sounds that are not of the kind.
        groups_others: likewise of these.
        sounds: pictures of each corpus that is judged, by its name.
        seed: of the choice of sounds, folds and networks.
        most: sounds of the kind, and of the others, at most, chosen at random.
        device: torch's name of where to train.

    Raises:
        UserInputError: for a side of fewer than two groups.
    """
    (other, _, folds_other), (real, _, folds_real) = _folded((others, groups_others), (kind, groups_kind), most, seed)
    shares: dict[str, list[float]] = {name: [] for name in sounds}
    for fold in range(int(folds_real.max()) + 1):
        judge = Judge(other[folds_other != fold], real[folds_real != fold], (seed, fold), device)
        threshold = np.quantile(judge.scores(real[folds_real == fold]), 1 - PASSING)
        for name, pictures in sounds.items():
            shares[name].append(float((judge.scores(_as_pictures(pictures)) >= threshold).mean()))
    return {name: float(np.mean(fold_shares)) for name, fold_shares in shares.items()}


class Judge:
    """Networks trained to give pictures y higher logits than pictures x; equal arguments make equal networks.

    Pictures are (n, frames, 64). ``seed`` are the numbers that all chance follows from, ``device`` is torch's name of
    where to train.
    """

    def __init__(self, x: Pictures, y: Pictures, seed: Sequence[int], device: str = "cpu") -> None:
        self.device = torch.device(device)
        with one_thread():
            _keep_freed_memory()
            data = [torch.from_numpy(side).to(self.device) for side in (x, y)]
            self.networks = [
                _trained(data[0], data[1], _generator([*seed, number]), self.device) for number in range(NETWORKS)
            ]

    def scores(self, pictures: Pictures) -> Floats:
        """(n,) mean logit of pictures (n, frames, 64)."""
        with one_thread(), torch.no_grad():
            parts = [torch.from_numpy(pictures[k : k + BATCH]).to(self.device) for k in range(0, len(pictures), BATCH)]
            means = [torch.stack([network(part) for network in self.networks]).mean(dim=0) for part in parts]
            logits: Floats = torch.cat(means).double().cpu().numpy()
        return logits


class JudgeNetwork(nn.Module):
    """Four strided convolutions over time and bands, mean and maximum over both, and one output.

    Its weights and what it drops come from a generator of its own, on the CPU.
    """

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()
        self.generator = generator
        layers: list[nn.Module] = []
        float32: Any = {"dtype": torch.float32, "device": "cpu"}
        for into, out in zip((1, *CHANNELS), CHANNELS, strict=False):
            layers += [
                nn.utils.skip_init(nn.Conv2d, into, out, 3, stride=2, padding=1, bias=False, **float32),  # type: ignore[no-untyped-call]
                nn.BatchNorm2d(out, **float32),
                nn.ReLU(inplace=True),
            ]
        self.features = nn.Sequential(*layers)
        self.output = nn.utils.skip_init(nn.Linear, 2 * CHANNELS[-1], 1, **float32)  # type: ignore[no-untyped-call]
        for layer in (*layers, self.output):
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.kaiming_uniform_(layer.weight, a=5**0.5, generator=generator)  # torch's own choice
        nn.init.zeros_(self.output.bias)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, pictures: Tensor) -> Tensor:
        """Logits (n,) of pictures (n, frames, bands)."""
        feature_maps = self.features(pictures[:, None])
        pooled = torch.cat([feature_maps.mean(dim=(2, 3)), feature_maps.amax(dim=(2, 3))], dim=1)
        if self.training:
            kept = torch.rand(pooled.shape, generator=self.generator, dtype=torch.float32, device="cpu") >= DROPOUT
            pooled = pooled * kept.to(pooled.device) / (1 - DROPOUT)
        logits: Tensor = self.output(pooled)[:, 0]
        return logits


def _trained(x: Tensor, y: Tensor, generator: torch.Generator, device: torch.device) -> JudgeNetwork:
    """A network trained on pictures (n, frames, bands) of both sides, half of every batch from each."""
    with own_numerics(), torch.enable_grad():
        return _fitted(JudgeNetwork(generator).to(device).train(), x, y)


def _fitted(network: JudgeNetwork, x: Tensor, y: Tensor) -> JudgeNetwork:
    """The network once it is trained, with its own generator."""
    generator, device = network.generator, x.device
    steps = max(LEAST_STEPS, EPOCHS * -(-(len(x) + len(y)) // BATCH))
    optimizer = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE)
    cycle = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, HIGHEST_RATE, total_steps=steps, div_factor=HIGHEST_RATE / LEARNING_RATE
    )
    labels = torch.arange(2.0, dtype=torch.float32, device=device).repeat_interleave(HALF)
    orders = [_order(len(side), steps * HALF, generator).to(device) for side in (x, y)]
    for first in range(0, steps * HALF, HALF):
        pictures = torch.cat([side[order[first : first + HALF]] for side, order in zip((x, y), orders, strict=True)])
        loss = functional.binary_cross_entropy_with_logits(network(_gained(pictures, generator)), labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        cycle.step()
    return network.eval()


def _order(sounds: int, length: int, generator: torch.Generator) -> Tensor:
    """Places 0 .. sounds - 1 shuffled, again and again: (length,)."""
    rounds = [
        torch.randperm(sounds, generator=generator, dtype=torch.int64, device="cpu")
        for _ in range(-(-length // sounds))
    ]
    return torch.cat(rounds)[:length]


def _gained(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Pictures, each lightened or darkened by some decibels; what is below the floor stays there."""
    drawn = torch.rand(len(pictures), 1, 1, generator=generator, dtype=torch.float32, device="cpu")
    gain = (2 * drawn - 1) * (GAIN_DB / RANGE_DB)
    return torch.where(pictures > 0, pictures + gain.to(pictures.device), 0.0).clamp_(min=0)


def wins(x: Floats, y: Floats) -> Floats:
    """Of each y, the share of x below it, ties counting half: its mean is Mann and Whitney's U over n m."""
    ordered = np.sort(x)
    below, not_above = (np.searchsorted(ordered, y, side) for side in ("left", "right"))
    shares: Floats = (below + not_above) / (2 * len(x))
    return shares


def _generator(seed: Sequence[int]) -> torch.Generator:
    return torch.Generator("cpu").manual_seed(int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0] >> 1))


def _keep_freed_memory() -> None:
    """Let glibc keep what a step of training frees, for the next: to get it anew takes as long as the step.

    It gives memory back from twice the largest block that was ever freed on, where that is not over 32 MiB.
    """
    torch.empty(32 * 2**20 - 2**13, dtype=torch.uint8, device="cpu")


def _as_pictures(vectors: Pictures) -> Pictures:
    return vectors.reshape(len(vectors), -1, BANDS)


def _folded(
    x: tuple[Pictures, Sequence[str] | None], y: tuple[Pictures, Sequence[str] | None], most: int, seed: int
) -> list[tuple[Pictures, Indices, Indices]]:
    """Of each side (pictures and groups): the pictures chosen, their places, and their folds.

    Raises UserInputError where a side has fewer than two groups.
    """
    sides = []
    for number, (pictures, groups) in enumerate((x, y)):
        random = np.random.default_rng((seed, number))
        kept = np.sort(random.permutation(len(pictures))[:most])
        names = np.arange(len(pictures)) if groups is None else np.asarray(groups)
        sides.append((_as_pictures(pictures)[kept], kept, np.unique(names[kept], return_inverse=True)[1], random))
    folds = min(FOLDS, *(len(np.unique(owners)) for _, _, owners, _ in sides))
    if folds < 2:
        raise UserInputError("telling sounds apart needs two groups on each side; --group-by file makes more")
    return [(picked, kept, _folds(owners, folds, random)) for picked, kept, owners, random in sides]


def _folds(owners: Indices, folds: int, random: np.random.Generator) -> Indices:
    """The fold of each sound (sounds,), given the number of its group: whole groups, shared out evenly by sounds.

    Large groups come first, equal ones by chance, each into the fold that has fewest sounds; so no fold is empty.
    """
    sizes = np.bincount(owners)
    shuffled = random.permutation(len(sizes))
    filled, fold = np.zeros(folds, np.intp), np.zeros(len(sizes), np.intp)
    for group in shuffled[np.argsort(-sizes[shuffled], kind="stable")]:
        fold[group] = filled.argmin()
        filled[fold[group]] += sizes[group]
    sound_folds: Indices = fold[owners]
    return sound_folds
