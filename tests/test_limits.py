"""Limits of a lane: its part of the limits of the mix, when they are reached, and what remains of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smollm3_mix.mix.limits import Limits, lane_limit


@given(st.integers(0, 200), st.integers(1, 40))
def test_lane_limits_add_up_and_the_first_lanes_take_the_remainder(limit: int, lanes: int) -> None:
    parts = [lane_limit(limit, lane, lanes) for lane in range(lanes)]
    assert sum(each for each in parts if each is not None) == limit
    assert parts == [limit // lanes + 1] * (limit % lanes) + [limit // lanes] * (lanes - limit % lanes)
    assert lane_limit(None, 0, lanes) is None


@pytest.mark.parametrize("index", range(3), ids=["samples", "tokens", "bytes"])
def test_limit_is_reached_when_the_count_is_equal(index: int) -> None:
    limits = Limits(*(10 if each == index else None for each in range(3)))
    counts = [99] * 3
    for count, reached in ((9, False), (10, True), (11, True)):
        counts[index] = count
        assert limits.reached(*counts) is reached
    assert not Limits().reached(99, 99, 99)


def test_remaining_limits_are_reduced_by_the_emitted_counts() -> None:
    assert Limits(10, 200, 3000).remaining(1, 20, 300) == Limits(9, 180, 2700)
    assert Limits(None, 200, None).remaining(1, 20, 300) == Limits(None, 180, None)
