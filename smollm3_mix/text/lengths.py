"""How long a document is, in the units a recipe weighs by."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Ints = npt.NDArray[np.int64]


def byte_lengths(texts: pa.StringArray) -> Ints:
    """UTF-8 bytes of each text, int64[rows]; 0 for null."""
    if not len(texts):
        return np.zeros(0, dtype=np.int64)
    width = np.dtype(np.int64 if pa.types.is_large_string(texts.type) else np.int32)
    offsets = np.frombuffer(texts.buffers()[1], dtype=width, count=len(texts) + 1, offset=texts.offset * width.itemsize)
    lengths = np.diff(offsets).astype(np.int64, copy=False)
    if texts.null_count:  # a null slot may hold bytes
        lengths[np.asarray(texts.is_null())] = 0
    return lengths


def estimate_tokens(lengths: Ints, ratio: float) -> Ints:
    """Tokens of each document, estimated as bytes × the source's measured ratio, rounded, at least 1; int64[rows].

    An estimate: a source's total is off by as much as its ratio is, a single document by more.
    """
    return np.maximum(1, np.rint(lengths * ratio)).astype(np.int64)


def document_units(weigh_by: str, lengths: Ints, tokens: Ints) -> Ints:
    """What each document weighs in the mix, int64[rows], each ≥ 1: its tokens, its bytes, or one."""
    if weigh_by == "tokens":
        return np.maximum(1, tokens)
    if weigh_by == "bytes":
        return np.maximum(1, lengths)
    return np.ones(len(lengths), np.int64)
