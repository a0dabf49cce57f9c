"""What speaks against a result is said, a plain line each."""

import pytest

from nebula_tune.evaluate.judges import doubts
from nebula_tune.results import Row, SecondOpinion, Verdicts


def report(*, without=(), **changed):
    """Verdicts and a second opinion in which nothing speaks against the tuned nebula, but for what is changed."""
    told = {"start": 0.9, "drum": 0.8, "tuned": 0.7, "constellation": 0.6} | changed.get("told", {})
    other = {"start": 9.0, "drum": 8.0, "tuned": 7.0, "constellation": 6.0} | changed.get("other", {})
    rest = {"mmd": 0, "ci95": (0, 1), "p_value": 1, "n": 9, "m": 9}
    heldout = {name: Row(mmd_unbiased=value, **rest) for name, value in other.items() if name not in without}
    told = {name: value for name, value in told.items() if name not in without}
    return (
        Verdicts(linear=told, network=told, real="held-out", real_sounds=100),
        SecondOpinion(embedding="ear", heldout=heldout),
    )


def test_nothing_is_said_where_nothing_speaks_against_it():
    assert doubts(*report()) == doubts(None, None) == []


@pytest.mark.parametrize(
    ("changed", "lines"),
    [
        ({"told": {"tuned": 0.95}}, 2),
        ({"told": {"constellation": 0.75}}, 2),
        ({"other": {"tuned": 8.5}}, 1),
        ({"other": {"tuned": 9.5}}, 2),
        ({"other": {"constellation": 7.5}}, 1),
    ],
)
def test_each_judge_and_ear_that_prefers_another_nebula_has_its_line(changed, lines):
    found = doubts(*report(**changed))
    assert len(found) == lines and all("\n" not in line for line in found)


def test_a_study_without_drum_or_constellation_is_judged_by_what_there_is():
    bare = report(told={"tuned": 0.95}, other={"tuned": 9.5}, without=("drum", "constellation"))
    assert [line.split(" ")[0] for line in doubts(*bare)] == ["the", "the", "under"]
