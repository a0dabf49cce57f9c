"""The space of a search."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nebula_tune.errors import SettingsError
from nebula_tune.search import Space
from nebula_tune.trial import Point
from tests.search.problems import NAMES, START, space


def same(a: Point, b: Point) -> bool:
    return np.allclose(a.curves, b.curves, rtol=1e-12) and np.array_equal(a.probabilities, b.probabilities)


unit_values = st.floats(0, 1).filter(lambda u: abs(u - 0.5) > 1e-9)


@settings(max_examples=100, deadline=None)
@given(st.lists(unit_values, min_size=10, max_size=10), st.booleans(), st.sampled_from(["", "vco.*", "*.decay"]))
def test_points_survive_the_round_trip(unit: list[float], flags: bool, frozen: str) -> None:
    here = space(flags, freeze=(frozen,) if frozen else ())
    place = np.array(unit[: here.dimensions])
    point = here.from_unit(place)
    assert same(here.from_unit(here.to_unit(point)), point)
    count = int(here.free_curves.sum())
    np.testing.assert_allclose(here.to_unit(point)[:count], place[:count], atol=1e-12)
    assert here.to_unit(point)[count:].tolist() == [0.75 if u > 0.5 else 0.25 for u in place[count:]]
    assert (point.curves >= here.low).all() and (point.curves <= here.high).all()


def test_curves_are_log_uniform_in_the_cube() -> None:
    here = space()
    middle = here.from_unit(np.full(10, 0.5)).curves
    np.testing.assert_allclose(middle, np.sqrt(here.low * here.high))
    np.testing.assert_allclose(here.from_unit(np.zeros(10)).curves, here.low)
    np.testing.assert_allclose(here.from_unit(np.ones(10)).curves, here.high)


def test_a_range_is_widened_to_include_the_start() -> None:
    start = Point(np.array([0.025, 1, 60, 0.1, 10]), np.zeros(5))
    here = space(start=start)
    assert here.low.tolist() == [0.025, 0.1, 0.1, 0.1, 0.1]
    assert here.high.tolist() == [10, 10, 60, 10, 10]
    assert same(here.from_unit(here.to_unit(start)), start)


def test_globs_say_what_may_change() -> None:
    assert space().free_curves.all() and space().free_flags.all()
    assert not space(flags=False).free_flags.any() and space(flags=False).dimensions == 5
    assert space(tune=("vco.*",)).free_curves.tolist() == [True, True, False, False, False]
    assert space(freeze=("adsr.*", "*.tuning")).free_flags.tolist() == [False, True, False, False, True]
    assert space(tune=("adsr.*", "mixer.noise"), freeze=("*.decay",)).dimensions == 4


def test_frozen_parameters_stay_as_in_the_start() -> None:
    here = space(freeze=("vco.*",))
    point = here.clip(Point(np.full(5, 1e6), np.full(5, 0.3)))
    assert point.curves.tolist() == [1.0, 0.5, 10, 10, 10]
    assert point.probabilities.tolist() == [1, 0, 0.3, 0.3, 0.3]
    assert space(flags=False).clip(Point(np.ones(5), np.zeros(5))).probabilities.tolist() == [1, 0, 0, 0, 1]


@pytest.mark.parametrize(
    ("tune", "freeze", "message"),
    [
        (("vcf.*",), (), r"'vcf\.\*' matches no parameter"),
        ((), ("vco.*", "VCO.*"), r"'VCO\.\*' matches no parameter"),
        (("adsr.*",), ("adsr.*",), "nothing is left to tune"),
        ((), ("*",), "nothing is left to tune"),
    ],
)
def test_globs_that_cannot_be_meant_are_refused(tune: tuple[str, ...], freeze: tuple[str, ...], message: str) -> None:
    with pytest.raises(SettingsError, match=message) as caught:
        Space.around(NAMES, START, (0.1, 10), flags=True, tune=tune, freeze=freeze)
    assert "\n" not in str(caught.value)
