"""Where the words of a block are, and 64-bit hashes of them: one pass that judge and near dedup share."""

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

_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)  # multipliers of splitmix64
_LONG = 1024  # bytes; a word longer than this (a base64 blob, a minified file) is hashed by hashlib


@dataclass(frozen=True, eq=False)
class Words:
    """Places of all words of a block of documents: the maximal runs of characters that `str.split()` keeps.

    Words never reach over the border of two documents. A null document has no words, like an empty one. The same
    documents have the same words however they are cut into blocks, up to the offsets, which count from the block.

    Attributes:
        data: uint8[bytes], UTF-8 bytes of the block, read-only, not copied from Arrow unless a null holds bytes.
        offsets: int64[rows + 1]; document i is data[offsets[i]:offsets[i + 1]].
        starts: int64[words], offset into `data` of each word's first byte, ascending.
        ends: int64[words], offset behind each word's last byte.
        first: int64[rows + 1]; the words of document i are number first[i] to first[i + 1] - 1.
    """

    data: Bytes
    offsets: Ints
    starts: Ints
    ends: Ints
    first: Ints

    @property
    def hashes(self) -> Hashes:
        """uint64[words]: equal for equal bytes, else different but for 64-bit chance; the same on every machine.

        Computed on first use. Not promised: resistance to someone who looks for two words with one hash.
        """
        return self.features.hashes

    @cached_property
    def features(self) -> WordFeatures:
        """What the words are made of; computed on first use."""
        count, rows, table = len(self.starts), len(self.first) - 1, letters_and_numbers()
        hashes, places = np.empty(count, dtype=np.uint64), np.empty(count + 1, dtype=np.int64)
        counts = np.empty((3, rows), dtype=np.int64)
        parts = (self.data, len(self.data), self.starts, self.ends, self.first, rows, _LONG, table, len(table))
        if native.word_features(*parts, hashes, places, counts):
            _hash_long(self.data, self.starts, self.ends, hashes)
        return WordFeatures(hashes, places, *counts)

    @cached_property
    def characters(self) -> CharacterCounts:
        """What each document holds; computed on first use."""
        return count_characters(self.data, self.offsets)


class WordFeatures(NamedTuple):
    """What the words of a block are made of.

    Attributes:
        hashes: uint64[words]; see `Words.hashes`.
        code_point_offsets: int64[words + 1]: running sum of the words' code points.
        with_letters: int64[rows]: words of each document with at least one letter or mark, of any script.
        symbol_words: int64[rows]: words of each document of symbols alone (no letter, mark or number).
        symbol_code_points: int64[rows]: code points of these.
    """

    hashes: Hashes
    code_point_offsets: Ints
    with_letters: Ints
    symbol_words: Ints
    symbol_code_points: Ints


def find_words(texts: pa.StringArray) -> Words:
    """Words of each document; see `Words`.

    Args:
        texts: string or large_string array of valid UTF-8, sliced or not; null = no words.

    Raises:
        TypeError: `texts` is no Arrow string array.

    >>> found = find_words(pa.array(["two words", None, "one"]))
    >>> found.first.tolist(), found.starts.tolist(), found.ends.tolist()
    ([0, 2, 2, 3], [0, 4, 9], [3, 9, 12])
    """
    data, offsets = text_view(texts)
    if texts.null_count and np.diff(offsets)[np.asarray(texts.is_null())].any():  # Arrow lets a null slot hold bytes
        data, offsets = text_view(pc.fill_null(texts, ""))
    most = (len(data) + len(texts)) // 2 + 8
    starts, ends = np.empty(most, dtype=np.int64), np.empty(most, dtype=np.int64)
    first = np.empty(len(texts) + 1, dtype=np.int64)
    count = native.find_words(data, offsets, len(texts), starts, ends, first)
    for places in (starts, ends):
        places.resize(count, refcheck=False)
    return Words(data, offsets, starts, ends, first)


def text_view(texts: pa.StringArray) -> tuple[Bytes, Ints]:
    """UTF-8 bytes of a block (uint8, not copied) and where each document starts in them (int64[rows + 1])."""
    if not isinstance(texts, pa.StringArray | pa.LargeStringArray):
        raise TypeError(
            f"texts must be a pyarrow string array, got {type(texts).__name__}. Cast it or combine its chunks"
        )
    _, places, buffer = texts.buffers()
    if len(texts) == 0 or buffer is None:
        return np.zeros(0, dtype=np.uint8), np.zeros(len(texts) + 1, dtype=np.int64)
    width = np.dtype(np.int32 if isinstance(texts, pa.StringArray) else np.int64)
    absolute = np.frombuffer(places, dtype=width, count=len(texts) + 1, offset=texts.offset * width.itemsize)
    begin, end = int(absolute[0]), int(absolute[-1])
    return np.frombuffer(buffer, dtype=np.uint8, count=end - begin, offset=begin), absolute.astype(np.int64) - begin


def hash_runs(data: Bytes, starts: Ints, ends: Ints) -> Hashes:
    """uint64[runs]: hash of data[starts[i]:ends[i]], equal for equal bytes; the same on every machine."""
    hashes = np.empty(len(starts), dtype=np.uint64)
    if native.hash_runs(data, len(data), starts, ends, len(starts), _LONG, hashes):
        _hash_long(data, starts, ends, hashes)
    return hashes


def _hash_long(data: Bytes, starts: Ints, ends: Ints, hashes: Hashes) -> None:
    """Put in the hashes of the runs that are longer than _LONG."""
    for run in np.flatnonzero(ends - starts > _LONG):
        digest = hashlib.blake2b(data[starts[run] : ends[run]].tobytes(), digest_size=8).digest()
        hashes[run] = int.from_bytes(digest, "little")


def mix_bits(x: Hashes) -> Hashes:
    """Finaliser that spreads every bit of x over the result (a bijection; constants of splitmix64)."""
    x = x ^ (x >> np.uint64(30))
    x *= _FIRST
    x ^= x >> np.uint64(27)
    x *= _SECOND
    x ^= x >> np.uint64(31)
    return x


def runs(space: npt.NDArray[np.bool_], offsets: Ints) -> tuple[Ints, Ints]:
    """Starts and ends (int64) of the runs of False in `space`, cut where a document begins."""
    size = len(space)
    if size == 0:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    edge = np.empty(size + 1, dtype=np.bool_)
    edge[0], edge[size] = not space[0], not space[-1]
    np.not_equal(space[1:], space[:-1], out=edge[1:size])
    edges = np.flatnonzero(edge)
    inner = np.unique(offsets[(offsets > 0) & (offsets < size)])
    joined = inner[~space[inner] & ~space[inner - 1]]  # a word would run on into the next document
    if len(joined):
        twice = np.repeat(joined, 2)
        edges = np.insert(edges, np.searchsorted(edges, twice), twice)
    return edges[0::2].astype(np.int64), edges[1::2].astype(np.int64)
