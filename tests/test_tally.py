"""Counts add up, however they were split; debts are those of a loop over every prefix."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from smollm3_mix.tally import Counts, Debts, Tally

COUNTS = st.builds(
    Counts,
    read=st.integers(0, 99),
    dropped=st.dictionaries(st.sampled_from(["duplicate", "empty", "where"]), st.integers(1, 9)),
    given=st.integers(0, 99),
    longest=st.integers(0, 99),
    worst_debt=st.floats(0, 99),
    passes=st.integers(0, 3),
)
TALLIES = st.fixed_dictionaries({"a": COUNTS, "b": COUNTS}).map(Tally)


@given(TALLIES, TALLIES, TALLIES)
def test_the_split_of_the_work_does_not_matter(one, two, three):
    assert (one + two) + three == one + (two + three)
    assert (one + two).sources["a"].read == one.sources["a"].read + two.sources["a"].read


@given(TALLIES)
def test_a_tally_survives_json(tally):
    assert Tally.from_dict(tally.to_dict()) == tally


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(1, 50)), min_size=1, max_size=60),
    st.lists(st.integers(1, 20), min_size=1, max_size=8),
)
def test_debts_are_those_of_every_prefix(records, cuts):
    shares = np.array([0.5, 0.3, 0.2])
    sources, units = (np.array(column, dtype=np.int64) for column in zip(*records, strict=True))
    debts, at = Debts(shares), 0
    for cut in [*cuts, len(records)]:
        if at < len(records):
            debts.add(sources[at : at + cut], units[at : at + cut])
            at += cut
    worst, given_units = np.zeros(3), np.zeros(3)
    for end in range(1, at + 1 if at < len(records) else len(records) + 1):
        given_units[sources[end - 1]] += units[end - 1]
        worst = np.maximum(worst, np.abs(shares * units[:end].sum() - given_units))
    assert np.allclose(debts.worst, worst)


def test_given_shares_of_nothing_are_zero():
    assert Tally.empty(["a"]).given_shares() == {"a": 0.0}
