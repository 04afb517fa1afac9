"""Counts add up, however they were split; debts are those of a loop over every prefix."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from smollm3_mix.mix.mix_stats import Counts, Debts, Tally

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


def test_counts_of_two_lanes_are_summed_but_for_the_largest_of_each():
    one = Counts(5, 50, {"empty": 1, "where": 2}, 1, 2, 20, 8, 9, 7, 1.5, 3)
    two = Counts(7, 70, {"where": 4, "holdout": 1}, 2, 3, 30, 12, 13, 4, 2.5, 1)
    expected = Counts(12, 120, {"empty": 1, "where": 6, "holdout": 1}, 3, 5, 50, 20, 22, 7, 2.5, 3)
    assert one + two == two + one == expected


def test_given_shares_are_those_of_the_units_and_not_of_the_tokens():
    tally = Tally({"a": Counts(given_units=30, given_tokens=1), "b": Counts(given_units=10, given_tokens=99)})
    assert tally.given_shares() == {"a": 0.75, "b": 0.25}


def test_after_a_source_leaves_its_share_is_dealt_to_the_rest_and_counting_begins_anew():
    debts = Debts(np.array([0.25, 0.25, 0.5]))
    debts.add(np.array([0, 1, 2, 2]), np.array([3, 9, 20, 8]))
    debts.worst[:] = 0
    debts.leave(2)
    assert debts.shares.tolist() == [0.5, 0.5, 0.0]
    assert (debts.total, debts.given.tolist()) == (0, [0, 0, 0])
    debts.add(np.array([0, 1, 1]), np.array([8, 6, 4]))
    assert debts.worst.tolist() == [4.0, 4.0, 0.0]  # after 8 units; then 1, then 1 of 18
    debts.leave(0)
    debts.leave(1)
    assert debts.shares.tolist() == [0.0, 0.0, 0.0]


def test_the_debt_of_a_source_that_gives_nothing_grows_to_the_end():
    debts = Debts(np.array([0.75, 0.25]))
    debts.add(np.array([0, 0]), np.array([4, 8]))
    assert debts.worst.tolist() == [3.0, 3.0]
    debts.add(np.array([1]), np.array([1]))
    assert debts.worst.tolist() == [3.0, 3.0]
