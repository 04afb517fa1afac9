"""Where a lane ends: its part of each limit, what reaches it, and what is left of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smollm3_mix.mix.limits import Limits, lane_limit


@given(st.integers(0, 200), st.integers(1, 40))
def test_parts_of_a_limit_add_up_to_it_and_the_first_lanes_take_the_remainder(limit: int, lanes: int) -> None:
    parts = [lane_limit(limit, lane, lanes) for lane in range(lanes)]
    assert sum(each for each in parts if each is not None) == limit
    assert parts == [limit // lanes + 1] * (limit % lanes) + [limit // lanes] * (lanes - limit % lanes)
    assert lane_limit(None, 0, lanes) is None


@pytest.mark.parametrize("place", range(3), ids=["samples", "tokens", "bytes"])
def test_a_limit_is_reached_when_its_number_is_equal(place: int) -> None:
    limits = Limits(*(10 if each == place else None for each in range(3)))
    others = [99] * 3
    for given_, reached in ((9, False), (10, True), (11, True)):
        others[place] = given_
        assert limits.reached(*others) is reached
    assert not Limits().reached(99, 99, 99)


def test_what_is_left_of_each_limit_is_less_by_what_was_given_of_it() -> None:
    assert Limits(10, 200, 3000).after(1, 20, 300) == Limits(9, 180, 2700)
    assert Limits(None, 200, None).after(1, 20, 300) == Limits(None, 180, None)
