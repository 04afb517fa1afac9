"""Windows of a line of tokens: every token used once, places that say where documents begin."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from smollm3_mix.text.token_windows import cu_seqlens, windows


def packed(documents, length):
    """What `windows` gives for documents of these lengths, whose tokens count 0, 1, 2, …"""
    edges = np.cumsum([0, *documents])
    return windows(np.arange(edges[-1], dtype=np.int32), edges[:-1].astype(np.int64), length)


def test_windows_of_three_documents():
    ids, places = packed([3, 4, 5], 4)
    assert ids.tolist() == [[0, 1, 2, 3, 4], [4, 5, 6, 7, 8]]
    assert places.tolist() == [[0, 1, 2, 0, 1], [0, 1, 2, 0, 1]]
    assert (ids.dtype, places.dtype) == (np.int32, np.int32)


@given(st.lists(st.integers(0, 30), max_size=30), st.integers(1, 12))
def test_windows_and_position_ids_match_reference(documents, length):
    ids, places = packed(documents, length)
    total = sum(documents)
    begins = np.cumsum([0, *documents])[:-1].tolist()
    assert len(ids) == max(total - 1, 0) // length
    for number, (row, place) in enumerate(zip(ids.tolist(), places.tolist(), strict=True)):
        first = number * length
        assert row == list(range(first, first + length + 1))
        assert place == [at - max([first, *(b for b in begins if first < b <= at)]) for at in row]


def test_windows_overlap_by_one_token():
    ids, _ = packed([100], 7)
    assert (ids[1:, 0] == ids[:-1, -1]).all()
    assert ids[:, :-1].ravel().tolist() == list(range(98))


def test_windows_are_empty_for_too_few_tokens():
    for documents in ([], [0], [4], [2, 2]):
        ids, places = packed(documents, 4)
        assert ids.shape == places.shape == (0, 5)


def test_cu_seqlens_restart_in_every_row():
    _, places = packed([3, 4, 5], 4)
    ends = cu_seqlens(places[:, :-1])
    assert ends.tolist() == [0, 3, 4, 7, 8]
    assert ends.dtype == np.int32
    assert cu_seqlens(places[0, :-1]).tolist() == [0, 3, 4]
