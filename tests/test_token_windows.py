"""Windows of a token stream: every token is used once, and position ids restart with each document."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from smollm3_mix.text.token_windows import cu_seqlens, windows


def cut(documents, length):
    """Return the windows of documents of these lengths, with tokens 0, 1, 2, …"""
    edges = np.cumsum([0, *documents])
    return windows(np.arange(edges[-1], dtype=np.int32), edges[:-1].astype(np.int64), length)


def test_windows_of_three_documents():
    ids, position_ids = cut([3, 4, 5], 4)
    assert ids.tolist() == [[0, 1, 2, 3, 4], [4, 5, 6, 7, 8]]
    assert position_ids.tolist() == [[0, 1, 2, 0, 1], [0, 1, 2, 0, 1]]
    assert (ids.dtype, position_ids.dtype) == (np.int32, np.int32)


@given(st.lists(st.integers(0, 30), max_size=30), st.integers(1, 12))
def test_windows_and_position_ids_match_reference(documents, length):
    ids, position_ids = cut(documents, length)
    total = sum(documents)
    begins = np.cumsum([0, *documents])[:-1].tolist()
    assert len(ids) == max(total - 1, 0) // length
    for number, (row, positions) in enumerate(zip(ids.tolist(), position_ids.tolist(), strict=True)):
        first = number * length
        assert row == list(range(first, first + length + 1))
        assert positions == [at - max([first, *(b for b in begins if first < b <= at)]) for at in row]


def test_windows_overlap_by_one_token():
    ids, _ = cut([100], 7)
    assert (ids[1:, 0] == ids[:-1, -1]).all()
    assert ids[:, :-1].ravel().tolist() == list(range(98))


def test_windows_are_empty_for_too_few_tokens():
    for documents in ([], [0], [4], [2, 2]):
        ids, position_ids = cut(documents, 4)
        assert ids.shape == position_ids.shape == (0, 5)


def test_cu_seqlens_restart_in_every_row():
    _, position_ids = cut([3, 4, 5], 4)
    ends = cu_seqlens(position_ids[:, :-1])
    assert ends.tolist() == [0, 3, 4, 7, 8]
    assert ends.dtype == np.int32
    assert cu_seqlens(position_ids[0, :-1]).tolist() == [0, 3, 4]
