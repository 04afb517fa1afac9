"""Interleaving modes: virtual time, draws, concatenation, and their bounds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smollm3_mix.mix.interleave import (
    Concatenation,
    Exact,
    Iid,
    discrepancy_bound,
    permutation,
    positions,
    stream_key,
    uniforms,
)


def test_uniforms_can_start_at_any_position():
    key = stream_key("place", 42, 0, "dclm")
    whole = uniforms(key, 0, 200)
    for start in range(0, 50, 7):
        assert (uniforms(key, start, 100) == whole[start : start + 100]).all()
    assert ((whole >= 0) & (whole < 1)).all()
    assert len(np.unique(whole)) == 200


def test_uniforms_are_those_of_earlier_versions():
    """The order of every mix depends on these numbers."""
    key = stream_key("place", 42, 0, "dclm")
    found = [uniforms(key, start, 3) for start in GOLDEN]
    assert [(numbers * 2.0**53).tolist() for numbers in found] == list(GOLDEN.values())


GOLDEN = {
    0: [1464990734673659, 1226033106094220, 1963482405881069],
    10**12 + 1: [23930754907377, 5523240407752101, 2771104024877591],
}
"""Three numbers from each start, in units of 2^-53, so that the last bit counts."""


def test_permutation_has_every_number_once():
    assert sorted(permutation(stream_key("x"), 1000)) == list(range(1000))
    assert len(permutation(stream_key("x"), 0)) == 0


def test_positions_are_inside_their_documents():
    units = np.array([5, 1, 1000, 3])
    at = positions(units, before=100, ordinal=9, share=0.25, key=stream_key("y"))
    starts = (100 + np.cumsum(units) - units) / 0.25
    assert ((at >= starts) & (at < starts + units / 0.25)).all()


def test_positions_are_below_the_end_of_their_document_despite_rounding():
    units = np.full(2000, 3)
    at = positions(units, before=10**15, ordinal=0, share=0.37, key=stream_key("far"))
    assert (at < (10**15 + np.cumsum(units)) / 0.37).all()
    assert (np.diff(at) >= 0).all()


@st.composite
def mixes(draw):
    """Weights over five decades, and lengths with heavy tails."""
    count = draw(st.integers(1, 6))
    weights = np.array(draw(st.lists(st.sampled_from([5e-5, 0.001, 0.03, 0.3, 1.0]), min_size=count, max_size=count)))
    lengths = [
        np.array(draw(st.lists(st.sampled_from([1, 2, 7, 40, 300, 9000]), min_size=3, max_size=40)), dtype=np.int64)
        for _ in range(count)
    ]
    return weights / weights.sum(), lengths


def drain(order, lengths, block):
    """Sources and units in the order given, until a source has nothing left to lay."""
    at, taken = [0] * len(lengths), [0] * len(lengths)
    sources, units = [], []
    while True:
        ready = order.ready()
        for source in ready.tolist():
            sources.append(source)
            units.append(int(lengths[source][taken[source]]))
            taken[source] += 1
        if len(ready) == 0:
            source = order.next_source()
            new = lengths[source][at[source] : at[source] + block]
            if len(new) == 0:
                return np.array(sources, dtype=np.int64), np.array(units, dtype=np.int64)
            order.place(source, new, last=False)
            at[source] += len(new)


@given(mixes(), st.integers(0, 2**32))
def test_exact_discrepancy_is_within_its_bound_after_every_record(mix, seed):
    shares, lengths = mix
    sources, units = drain(Exact(shares, [stream_key(seed, n) for n in range(len(shares))]), lengths, 5)
    bound = discrepancy_bound(shares, np.array([line.max() for line in lengths], dtype=float))
    for source, share in enumerate(shares):
        discrepancy = share * np.cumsum(units) - np.cumsum(np.where(sources == source, units, 0))
        assert (np.abs(discrepancy) <= bound[source] * (1 + 1e-9)).all()


@given(mixes(), st.integers(1, 7), st.integers(8, 50))
def test_exact_order_does_not_depend_on_block_sizes(mix, small, large):
    shares, lengths = mix
    keys = [stream_key(0, n) for n in range(len(shares))]
    one = drain(Exact(shares, keys), lengths, small)[0]
    other = drain(Exact(shares, keys), lengths, large)[0]
    common = min(len(one), len(other))
    assert (one[:common] == other[:common]).all()


def test_exact_keeps_the_order_of_each_source():
    at = positions(np.full(1000, 3), 0, 0, 0.1, stream_key("z"))
    assert (np.diff(at) > 0).all()


def test_exact_keeps_the_proportions_when_a_source_leaves():
    order = Exact(np.array([0.5, 0.3, 0.2]), [stream_key(n) for n in range(3)])
    for source in range(3):
        order.place(source, np.ones(6, np.int64), last=False)
    order.ready()
    order.leave(order.next_source())
    for _ in range(200):
        order.place(order.next_source(), np.ones(10, np.int64), last=False)
        order.ready()
    assert not order.ended


@pytest.mark.parametrize("strategy", ["first_exhausted", "all_exhausted"])
@pytest.mark.parametrize("seed", [0, 7, 2024])
def test_iid_draws_are_those_of_interleave_datasets(strategy, seed):
    datasets = pytest.importorskip("datasets")
    rows, shares = (500, 300, 20), [0.5, 0.45, 0.05]
    made = [datasets.Dataset.from_dict({"source": [n] * count}).to_iterable_dataset() for n, count in enumerate(rows)]
    expected = [
        row["source"]
        for row in datasets.interleave_datasets(made, probabilities=shares, seed=seed, stopping_strategy=strategy)
    ]
    order = Iid(np.array(shares), seed, stop=strategy == "first_exhausted", repeat=strategy == "all_exhausted")
    found = []
    for source, count in enumerate(rows):
        order.place(source, np.ones(count, np.int64), last=True)
    while not order.ended:
        ready = order.ready()
        found += ready.tolist()
        if len(ready) == 0 and not order.ended:
            order.place(order.next_source(), np.ones(rows[order.next_source()], np.int64), last=True)
    assert found == expected


def test_iid_resumes_at_a_saved_state():
    def placed(state=None):
        order = Iid(np.array([0.7, 0.3]), 3)
        if state is not None:
            order.restore(state, [(0, 0), (0, 0)])
        for source in range(2):
            order.place(source, np.ones(30_000, np.int64), last=False)
        return order

    first = placed()
    head = first.ready()
    rest = first.ready()
    assert len(head) == 4096
    second = placed([4096])
    assert (second.ready() == rest).all()


def test_concatenation_yields_sources_in_sequence():
    order = Concatenation(2)
    order.place(0, np.ones(3, np.int64), last=False)
    assert order.ready().tolist() == [0, 0, 0]
    assert order.next_source() == 0
    order.leave(0)
    order.place(1, np.ones(2, np.int64), last=False)
    assert order.ready().tolist() == [1, 1]
    order.leave(1)
    assert order.ended
    assert order.ready().tolist() == []


def test_exact_holds_back_a_document_at_the_lowest_watermark():
    key = stream_key("place", 0)
    order = Exact(np.array([0.5, 0.5]), [key, stream_key("place", 1)])
    whole = 2**53
    start = int(uniforms(key, 0, 1)[0] * whole)  # the first source's document lies at 2 · start, a whole number
    order.place(0, np.array([whole]), last=False)
    order.place(1, np.array([start]), last=False)
    assert order.ready().tolist() == [1]
    order.place(1, np.array([9]), last=False)
    assert order.ready().tolist()[0] == 0


def test_exact_breaks_ties_in_recipe_order():
    order = Exact(np.array([0.25, 0.5, 0.25]), [stream_key("same")] * 3)
    for source, units in enumerate((3, 6, 3)):
        order.place(source, np.full(9, units), last=False)
    assert order.ready().tolist() == [0, 1, 2] * 9


def test_exact_resumes_at_a_saved_state():
    shares, keys = np.array([0.6, 0.4]), [stream_key(n) for n in range(2)]
    lengths = [np.array([5, 9, 2, 7, 1, 3] * 5), np.array([4, 4, 8, 1, 6, 2] * 5)]
    whole, resumed = Exact(shares, keys), Exact(shares, keys)
    for source in range(2):
        whole.place(source, lengths[source], last=False)
    given_ = whole.ready()
    taken = np.bincount(given_[:15], minlength=2)
    resumed.restore([], [(int(lengths[s][:4].sum()), 4) for s in range(2)])
    for source in range(2):
        resumed.place(source, lengths[source][4:], last=False)
        resumed.skip(source, int(taken[source]) - 4)
    assert resumed.ready().tolist() == given_[15:].tolist()


def test_restored_exact_reads_the_source_with_the_fewest_units_first():
    order = Exact(np.array([0.5, 0.5]), [stream_key(n) for n in range(2)])
    order.restore([], [(30, 2), (10, 5)])
    assert order.next_source() == 1
    order.place(1, np.array([30]), last=False)
    assert order.next_source() == 0


def test_discrepancy_bound_includes_the_longest_documents_of_all_sources():
    assert discrepancy_bound(np.array([0.5, 0.3, 0.2]), np.array([100.0, 10.0, 40.0])).tolist() == [175.0, 55.0, 70.0]


def test_concatenation_ends_with_its_last_source():
    order = Concatenation(3)
    order.leave(0)
    order.leave(1)
    assert not order.ended
    assert order.next_source() == 2
    order.leave(2)
    assert order.ended


@pytest.mark.parametrize(("weights", "ends"), [([1.0], [True]), ([0.5, 0.25, 0.25], [False, False, True])])
def test_order_ends_when_its_last_source_leaves(weights, ends):
    shares = np.array(weights)
    for order in (Exact(shares, [stream_key(n) for n in range(len(shares))]), Iid(shares, 7)):
        found = []
        for source in range(len(shares)):
            order.leave(source)
            found.append(order.ended)
        assert found == ends


def test_iid_state_includes_sources_with_a_completed_first_pass():
    order = Iid(np.array([0.5, 0.5]), 3, repeat=True)
    order.place(0, np.ones(2, np.int64), last=True)
    order.place(1, np.ones(50, np.int64), last=False)
    given_ = order.ready()
    assert order.state() == [len(given_), 0]
    resumed = Iid(np.array([0.5, 0.5]), 3, repeat=True)
    resumed.restore(order.state(), [(0, 0), (0, 0)])
    assert resumed.state() == order.state()
    resumed.place(0, np.ones(50, np.int64), last=False)
    resumed.place(1, np.ones(1, np.int64), last=True)
    resumed.ready()
    assert resumed.ended
