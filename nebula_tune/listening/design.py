"""The order of a blinded test: what is played when, on which side, and the key that tells afterwards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Literal, get_args

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

PAIRS, FEWEST_PAIRS, MOST_PAIRS = 64, 8, 88
REPEAT_EVERY, CATCH_EVERY = 8, 16  # pairs for each repeated pair, for each catch
FEWEST_AMONG, MOST_AMONG = 2, 12  # nebulae of a test among several
SIDES = ("left", "right")

Side = Literal["left", "right"]
Letter = Literal["A", "B", "C", "D", "E", "F", "G", "H", "I", "J", "K", "L"]
Owner = Letter | Literal["wrong"]
LETTERS: tuple[Letter, ...] = get_args(Letter)
Played = tuple[Owner, int]  # whose sound, and its number


class Record(BaseModel):
    """Base of what is written to and read from JSON: strict, and no unknown keys."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class KeyTrial(Record):
    """One trial: whose sound is on which side. ``of`` names the pair that a repeat repeats, sides swapped.

    Catches have a sound of a nebula on one side, and next to nothing ("wrong") on the other.
    """

    id: str
    kind: Literal["pair", "repeat", "catch"]
    left: Owner
    right: Owner
    of: str | None = None


class Compared(Record):
    """What is compared: its name, a digest of what it is, and how many silent or unreadable sounds were passed over."""

    name: str
    content: str
    passed_over: int


class Key(Record):
    """What unblinds ballots; the page shows the SHA-256 of the file."""

    format: Literal["nebula-tune listening key 1"] = "nebula-tune listening key 1"
    a: Compared
    b: Compared
    target_kind: str
    pairs: Annotated[int, Field(ge=1, le=MOST_PAIRS)]
    seed: int
    salt: str
    trials: list[KeyTrial]
    browse: dict[Literal["one", "two"], Literal["A", "B"]]

    @model_validator(mode="after")
    def _fits_together(self) -> Key:
        """As :class:`Design` makes them: what a key may say is little, and its analysis counts on that."""
        _check_trials(self.trials, self.pairs, self.compared)
        if self.browse.keys() != {"one", "two"} or set(self.browse.values()) != {"A", "B"}:
            raise ValueError("browse does not tell which of the two is A")
        return self

    @property
    def compared(self) -> dict[Owner, Compared]:
        """What is compared, by its letter."""
        return {"A": self.a, "B": self.b}


class AmongKey(Record):
    """What unblinds ballots of a test among several nebulae, which have letters in their order."""

    format: Literal["nebula-tune listening key 2"] = "nebula-tune listening key 2"
    among: Annotated[list[Compared], Field(min_length=FEWEST_AMONG, max_length=MOST_AMONG)]
    target_kind: str
    pairs: Annotated[int, Field(ge=1, le=MOST_PAIRS)]
    seed: int
    salt: str
    trials: list[KeyTrial]

    @model_validator(mode="after")
    def _fits_together(self) -> AmongKey:
        """As :class:`AmongDesign` makes them."""
        _check_trials(self.trials, self.pairs, self.compared)
        if len({compared.content for compared in self.among}) < len(self.among):
            raise ValueError("two of its nebulae are one")
        return self

    @property
    def compared(self) -> dict[Owner, Compared]:
        """What is compared, by its letter."""
        return dict(zip(LETTERS, self.among, strict=False))


def _check_trials(trials: Sequence[KeyTrial], pairs: int, compared: dict[Owner, Compared]) -> None:
    """Raise ValueError for trials that no design makes."""
    if len({trial.id for trial in trials}) < len(trials):
        raise ValueError("two of its trials have one id")
    owners = set(compared)
    of_pairs = [{trial.left, trial.right} for trial in trials if trial.kind == "pair"]
    if len(of_pairs) != pairs or any(len(sides) < 2 or not sides <= owners for sides in of_pairs):
        raise ValueError(f"it has not {pairs} pairs of {' and '.join(sorted(owners))}")
    if any(not {trial.left, trial.right} <= {*owners, "wrong"} for trial in trials):
        raise ValueError("one of its trials has a sound of nobody")


class Trials:
    """Trials in order, and which sound of which owner each plays; everything follows from the seed.

    ``plays[id]`` is (left, right), each (owner, number). ``first_owner`` is whose sounds are set one of the browse
    page; None where there is no such page.
    """

    trials: list[KeyTrial]
    first_owner: Letter | None = None

    def __init__(self, pairs: int, random: np.random.Generator) -> None:
        self.pairs, self._random = pairs, random
        self._ids: set[str] = set()
        self.repeats, self.catches = pairs // REPEAT_EVERY, max(1, pairs // CATCH_EVERY)
        self.plays: dict[str, tuple[Played, Played]] = {}

    def opaque(self) -> str:
        """A name that says nothing, given out once."""
        while (name := self._random.bytes(6).hex()) in self._ids:
            pass
        self._ids.add(name)
        return name

    def _half(self, count: int) -> np.ndarray:
        """True for half of so many, shuffled; of an odd number, the odd one is drawn."""
        more = int(self._random.integers(2))
        flags: np.ndarray = np.arange(count) < (count + more) // 2
        return self._random.permutation(flags)

    def _trial(
        self, kind: Literal["pair", "repeat", "catch"], left: Played, right: Played, of: str | None = None
    ) -> KeyTrial:
        trial = KeyTrial(id=self.opaque(), kind=kind, left=left[0], right=right[0], of=of)
        self.plays[trial.id] = left, right
        return trial

    def _again(self, trial: KeyTrial) -> KeyTrial:
        """The same two sounds, sides swapped."""
        return self._trial("repeat", *self.plays[trial.id][::-1], trial.id)

    def _put_in(self, trial: KeyTrial, trials: list[KeyTrial]) -> None:
        """Put a trial anywhere among others."""
        trials.insert(int(self._random.integers(len(trials) + 1)), trial)


class Design(Trials):
    """A test of two. Numbers 0 .. pairs-1 are the pairs' sounds (A_i meets a random B_j), the next ``pairs`` the browse
    page's, then the catches' own."""

    first_owner: Literal["A", "B"]

    def __init__(self, pairs: int, random: np.random.Generator) -> None:
        super().__init__(pairs, random)
        partners = random.permutation(pairs)
        a_left = self._half(pairs)
        trials = [
            self._trial("pair", ("A", i), ("B", int(partners[i]))) if a_left[i]
            else self._trial("pair", ("B", int(partners[i])), ("A", i))
            for i in range(pairs)
        ]  # fmt: skip
        order = [trials[i] for i in random.permutation(pairs)]
        early, late = order[: pairs // 2], order[pairs // 2 :]
        for again in self._repeated(early):
            self._put_in(again, late)
        self.trials = early + late
        for catch in self._caught():
            self._put_in(catch, self.trials)
        self.first_owner = "A" if random.integers(2) else "B"

    def _repeated(self, early: list[KeyTrial]) -> list[KeyTrial]:
        """Repeats of early pairs with sides swapped, as many with A on either side."""
        by_side = {owner: [t for t in early if t.left == owner] for owner in ("A", "B")}
        originals: list[KeyTrial] = []
        for number in range(self.repeats):
            candidates = by_side["AB"[number % 2]] or by_side["AB"[1 - number % 2]]
            originals.append(candidates.pop(int(self._random.integers(len(candidates)))))
        return [self._again(trial) for trial in originals]

    def _caught(self) -> list[KeyTrial]:
        """Catches: sounds of A and B in turn, the wrong one on either side as often."""
        wrong_left = self._half(self.catches)
        catches = []
        for number in range(self.catches):
            owner: Owner = "A" if (number + int(wrong_left[0])) % 2 else "B"
            sound, wrong = (owner, 2 * self.pairs + number), ("wrong", number)
            catches.append(self._trial("catch", *((wrong, sound) if wrong_left[number] else (sound, wrong))))
        return catches


class AmongDesign(Trials):
    """A test among several nebulae, by their letters: any two meet as often as any other two, or once more.

    Each plays sounds of its own throughout: ``counts[letter]`` of them, the catches' last.
    """

    def __init__(self, nebulae: int, pairs: int, random: np.random.Generator) -> None:
        super().__init__(pairs, random)
        self.counts: Counter[Owner] = Counter()
        letters = LETTERS[:nebulae]
        trials = [self._trial("pair", self._next(left), self._next(right)) for left, right in self._meetings(letters)]
        order = [trials[i] for i in random.permutation(pairs)]
        early, late = order[: pairs // 2], order[pairs // 2 :]
        for number in random.permutation(len(early))[: self.repeats]:
            self._put_in(self._again(early[number]), late)
        self.trials = early + late
        wrong_left, turns = self._half(self.catches), random.permutation(nebulae)
        for number in range(self.catches):
            sound, wrong = self._next(letters[turns[number % nebulae]]), ("wrong", number)
            self._put_in(self._trial("catch", *((wrong, sound) if wrong_left[number] else (sound, wrong))), self.trials)

    def _next(self, owner: Owner) -> Played:
        """The owner's next sound."""
        self.counts[owner] += 1
        return owner, self.counts[owner] - 1

    def _meetings(self, letters: Sequence[Letter]) -> list[tuple[Letter, Letter]]:
        """Who meets whom, left and right, for each pair: all neighbours of a ring first, which links everybody."""
        ring = [letters[k] for k in self._random.permutation(len(letters))]
        whole = [(a, b) for k, a in enumerate(ring) for b in ring[k + 1 :]]
        near = [(a, b) for a, b in whole if ring.index(b) - ring.index(a) in (1, len(ring) - 1)]
        far = [pair for pair in whole if pair not in near]
        once = [*near, *(far[k] for k in self._random.permutation(len(far)))]
        lefts: Counter[Letter] = Counter()  # how much more often a nebula was left than right
        meetings = []
        for number in range(self.pairs):
            a, b = once[number % len(once)]
            swap = lefts[a] > lefts[b] or (lefts[a] == lefts[b] and bool(self._random.integers(2)))
            left, right = (b, a) if swap else (a, b)
            lefts[left] += 1
            lefts[right] -= 1
            meetings.append((left, right))
        return meetings
