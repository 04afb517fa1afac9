"""How long a document is, in the units a recipe weighs by."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Ints = npt.NDArray[np.int64]


def byte_lengths(texts: pa.StringArray) -> Ints:
    """UTF-8 bytes of each text, int64[rows]; 0 for null."""
    lengths = pc.fill_null(pc.binary_length(texts), 0)
    return np.asarray(lengths.to_numpy(zero_copy_only=False), dtype=np.int64)


def tokens_per_byte(lengths: Ints, ratio: float) -> Ints:
    """Tokens of each document, estimated as bytes × the source's measured ratio, rounded, at least 1; int64[rows].

    An estimate: a source's total is off by as much as its ratio is, a single document by more.
    """
    return np.maximum(1, np.rint(lengths * ratio)).astype(np.int64)


def units(weigh_by: str, lengths: Ints, tokens: Ints) -> Ints:
    """What each document weighs in the mix, int64[rows], each ≥ 1: its tokens, its bytes, or one."""
    if weigh_by == "tokens":
        return np.maximum(1, tokens)
    if weigh_by == "bytes":
        return np.maximum(1, lengths)
    return np.ones(len(lengths), np.int64)
