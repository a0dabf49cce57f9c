"""(nebula, sound indices) -> Score: the one place where synth, embedding and distance meet.

A trial is scored in fixed chunks of sounds, each by one thread, and reduced in float64 in chunk order: so no
number of threads or workers can change a sum. The gradient is the witness gradient: with f the witness of a
sound and s the score (derivative of the log density) of its raw draw, dJ/d log c = E[f s].
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nebula_tune.corpus.prepare import Prepare, is_silent, prepare
from nebula_tune.distance import L1, SortedCorpus
from nebula_tune.embedding import Embedding, make_embedding
from nebula_tune.files import write_atomically
from nebula_tune.nebula import Nebula
from nebula_tune.synth import Synth, architecture
from nebula_tune.synth.parameters import SMALLEST_RADIUS
from nebula_tune.trial import Floats, Point, Score

CHUNK = 32  # sounds of a chunk on a CPU
GPU_CHUNK = 256


@dataclass(frozen=True)
class Request:
    """A trial to score: sounds ``first_index`` .. ``first_index + sounds - 1`` of a point."""

    point: Point
    first_index: int
    sounds: int


@dataclass(frozen=True)
class Chunk:
    """One chunk's part of a trial: vectors (sounds, D), sums of distances to the target, scores of the draws."""

    vectors: NDArray[np.float32]
    to_target: Floats
    curve_scores: Floats
    flag_scores: Floats
    silent: int


class Target:
    """The target's vectors, and what every trial needs of them.

    ``mean_distance`` is E d(y, y') over pairs of different groups, ``mean_distance_v`` over all m^2 pairs (eq. 2).
    """

    def __init__(self, vectors: NDArray[np.float32], mean_distance: float, device: str = "cpu") -> None:
        data = torch.from_numpy(vectors).to(device)
        self.sounds = len(vectors)
        self.sorted = SortedCorpus(data)
        self.mean_distance = mean_distance
        self.mean_distance_v = float(L1().within(data).sum()) / self.sounds**2

    @classmethod
    def load(cls, path: Path, device: str = "cpu") -> Target:
        """Read what :meth:`save` wrote."""
        with np.load(path, allow_pickle=False) as file:
            return cls(file["vectors"], float(file["mean_distance"]), device)

    @staticmethod
    def save(path: Path, vectors: NDArray[np.float32], mean_distance: float) -> None:
        """Write a target's vectors for workers to load, atomically."""
        buffer = io.BytesIO()
        np.savez(buffer, vectors=vectors, mean_distance=np.float64(mean_distance))
        write_atomically(path, buffer.getvalue())


@dataclass(frozen=True)
class ScorerSpec:
    """What a worker needs to build its scorer: names, settings, and where the target's vectors are."""

    synth: str
    embedding: Mapping[str, Any]
    prepare: Prepare
    target: str | None
    device: str

    def build(self) -> Scorer:
        """The scorer, on this process's own device."""
        options = dict(self.embedding)
        embedding = make_embedding(options.pop("name"), **options, device=self.device)
        seconds = self.prepare.render_seconds(embedding.seconds)
        synth = architecture(self.synth)(Nebula(), self.chunk, embedding.sample_rate, seconds, self.device, threads=1)
        target = Target.load(Path(self.target), self.device) if self.target else None
        return Scorer(synth, embedding, self.prepare, target, self.chunk)

    @property
    def chunk(self) -> int:
        """Sounds of a chunk: fixed for a kind of device, so that nothing else can change a sum."""
        return CHUNK if self.device == "cpu" else GPU_CHUNK

    def concurrency(self, cores: int) -> int:
        """Chunks a worker runs at a time: one a core; a GPU takes one after the other."""
        return cores if self.device == "cpu" else 1


class Scorer:
    """Scores trials of one synth under one embedding, against a target; or for their own spread where there is none."""

    def __init__(
        self, synth: Synth, embedding: Embedding, style: Prepare, target: Target | None, chunk: int = CHUNK
    ) -> None:
        self.synth = synth
        self.embedding = embedding
        self.style = style
        self.target = target
        self.chunk_sounds = chunk

    def chunk(self, request: Request, number: int) -> Chunk:
        """Render, embed and compare chunk ``number`` of a trial; by one thread, whatever else runs."""
        first = request.first_index + number * self.chunk_sounds
        sounds = min(self.chunk_sounds, request.sounds - number * self.chunk_sounds)
        raw, symmetric = self._draw(request.point, first, sounds)
        curves = torch.from_numpy(request.point.curves).to(raw.device)
        audio = self.synth.render_human(self.synth.panel.to_human(raw, curves, symmetric), first)
        vectors = self.vectors(audio)
        to_target = self.target.sorted.sums(vectors) if self.target else torch.zeros(sounds, dtype=torch.float64)
        curve_scores, flag_scores = draw_scores(raw, symmetric, request.point)
        return Chunk(
            vectors.cpu().numpy(), to_target.cpu().numpy(), curve_scores, flag_scores, int(is_silent(audio).sum())
        )

    def run(self, request: Request, number: int | None, chunks: Sequence[Any]) -> Chunk | Score:
        """One task of a trial: chunk ``number``, or (None) the reduction of its chunks."""
        return self.reduce(request, chunks) if number is None else self.chunk(request, number)

    def vectors(self, audio: Tensor) -> Tensor:
        """Vectors (sounds, D) of audio (sounds, samples): prepared, embedded, frames flattened."""
        prepared = prepare(audio, self.embedding.samples, self.style)
        return self.embedding.embed_batch(prepared).flatten(1)

    def reduce(self, request: Request, chunks: Sequence[Chunk]) -> Score:
        """The trial's score from all its chunks, in order."""
        vectors = torch.from_numpy(np.concatenate([c.vectors for c in chunks]))
        n = len(vectors)
        row_sums = L1().within(vectors).numpy()
        total = float(row_sums.sum())
        if self.target:
            to_target = np.concatenate([c.to_target for c in chunks]) / self.target.sounds
            mean_to_target = float(to_target.mean())
            value = 2 * mean_to_target - total / (n * (n - 1)) - self.target.mean_distance
            mmd = 2 * mean_to_target - total / n**2 - self.target.mean_distance_v
            advantage, deviation = witness(to_target, row_sums)
        else:
            value, mmd = -total / (n * (n - 1)), -total / n**2
            advantage, deviation = witness(np.zeros(n), row_sums)
        curve_scores = np.concatenate([c.curve_scores for c in chunks])
        flag_scores = np.concatenate([c.flag_scores for c in chunks])
        return Score(
            value=value,
            mmd=mmd,
            silent=sum(c.silent for c in chunks) / n,
            curve_gradient=(advantage[:, None] * curve_scores).mean(axis=0),
            flag_gradient=(advantage[:, None] * flag_scores).mean(axis=0),
            flag_information=np.square(flag_scores).mean(axis=0),
            deviation=deviation,
        )

    def _draw(self, point: Point, first_index: int, sounds: int) -> tuple[Tensor, Tensor]:
        """Raw parameters and flags, each (sounds, parameters). A flag still open is drawn for each sound anew,
        from the numbers that follow the sound's own in its generator."""
        probabilities = torch.from_numpy(point.probabilities).to(self.synth.device)
        if not point.relaxed:
            return self.synth.draw(first_index, sounds), (probabilities > 0.5).expand(sounds, -1)
        raw, coins = self.synth.draw_with_coins(first_index, sounds)
        return raw, coins < probabilities


def witness(to_target: Floats, row_sums: Floats) -> tuple[Floats, float]:
    """The witness of each sound less its leave-one-out baseline (n,), and the witness's standard deviation.

    ``to_target`` are mean distances to the target, ``row_sums`` sums of distances to the trial's other sounds. The
    baseline is the same estimate without the sound, so the gradient made with it stays unbiased.
    """
    n, total = len(row_sums), row_sums.sum()
    value = 2 * to_target - 2 * row_sums / (n - 1)
    without = 2 * (to_target.sum() - to_target) / (n - 1)
    baseline = without - 2 * (total - 2 * row_sums) / ((n - 1) * (n - 2))
    return value - baseline, float(value.std())


def draw_scores(raw: Tensor, symmetric: Tensor, point: Point) -> tuple[Floats, Floats]:
    """Derivatives of each draw's log density by log curve and by flag logit, each (sounds, parameters) float64.

    For a decided flag the first is 1 + log r with r the raw radius (so the Fisher information is 1), the second 0.
    An open flag is summed over rather than used (the marginal score), which has the same mean and less variance.
    """
    u = raw.double().cpu().numpy()
    drawn_symmetric = np.broadcast_to(symmetric.cpu().numpy(), u.shape)
    radius = np.where(drawn_symmetric, np.abs(2 * u - 1), u)
    log_radius = np.log(np.maximum(radius, SMALLEST_RADIUS))
    curve_scores = 1 + log_radius
    flag_scores = np.zeros_like(curve_scores)
    open_flags = (point.probabilities > 0) & (point.probabilities < 1)
    if not open_flags.any():
        return curve_scores, flag_scores

    k = np.flatnonzero(open_flags)
    c, p = point.curves[k], point.probabilities[k]
    log_rho = log_radius[:, k] / c
    sign = np.where(u[:, k] >= 0.5, 1.0, -1.0)
    rho = np.exp(log_rho)
    smallest = np.log(SMALLEST_RADIUS)
    # On the unit axis the value is theta = rho for a plain draw and (1 + sign rho) / 2 for a symmetric one.
    log_theta = np.where(drawn_symmetric[:, k], _log_clamped((1 + sign * rho) / 2), np.maximum(log_rho, smallest / c))
    log_offset = np.where(drawn_symmetric[:, k], np.maximum(log_rho, smallest / c), _log_clamped(np.abs(2 * rho - 1)))
    odds = np.log(p / (1 - p)) + (c - 1) * (log_offset - log_theta)
    posterior = 1 / (1 + np.exp(-np.clip(odds, -500, 500)))
    curve_scores[:, k] = (1 - posterior) * (1 + c * log_theta) + posterior * (1 + c * log_offset)
    flag_scores[:, k] = posterior - p
    return curve_scores, flag_scores


def _log_clamped(values: Floats) -> Floats:
    result: Floats = np.log(np.maximum(values, SMALLEST_RADIUS))
    return result
