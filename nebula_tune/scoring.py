"""(nebula, sound indices) -> Score: the one place where synth, embedding and distance meet.

A trial is scored in fixed chunks of sounds, each by one thread, and reduced in float64 in chunk order: so no
number of threads or workers can change a sum. The gradient is the witness gradient: with f the witness of a
sound, plus its weighted penalties, and s the score (derivative of the log density) of its raw draw,
dJ/d log c = E[f s].
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nebula_tune.arrays import Floats
from nebula_tune.corpus.prepare import Prepare
from nebula_tune.distance import L1, Distance, Joint, make_distance
from nebula_tune.distance.joint import terms
from nebula_tune.embedding import Embedding, embedding_class, make_embedding
from nebula_tune.embedding.embed import vectors_of
from nebula_tune.files import write_atomically
from nebula_tune.nebula import Nebula
from nebula_tune.penalties import SHARES, penalties
from nebula_tune.synth import Synth, architecture
from nebula_tune.synth.parameters import SMALLEST_RADIUS
from nebula_tune.trial import INFORMATION_FLOOR, NO_CURVATURE, Point, Score

ROWS = 6  # of a curvature's factor
CURVATURE_SOUNDS = 1024  # of a trial, at most, that its curvature is taken from
CHUNK = 16  # sounds of a chunk on a CPU: 16 workers have something to do in a trial of 256 (benchmarks/ledger.md)


@dataclass(frozen=True)
class Request:
    """A trial to score: sounds ``first_index`` .. ``first_index + sounds - 1`` of a point.

    ``raw`` (sounds, parameters) takes the place of the sounds' own raw draws where it is given; such a request is for
    vectors only. With ``curvature`` the score has that too.
    """

    point: Point
    first_index: int
    sounds: int
    raw: NDArray[np.float32] | None = None
    curvature: bool = False

    def piece(self, number: int, sounds: int) -> Request:
        """Sounds ``number * sounds`` .. of this request, at most ``sounds`` of them, as a request of their own."""
        begin = number * sounds
        count = min(sounds, self.sounds - begin)
        raw = None if self.raw is None else self.raw[begin : begin + count]
        return Request(self.point, self.first_index + begin, count, raw, self.curvature)


@dataclass(frozen=True)
class Chunk:
    """One chunk's part of a trial: vectors (sounds, D), sums of distances to the target, scores of draws, penalties.

    With several embeddings, a sound's vectors stand one after the other, and ``to_target`` (embeddings, sounds) has a
    row for each.
    """

    vectors: NDArray[np.float32]
    to_target: Floats
    curve_scores: Floats
    flag_scores: Floats
    penalties: Floats


class Target:
    """The target's vectors, and what every trial needs of them.

    ``mean_distance`` is E d(y, y') over pairs of different groups, ``mean_distance_v`` over all m^2 pairs (eq. 2);
    ``mean_terms`` are the embeddings' parts of the former. ``vectors`` are (sounds, D); ``device`` is torch's name of
    where they are kept, ``distance`` that of two vectors (None: l1).
    """

    def __init__(
        self, vectors: NDArray[np.float32], mean_distance: float, device: str = "cpu", distance: Distance | None = None
    ) -> None:
        data, distance = torch.from_numpy(vectors).to(device), distance or L1()
        self.sounds = len(vectors)
        self.corpus = distance.corpus(data)
        self.mean_distance = mean_distance
        sums = terms(self.corpus, data)
        self.mean_distance_v = float(sums.sum(dim=0).sum()) / self.sounds**2
        within = sums.sum(dim=1).cpu().numpy()
        self.mean_terms = within * (mean_distance / within.sum()) if within.any() else within

    @classmethod
    def load(cls, path: Path, device: str = "cpu", distance: Distance | None = None) -> Target:
        """Read what :meth:`save` wrote."""
        with np.load(path, allow_pickle=False) as file:
            return cls(file["vectors"], float(file["mean_distance"]), device, distance)

    @staticmethod
    def save(path: Path, vectors: NDArray[np.float32], mean_distance: float) -> None:
        """Write a target's vectors for workers to load, atomically."""
        buffer = io.BytesIO()
        np.savez(buffer, vectors=vectors, mean_distance=np.float64(mean_distance))
        write_atomically(path, buffer.getvalue())


@dataclass(frozen=True)
class ScorerSpec:
    """What a worker needs to build its scorer: names, settings, and where the target's vectors are.

    ``distance`` is a distance's settings, frozen; ``guards`` what each share of SHARES costs, in the distance's units.
    """

    synth: str
    embeddings: Sequence[Mapping[str, Any]]
    prepare: Prepare
    target: str | None
    device: str
    distance: Mapping[str, Any] = field(default_factory=lambda: {"name": "l1"})
    guards: Mapping[str, float] = field(default_factory=dict)

    def build(self) -> Scorer:
        """The scorer, on this process's own device."""
        heard = [make_embedding(**named, device=self.device) for named in self.embeddings]
        players: dict[tuple[int, float], Synth] = {}
        ears = []
        for embedding in heard:
            audio = self._audio(embedding, heard)
            if audio not in players:
                players[audio] = architecture(self.synth)(Nebula(), self.chunk, *audio, self.device, threads=1)
            ears.append(Ear(players[audio], embedding))
        distance = make_distance(**self.distance)
        target = Target.load(Path(self.target), self.device, distance) if self.target else None
        return Scorer(ears, self.prepare, target, chunk=self.chunk, distance=distance, guards=self.guards)

    def _audio(self, embedding: Embedding, heard: Sequence[Embedding]) -> tuple[int, float]:
        """Hz and seconds of the rendering that an embedding hears: that of the longest of its rate serves them all.

        Under version 1 of the preparation embeddings of different lengths have renderings of their own.
        """
        rate, seconds = self.prepare.render_rate(embedding.sample_rate), embedding.seconds
        if self.prepare is Prepare.ONSET:
            seconds = max(one.seconds for one in heard)
        return rate, self.prepare.render_seconds(seconds)

    @property
    def chunk(self) -> int:
        """Sounds of a chunk: fixed for a kind of device and the embeddings, so that nothing else can change a sum."""
        if self.device == "cpu":
            return CHUNK
        return min(embedding_class(named["name"]).gpu_chunk for named in self.embeddings)

    def concurrency(self, cores: int) -> int:
        """Chunks a worker runs at a time: one a core; a GPU takes one after the other."""
        return cores if self.device == "cpu" else 1


@dataclass(frozen=True)
class Ear:
    """An embedding, and the synth that renders what it takes; one synth may play for several."""

    synth: Synth
    embedding: Embedding


class Scorer:
    """Scores trials of one synth under one or more embeddings.

    Args:
        ears: embeddings, each with a synth that renders for it.
        style: how sounds are prepared.
        target: what they are compared with; None: their own spread is the score.
        chunk: sounds that are rendered together.
        distance: of two vectors; None: l1.
        guards: what each of SHARES costs, by its name, in units of the distance; those left out cost nothing.
    """

    def __init__(
        self,
        ears: Sequence[Ear],
        style: Prepare,
        target: Target | None,
        *,
        chunk: int = CHUNK,
        distance: Distance | None = None,
        guards: Mapping[str, float] | None = None,
    ) -> None:
        self.ears = tuple(ears)
        self.synth = self.ears[0].synth
        self.style = style
        self.target = target
        self.chunk_sounds = chunk
        self.distance = distance or L1()
        self.guards = np.array([(guards or {}).get(share, 0.0) for share in SHARES])

    def chunk(self, request: Request, number: int) -> Chunk:
        """Render, embed and compare chunk ``number`` of a trial; by one thread, whatever else runs."""
        request = request.piece(number, self.chunk_sounds)
        first, sounds = request.first_index, request.sounds
        raw, symmetric = self._draw(request)
        curves = torch.from_numpy(request.point.curves).to(raw.device)
        human = self.synth.panel.to_human(raw, curves, symmetric)
        audio = {synth: synth.render_human(human, first) for synth in dict.fromkeys(ear.synth for ear in self.ears)}
        vectors = torch.cat(
            [vectors_of(audio[ear.synth], ear.synth.sample_rate, ear.embedding, self.style) for ear in self.ears], dim=1
        )
        heard = penalties(type(self.synth), audio[self.synth], human)
        if request.raw is not None:
            return Chunk(vectors.cpu().numpy(), np.zeros((1, 0)), np.zeros(0), np.zeros(0), heard)
        zeros = torch.zeros(1, sounds, dtype=torch.float64)
        to_target = terms(self.target.corpus, vectors) if self.target else zeros
        curve_scores, flag_scores = draw_scores(raw, symmetric, request.point)
        return Chunk(vectors.cpu().numpy(), to_target.cpu().numpy(), curve_scores, flag_scores, heard)

    def run(self, request: Request, number: int | None, chunks: Sequence[Any]) -> Chunk | Score:
        """One task of a trial: chunk ``number``, or (None) the reduction of its chunks."""
        return self.reduce(request, chunks) if number is None else self.chunk(request, number)

    def reduce(self, request: Request, chunks: Sequence[Chunk]) -> Score:
        """The trial's score from all its chunks, in order."""
        vectors = torch.from_numpy(np.concatenate([c.vectors for c in chunks]))
        n = len(vectors)
        curve_scores = np.concatenate([c.curve_scores for c in chunks])
        flag_scores = np.concatenate([c.flag_scores for c in chunks])
        with ThreadPoolExecutor(1) as beside:  # the search waits for a reduction: its two halves go side by side
            curved = beside.submit(self._curvature, vectors, curve_scores, flag_scores) if request.curvature else None
            row_terms = terms(self.distance.corpus(vectors), vectors).numpy()
        row_sums = row_terms.sum(axis=0)
        within, within_v = float(row_sums.sum()) / (n * (n - 1)), float(row_sums.sum()) / n**2
        heard = np.concatenate([c.penalties for c in chunks])
        penalty = (heard * self.guards).sum(axis=1)
        by_embedding = {}
        if self.target:
            to_terms = np.concatenate([c.to_target for c in chunks], axis=1) / self.target.sounds
            to_target = to_terms.sum(axis=0)
            if isinstance(self.distance, Joint):
                each = 2 * to_terms.mean(axis=1) - row_terms.sum(axis=1) / (n * (n - 1)) - self.target.mean_terms
                by_embedding = dict(zip((part.name for part in self.distance.parts), each.tolist(), strict=True))
            mean_to_target = float(to_target.mean())
            value = 2 * mean_to_target - within - self.target.mean_distance
            mmd = 2 * mean_to_target - within_v - self.target.mean_distance_v
        else:
            to_target, value, mmd = np.zeros(n), -within, -within_v
        advantage, deviation = witness(to_target, row_sums, penalty)
        return Score(
            value=value + float(penalty.mean()),
            mmd=mmd,
            shares=dict(zip(SHARES, heard.mean(axis=0).tolist(), strict=True)),
            curve_gradient=(advantage[:, None] * curve_scores).mean(axis=0),
            flag_gradient=(advantage[:, None] * flag_scores).mean(axis=0),
            flag_information=np.square(flag_scores).mean(axis=0),
            deviation=deviation,
            curvature=curved.result() if curved else NO_CURVATURE,
            by_embedding=by_embedding,
        )

    def _curvature(self, vectors: Tensor, curve_scores: Floats, flag_scores: Floats) -> Floats:
        """The trial's :func:`curvature`, of its first sounds where there are many."""
        some = vectors[:CURVATURE_SOUNDS].to(self.synth.device)
        distances = self.distance.pairwise(some, some).double().cpu()
        return curvature(distances, np.stack([curve_scores, flag_scores], axis=1)[: len(some)])

    def _draw(self, request: Request) -> tuple[Tensor, Tensor]:
        """Raw parameters and flags, each (sounds, parameters). A flag still open is drawn for each sound anew,
        from the numbers that follow the sound's own in its generator."""
        first_index, sounds = request.first_index, request.sounds
        probabilities = torch.from_numpy(request.point.probabilities).to(self.synth.device)
        if not request.point.relaxed or request.raw is not None:
            own = self.synth.draw(first_index, sounds) if request.raw is None else torch.from_numpy(request.raw)
            return own.to(self.synth.device), (probabilities > 0.5).expand(sounds, -1)
        raw, coins = self.synth.draw_with_coins(first_index, sounds)
        return raw, coins < probabilities


def witness(to_target: Floats, row_sums: Floats, penalty: Floats | float = 0.0) -> tuple[Floats, float]:
    """What each sound adds to the value, less its leave-one-out baseline (n,), and the standard deviation of that.

    ``to_target`` are mean distances to the target, ``row_sums`` sums of distances to the trial's other sounds,
    ``penalty`` what guards add for each sound. The baseline is the same estimate without the sound, so the gradient
    made with it stays unbiased.
    """
    n, total = len(row_sums), row_sums.sum()
    linear = 2 * to_target + penalty  # all that does not depend on the trial's other sounds
    value = linear - 2 * row_sums / (n - 1)
    baseline = (linear.sum() - linear) / (n - 1) - 2 * (total - 2 * row_sums) / ((n - 1) * (n - 2))
    return value - baseline, float(value.std())


def curvature(distances: Tensor, scores: Floats) -> Floats:
    """Gauss-Newton curvature of the value, as its factor (rows, 2, parameters).

    The value is the squared length of a difference of mean embeddings (for diversity, of one of them); that of the
    sounds moves by mu_k = E[s_k phi(x)], s_k the score of coordinate k, so half the curvature is <mu_k, mu_l>. With
    distances d in the kernel's place that is -E[s_k(x) s_l(x') d(x, x')], over pairs of different sounds; d is centred
    first, which changes no mean, for scores have mean 0. What is estimated so has eigenvalues of both signs about its
    own few: the largest ROWS above zero are kept, to four digits, since they are stored with the trial.

    Args:
        distances: (sounds, sounds) float64, between the trial's sounds.
        scores: (sounds, 2, parameters), by log curve and by logit.
    """
    from scipy.linalg import eigh

    n = len(distances)
    centred = distances.clone().fill_diagonal_(0)
    rows = centred.sum(dim=1) / (n - 1)
    centred += rows.mean() - rows[:, None] - rows[None]
    centred.fill_diagonal_(0)
    flat = torch.from_numpy(scores.reshape(n, -1))
    scale = (flat.square().mean(dim=0) + INFORMATION_FLOOR).sqrt()  # eigenvalues are compared by what draws can tell
    flat = flat / scale
    whole = (-2 / (n * (n - 1)) * flat.T @ centred @ flat).numpy()
    # Not torch's eigh: the divide and conquer of its LAPACK has failed to converge on such a matrix.
    values, vectors = eigh(whole, subset_by_index=[max(len(whole) - ROWS, 0), len(whole) - 1])
    top = np.sqrt(values.clip(min=0))[:, None] * vectors.T * scale.numpy()
    digits = 3 - int(np.floor(np.log10(max(float(np.abs(top).max()), 1e-12))))
    factor: Floats = np.round(top.reshape(-1, *scores.shape[1:]), digits)
    return factor


def draw_scores(raw: Tensor, symmetric: Tensor, point: Point) -> tuple[Floats, Floats]:
    """Derivatives of each draw's log density by log curve and by flag logit, each (sounds, parameters) float64.

    For a decided flag the first is 1 + log r with r the raw radius (so the Fisher information is 1), the second 0.
    An open flag is summed over rather than used (the marginal score), which has the same mean and less variance.
    """
    u = raw.double().cpu().numpy()
    drawn_symmetric = np.broadcast_to(symmetric.cpu().numpy(), u.shape)
    log_radius = log_radii(u, drawn_symmetric)
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


def log_radii(raw: NDArray[Any], symmetric: NDArray[np.bool_]) -> Floats:
    """Logarithm of the radius of each raw draw, (sounds, parameters): of u, or of |2u - 1| where it is symmetric."""
    u = raw.astype(np.float64)
    return _log_clamped(np.where(symmetric, np.abs(2 * u - 1), u))


def _log_clamped(values: Floats) -> Floats:
    result: Floats = np.log(np.maximum(values, SMALLEST_RADIUS))
    return result
