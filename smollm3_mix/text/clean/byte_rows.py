"""Blocks of documents as bytes, the input and output of every cleaning step."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from smollm3_mix.text.kernels import native

Bytes = npt.NDArray[np.uint8]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

INT32_MAX = 2**31 - 1


class Spans(NamedTuple):
    """Spans of bytes in a block, and their replacements.

    Attributes:
        start: First byte of each span, int64[k], increasing.
        end: End of each span, int64[k]. It is in the same document and not beyond the next start.
        new_bytes: All replacements, uint8.
        first: Start of the replacement of each span in `new_bytes`, int64[k].
        last: End of the replacement of each span in `new_bytes`, int64[k].
    """

    start: Integers
    end: Integers
    new_bytes: Bytes
    first: Integers
    last: Integers


class Rows(NamedTuple):
    """Concatenated documents.

    Attributes:
        data: UTF-8, uint8[bytes].
        offsets: int64[rows + 1]. Document i is data[offsets[i] : offsets[i + 1]], and offsets[0] is 0.
    """

    data: Bytes
    offsets: Integers

    def replace_spans(self, spans: Spans) -> "Rows":
        """Return the documents with the spans replaced, or the same object if there are no spans."""
        if not len(spans.start):
            return self
        more = int((spans.last - spans.first).sum() - (spans.end - spans.start).sum())
        data, offsets = np.empty(len(self.data) + more, np.uint8), np.empty_like(self.offsets)
        native.replace_spans(
            self.data,
            self.offsets,
            len(offsets) - 1,
            spans.start,
            spans.end,
            len(spans.start),
            spans.new_bytes,
            spans.first,
            spans.last,
            data,
            len(data),
            offsets,
        )
        return Rows(data, offsets)

    def replace_texts(self, starts: Integers, ends: Integers, texts: Sequence[bytes]) -> "Rows":
        """Return the documents with the bytes from each start to its end replaced, or the same object without spans.

        Args:
            starts: First byte of each span, as in `Spans`.
            ends: End of each span, as in `Spans`.
            texts: Replacement of each span.
        """
        bounds = offsets_of(list(map(len, texts)))
        return self.replace_spans(
            Spans(starts, ends, np.frombuffer(b"".join(texts), np.uint8), bounds[:-1], bounds[1:])
        )


def offsets_of(lengths: Sequence[int]) -> Integers:
    """Return the offsets of concatenated texts of these lengths, int64[k + 1]."""
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])


def from_arrow(texts: pa.StringArray) -> Rows:
    """Return a view of the bytes of an Arrow array. Null rows are empty.

    Copies only if a null row has bytes, which Arrow allows.
    """
    _, offset_buffer, data_buffer = texts.buffers()
    offsets = np.frombuffer(offset_buffer, np.int32)[texts.offset : texts.offset + len(texts) + 1].astype(np.int64)
    if texts.null_count and np.diff(offsets)[~_valid(texts)].any():
        return from_arrow(texts.fill_null(""))
    data = np.frombuffer(data_buffer, np.uint8) if data_buffer is not None else np.zeros(0, np.uint8)
    return Rows(data[offsets[0] : offsets[-1]], offsets - offsets[0])


def to_arrow(rows: Rows, like: pa.StringArray) -> pa.StringArray:
    """Return the documents as an Arrow array that shares their bytes. Rows that are null in `like` are null.

    Raises:
        ValueError: If the text exceeds the limit of one Arrow string array (2 GiB).
    """
    if rows.offsets[-1] > INT32_MAX:
        raise ValueError(
            f"a cleaned block has {rows.offsets[-1]:,} bytes, but pa.string() is limited to {INT32_MAX:,}. "
            "Set block.rows to a smaller number"
        )
    validity = like.is_valid().buffers()[1] if like.null_count else None
    offsets, data = pa.py_buffer(rows.offsets.astype(np.int32)), pa.py_buffer(rows.data)
    return pa.StringArray.from_buffers(len(like), offsets, data, validity, like.null_count)


def _valid(texts: pa.StringArray) -> Flags:
    valid: Flags = texts.is_valid().to_numpy(zero_copy_only=False)
    return valid
