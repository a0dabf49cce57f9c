"""What the soak holds `status` against: it finds lies, and only lies."""

from __future__ import annotations

import time

import pytest

from tests.service.truth import ABSENT, Truth

GRACE = 10.0


def told(state: str, complete: int = 3, pid: int = 7) -> list[dict[str, object]]:
    """What a look shows of the one study; nothing of one that is absent."""
    shown = {"study": "one", "state": state, "complete": complete, "owner": f"anna@here:{pid}" if pid else None}
    return [] if state == ABSENT else [shown]


@pytest.fixture
def truth() -> Truth:
    """Of a study that is at work from 100 on, and interrupted from 200 on."""
    made = Truth(GRACE)
    made.is_now("one", "running", "finished", when=100.0)
    made.belongs_to("one", "anna@here:7")
    made.is_now("one", "interrupted", when=200.0)
    return made


@pytest.mark.parametrize(
    ("state", "began", "ended", "lies"),
    [
        (ABSENT, 50, 60, False),
        ("running", 50, 60, True),
        ("running", 50, 101, False),
        ("running", 150, 151, False),
        ("interrupted", 150, 151, True),
        ("waiting", 150, 151, True),
        (ABSENT, 150, 151, True),
        ("running", 205, 206, False),  # within the grace
        ("running", 209, 260, False),  # it began there, whenever it ended
        ("running", 211, 212, True),
        ("interrupted", 199, 201, False),
        ("interrupted", 300, 301, False),
    ],
)
def test_a_state_is_a_lie_that_was_not_so_while_one_looked(
    truth: Truth, state: str, began: float, ended: float, lies: bool
) -> None:
    truth.check(told(state), began, ended)
    assert bool(truth.lies) is lies, truth.lies


@pytest.mark.parametrize(
    ("first", "then", "lie"),
    [
        (told("finished"), told("finished"), ""),
        (told("finished"), told("running"), "was finished, is running"),
        (told("running", 3), told("running", 2), "3 trials became 2"),
        (told("running", 3), told("running", 4), ""),
        (told("running"), told("running", pid=8), "owner anna@here:8"),
        (told("running"), told("running", pid=0), ""),
    ],
)
def test_of_two_looks_the_later_may_not_go_back(
    truth: Truth, first: list[dict[str, object]], then: list[dict[str, object]], lie: str
) -> None:
    truth.check(first, 150, 151)
    assert truth.lies == []
    truth.check(then, 152, 153)
    assert lie in "".join(truth.lies) and bool(lie) is bool(truth.lies)


def test_while_a_rename_copies_trials_there_may_be_fewer(truth: Truth) -> None:
    now = time.monotonic()
    truth.is_now("two", "running", "finished", when=now - 100)
    truth.is_copied("two")
    for second, complete in enumerate((3, 2, 2)):
        truth.check([{"study": "two", "state": "running", "complete": complete}], now + second, now + second)
    assert [lie for lie in truth.lies if "two" in lie] == []
    for complete, began in ((5, now + 20), (4, now + 21)):
        truth.check([{"study": "two", "state": "running", "complete": complete}], began, began)
    assert sum("two: 5 trials became 4" in lie for lie in truth.lies) == 1


def test_a_study_of_which_nothing_is_known_is_a_lie(truth: Truth) -> None:
    truth.check([*told("running"), {"study": "two", "state": "new", "complete": 0}], 150, 151)
    assert len(truth.lies) == 1 and "two: shown as new, is absent" in truth.lies[0]
