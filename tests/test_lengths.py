"""Lengths of documents in bytes, tokens and units."""

import numpy as np
import pyarrow as pa
import pytest

from smollm3_mix.text.lengths import byte_lengths, document_units, estimate_tokens


def hidden(kind: pa.DataType) -> pa.Array:
    """The texts "a", null, "éé" and null, with bytes under both nulls."""
    offsets = np.array([0, 1, 7, 11, 13], np.int64 if kind == pa.large_string() else np.int32)
    buffers = [pa.py_buffer(b"\x05"), pa.py_buffer(offsets), pa.py_buffer("ahiddenééxx".encode())]
    return pa.Array.from_buffers(kind, 4, buffers)


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()], ids=str)
def test_bytes_under_a_null_are_not_counted(kind: pa.DataType) -> None:
    texts = hidden(kind)
    assert texts.to_pylist() == ["a", None, "éé", None]
    assert byte_lengths(texts).tolist() == [1, 0, 4, 0]
    assert byte_lengths(texts[1:]).tolist() == [0, 4, 0]
    assert byte_lengths(texts[2:3]).tolist() == [4]
    assert byte_lengths(texts[:0]).tolist() == []


def test_estimated_tokens_are_rounded_and_at_least_one() -> None:
    assert estimate_tokens(np.array([0, 1, 2, 3, 5, 7, 9, 11]), 0.3).tolist() == [1, 1, 1, 1, 2, 2, 3, 3]
    assert estimate_tokens(np.array([6, 10, 11]), 0.25).tolist() == [2, 2, 3]  # 1.5, 2.5 and 2.75


def test_document_units_are_at_least_one() -> None:
    lengths, tokens = np.array([0, 7, 30]), np.array([0, 2, 9])
    assert document_units("tokens", lengths, tokens).tolist() == [1, 2, 9]
    assert document_units("bytes", lengths, tokens).tolist() == [1, 7, 30]
    assert document_units("documents", lengths, tokens).tolist() == [1, 1, 1]
