"""Lengths of documents, in the units that a recipe weighs by."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Ints = npt.NDArray[np.int64]


def byte_lengths(texts: pa.StringArray) -> Ints:
    """Return the UTF-8 bytes of each text, int64[rows]. Null has 0."""
    if not len(texts):
        return np.zeros(0, dtype=np.int64)
    width = np.dtype(np.int64 if pa.types.is_large_string(texts.type) else np.int32)
    offsets = np.frombuffer(texts.buffers()[1], dtype=width, count=len(texts) + 1, offset=texts.offset * width.itemsize)
    lengths = np.diff(offsets).astype(np.int64, copy=False)
    if texts.null_count:  # a null slot may have bytes
        lengths[np.asarray(texts.is_null())] = 0
    return lengths


def estimate_tokens(lengths: Ints, ratio: float) -> Ints:
    """Estimate the tokens of each document: bytes × tokens per byte of the source, rounded, at least 1, int64[rows].

    The error of the total of a source is that of its ratio. The error of a single document can be larger.
    """
    return np.maximum(1, np.rint(lengths * ratio)).astype(np.int64)


def document_units(weigh_by: str, lengths: Ints, tokens: Ints) -> Ints:
    """Return the units of each document, int64[rows], each at least 1: its tokens, its bytes, or one."""
    if weigh_by == "tokens":
        return np.maximum(1, tokens)
    if weigh_by == "bytes":
        return np.maximum(1, lengths)
    return np.ones(len(lengths), np.int64)
