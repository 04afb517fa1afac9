"""Statistics add up, and discrepancies equal those of a loop over every prefix."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from smollm3_mix.mix.mix_stats import DiscrepancyTracker, MixStats, SourceStats

SOURCE_STATS = st.builds(
    SourceStats,
    read=st.integers(0, 99),
    dropped=st.dictionaries(st.sampled_from(["duplicate", "empty", "where"]), st.integers(1, 9)),
    emitted=st.integers(0, 99),
    longest=st.integers(0, 99),
    max_discrepancy=st.floats(0, 99),
    passes=st.integers(0, 3),
)
STATS = st.fixed_dictionaries({"a": SOURCE_STATS, "b": SOURCE_STATS}).map(MixStats)


@given(STATS, STATS, STATS)
def test_stats_addition_is_associative(one, two, three):
    assert (one + two) + three == one + (two + three)
    assert (one + two).sources["a"].read == one.sources["a"].read + two.sources["a"].read


@given(STATS)
def test_stats_survive_to_dict_and_from_dict(stats):
    assert MixStats.from_dict(stats.to_dict()) == stats


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(1, 50)), min_size=1, max_size=60),
    st.lists(st.integers(1, 20), min_size=1, max_size=8),
)
def test_discrepancy_tracker_equals_a_loop_over_every_prefix(records, cuts):
    shares = np.array([0.5, 0.3, 0.2])
    sources, units = (np.array(column, dtype=np.int64) for column in zip(*records, strict=True))
    discrepancies, at = DiscrepancyTracker(shares), 0
    for cut in [*cuts, len(records)]:
        if at < len(records):
            discrepancies.add(sources[at : at + cut], units[at : at + cut])
            at += cut
    largest, emitted_units = np.zeros(3), np.zeros(3)
    for end in range(1, at + 1 if at < len(records) else len(records) + 1):
        emitted_units[sources[end - 1]] += units[end - 1]
        largest = np.maximum(largest, np.abs(shares * units[:end].sum() - emitted_units))
    assert np.allclose(discrepancies.largest, largest)


def test_shares_are_zero_when_nothing_was_emitted():
    assert MixStats.empty(["a"]).shares == {"a": 0.0}


def test_source_stats_are_summed_except_maxima():
    one = SourceStats(5, 50, {"empty": 1, "where": 2}, 1, 2, 20, 8, 9, 7, 1.5, 3)
    two = SourceStats(7, 70, {"where": 4, "holdout": 1}, 2, 3, 30, 12, 13, 4, 2.5, 1)
    expected = SourceStats(12, 120, {"empty": 1, "where": 6, "holdout": 1}, 3, 5, 50, 20, 22, 7, 2.5, 3)
    assert one + two == two + one == expected


def test_shares_are_those_of_units():
    stats = MixStats(
        {"a": SourceStats(emitted_units=30, emitted_tokens=1), "b": SourceStats(emitted_units=10, emitted_tokens=99)}
    )
    assert stats.shares == {"a": 0.75, "b": 0.25}


def test_discrepancy_tracker_redistributes_the_share_of_a_source_that_leaves():
    discrepancies = DiscrepancyTracker(np.array([0.25, 0.25, 0.5]))
    discrepancies.add(np.array([0, 1, 2, 2]), np.array([3, 9, 20, 8]))
    discrepancies.largest[:] = 0
    discrepancies.leave(2)
    assert discrepancies.shares.tolist() == [0.5, 0.5, 0.0]
    assert (discrepancies.total, discrepancies.emitted.tolist()) == (0, [0, 0, 0])
    discrepancies.add(np.array([0, 1, 1]), np.array([8, 6, 4]))
    assert discrepancies.largest.tolist() == [4.0, 4.0, 0.0]  # after 8 units; then 1, then 1 of 18
    discrepancies.leave(0)
    discrepancies.leave(1)
    assert discrepancies.shares.tolist() == [0.0, 0.0, 0.0]


def test_discrepancy_of_a_source_without_records_grows():
    discrepancies = DiscrepancyTracker(np.array([0.75, 0.25]))
    discrepancies.add(np.array([0, 0]), np.array([4, 8]))
    assert discrepancies.largest.tolist() == [3.0, 3.0]
    discrepancies.add(np.array([1]), np.array([1]))
    assert discrepancies.largest.tolist() == [3.0, 3.0]
