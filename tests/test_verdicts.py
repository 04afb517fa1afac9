"""Verdicts of a first pass, found again in any other stretches."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from smollm3_mix.mix.state.row_decisions import RowDecisions

STRETCHES = st.lists(st.tuples(st.integers(0, 9), st.lists(st.booleans(), min_size=1, max_size=20)), max_size=6)


def added(stretches: list[tuple[int, list[bool]]]) -> tuple[RowDecisions, list[bool | None]]:
    """The verdicts of stretches of rows behind gaps, and each row's, None in a gap."""
    decisions, rows = RowDecisions(), []
    for gap, keep in stretches:
        rows += [None] * gap
        decisions.add(len(rows), np.array(keep))
        rows += keep
    return decisions, rows


@given(STRETCHES, st.integers(0, 70), st.integers(0, 40), st.booleans())
def test_verdicts_are_found_in_any_stretch_and_after_saving(stretches, start, count, saved):
    decisions, rows = added(stretches)
    if saved:
        decisions = RowDecisions.from_bytes(decisions.to_bytes())
    keep, known = decisions.at(start, count)
    expected = (rows + [None] * 120)[start : start + count]
    assert known.tolist() == [each is not None for each in expected]
    assert keep.tolist() == [bool(each) for each in expected]


def test_what_is_saved_of_a_stretch_of_whole_bytes_takes_no_byte_more():
    decisions, _ = added([(0, [True] * 8), (3, [False] * 9)])
    assert len(decisions.to_bytes()) == 12 + 1 + 12 + 2
    assert RowDecisions.from_bytes(decisions.to_bytes()).to_bytes() == decisions.to_bytes()
