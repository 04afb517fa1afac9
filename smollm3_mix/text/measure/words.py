"""Words of a block and their 64-bit hashes, computed in one pass for filters and near dedup."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from smollm3_mix.text.kernels import native
from smollm3_mix.text.measure.code_points import Bytes, CharacterCounts, Ints, count_characters, letters_and_numbers

Hashes = npt.NDArray[np.uint64]

_MULTIPLIER_1, _MULTIPLIER_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)  # multipliers of splitmix64
_LONG = 1024  # bytes. Longer words, such as base64 data or minified files, are hashed by hashlib


@dataclass(frozen=True, eq=False)
class Words:
    """Words of a block of documents, separated as by `str.split()`.

    Words do not span documents. A null document has no words, like an empty one. The words of a document do not depend
    on the block, except for the offsets, which are relative to it.

    Attributes:
        data: UTF-8 bytes of the block, uint8[bytes], read-only. Not copied from Arrow unless a null has bytes.
        offsets: int64[rows + 1]. Document i is data[offsets[i]:offsets[i + 1]].
        starts: Position of the first byte of each word in `data`, int64[words], ascending.
        ends: Position after the last byte of each word, int64[words].
        first: int64[rows + 1]. Document i has the words first[i] to first[i + 1] - 1.
    """

    data: Bytes
    offsets: Ints
    starts: Ints
    ends: Ints
    first: Ints

    @property
    def hashes(self) -> Hashes:
        """Hash of the bytes of each word, uint64[words], the same on every machine. Computed on first use.

        Different words collide with probability 2^-64. The hash is not cryptographic, so collisions can be constructed.
        """
        return self.features.hashes

    @cached_property
    def features(self) -> WordFeatures:
        """Features of the words. Computed on first use."""
        count, rows, table = len(self.starts), len(self.first) - 1, letters_and_numbers()
        hashes, code_point_offsets = np.empty(count, dtype=np.uint64), np.empty(count + 1, dtype=np.int64)
        counts = np.empty((3, rows), dtype=np.int64)
        parts = (self.data, len(self.data), self.starts, self.ends, self.first, rows, _LONG, table, len(table))
        if native.word_features(*parts, hashes, code_point_offsets, counts):
            _hash_long(self.data, self.starts, self.ends, hashes)
        return WordFeatures(hashes, code_point_offsets, *counts)

    @cached_property
    def characters(self) -> CharacterCounts:
        """Character counts of each document. Computed on first use."""
        return count_characters(self.data, self.offsets)


class WordFeatures(NamedTuple):
    """Features of the words of a block.

    Attributes:
        hashes: See `Words.hashes`, uint64[words].
        code_point_offsets: Running sum of the code points of the words, int64[words + 1].
        with_letters: Words of each document with at least one letter or mark of any script, int64[rows].
        symbol_words: Words of each document without a letter, mark or number of any script, int64[rows].
        symbol_code_points: Code points of the symbol words of each document, int64[rows].
    """

    hashes: Hashes
    code_point_offsets: Ints
    with_letters: Ints
    symbol_words: Ints
    symbol_code_points: Ints


def find_words(texts: pa.StringArray) -> Words:
    """Find the words of each document.

    Args:
        texts: string or large_string array of valid UTF-8, sliced or not. Null has no words.

    Raises:
        TypeError: If `texts` is not an Arrow string array.

    >>> found = find_words(pa.array(["two words", None, "one"]))
    >>> found.first.tolist(), found.starts.tolist(), found.ends.tolist()
    ([0, 2, 2, 3], [0, 4, 9], [3, 9, 12])
    """
    data, offsets = text_view(texts)
    if texts.null_count and np.diff(offsets)[np.asarray(texts.is_null())].any():  # Arrow allows bytes in null slots
        data, offsets = text_view(pc.fill_null(texts, ""))
    capacity = (len(data) + len(texts)) // 2 + 8
    starts, ends = np.empty(capacity, dtype=np.int64), np.empty(capacity, dtype=np.int64)
    first = np.empty(len(texts) + 1, dtype=np.int64)
    count = native.find_words(data, offsets, len(texts), starts, ends, first)
    for positions in (starts, ends):
        positions.resize(count, refcheck=False)
    return Words(data, offsets, starts, ends, first)


def text_view(texts: pa.StringArray) -> tuple[Bytes, Ints]:
    """Return a view of the UTF-8 bytes of a block, uint8, and the offsets of its documents, int64[rows + 1]."""
    if not isinstance(texts, pa.StringArray | pa.LargeStringArray):
        raise TypeError(
            f"texts must be a pyarrow string array, got {type(texts).__name__}. Cast it or combine its chunks"
        )
    _, offsets, buffer = texts.buffers()
    if len(texts) == 0 or buffer is None:
        return np.zeros(0, dtype=np.uint8), np.zeros(len(texts) + 1, dtype=np.int64)
    width = np.dtype(np.int32 if isinstance(texts, pa.StringArray) else np.int64)
    absolute = np.frombuffer(offsets, dtype=width, count=len(texts) + 1, offset=texts.offset * width.itemsize)
    begin, end = int(absolute[0]), int(absolute[-1])
    return np.frombuffer(buffer, dtype=np.uint8, count=end - begin, offset=begin), absolute.astype(np.int64) - begin


def hash_runs(data: Bytes, starts: Ints, ends: Ints) -> Hashes:
    """Return the hash of each run of bytes data[starts[i]:ends[i]], uint64[runs]. The same on every machine."""
    hashes = np.empty(len(starts), dtype=np.uint64)
    if native.hash_runs(data, len(data), starts, ends, len(starts), _LONG, hashes):
        _hash_long(data, starts, ends, hashes)
    return hashes


def _hash_long(data: Bytes, starts: Ints, ends: Ints, hashes: Hashes) -> None:
    """Set the hashes of the runs that are longer than _LONG."""
    for run in np.flatnonzero(ends - starts > _LONG):
        digest = hashlib.blake2b(data[starts[run] : ends[run]].tobytes(), digest_size=8).digest()
        hashes[run] = int.from_bytes(digest, "little")


def mix_bits(x: Hashes) -> Hashes:
    """Return the splitmix64 finalizer of x, in which every bit affects every bit of the result. A bijection."""
    x = x ^ (x >> np.uint64(30))
    x *= _MULTIPLIER_1
    x ^= x >> np.uint64(27)
    x *= _MULTIPLIER_2
    x ^= x >> np.uint64(31)
    return x


def runs(space: npt.NDArray[np.bool_], offsets: Ints) -> tuple[Ints, Ints]:
    """Return the starts and ends of the runs of False in `space`, int64 twice. Runs do not span documents."""
    size = len(space)
    if size == 0:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    edge = np.empty(size + 1, dtype=np.bool_)
    edge[0], edge[size] = not space[0], not space[-1]
    np.not_equal(space[1:], space[:-1], out=edge[1:size])
    edges = np.flatnonzero(edge)
    inner = np.unique(offsets[(offsets > 0) & (offsets < size)])
    joined = inner[~space[inner] & ~space[inner - 1]]  # a run would span two documents
    if len(joined):
        twice = np.repeat(joined, 2)
        edges = np.insert(edges, np.searchsorted(edges, twice), twice)
    return edges[0::2].astype(np.int64), edges[1::2].astype(np.int64)
