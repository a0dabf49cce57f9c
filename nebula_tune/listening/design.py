"""The order of a blinded test: what is played when, on which side, and the key that tells afterwards."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

PAIRS, FEWEST_PAIRS, MOST_PAIRS = 64, 8, 88
REPEAT_EVERY, CATCH_EVERY = 8, 16  # pairs for each repeated pair, for each catch
SIDES = ("left", "right")

Side = Literal["left", "right"]
Owner = Literal["A", "B", "wrong"]


class Record(BaseModel):
    """Base of what is written to and read from JSON: strict, and no unknown keys."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class KeyTrial(Record):
    """One trial: whose sound is on which side. ``of`` names the pair that a repeat repeats, sides swapped.

    Catches have a sound of A or B on one side, and next to nothing ("wrong") on the other.
    """

    id: str
    kind: Literal["pair", "repeat", "catch"]
    left: Owner
    right: Owner
    of: str | None = None


class Compared(Record):
    """One of the two: its name, a digest of what it is, and how many silent or unreadable sounds were passed over."""

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
        pairs = [trial for trial in self.trials if trial.kind == "pair"]
        if len({trial.id for trial in self.trials}) < len(self.trials):
            raise ValueError("two of its trials have one id")
        if len(pairs) != self.pairs or any({trial.left, trial.right} != {"A", "B"} for trial in pairs):
            raise ValueError(f"it has not {self.pairs} pairs of A and B")
        if self.browse.keys() != {"one", "two"} or set(self.browse.values()) != {"A", "B"}:
            raise ValueError("browse does not tell which of the two is A")
        return self


class Design:
    """Trials in order, and which sound of which owner each plays; everything follows from the seed.

    ``plays[id]`` is (left, right), each (owner, number): numbers 0 .. pairs-1 are the pairs' sounds (A_i meets a random
    B_j), the next ``pairs`` the browse page's, then the catches' own.
    """

    def __init__(self, pairs: int, random: np.random.Generator) -> None:
        self.pairs, self._random = pairs, random
        self._ids: set[str] = set()
        self.repeats, self.catches = pairs // REPEAT_EVERY, max(1, pairs // CATCH_EVERY)
        self.plays: dict[str, tuple[tuple[Owner, int], tuple[Owner, int]]] = {}
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
            late.insert(int(random.integers(len(late) + 1)), again)
        self.trials = early + late
        for catch in self._caught():
            self.trials.insert(int(random.integers(len(self.trials) + 1)), catch)
        self.first_owner: Literal["A", "B"] = "A" if random.integers(2) else "B"

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
        self, kind: Literal["pair", "repeat", "catch"], left: tuple[Owner, int], right: tuple[Owner, int],
        of: str | None = None,
    ) -> KeyTrial:  # fmt: skip
        trial = KeyTrial(id=self.opaque(), kind=kind, left=left[0], right=right[0], of=of)
        self.plays[trial.id] = left, right
        return trial

    def _repeated(self, early: list[KeyTrial]) -> list[KeyTrial]:
        """Repeats of early pairs with sides swapped, as many with A on either side."""
        by_side = {owner: [t for t in early if t.left == owner] for owner in ("A", "B")}
        originals: list[KeyTrial] = []
        for number in range(self.repeats):
            candidates = by_side["AB"[number % 2]] or by_side["AB"[1 - number % 2]]
            originals.append(candidates.pop(int(self._random.integers(len(candidates)))))
        return [self._trial("repeat", self.plays[t.id][1], self.plays[t.id][0], t.id) for t in originals]

    def _caught(self) -> list[KeyTrial]:
        """Catches: sounds of A and B in turn, the wrong one on either side as often."""
        wrong_left = self._half(self.catches)
        catches = []
        for number in range(self.catches):
            owner: Owner = "A" if (number + int(wrong_left[0])) % 2 else "B"
            sound, wrong = (owner, 2 * self.pairs + number), ("wrong", number)
            catches.append(self._trial("catch", *((wrong, sound) if wrong_left[number] else (sound, wrong))))
        return catches
