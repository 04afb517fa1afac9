"""The dedup store decides like a plain reference for any calls, after resuming and after growth."""

import re
import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smollm3_mix.errors import MixError, StateError
from smollm3_mix.text.dedup.dedup_options import BYTES_PER_KEY, Dedup, Near
from smollm3_mix.text.dedup.dedup_store import EXACT, FIRST, NEAR, DedupStore
from smollm3_mix.text.dedup.key_table import KeyTable

ROWS = st.lists(
    st.tuples(
        st.integers(1, 12),
        st.lists(st.integers(1, 4), min_size=3, max_size=3),
        st.sampled_from([0, 1, 1, 1]),
        st.booleans(),
    )
)
DEDUPS = st.sampled_from(
    [Dedup(), *(Dedup(exact, Near(3, 2, jaccard=j)) for exact in (True, False) for j in (0, 0.3, 0.6))]
)


def columns(rows):
    """Return text hashes, signatures and candidates of generated rows."""
    hashes = np.array([[number, 7] for number, *_ in rows], dtype=np.uint64).reshape(-1, 2)
    bands = np.array([np.array(keys) * some for _, keys, some, _ in rows], dtype=np.uint64).reshape(-1, 3)
    return hashes, bands | bands << np.uint64(31), np.array([candidate for *_, candidate in rows], dtype=bool)


def reference(dedup, hashes, bands, candidates):
    """Return the codes of a plain reference, row by row."""
    exact, holders, codes = set(), {}, []
    for number, keys, candidate in zip(hashes[:, 0].tolist(), bands.tolist(), candidates, strict=True):
        mine = [(column, key) for column, key in enumerate(keys) if key] if dedup.near else []
        code = FIRST
        if candidate and (dedup.exact or mine):
            if dedup.exact and number in exact:
                code = EXACT
            elif any(pair in holders and jaccard(keys, holders[pair], dedup.near) for pair in mine):
                code = NEAR
            else:
                exact.add(number)
                for pair in mine:
                    holders.setdefault(pair, keys)
        codes.append(code)
    return codes


def jaccard(one, other, near):
    low = 2**32 - 1
    equal = sum((a & low == b & low) + (a >> 32 == b >> 32) for a, b in zip(one, other, strict=True))
    return near.jaccard == 0 or (equal / 6 - 2**-32) / (1 - 2**-32) >= near.jaccard


def in_calls(store, hashes, bands, candidates, cuts):
    """Return the codes if the rows are split into several calls."""
    edges = [0, *sorted(min(cut, len(hashes)) for cut in cuts), len(hashes)]
    return [
        code for a, b in pairwise(edges) for code in store.classify(hashes[a:b], bands[a:b], candidates[a:b]).tolist()
    ]


@given(DEDUPS, ROWS, st.lists(st.integers(0, 30)))
def test_dedup_store_matches_reference_for_any_blocks(dedup, rows, cuts):
    drawn = columns(rows)
    single, parts = DedupStore(dedup, 2**20), DedupStore(dedup, 2**20)
    expected = reference(dedup, *drawn)
    assert single.classify(*drawn).tolist() == expected
    assert in_calls(parts, *drawn, cuts) == expected
    assert (len(parts), parts.digest) == (len(single), single.digest)


@given(DEDUPS, ROWS, st.integers(0, 30), st.integers(0, 30))
def test_restored_dedup_store_continues_like_the_original(dedup, rows, stop, middle):
    hashes, bands, candidates = columns(rows)
    saved, logs = DedupStore(dedup, 2**20), []
    for part in (slice(0, middle), slice(middle, stop)):
        before = len(saved)
        saved.classify(hashes[part], bands[part], candidates[part])
        logs.append(saved.keys_since(before))
    restored = DedupStore(dedup, 2**20)
    restored.restore(np.frombuffer(log.tobytes(), np.uint64).reshape(log.shape) for log in logs)
    assert (len(restored), restored.digest) == (len(saved), saved.digest)
    rest = slice(max(stop, middle), None)
    codes = [store.classify(hashes[rest], bands[rest], candidates[rest]).tolist() for store in (saved, restored)]
    assert codes[0] == codes[1]
    assert saved.digest == restored.digest


def rows_of(count, seed, bands=14):
    draw = np.random.default_rng(seed)
    hashes = draw.integers(0, 2**64 - 1, (count, 2), dtype=np.uint64)
    return hashes, draw.integers(1, 2**64 - 1, (count, bands), dtype=np.uint64), np.ones(count, dtype=bool)


@pytest.mark.parametrize("documents", [1, 2, 3, 4])
def test_dedup_store_searches_end_in_small_memory(documents):
    store = DedupStore(Dedup(), BYTES_PER_KEY * documents)
    hashes, _, candidates = rows_of(documents + 1, seed=1)
    assert (store.classify(hashes[:-1], None, candidates[:-1]) == FIRST).all()
    assert (store.classify(hashes[:-1], None, candidates[:-1]) == EXACT).all()
    with pytest.raises(MixError):
        store.classify(hashes[-1:], None, candidates[-1:])


def test_dedup_store_finds_all_keys_after_growth_within_memory():
    store = DedupStore(Dedup(near=Near()), 195 * 9000)
    assert store.capacity == 9000
    rows = rows_of(9000, seed=0)
    assert not any(in_calls(store, *rows, range(0, 9000, 700)))
    assert len(store) == 9000
    assert store.nbytes <= 195 * 9000
    assert (store.classify(*rows) == EXACT).all()
    hashes, bands, candidates = rows
    last = np.zeros_like(bands)
    last[:, 13] = bands[:, 13]
    assert (store.classify(~hashes, last, candidates) == NEAR).all()
    assert (store.classify(~hashes, np.roll(bands, 1, axis=1), np.zeros(9000, dtype=bool)) == FIRST).all()


@pytest.mark.parametrize("step", [1, 2**8, 2**32, 2**56, 2**64 // 9000], ids=hex)
def test_dedup_store_is_fast_for_sequential_keys(step):
    store = DedupStore(Dedup(), 13 * 9000)
    hashes = (np.arange(1, 9001, dtype=np.uint64) * np.uint64(step % 2**64))[:, None].repeat(2, axis=1)
    hashes = hashes[np.unique(hashes[:, 0], return_index=True)[1]]
    hashes = hashes[hashes[:, 0] > 0]
    everyone = np.ones(len(hashes), dtype=bool)
    assert (store.classify(hashes, None, everyone) == FIRST).all()
    assert (store.classify(hashes, None, everyone) == EXACT).all()


def test_dedup_store_raises_with_remedy_when_memory_is_full():
    store = DedupStore(Dedup(memory=100_000), 13 * 100)
    hashes, _, candidates = rows_of(101, seed=1)
    store.classify(hashes[:98], None, candidates[:98])
    message = (
        "dedup.memory is exhausted: 1,300 bytes per lane are enough for 100 documents of 13 bytes. 98 are stored, and "
        "3 more must be. Set dedup.memory to 200000 (now 100000) for twice as many, or reduce the number of documents."
    )
    with pytest.raises(MixError, match=f"^{re.escape(message)}$"):
        store.classify(hashes, None, candidates)
    assert len(store) == 98
    assert store.classify(hashes[:100], None, candidates[:100]).tolist() == [EXACT] * 98 + [FIRST] * 2


def test_rejected_call_leaves_no_document_in_the_table():
    store = DedupStore(Dedup(), BYTES_PER_KEY * 100)
    hashes, _, candidates = rows_of(101, seed=1)
    store.classify(hashes[:98], None, candidates[:98])
    with pytest.raises(MixError):
        store.classify(hashes, None, candidates)
    table = store._table._table
    assert sorted(table[table > 0].tolist()) == list(range(1, 99))


def test_restore_rejects_keys_of_other_options():
    store = DedupStore(Dedup(near=Near(2, 2)), 2**16)
    message = (
        "saved dedup state must be uint64[documents, 3], got uint64[5, 1]. It was saved with options other than "
        f"{Dedup(near=Near(2, 2))}. Resume with the same `dedup` options, or start from the beginning."
    )
    with pytest.raises(StateError, match=f"^{re.escape(message)}$"):
        store.restore([np.ones((5, 1), dtype=np.uint64)])


def test_restored_keys_must_fit_into_memory_together():
    keys = np.arange(1, 61, dtype=np.uint64)[:, None]
    store = DedupStore(Dedup(memory=100_000), 100 * BYTES_PER_KEY)
    with pytest.raises(MixError, match="60 are stored, and 60 more must be"):
        store.restore([keys, keys + np.uint64(60)])
    assert len(store) == 60


def test_restore_requires_empty_dedup_store():
    store = DedupStore(Dedup(), 2**16)
    store.restore([np.ones((1, 1), dtype=np.uint64)])
    with pytest.raises(StateError, match=r"^Cannot restore a store that has 1 documents\. Restore a new DedupStore\.$"):
        store.restore([])


def test_near_dedup_requires_signatures():
    with pytest.raises(ValueError, match=r"^near dedup requires signatures\[1, 14\], got None$"):
        DedupStore(Dedup(near=Near()), 2**16).classify(np.ones((1, 2), np.uint64), None, np.ones(1, bool))


def test_dedup_store_rejects_options_without_dedup():
    with pytest.raises(
        ValueError, match=r"^dedup must have exact or near, got neither\. Without both, do not create a DedupStore$"
    ):
        DedupStore(Dedup(exact=False), 2**16)


def test_rejected_rows_are_counted_and_stored_keys_remain():
    store = DedupStore(Dedup(near=Near(bands=3)), 52 * 300)
    hashes, bands, candidates = rows_of(310, seed=4, bands=3)
    store.classify(hashes[:299], bands[:299], candidates[:299])
    with pytest.raises(MixError, match=r"enough for 300 documents of 52 bytes\. 299 are stored, and 11 more must be"):
        store.classify(hashes, bands, candidates)
    assert (store.classify(hashes[:299], bands[:299], candidates[:299]) == EXACT).all()
    assert (store.classify(~hashes[:299], bands[:299], candidates[:299]) == NEAR).all()
    assert store.classify(hashes[305:306], bands[305:306], candidates[305:306]).tolist() == [FIRST]


def test_dedup_store_and_its_work_stay_within_memory():
    dedup, rows = Dedup(near=Near()), 1024
    memory = 200 * rows * BYTES_PER_KEY * dedup.keys_per_document
    store, rng, everyone = DedupStore(dedup, memory), np.random.default_rng(0), np.ones(rows, dtype=np.bool_)
    taken = []
    tracemalloc.start()
    try:
        for _ in range(200):
            keys = rng.integers(1, 2**64 - 1, (rows, dedup.keys_per_document + 1), dtype=np.uint64)
            before = tracemalloc.get_traced_memory()[0] - store.nbytes
            tracemalloc.reset_peak()
            assert not store.classify(keys[:, :2], keys[:, 2:], everyone).any()
            taken.append(tracemalloc.get_traced_memory()[1] - before)
    finally:
        tracemalloc.stop()
    assert len(store) == store.capacity
    assert max(taken) <= memory


@pytest.mark.parametrize("rows", [100, 1600, 5000])
@pytest.mark.parametrize("capacity", [9_000, 12_901, 16_300])
def test_keys_and_a_copy_stay_within_memory_when_they_grow(capacity, rows):
    """The allocator decides whether `resize` copies, and the version of NumPy whether tracemalloc counts the copy."""
    memory = capacity * 2 * BYTES_PER_KEY
    table, keys, growths = KeyTable(2, memory), np.ones((rows, 2), dtype=np.uint64), 0
    while len(table) < table.capacity:
        before = table._keys.nbytes
        table.add(keys[: table.capacity - len(table)])
        if table._keys.nbytes > before:
            growths += 1
            assert before + table._keys.nbytes <= memory
    assert growths > 1
    assert table._keys.nbytes == capacity * 2 * 8


def test_jaccard_of_one_requires_equal_signatures():
    store = DedupStore(Dedup(near=Near(3, 2, jaccard=1.0)), 2**16)
    bands = np.array([[5, 6, 7], [5, 6, 7], [5, 6, 8]], dtype=np.uint64)
    hashes = np.array([[1, 0], [2, 0], [3, 0]], dtype=np.uint64)
    assert store.classify(hashes, bands, np.ones(3, bool)).tolist() == [FIRST, NEAR, FIRST]


def test_dedup_store_uses_first_half_of_text_hash():
    store = DedupStore(Dedup(), 2**16)
    hashes = np.array([[1, 8], [2, 8], [1, 9]], dtype=np.uint64)
    assert store.classify(hashes, None, np.ones(3, bool)).tolist() == [FIRST, FIRST, EXACT]
    assert store.keys_since(0).tolist() == [[1], [2]]


def test_document_with_zero_in_last_band_is_stored():
    store = DedupStore(Dedup(exact=False, near=Near(2, 2)), 2**16)
    bands = np.array([[5, 0], [5, 6]], dtype=np.uint64)
    assert store.classify(np.ones((2, 2), np.uint64), bands, np.ones(2, bool)).tolist() == [FIRST, NEAR]


def test_signatures_are_compared_with_first_document_of_the_band():
    store = DedupStore(Dedup(exact=False, near=Near(2, 2, jaccard=0.7)), 2**16)
    bands = np.array([[5, 6 | 9 << 32], [5, 7 | 8 << 32], [5, 6 | 3 << 32]], dtype=np.uint64)
    # Of four minima the third agrees in three with the first document and in two with the second.
    assert store.classify(np.ones((3, 2), np.uint64), bands, np.ones(3, bool)).tolist() == [FIRST, FIRST, NEAR]
