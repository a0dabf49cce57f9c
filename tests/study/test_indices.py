"""Sound indices: what is used for one purpose is never used for another."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from nebula_tune.synth.indices import RANGE, STEP, Purpose, first_index

purposes = st.sampled_from(list(Purpose))
seeds = st.integers(0, 2**31 - 1) | st.integers(250, 260)
offsets = st.integers(0, 10**7) | st.integers(0, 2**40) | st.integers(STEP - 3, STEP + 3)


@given(purposes, seeds, offsets, st.integers(1, STEP))
def test_no_request_reaches_into_another_purposes_range(purpose: Purpose, seed: int, offset: int, sounds: int) -> None:
    first = first_index(purpose, seed, offset)
    assert purpose * RANGE <= first < first + sounds <= (purpose + 1) * RANGE


def test_ranges_are_inside_32_bits_above_synth1b1_and_never_meet() -> None:
    assert min(Purpose) * RANGE > 10**9
    assert (max(Purpose) + 1) * RANGE <= 2**32
    assert all(b - a >= 1 for a, b in pairwise(sorted(Purpose)))
    assert len({purpose.value for purpose in Purpose}) == len(Purpose.__members__)


@given(purposes, seeds, st.integers(0, 4096), st.integers(1, 256))
def test_a_trials_sounds_follow_the_ones_before(purpose: Purpose, seed: int, trial: int, sounds: int) -> None:
    if (trial + 1) * sounds <= STEP:
        here, after = (first_index(purpose, seed, t * sounds) for t in (trial, trial + 1))
        assert after - here == sounds


@given(purposes, st.integers(0, 10**6), st.integers(1, 254), st.integers(0, STEP - 1), st.integers(0, STEP - 1))
def test_studies_of_near_seeds_share_no_sound(purpose: Purpose, seed: int, apart: int, a: int, b: int) -> None:
    assert first_index(purpose, seed, a) != first_index(purpose, seed + apart, b)
