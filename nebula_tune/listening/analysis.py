"""What ballots say: exact tests, intervals, consistency, catches, power, and strengths over several nebulae."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nebula_tune.distance.inference import Z95
from nebula_tune.listening.ballot import Answer, Unblinded
from nebula_tune.listening.design import AmongKey, KeyTrial, Owner, Side

QUESTIONS = ("like", "keep")
LEVEL = 0.05  # of significance
TRUE_SHARE = 0.7  # a preference worth finding
RESAMPLES = 500  # of ballots, and of answers in them
PRIOR_WINS = 0.5  # added to both sides of every pair that met, so that a shut-out has a finite strength


@dataclass(frozen=True)
class Power:
    """What a number of pairs can show at a two-sided level of 5 %.

    ``needed`` of ``pairs`` for one of the two are significant; ``power`` is how probable that is for one that is
    truly preferred in 70 % of pairs (0 where no count is significant).
    """

    pairs: int
    needed: int | None
    power: float

    @classmethod
    def of(cls, pairs: int) -> Power:
        """By the exact binomial test."""
        from scipy.stats import binom, binomtest

        counts = range((pairs + 1) // 2, pairs + 1)
        needed = next((k for k in counts if binomtest(k, pairs).pvalue <= LEVEL), None)
        return cls(pairs, needed, 0.0 if needed is None else float(binom.sf(needed - 1, pairs, TRUE_SHARE)))

    def __str__(self) -> str:
        if self.needed is None:
            return f"{self.pairs} pairs: too few for any result to be significant at 5 %"
        return (
            f"{self.pairs} pairs: {self.needed} for one of the two are needed for p <= 0.05 (two-sided); "
            f"if it is truly preferred in {TRUE_SHARE:.0%} of pairs, that happens with probability {self.power:.2f}"
        )


@dataclass(frozen=True)
class Count:
    """``wins`` of ``n`` for A: exact two-sided binomial p-value against one half, and Wilson's 95 % interval."""

    wins: int
    n: int
    share: float | None
    ci95: tuple[float, float] | None
    p_value: float | None

    @classmethod
    def of(cls, outcomes: Iterable[bool]) -> Count:
        """Of choices: True for A."""
        from scipy.stats import binomtest

        choices = list(outcomes)
        wins, n = sum(choices), len(choices)
        if not n:
            return cls(0, 0, None, None, None)
        test = binomtest(wins, n)
        interval = test.proportion_ci(method="wilson")
        return cls(wins, n, wins / n, (float(interval.low), float(interval.high)), float(test.pvalue))


@dataclass(frozen=True)
class Listener:
    """What one ballot says: choices by question, consistency, attention, and the vote on whole sets (A, B or None)."""

    listener: str
    file: str
    finished: bool
    like: Count
    keep: Count
    repeats: dict[str, int]
    catches: dict[str, int]
    left_chosen: dict[str, float | None]
    replays: int
    browse: str | None


@dataclass(frozen=True)
class Strength:
    """A nebula's Bradley-Terry strength among those of its ``set``: see :func:`strengths`."""

    name: str
    strength: float
    ci95: tuple[float, float]
    set: int
    wins: int
    n: int


@dataclass(frozen=True)
class Ranked:
    """A nebula's place among several by one question: its Bradley-Terry strength and 95 % interval, the share of
    resamples in which it is the strongest, and how often it was chosen of how often it was heard."""

    name: str
    strength: float
    ci95: tuple[float, float]
    strongest: float
    wins: int
    n: int


@dataclass(frozen=True)
class AmongListener:
    """What one ballot of a test among several says of its listener: pairs answered, consistency, attention."""

    listener: str
    file: str
    finished: bool
    n: int
    repeats: dict[str, int]
    catches: dict[str, int]
    left_chosen: dict[str, float | None]
    replays: int


def analyse(unblinded: Sequence[Unblinded]) -> dict[str, Any]:
    """Everything, as JSON: a test for each key with its listeners and the pooled count; strengths over all keys.

    Tests among several stand by themselves, under ``among``, each with its nebulae in order (:class:`Ranked`).

    Repeats and catches count in neither test nor strengths.
    """
    tests, among = [], []
    for key in dict.fromkeys(response.ballot.key for response in unblinded):
        responses = [response for response in unblinded if response.ballot.key == key]
        if isinstance(responses[0].key, AmongKey):
            among.append({"key": key} | _among(responses, responses[0].key))
            continue
        attentive = [response for response in responses if not _catches(response)["failed"]]
        pooled: dict[str, Any] = {question: asdict(_pooled(responses, question)) for question in QUESTIONS}
        if len(attentive) < len(responses):
            pooled["without_failed_catches"] = {
                question: asdict(_pooled(attentive, question)) for question in QUESTIONS
            }
        tests.append(
            {
                "key": key,
                "a": responses[0].key.a.model_dump(),
                "b": responses[0].key.b.model_dump(),
                "target_kind": responses[0].key.target_kind,
                "power": asdict(Power.of(responses[0].key.pairs)),
                "power_text": str(Power.of(responses[0].key.pairs)),
                "listeners": [asdict(_listener(response)) for response in responses],
                "pooled": pooled,
                "browse": {owner: sum(_vote(response) == owner for response in responses) for owner in ("A", "B")},
            }
        )
    by_question = {
        question: [asdict(strength) for strength in strengths(unblinded, question)] for question in QUESTIONS
    }
    return {"tests": tests, "among": among, "strengths": by_question}


def _among(responses: Sequence[Unblinded], key: AmongKey) -> dict[str, Any]:
    """One test among several, as JSON."""
    return {
        "nebulae": [compared.model_dump() for compared in key.among],
        "target_kind": key.target_kind,
        "pairs": key.pairs,
        "listeners": [asdict(_among_listener(response)) for response in responses],
        "ranked": {question: [asdict(row) for row in ranked(responses, key, question)] for question in QUESTIONS},
    }


def ranked(responses: Sequence[Unblinded], key: AmongKey, question: str) -> list[Ranked]:
    """The nebulae of a test among several, strongest first, by all its ballots together.

    Intervals are of resampled ballots, and of resampled answers in each: of one ballot they tell how sure this listener
    is, not what others would say.
    """
    letters = list(key.compared)
    choices = [
        np.array([[letters.index(who) for who in choice] for choice in _choices(response, question)], dtype=np.intp)
        for response in responses
    ]
    choices = [of_ballot.reshape(-1, 2) for of_ballot in choices]
    wins = _wins(choices, len(letters))
    met = wins + wins.T > 0
    strength, _, _ = bradley_terry(wins)
    random = np.random.default_rng(0)
    again = np.stack(
        [bradley_terry(_wins(_resampled(choices, random), len(letters)), met)[0] for _ in range(RESAMPLES)]
    )
    low, high = np.percentile(again, [2.5, 97.5], axis=0)
    strongest = np.bincount(again.argmax(axis=1), minlength=len(letters)) / RESAMPLES
    return [
        Ranked(
            name=key.among[k].name,
            strength=float(strength[k]),
            ci95=(float(low[k]), float(high[k])),
            strongest=float(strongest[k]),
            wins=int(wins[k].sum()),
            n=int(wins[k].sum() + wins[:, k].sum()),
        )
        for k in np.argsort(-strength, kind="stable")
    ]


def _wins(choices: Sequence[NDArray[np.intp]], nebulae: int) -> NDArray[np.float64]:
    """How often i was chosen over j, (nebulae, nebulae), of choices (chosen, other) ballot by ballot."""
    wins = np.zeros((nebulae, nebulae))
    for of_ballot in choices:
        np.add.at(wins, (of_ballot[:, 0], of_ballot[:, 1]), 1)
    return wins


def _resampled(choices: Sequence[NDArray[np.intp]], random: np.random.Generator) -> list[NDArray[np.intp]]:
    ballots = random.integers(len(choices), size=len(choices))
    return [choices[k][random.integers(max(1, len(choices[k])), size=len(choices[k]))] for k in ballots]


def _among_listener(response: Unblinded) -> AmongListener:
    answers = response.ballot.answers
    return AmongListener(
        listener=response.listener,
        file=str(response.path),
        finished=response.ballot.finished is not None,
        n=len(response.answered("pair")),
        repeats=_repeats(response),
        catches=_catches(response),
        left_chosen=_left_chosen(answers),
        replays=_replays(answers),
    )


def owner(trial: KeyTrial, side: Side) -> Owner:
    """Whose sound was on that side."""
    return trial.left if side == "left" else trial.right


def _choices(response: Unblinded, question: str) -> list[tuple[Owner, Owner]]:
    """Of each pair that was answered, whose sound was chosen, and over whose."""
    sides = [(trial, getattr(answer, question)) for trial, answer in response.answered("pair")]
    return [(owner(trial, side), owner(trial, "right" if side == "left" else "left")) for trial, side in sides]


def _outcomes(response: Unblinded, question: str) -> list[bool]:
    return [who == "A" for who, _ in _choices(response, question)]


def _pooled(unblinded: Sequence[Unblinded], question: str) -> Count:
    return Count.of(outcome for response in unblinded for outcome in _outcomes(response, question))


def _listener(response: Unblinded) -> Listener:
    answers = response.ballot.answers
    return Listener(
        listener=response.listener,
        file=str(response.path),
        finished=response.ballot.finished is not None,
        like=Count.of(_outcomes(response, "like")),
        keep=Count.of(_outcomes(response, "keep")),
        repeats=_repeats(response),
        catches=_catches(response),
        left_chosen=_left_chosen(answers),
        replays=_replays(answers),
        browse=_vote(response),
    )


def _left_chosen(answers: Sequence[Answer]) -> dict[str, float | None]:
    return {question: _share(getattr(a, question) == "left" for a in answers) for question in QUESTIONS}


def _replays(answers: Sequence[Answer]) -> int:
    return sum(max(0, a.left_plays - 1) + max(0, a.right_plays - 1) for a in answers)


def _repeats(response: Unblinded) -> dict[str, int]:
    """How many repeated pairs were answered both times, and how many alike."""
    first = {trial.id: (trial, answer) for trial, answer in response.answered("pair")}
    counts = {"n": 0, "like": 0, "keep": 0}
    for trial, answer in response.answered("repeat"):
        if trial.of in first:
            pair, before = first[trial.of]
            counts["n"] += 1
            for question in QUESTIONS:
                same = owner(trial, getattr(answer, question)) == owner(pair, getattr(before, question))
                counts[question] += same
    return counts


def _catches(response: Unblinded) -> dict[str, int]:
    """A catch is failed where next to nothing was chosen, in either question."""
    answered = response.answered("catch")
    failed = sum("wrong" in (owner(t, a.like), owner(t, a.keep)) for t, a in answered)
    return {"n": len(answered), "failed": failed}


def _vote(response: Unblinded) -> str | None:
    vote = response.ballot.browse.vote
    return None if vote is None or isinstance(response.key, AmongKey) else response.key.browse[vote]


def _share(flags: Iterable[bool]) -> float | None:
    values = list(flags)
    return sum(values) / len(values) if values else None


def strengths(unblinded: Sequence[Unblinded], question: str) -> list[Strength]:
    """Bradley-Terry strengths of all nebulae that were compared, strongest first.

    P(i is chosen over j) = 1 / (1 + exp(s_j - s_i)), strengths summing to 0 in each set of nebulae that are linked by
    comparisons (``set``; strengths of different sets do not compare). Source: Bradley and Terry, Biometrika 39, 1952.
    """
    names: dict[str, str] = {}
    for response in unblinded:
        for side in response.key.compared.values():
            name = side.name
            if side.content not in names:
                names[side.content] = f"{name} ({side.content[:6]})" if name in names.values() else name
    place = {content: k for k, content in enumerate(names)}
    wins = np.zeros((len(names), len(names)))
    for response in unblinded:
        compared = response.key.compared
        for choice in _choices(response, question):
            wins[tuple(place[compared[who].content] for who in choice)] += 1
    strength, error, linked = bradley_terry(wins)
    order = sorted(range(len(names)), key=lambda k: (linked[k], -strength[k]))
    labels = list(names.values())
    return [
        Strength(
            name=labels[k],
            strength=float(strength[k]),
            ci95=(float(strength[k] - Z95 * error[k]), float(strength[k] + Z95 * error[k])),
            set=int(linked[k]),
            wins=int(wins[k].sum()),
            n=int(wins[k].sum() + wins[:, k].sum()),
        )
        for k in order
    ]


def bradley_terry(
    wins: NDArray[np.float64], met: NDArray[np.bool_] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Strengths (n,), their standard errors (n,) and the linked set each belongs to (n,).

    ``wins`` (n, n): how often i was chosen over j. Half a win is added to both sides of every pair that ``met`` (n, n;
    None: those with a win). Newton's method on the log likelihood, which is concave; errors from the inverse of its
    curvature.
    """
    from scipy.sparse.csgraph import connected_components

    met = (wins + wins.T > 0 if met is None else met) & ~np.eye(len(wins), dtype=bool)
    wins = np.where(met, wins + PRIOR_WINS, 0.0)
    games = wins + wins.T
    _, linked = connected_components(met, directed=False)
    same = (linked[:, None] == linked[None, :]).astype(float)
    strength = np.zeros(len(wins))
    for _ in range(100):
        chance = 1 / (1 + np.exp(strength[None, :] - strength[:, None]))
        slope = wins.sum(axis=1) - (games * chance).sum(axis=1)
        weight = games * chance * (1 - chance)
        curvature = np.diag(weight.sum(axis=1)) - weight
        # The added blocks of ones hold each set's sum at 0 and change nothing else.
        step = np.linalg.solve(curvature + same, slope)
        strength += step
        if np.abs(step).max() < 1e-12:
            break
    covariance = np.linalg.inv(curvature + same) - same / np.square(same.sum(axis=1))
    return strength, np.sqrt(np.maximum(np.diag(covariance), 0)), linked
