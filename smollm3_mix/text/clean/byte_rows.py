"""A block as bytes: the form in which every step of cleaning takes documents and gives them back."""

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
    """Stretches of a block, and what is to stand in their place.

    Attributes:
        start: int64[k], first bytes, increasing.
        end: int64[k], behind the last bytes; each in the document of its start, none above the next start.
        fresh: uint8, all that is new.
        first: int64[k], where in it the part for each begins.
        last: int64[k], where that part ends.
    """

    start: Integers
    end: Integers
    fresh: Bytes
    first: Integers
    last: Integers


class Rows(NamedTuple):
    """Documents end to end.

    Attributes:
        data: uint8[bytes], UTF-8.
        offsets: int64[rows + 1]; document i is data[offsets[i] : offsets[i + 1]], offsets[0] is 0.
    """

    data: Bytes
    offsets: Integers

    def replace_spans(self, spans: Spans) -> "Rows":
        """The same documents with some bytes replaced; the same object if there are no spans."""
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
            spans.fresh,
            spans.first,
            spans.last,
            data,
            len(data),
            offsets,
        )
        return Rows(data, offsets)

    def replace_texts(self, starts: Integers, ends: Integers, texts: Sequence[bytes]) -> "Rows":
        """The same documents with the bytes from each start to its end replaced; the same object if there are none.

        Args:
            starts: int64[k], as in `Spans`.
            ends: int64[k], the same.
            texts: their new bytes, k of them.
        """
        bounds = offsets_of(list(map(len, texts)))
        return self.replace_spans(
            Spans(starts, ends, np.frombuffer(b"".join(texts), np.uint8), bounds[:-1], bounds[1:])
        )


def offsets_of(lengths: Sequence[int]) -> Integers:
    """Offsets, int64[k + 1], of texts with these lengths, end to end."""
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])


def from_arrow(texts: pa.StringArray) -> Rows:
    """View of an Arrow array's bytes, without a copy; null rows are empty.

    Only nulls with bytes under them, which Arrow allows, cost a copy.
    """
    _, offset_buffer, data_buffer = texts.buffers()
    offsets = np.frombuffer(offset_buffer, np.int32)[texts.offset : texts.offset + len(texts) + 1].astype(np.int64)
    if texts.null_count and np.diff(offsets)[~_valid(texts)].any():
        return from_arrow(texts.fill_null(""))
    data = np.frombuffer(data_buffer, np.uint8) if data_buffer is not None else np.zeros(0, np.uint8)
    return Rows(data[offsets[0] : offsets[-1]], offsets - offsets[0])


def to_arrow(rows: Rows, like: pa.StringArray) -> pa.StringArray:
    """Arrow array of the documents, over their bytes, null where `like` is null.

    Raises:
        ValueError: more text than one Arrow string array holds (2 GiB).
    """
    if rows.offsets[-1] > INT32_MAX:
        raise ValueError(
            f"a cleaned block of {rows.offsets[-1]} bytes, and pa.string() holds {INT32_MAX}: use smaller blocks"
        )
    validity = like.is_valid().buffers()[1] if like.null_count else None
    offsets, data = pa.py_buffer(rows.offsets.astype(np.int32)), pa.py_buffer(rows.data)
    return pa.StringArray.from_buffers(len(like), offsets, data, validity, like.null_count)


def _valid(texts: pa.StringArray) -> Flags:
    valid: Flags = texts.is_valid().to_numpy(zero_copy_only=False)
    return valid
