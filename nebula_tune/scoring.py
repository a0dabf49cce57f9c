"""(nebula, sound indices) -> Score: the one place where synth, embedding and objective meet.

A trial is scored in fixed chunks of sounds, each by one thread, and reduced in float64 in chunk order: so no
number of threads or workers can change a sum.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nebula_tune.additions import packages_of
from nebula_tune.arrays import Floats
from nebula_tune.corpus.prepare import Prepare
from nebula_tune.distance import make_distance, other_distances
from nebula_tune.embedding import Embedding, embedding_class, make_embedding, other_embeddings
from nebula_tune.embedding.embed import vectors_of
from nebula_tune.nebula import Nebula
from nebula_tune.objective import Objective, Target, TrialSounds
from nebula_tune.penalties import penalties
from nebula_tune.synth import NamedPanel, Synth, architecture, other_synths
from nebula_tune.synth.parameters import SMALLEST_RADIUS
from nebula_tune.trial import Point, Score

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


def packages_behind(synth: str, embeddings: Iterable[str], distances: Iterable[str]) -> dict[str, str]:
    """Versions of the other packages that a synth, embeddings and distances of these names are of, by package."""
    return packages_of(
        [
            other_synths().get(synth),
            *map(other_embeddings().get, embeddings),
            *map(other_distances().get, distances),
        ]
    )


@dataclass(frozen=True)
class ScorerSpec:
    """What a worker needs to build its scorer: names, settings, and where the target's vectors are.

    ``panel`` is the synth's, where it has panels that users write; ``distance`` is a distance's settings, frozen;
    ``guards`` what each share of SHARES costs, in the distance's units.
    """

    synth: str
    embeddings: Sequence[Mapping[str, Any]]
    prepare: Prepare
    target: str | None
    device: str
    distance: Mapping[str, Any] = field(default_factory=lambda: {"name": "l1"})
    guards: Mapping[str, float] = field(default_factory=dict)
    panel: NamedPanel | None = None

    @property
    def packages(self) -> dict[str, str]:
        """Versions of the other packages that its names are of, by package."""
        parts = self.distance.get("parts", [{"distance": self.distance}])
        return packages_behind(
            self.synth, [named["name"] for named in self.embeddings], [part["distance"]["name"] for part in parts]
        )

    def build(self) -> Scorer:
        """The scorer, on this process's own device."""
        embeddings = [make_embedding(**named, device=self.device) for named in self.embeddings]
        kind = architecture(self.synth, self.panel)
        threads = 1 if self.device == "cpu" else None  # there one chunk runs at a time
        players: dict[tuple[int, float], Synth] = {}
        ears = []
        for embedding in embeddings:
            audio = self._audio(embedding, embeddings)
            if audio not in players:
                players[audio] = kind(Nebula(), self.chunk, *audio, self.device, threads=threads)
            ears.append(Ear(players[audio], embedding))
        distance = make_distance(**self.distance)
        target = Target.load(Path(self.target), self.device, distance) if self.target else None
        return Scorer(ears, self.prepare, Objective(distance, target, self.guards, self.device), self.chunk)

    def _audio(self, embedding: Embedding, embeddings: Sequence[Embedding]) -> tuple[int, float]:
        """Hz and seconds of the rendering that an embedding hears: that of the longest of its rate serves them all.

        Under version 1 of the preparation embeddings of different lengths have renderings of their own.
        """
        rate, seconds = self.prepare.render_rate(embedding.sample_rate), embedding.seconds
        if self.prepare is Prepare.ONSET:
            seconds = max(model.seconds for model in embeddings)
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
        ears: the embeddings, each with the synth that plays for it.
        style: how sounds are prepared.
        objective: what is minimised.
        chunk: sounds of a chunk.
    """

    def __init__(self, ears: Sequence[Ear], style: Prepare, objective: Objective, chunk: int = CHUNK) -> None:
        self.ears = tuple(ears)
        self.synth = self.ears[0].synth
        self.style = style
        self.objective = objective
        self.chunk_sounds = chunk

    def chunk(self, request: Request, number: int) -> TrialSounds:
        """Render, embed and compare chunk ``number`` of a trial; by one thread, whatever else runs."""
        request = request.piece(number, self.chunk_sounds)
        first = request.first_index
        raw, symmetric = self._draw(request)
        curves = torch.from_numpy(request.point.curves).to(raw.device)
        human = self.synth.panel.to_human(raw, curves, symmetric)
        audio = {synth: synth.render_human(human, first) for synth in dict.fromkeys(ear.synth for ear in self.ears)}
        vectors = torch.cat(
            [vectors_of(audio[ear.synth], ear.synth.sample_rate, ear.embedding, self.style) for ear in self.ears], dim=1
        )
        penalized = penalties(type(self.synth), audio[self.synth], human)
        if request.raw is not None:
            return TrialSounds(vectors.cpu().numpy(), np.zeros((1, 0)), np.zeros(0), np.zeros(0), penalized)
        to_target = self.objective.to_target(vectors)
        return TrialSounds(vectors.cpu().numpy(), to_target, *draw_scores(raw, symmetric, request.point), penalized)

    def run(self, request: Request, number: int | None, chunks: Sequence[Any]) -> TrialSounds | Score:
        """One task of a trial: chunk ``number``, or (None) the reduction of its chunks."""
        return self.reduce(request, chunks) if number is None else self.chunk(request, number)

    def reduce(self, request: Request, chunks: Sequence[TrialSounds]) -> Score:
        """The trial's score from all its chunks, in order."""
        whole = TrialSounds(
            vectors=np.concatenate([chunk.vectors for chunk in chunks]),
            to_target=np.concatenate([chunk.to_target for chunk in chunks], axis=1),
            curve_scores=np.concatenate([chunk.curve_scores for chunk in chunks]),
            flag_scores=np.concatenate([chunk.flag_scores for chunk in chunks]),
            penalties=np.concatenate([chunk.penalties for chunk in chunks]),
        )
        return self.objective.score(whole, request.curvature)

    def _draw(self, request: Request) -> tuple[Tensor, Tensor]:
        """Raw parameters and flags, each (sounds, parameters). A flag still open is drawn for each sound anew,
        from the numbers that follow the sound's own in its generator."""
        first_index, sounds = request.first_index, request.sounds
        probabilities = torch.from_numpy(request.point.probabilities).to(self.synth.device)
        if not request.point.relaxed or request.raw is not None:
            draws = self.synth.draw(first_index, sounds) if request.raw is None else torch.from_numpy(request.raw)
            return draws.to(self.synth.device), (probabilities > 0.5).expand(sounds, -1)
        raw, coins = self.synth.draw_with_coins(first_index, sounds)
        return raw, coins < probabilities


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
