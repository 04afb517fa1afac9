"""Row decisions of a first pass, looked up in any other ranges."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from smollm3_mix.mix.state.row_decisions import RowDecisions

RANGES = st.lists(st.tuples(st.integers(0, 9), st.lists(st.booleans(), min_size=1, max_size=20)), max_size=6)


def added(ranges: list[tuple[int, list[bool]]]) -> tuple[RowDecisions, list[bool | None]]:
    """Return the decisions of ranges of rows after gaps, and of each row, None in a gap."""
    decisions, rows = RowDecisions(), []
    for gap, keep in ranges:
        rows += [None] * gap
        decisions.add(len(rows), np.array(keep))
        rows += keep
    return decisions, rows


@given(RANGES, st.integers(0, 70), st.integers(0, 40), st.booleans())
def test_row_decisions_are_found_in_any_range_and_after_saving(ranges, start, count, saved):
    decisions, rows = added(ranges)
    if saved:
        decisions = RowDecisions.from_bytes(decisions.to_bytes())
    keep, known = decisions.at(start, count)
    expected = (rows + [None] * 120)[start : start + count]
    assert known.tolist() == [each is not None for each in expected]
    assert keep.tolist() == [bool(each) for each in expected]


def test_row_decisions_use_one_bit_per_row():
    decisions, _ = added([(0, [True] * 8), (3, [False] * 9)])
    assert len(decisions.to_bytes()) == 12 + 1 + 12 + 2
    assert RowDecisions.from_bytes(decisions.to_bytes()).to_bytes() == decisions.to_bytes()
