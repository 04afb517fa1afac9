"""MinHash signatures of all documents of a block at once, by hashing every shingle once."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from smollm3_mix.dedup.options import Near
from smollm3_mix.measure.words import Words, scrambled, words

Hashes = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]
Minima = npt.NDArray[np.uint32]

_EMPTY = np.uint32(0xFFFFFFFF)  # minimum of a bin that no shingle fell into
_TURN = np.uint32(0x9E3779B1)  # 2^32 / golden ratio, a prime


def signatures(texts: pa.StringArray, near: Near, found: Words | None = None) -> Hashes:
    """uint64[rows, bands]: the key of each band of each document; documents that share a key are near duplicates.

    A key packs the lowest 64 // rows bits (at most 32) of each minimum of its band, so that two signatures also tell
    how far they agree. Documents without words have a row of zeros. Equal on every machine, however rows are cut into blocks.

    Args:
        texts: string array, null = no words.
        near: bands, rows and shingles.
        found: `words(texts)`, where the caller has them already.
    """
    found = words(texts) if found is None else found
    minima = _minima(found.hashes, found.first, near.ngram, near.bands * near.rows)
    return _keys(_filled(minima), near)


def _minima(hashes: Hashes, first: Ints, n: int, bins: int) -> Minima:
    """uint32[rows, bins]: least value of a document's shingles in each bin, `_EMPTY` where there are none.

    One permutation hashing (Li, Owen & Zhang 2012): each shingle is hashed once; the range of the hash is cut into bins.
    """
    count = np.diff(first)
    minima = np.full(len(count) * bins, _EMPTY, dtype=np.uint32)
    value = _shingles(hashes.astype(np.uint32), first, n)
    base = np.repeat(np.arange(len(count)) * bins, count)
    base += (value >> np.uint32(16)) * np.uint32(bins) >> np.uint32(16)
    reaching = first[1:, None] - np.arange(1, n)  # the last n - 1 shingles of a document reach into the next one
    value[reaching[reaching > first[:-1, None]]] = _EMPTY
    np.minimum.at(minima, base, value)
    return minima.reshape(-1, bins)


def _shingles(words_: Minima, first: Ints, n: int) -> Minima:
    """uint32[words]: hash of the n words from each word on; of all words at the first word of a shorter document."""
    count = np.diff(first)
    begins = first[:-1]
    value = _ngrams(words_, n)
    for short in range(1, n):
        rows = begins[count == short]
        if len(rows):
            value[rows] = _ngrams(words_[rows[:, None] + np.arange(short)].reshape(-1), short)[:: short]
    value ^= value >> np.uint32(16)  # finaliser of MurmurHash3
    value *= np.uint32(0x85EBCA6B)
    value ^= value >> np.uint32(13)
    value *= np.uint32(0xC2B2AE35)
    value ^= value >> np.uint32(16)
    return value


def _ngrams(words_: Minima, n: int) -> Minima:
    """uint32[words]: polynomial of n words from each word on; what reaches past the end is of fewer words."""
    value = words_.copy()
    for ahead in range(1, min(n, len(words_))):
        value *= _TURN
        value[:-ahead] += words_[ahead:]
    return value


def _filled(minima: Minima) -> Minima:
    """Minima with each empty bin given that of another one; documents without shingles stay empty.

    Every bin has its own pseudo-random order of donors, the same for all documents, and takes the first that is not empty
    (Shrivastava 2017). Were its donors its neighbours, the bins of a band would agree together, and bands by mistake.
    """
    bins = minima.shape[1]
    empty = minima == _EMPTY
    some = bins - np.count_nonzero(empty, axis=1)
    # Two ways to the same donors: where most bins have a minimum, the empty ones ask in turn; where few have one, they
    # offer it to all bins.
    filled = minima.copy()
    row, place = np.nonzero(empty & (2 * some >= bins)[:, None])
    for donors in _donors(bins):
        if not len(row):
            break
        value = minima[row, donors[place]]
        filled[row, place] = value
        on = value == _EMPTY
        row, place = row[on], place[on]
    sparse = np.flatnonzero((some > 0) & (2 * some < bins))
    sparse = sparse[np.argsort(-some[sparse], kind="stable")]
    filled[sparse] = _offered(minima[sparse], some[sparse])
    return filled


def _offered(minima: Minima, some: Ints) -> Minima:
    """`minima` filled by offering each minimum to all bins; documents in falling order of `some`, their minima."""
    offers, bits = _offers(minima.shape[1])
    best = np.full(minima.shape, np.iinfo(offers.dtype).max, dtype=offers.dtype)
    donor = np.nonzero(minima != _EMPTY)[1]
    begin = np.cumsum(some) - some
    for turn in range(int(some[0]) if len(some) else 0):
        count = int(np.searchsorted(-some, -turn))  # documents with more than `turn` minima
        np.minimum(best[:count], offers[donor[begin[:count] + turn]], out=best[:count])
    return np.take_along_axis(minima, (best & offers.dtype.type((1 << bits) - 1)).astype(np.int64), axis=1)


@cache
def _donors(bins: int) -> Ints:
    """int64[bins, bins]: the bin that bin j asks at its turn i, all others once and itself once, in random order."""
    pairs = np.arange(1, bins * bins + 1, dtype=np.uint64).reshape(bins, bins)
    return np.argsort(scrambled(pairs), axis=0, kind="stable")


@cache
def _offers(bins: int) -> tuple[npt.NDArray[np.uint16 | np.uint32], int]:
    """[bins, bins]: at which turn bin j asks bin i (itself at 0), shifted by so many bits, plus i."""
    turn = np.argsort(_donors(bins), axis=0, kind="stable") + 1
    np.fill_diagonal(turn, 0)
    bits = bins.bit_length()
    packed = (turn << bits) + np.arange(bins)[:, None]
    return packed.astype(np.uint16 if 2 * bits <= 16 else np.uint32), bits


def _keys(minima: Minima, near: Near) -> Hashes:
    """uint64[rows, bands]: the lowest bits of the minima of each band, side by side."""
    bits = min(64 // near.rows, 32)
    low = (minima & np.uint32((1 << bits) - 1)).astype(np.uint64).reshape(-1, near.bands, near.rows)
    keys = (low << np.arange(0, bits * near.rows, bits, dtype=np.uint64)).sum(axis=2, dtype=np.uint64)
    keys[(minima == _EMPTY).all(axis=1)] = 0
    return keys
