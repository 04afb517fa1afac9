"""A block as bytes: the form in which every step of cleaning takes documents and gives them back."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Bytes = npt.NDArray[np.uint8]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

INT32_MAX = 2**31 - 1
# Cuts rarer than one in so many bytes are made by joining what lies between; denser ones by a mask over every byte.
SPARSE = 256


class Rows(NamedTuple):
    """Documents end to end.

    Attributes:
        data: uint8[bytes], UTF-8.
        offsets: int64[rows + 1]; document i is data[offsets[i] : offsets[i + 1]], offsets[0] is 0.
    """

    data: Bytes
    offsets: Integers

    def at(self, positions: Integers) -> Integers:
        """Document that each byte position lies in: int64, as many as positions."""
        return np.searchsorted(self.offsets, positions, side="right") - 1

    def meets(self, positions: Integers) -> Flags:
        """Whether a document starts or ends at each byte position: bool, as many as positions."""
        met: Flags = self.offsets[np.searchsorted(self.offsets, positions)] == positions
        return met

    def parts(self, size: int) -> "list[Rows]":
        """The same documents, cut before each that a multiple of `size` bytes falls in; views on the data."""
        cuts = np.searchsorted(self.offsets, np.arange(size, self.offsets[-1], size), side="right") - 1
        bounds = np.unique(np.concatenate([[0], cuts, [len(self.offsets) - 1]])).tolist()
        return [
            Rows(
                self.data[self.offsets[first] : self.offsets[last]],
                self.offsets[first : last + 1] - self.offsets[first],
            )
            for first, last in pairwise(bounds)
        ]

    def without(self, start: Integers, end: Integers) -> "Rows":
        """The same documents but for the bytes from each start to its end, which lie in one document each.

        Args:
            start: int64[k], increasing.
            end: int64[k], increasing, each above its start.
        """
        removed = end - start
        total = np.concatenate([[0], np.cumsum(removed)])
        if len(start) < len(self.data) // SPARSE:
            view = self.data.data
            bounds = zip([0, *end.tolist()], [*start.tolist(), len(self.data)], strict=True)
            data = np.frombuffer(b"".join([view[first:last] for first, last in bounds]), np.uint8)
        else:
            keep = np.ones(len(self.data), np.bool_)
            keep[np.repeat(start - total[:-1], removed) + np.arange(total[-1])] = False
            data = self.data[keep]
        return Rows(data, self.offsets - total[np.searchsorted(start, self.offsets)])

    def with_rows(self, rows: Integers, texts: Sequence[bytes]) -> "Rows":
        """The same documents with some replaced; the same object if `rows` is empty.

        Args:
            rows: int64[k], numbers of the documents to replace, increasing.
            texts: their new bytes, k of them.
        """
        if not len(rows):
            return self
        data, offsets = self.data.data, self.offsets
        pieces: list[bytes | memoryview] = []
        last = 0
        for text, start, end in zip(texts, offsets[rows].tolist(), offsets[rows + 1].tolist(), strict=True):
            pieces += (data[last:start], text)
            last = end
        pieces.append(data[last:])
        lengths = np.diff(offsets)
        lengths[rows] = [len(text) for text in texts]
        return Rows(np.frombuffer(b"".join(pieces), np.uint8), offsets_of(lengths))


def offsets_of(lengths: Integers) -> Integers:
    """Offsets, int64[rows + 1], of documents with these lengths in bytes."""
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


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


def to_arrow(parts: Sequence[Rows], like: pa.StringArray) -> pa.StringArray:
    """Arrow array of all the parts' documents, null where `like` is null.

    Raises:
        ValueError: more text than one Arrow string array holds (2 GiB).
    """
    offsets = offsets_of(np.concatenate([np.diff(part.offsets) for part in parts]))
    if offsets[-1] > INT32_MAX:
        raise ValueError(
            f"a cleaned block of {offsets[-1]} bytes, and pa.string() holds {INT32_MAX}: use smaller blocks"
        )
    data = b"".join([part.data.data for part in parts])
    validity = like.is_valid().buffers()[1] if like.null_count else None
    return pa.StringArray.from_buffers(
        len(like), pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(data), validity, like.null_count
    )


def _valid(texts: pa.StringArray) -> Flags:
    valid: Flags = texts.is_valid().to_numpy(zero_copy_only=False)
    return valid
