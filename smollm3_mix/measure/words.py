"""Where the words of a block are, and 64-bit hashes of them: one pass that judge and near dedup share."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio: the increment of splitmix64 (Steele et al. 2014)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)  # multipliers of splitmix64
_KEEP = np.array([(1 << 8 * k) - 1 for k in range(9)], dtype=np.uint64)  # mask of the first k bytes of a load
_SPACES = (0x1680, 0x2028, 0x2029, 0x202F, 0x205F, 0x3000)  # white space of three bytes beside U+2000 to U+200A
_LONG = 1024  # bytes; a word longer than this (a base64 blob, a minified file) is hashed by hashlib


@dataclass(frozen=True, eq=False)
class Words:
    """Places of all words of a block of documents: the maximal runs of characters that `str.split()` keeps.

    Words never reach over the border of two documents. A null document has no words, like an empty one. The same
    documents have the same words however they are cut into blocks, up to the offsets, which count from the block.

    Attributes:
        data: uint8[bytes], UTF-8 bytes of the block, read-only, not copied from Arrow.
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

    @cached_property
    def hashes(self) -> Hashes:
        """uint64[words]: equal for equal bytes, else different but for 64-bit chance; the same on every machine.

        Computed on first use. Not promised: resistance to someone who looks for two words with one hash.
        """
        return hash_runs(self.data, self.starts, self.ends)

    def among(self, rows: npt.NDArray[np.bool_]) -> Words:
        """The same block as if the documents not marked in bool[rows] had no words; no word is hashed again."""
        count = np.diff(self.first)
        kept = np.repeat(rows, count)
        first = np.zeros(len(self.first), dtype=np.int64)
        np.cumsum(np.where(rows, count, 0), out=first[1:])
        some = Words(self.data, self.offsets, self.starts[kept], self.ends[kept], first)
        if "hashes" in self.__dict__:
            some.__dict__["hashes"] = self.hashes[kept]  # where `cached_property` keeps it
        return some


def words(texts: pa.StringArray) -> Words:
    """Words of each document; see `Words`.

    Args:
        texts: string or large_string array of valid UTF-8, sliced or not; null = no words.

    Raises:
        TypeError: `texts` is no Arrow string array.

    >>> found = words(pa.array(["two words", None, "one"]))
    >>> found.first.tolist(), found.starts.tolist(), found.ends.tolist()
    ([0, 2, 2, 3], [0, 4, 9], [3, 9, 12])
    """
    data, offsets = text_view(texts)
    space = _spaces(data)
    if texts.null_count:
        hidden = texts.is_null().to_numpy(zero_copy_only=False) & (np.diff(offsets) > 0)
        for row in np.flatnonzero(hidden):  # Arrow lets a null slot hold bytes
            space[offsets[row] : offsets[row + 1]] = True
    starts, ends = runs(space, offsets)
    return Words(data, offsets, starts, ends, np.searchsorted(starts, offsets).astype(np.int64, copy=False))


def text_view(texts: pa.StringArray) -> tuple[Bytes, Ints]:
    """UTF-8 bytes of a block (uint8, not copied) and where each document starts in them (int64[rows + 1])."""
    if not isinstance(texts, pa.StringArray | pa.LargeStringArray):
        raise TypeError(f"expected a pyarrow string array, got {type(texts).__name__}; cast it, or combine its chunks")
    _, places, buffer = texts.buffers()
    if len(texts) == 0 or buffer is None:
        return np.zeros(0, dtype=np.uint8), np.zeros(len(texts) + 1, dtype=np.int64)
    width = np.dtype(np.int32 if isinstance(texts, pa.StringArray) else np.int64)
    absolute = np.frombuffer(places, dtype=width, count=len(texts) + 1, offset=texts.offset * width.itemsize)
    begin, end = int(absolute[0]), int(absolute[-1])
    return np.frombuffer(buffer, dtype=np.uint8, count=end - begin, offset=begin), absolute.astype(np.int64) - begin


def hash_runs(data: Bytes, starts: Ints, ends: Ints) -> Hashes:
    """uint64[runs]: hash of data[starts[i]:ends[i]], equal for equal bytes.

    Eight bytes are loaded at a time: the first and the last eight of every run, the second and the last but one of
    those longer than 16, then what lies between in the few that are longer than 32; loads may overlap. (A polynomial
    over prefix sums takes four times as long.) Loads are little-endian on every machine.
    """
    padded = np.empty(len(data) + 8, dtype=np.uint8)  # the last load may reach 7 bytes past the end
    padded[: len(data)] = data
    padded[len(data) :] = 0
    loads: Hashes = np.ndarray((len(data) + 1,), dtype="<u8", buffer=padded.data, strides=(1,))
    length = ends - starts
    hashes = loads[starts]
    hashes &= _KEEP.take(length, mode="clip")
    hashes += length.view(np.uint64) * _GOLDEN
    _stir(hashes, _FIRST)
    longer = np.flatnonzero(length > 8)
    if len(longer):
        behind = ends[longer]
        tails = _stir(loads[behind - 8], _SECOND)
        tails += hashes[longer]
        more = np.flatnonzero(length[longer] > 16)
        inner = _stir(loads[starts[longer[more]] + 8], _SECOND)
        inner += loads[behind[more] - 16]
        tails[more] += _stir(inner, _FIRST)
        hashes[longer] = _stir(tails, _SECOND)
        longest = longer[more[length[longer[more]] > 32]]
        some = longest[length[longest] <= _LONG]
        hashes[some] += _between(loads, starts[some] + 16, ends[some] - 16)
        for run in longest[length[longest] > _LONG]:
            digest = hashlib.blake2b(data[starts[run] : ends[run]].tobytes(), digest_size=8).digest()
            hashes[run] = int.from_bytes(digest, "little")
    return hashes


def _stir(x: Hashes, factor: np.uint64) -> Hashes:
    """The product of x and an odd factor, its upper half put into its lower half too: a bijection, made in place."""
    x *= factor
    x ^= x >> np.uint64(32)
    return x


def _between(loads: Hashes, starts: Ints, ends: Ints) -> Hashes:
    """uint64[runs]: sum of the scrambled loads of each run; sixteen bytes or more of its word lie behind each."""
    if not len(starts):
        return np.zeros(0, dtype=np.uint64)
    count = (ends - starts + 7) >> 3
    behind = np.cumsum(count)
    base = behind - count
    step = np.arange(int(behind[-1])) - np.repeat(base, count)
    load = loads[np.repeat(starts, count) + 8 * step]
    sums: Hashes = np.add.reduceat(scrambled(load + (step + 1).astype(np.uint64) * _GOLDEN), base)
    return sums


def scrambled(x: Hashes) -> Hashes:
    """Finaliser that spreads every bit of x over the result (a bijection; constants of splitmix64)."""
    x = x ^ (x >> np.uint64(30))
    x *= _FIRST
    x ^= x >> np.uint64(27)
    x *= _SECOND
    x ^= x >> np.uint64(31)
    return x


def _spaces(data: Bytes) -> npt.NDArray[np.bool_]:
    """bool[bytes]: True for each byte of a character that `str.isspace` knows."""
    space = data == 0x20
    space |= (data - np.uint8(0x09)) < 5  # \t \n \v \f \r
    space |= (data - np.uint8(0x1C)) < 4  # the four separators
    if len(data) < 2 or data.max() < 0x80:
        return space
    # All others are C2 85, C2 A0, E1 9A 80, E2 80 xx, E2 81 9F and E3 80 80. First what may be one, by few
    # comparisons of all bytes that leave out most of what Vietnamese and Japanese are full of, then a look at each.
    likely = (data - np.uint8(0xE1)) < 3
    likely |= data == 0xC2
    likely[:-1] &= data[1:] < 0xA1
    likely[-1] = False
    found = np.flatnonzero(likely)
    second, third = data[found + 1], data.take(found + 2, mode="clip")
    two = (data[found] == 0xC2) & ((second == 0x85) | (second == 0xA0))
    low = (second & np.uint8(0x3F)).astype(np.int64) << 6 | (third & np.uint8(0x3F))
    code = (data[found] & np.uint8(0x0F)).astype(np.int64) << 12 | low
    three = ((code >= 0x2000) & (code <= 0x200A)) | np.isin(code, _SPACES)
    three &= data[found] != 0xC2  # a lead byte of two has no third
    for ahead, wide in enumerate((two | three, two | three, three)):
        space[found[wide] + ahead] = True
    return space


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
