"""How studies share a cluster: the policy, the register, and pools and executors in simulated time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nebula_tune.errors import ScoringError
from nebula_tune.execution import ray_workers
from nebula_tune.execution.sharing import EXPIRES, SETTLES, Register, Sharing, fair_shares
from tests.execution.simulated import (
    CHUNKS,
    PLACED,
    READY,
    TASK,
    SimulatedRay,
    SimulatedStudy,
    key_value_store,
    simulate,
)

CHANGES = 2 * ray_workers.LOOK_AGAIN + 3 * TASK + READY  # seconds in which workers go from one study to another


@pytest.mark.parametrize(
    ("capacity", "caps", "shares"),
    [
        (16, [16], [16]),
        (16, [16, 16], [8, 8]),
        (16, [16, 16, 16], [6, 5, 5]),
        (16, [2, 16, 16], [2, 7, 7]),
        (16, [16, 3, 1, 16], [6, 3, 1, 6]),
        (2, [16, 16, 16], [1, 1, 0]),
        (16, [3, 0, 4], [3, 0, 4]),
        (0, [16], [0]),
        (-1, [16], [0]),
        (16, [], []),
    ],
)
def test_fair_shares(capacity: int, caps: list[int], shares: list[int]) -> None:
    assert fair_shares(capacity, caps) == shares


@given(st.integers(0, 60), st.lists(st.integers(0, 30), max_size=9))
def test_shares_are_all_there_is_within_caps_and_equal_but_for_one_worker(capacity: int, caps: list[int]) -> None:
    shares = fair_shares(capacity, caps)
    assert sum(shares) == min(capacity, sum(caps))
    assert all(share <= cap for share, cap in zip(shares, caps, strict=True))
    hungry = [share for share, cap in zip(shares, caps, strict=True) if share < cap]
    assert all(share <= least + 1 for share in shares for least in hungry)
    assert hungry == sorted(hungry, reverse=True)


def sharing(content: dict[str, bytes], study: str, resource: str, each: float) -> Sharing:
    return Sharing(Register(key_value_store(content)), study, resource, each)


def test_shares_are_of_the_resource_where_workers_of_studies_differ_in_size() -> None:
    content: dict[str, bytes] = {}
    whole, half = (sharing(content, str(each), "GPU", each) for each in (1.0, 0.5))
    other = sharing(content, "other", "CPU", 4)
    other.update(room=8, used=0.0, held=0, wants=8)
    whole.update(room=4, used=4.0, held=4, wants=4)
    half.update(room=8, used=4.0, held=0, wants=8)
    assert half.share == 4 and half.holders == "study 1.0 has 4" and not half.others_lack
    whole.update(room=4, used=4.0, held=4, wants=4)
    assert whole.share == 2 and whole.others_lack and other.share == 8


def test_entries_of_the_register_that_make_no_sense_are_read_over() -> None:
    content = {"a": b"junk", "b": b"{}", "c": b"\xff"}
    mine, other = (sharing(content, study, "CPU", 1) for study in ("mine", "other"))
    other.update(room=4, used=0.0, held=2, wants=4)
    token, entry = next((key, value) for key, value in content.items() if b"other" in value)
    content["d"] = entry.replace(b'"held":2', b'"held":-2').replace(token.encode(), b"d")
    content["e"] = entry.replace(b'"each":1.0', b'"each":0').replace(token.encode(), b"e")
    mine.update(room=4, used=0.0, held=0, wants=4)
    assert mine.share == 2
    other.leave()
    mine.update(room=4, used=0.0, held=0, wants=4)
    assert mine.alone and mine.share == 4


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> SimulatedRay:
    return SimulatedRay(16, monkeypatch)


class Watch:
    """Notes how long each slot idled while work waited, and how far studies were from what is fair."""

    def __init__(self, ray: SimulatedRay, studies: list[SimulatedStudy]) -> None:
        self.ray, self.studies = ray, studies
        self.idle, self.waited, self.farthest, self.settled = [0.0] * ray.slots, 0.0, 0, 0.0
        self._alive: list[str] = []
        self._changed = 0.0
        ray.timeline.passing.append(self)

    def __call__(self, seconds: float) -> None:
        now = self.ray.timeline.now
        alive = [study.name for study in self.studies if study.begins <= now and not study.ended]
        if alive != self._alive:
            self._alive, self._changed = alive, now
        if self.ray.work_waits:
            self.waited += seconds
            busy = {actor.slot for actor in self.ray.placed if actor.task}
            for slot in set(range(self.ray.slots)) - busy:
                self.idle[slot] += seconds
        if now - self._changed > CHANGES:
            self.settled += seconds
            caps = [min(study.cap or 16, study.trials * CHUNKS) for study in self.studies if study.name in alive]
            for name, share in zip(alive, fair_shares(self.ray.slots, caps), strict=True):
                self.farthest = max(self.farthest, abs(self.ray.held(name) - share))


def test_eight_studies_of_different_lengths_on_sixteen_workers(ray: SimulatedRay) -> None:
    studies = [
        SimulatedStudy("a", 0, 30),
        SimulatedStudy("b", 60, 18),
        SimulatedStudy("c", 90, 6, cap=3),
        SimulatedStudy("d", 300, 12),
        SimulatedStudy("e", 410, 2, cap=1),
        SimulatedStudy("f", 700, 20),
        SimulatedStudy("g", 800, 3, trials=20),
        SimulatedStudy("h", 1100, 6),
    ]
    watch = Watch(ray, studies)
    simulate(ray, studies)
    assert [study.scored for study in studies] == [study.generations * study.trials for study in studies]
    assert max(watch.idle) <= 0.1 * watch.waited
    assert watch.farthest <= 1 and watch.settled > 0.5 * ray.timeline.now
    assert ray.killed_at_work == 0 and not ray.actors and not ray.store
    assert all(study.first - study.begins < CHANGES for study in studies)


def test_more_studies_than_workers_queue_and_say_who_has_the_workers(ray: SimulatedRay) -> None:
    ray.slots = 2
    studies = [SimulatedStudy("a", 0, 5), SimulatedStudy("b", 5, 1), SimulatedStudy("c", 200, 1)]
    simulate(ray, studies)
    assert [study.scored for study in studies] == [study.generations * study.trials for study in studies]
    (begins, holders), (ends, nobody) = studies[2].waits
    assert holders == "study a has 1, study b has 1" and nobody == ""
    assert begins - 200 < 2 and 0 < ends - studies[1].ended < CHANGES
    assert studies[1].waits[0][1] == "study a has 2" and studies[0].waits == []
    assert studies[2].notes == []  # who runs the study tells it


def test_a_study_waits_for_as_long_as_others_have_all_workers(ray: SimulatedRay) -> None:
    ray.slots = 1
    first, second = SimulatedStudy("first", 0, 3), SimulatedStudy("second", 20, 1)
    simulate(ray, [first, second])
    assert second.first - second.begins > ray_workers.START_PATIENCE and second.scored == second.trials


def test_a_cluster_without_room_ends_a_run_after_some_patience(ray: SimulatedRay) -> None:
    ray.slots = 0
    study = SimulatedStudy("a", 0, 1)
    with pytest.raises(ScoringError, match="no worker for 10 minutes; does the cluster run"):
        simulate(ray, [study])
    assert ray.timeline.now > ray_workers.START_PATIENCE
    assert study.notes == ["waiting for the cluster to give a first worker"] and study.waits == []


def test_what_a_killed_study_had_goes_to_the_others(ray: SimulatedRay) -> None:
    studies = [SimulatedStudy("a", 0, 12), SimulatedStudy("b", 5, 3, killed=True)]
    watch: list[int] = []
    ray.timeline.passing.append(lambda seconds: watch.append(ray.held("a")) if studies[1].ended else None)
    simulate(ray, studies)
    assert watch[0] == 8 and max(watch) == 16
    assert studies[1].ended + EXPIRES + CHANGES < studies[0].ended


def test_a_study_at_other_work_hands_back_what_others_lack_and_keeps_what_nobody_does(ray: SimulatedRay) -> None:
    judging = SimulatedStudy("judging", 0, 2, judges=600)
    alone: list[int] = []
    shared: list[int] = []

    def watch(seconds: float) -> None:
        if judging.scored == 2 * judging.trials and not judging.ended:
            (alone if ray.timeline.now < 300 else shared).append(ray.held("judging"))

    ray.timeline.passing.append(watch)
    simulate(ray, [judging, SimulatedStudy("other", 300, 25)])
    assert set(alone) == {16} and set(shared[-10:]) == {0}


def test_work_of_strangers_is_no_part_of_what_is_shared(ray: SimulatedRay) -> None:
    ray.strangers = 12
    studies = [SimulatedStudy("a", 0, 5), SimulatedStudy("b", SETTLES + 20, 4)]
    watch = []

    def look(seconds: float) -> None:
        if 2 * SETTLES + 20 + CHANGES < ray.timeline.now < min(study.ended or 1e9 for study in studies):
            watch.append((ray.held("a"), ray.held("b")))

    ray.timeline.passing.append(look)
    simulate(ray, studies)
    assert set(watch) == {(2, 2)}


def test_where_only_strangers_have_the_workers_the_study_says_so_and_waits(ray: SimulatedRay) -> None:
    ray.strangers = 16
    study = SimulatedStudy("a", 0, 1)

    def leave() -> None:
        ray.strangers = 0
        ray.place()

    ray.timeline.after(2000, leave)
    simulate(ray, [study])
    assert [holders for _, holders in study.waits] == [ray_workers.STRANGERS, ""]
    assert 2000 < study.first < 2000 + PLACED + READY + ray_workers.LOOK_AGAIN


def test_a_worker_that_cannot_score_is_not_tried_again_and_the_others_stay(ray: SimulatedRay) -> None:
    ray.slots, ray.unfit = 4, {0}
    study = SimulatedStudy("a", 0, 2)
    held: list[int] = []
    ray.timeline.passing.append(lambda seconds: held.append(ray.held("a")) if study.first and not study.ended else None)
    simulate(ray, [study])
    assert ray.begun == 4 and set(held) == {3}
    assert study.notes == ["warning: a worker cannot score: no weights; going on without it"]
