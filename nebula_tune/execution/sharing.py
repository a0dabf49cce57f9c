"""How the studies on one Ray cluster share its workers: a register of who has how many, and what each should have.

Results depend on no worker, so a study may take and hand back workers whenever others come or go.
"""

from __future__ import annotations

import logging
import math
import secrets
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from nebula_tune.errors import shortened
from nebula_tune.machine import user
from nebula_tune.words import printable

NAMESPACE = "nebula-tune"  # of the register, in the cluster's key-value store
EXPIRES = 30.0  # seconds after which an entry that no longer changes is a dead study's
SETTLES = 60.0  # seconds in which workers that were just placed are in the register

WorkerCount = Annotated[int, Field(ge=0, le=10**6)]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Stake:
    """What a study has of a cluster, and would take.

    Attributes:
        token: of this run, which no other has.
        study: its name.
        owner: login name of who runs it.
        resource: what a worker takes, CPU or GPU.
        each: how much of it.
        since: when it came, in seconds since 1970.
        held: workers that it has.
        wants: workers that it could keep busy.
        beat: grows while it lives.
    """

    token: str
    study: str
    owner: str
    resource: str
    each: Annotated[float, Field(gt=0, lt=10**6)]
    since: float
    held: WorkerCount = 0
    wants: WorkerCount = 0
    beat: int = 0

    def count(self, workers: float, other: Stake) -> float:
        """So many workers of ``other``'s size, counted in this study's."""
        return workers * other.each / self.each


STAKE = TypeAdapter(Stake)


def fair_shares(capacity: int, caps: Sequence[int]) -> list[int]:
    """How many of ``capacity`` workers each study should have: equal parts, and no more than its cap.

    What one with a cap leaves is shared among the others; what cannot be shared goes to the first.

    Args:
        capacity: workers that are there.
        caps: the most that each study takes, in the order in which they came.
    """
    shares = [0] * len(caps)
    while (left := capacity - sum(shares)) > 0:
        hungry = [place for place, cap in enumerate(caps) if shares[place] < cap]
        if not hungry:
            break
        part = max(1, left // len(hungry))
        for place in hungry[:left]:
            shares[place] += min(part, caps[place] - shares[place])
    return shares


class Demand:
    """The most tasks that a study had at once, of late: in the last half minute at least, the last minute at most."""

    WINDOW = 30.0  # seconds

    def __init__(self) -> None:
        self._peaks: tuple[int, int] | None = None  # of the window before, and of this one
        self._began = self.noted = time.monotonic()

    def note(self, tasks: int) -> None:
        """So many tasks wait or are under way now."""
        self.noted = time.monotonic()
        before, now = self._rolled()
        self._peaks = before, max(now, tasks)

    @property
    def peak(self) -> int | None:
        """None where there never was a task."""
        return None if self._peaks is None else max(self._rolled())

    def _rolled(self) -> tuple[int, int]:
        windows = int((time.monotonic() - self._began) / self.WINDOW)
        if windows:
            self._began += windows * self.WINDOW
            if self._peaks:
                self._peaks = (self._peaks[1] if windows == 1 else 0), 0
        return self._peaks or (0, 0)


class Register:
    """Stakes of all studies on a cluster, in Ray's key-value store.

    It needs no process of its own, lives as long as the cluster's head, and should it be lost, is whole again one beat
    later.

    Args:
        store: the store, as ray.experimental.internal_kv.
    """

    def __init__(self, store: Any) -> None:
        self._store = store
        self._seen: dict[str, tuple[int, float]] = {}  # by token: the last beat, and when it was new

    def write(self, stake: Stake) -> None:
        """Enter a stake, or what has become of it."""
        self._store._internal_kv_put(stake.token, STAKE.dump_json(stake), namespace=NAMESPACE)

    def others(self, token: str) -> list[Stake]:
        """Stakes of the living but for ``token``'s; those of the dead are struck out."""
        now, living = time.monotonic(), []
        for key in self._store._internal_kv_list("", namespace=NAMESPACE):
            stake = self._read(key)
            if stake is None or stake.token == token:
                continue
            beat, since = self._seen.get(stake.token, (None, now))
            self._seen[stake.token] = stake.beat, (since if beat == stake.beat else now)
            if now - self._seen[stake.token][1] < EXPIRES:
                living.append(stake)
            else:
                self.remove(stake.token)
        return living

    def remove(self, token: str) -> None:
        """Strike a stake out."""
        self._seen.pop(token, None)
        self._store._internal_kv_del(token, namespace=NAMESPACE)

    def _read(self, key: bytes) -> Stake | None:
        """None where it was struck out meanwhile, or is none that this version knows."""
        try:
            return STAKE.validate_json(self._store._internal_kv_get(key, namespace=NAMESPACE) or b"")
        except ValidationError:
            return None


class Sharing:
    """One study's part in the sharing of a cluster.

    Args:
        register: of all studies there.
        study: this one's name.
        resource: what a worker of it takes, CPU or GPU.
        each: how much of it.
    """

    def __init__(self, register: Register, study: str, resource: str, each: float) -> None:
        self._register = register
        self._mine = Stake(secrets.token_hex(8), study, user(), resource, each, time.time())
        self._others: list[Stake] = []
        self._room = self.share = 0
        self.others_lack = False
        self._beyond = deque([(time.monotonic(), 0.0)])

    def update(self, room: int, used: float, held: int, wants: int) -> None:
        """Tell the register what this study has, and work out what it should have: ``share``, ``others_lack``.

        Args:
            room: workers of this study's size that the cluster has room for.
            used: how much of the resource is in use.
            held: workers that this study has.
            wants: workers that it could keep busy.
        """
        self._mine = mine = replace(self._mine, held=held, wants=wants, beat=self._mine.beat + 1)
        self._register.write(mine)
        others = self._register.others(mine.token)
        self._others = [stake for stake in others if stake.resource == mine.resource]
        everyone = sorted([mine, *self._others], key=lambda stake: (stake.since, stake.token))
        capacity = room - self._used_by_strangers(used, everyone)
        shares = fair_shares(capacity, [math.ceil(mine.count(stake.wants, stake)) for stake in everyone])
        fair = {stake: int(stake.count(share, mine) + 1e-9) for stake, share in zip(everyone, shares, strict=True)}
        self._room, self.share = room, fair[mine]
        self.others_lack = any(stake.held < fair[stake] for stake in self._others)

    @property
    def alone(self) -> bool:
        """Whether no other study is on the cluster."""
        return not self._others

    @property
    def holders(self) -> str:
        """Who has all the workers, where none is left for this study; else ""."""
        held = sum(self._mine.count(stake.held, stake) for stake in self._others)
        if held == 0 or (self._room - held >= 1 and self.share):
            return ""
        return ", ".join(f"{self._called(stake)} has {stake.held}" for stake in self._others if stake.held)

    @property
    def strangers(self) -> bool:
        """Whether something that is in no register uses the cluster."""
        return min(used for _, used in self._beyond) > 0

    def leave(self) -> None:
        """Strike this study out."""
        self._register.remove(self._mine.token)

    def _used_by_strangers(self, used: float, everyone: Sequence[Stake]) -> int:
        """Workers' worth of what no study here has: the least of the last minute, since registers lag behind."""
        now = time.monotonic()
        known = sum(stake.held * stake.each for stake in everyone)
        self._beyond.append((now, max(0.0, used - known) / self._mine.each))
        while len(self._beyond) > 1 and self._beyond[1][0] <= now - SETTLES:
            self._beyond.popleft()
        return math.ceil(min(each for _, each in self._beyond) - 1e-9)

    def _called(self, stake: Stake) -> str:
        owner = "" if stake.owner == self._mine.owner else f" of {stake.owner}"
        return f"study {printable(shortened(stake.study + owner))}"
