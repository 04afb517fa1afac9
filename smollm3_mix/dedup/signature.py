"""MinHash signatures of all documents of a block at once, each shingle hashed once."""

from functools import cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from smollm3_mix.dedup.options import Near
from smollm3_mix.measure.scripts import SCALES, SHARE, Unspaced, unspaced
from smollm3_mix.measure.words import Hashes, Ints, Words, scrambled, words

_EMPTY = np.uint64(2**64 - 1)  # minimum of a bin that no shingle fell into
_TURN = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio, odd
_STIR = np.uint64(0xD6E8FEB86659FD93)  # odd, of well-spread bits
_HALF = np.uint64(32)


def signatures(
    texts: pa.StringArray, near: Near, found: Words | None = None, among: npt.NDArray[np.bool_] | None = None
) -> Hashes:
    """uint64[rows, bands]: the key of each band of each document; two documents meet where they have a key in common.

    A key holds 64 // rows bits (at most 32) of a hash of each minimum of its band, so two signatures also tell in how
    many minima they agree (see `agreement`). A document without words has a row of zeros. A document's signature
    depends on its text alone, and is the same on every machine.

    Args:
        texts: string array; null = no words.
        near: bands, rows and shingles.
        found: `words(texts)`, if somebody has it already.
        among: bool[rows], documents that need a signature; the others get zeros. None = all.
    """
    found = words(texts) if found is None else found
    if among is not None and not among.all():
        found = found.among(among)
    minima = np.full((len(texts), near.bands * near.rows), _EMPTY, dtype=np.uint64)
    spaced = np.ones(len(texts), dtype=np.bool_)
    for rows, part in _unspaced(texts, found):
        n = near.ngram * SCALES[part.script]
        minima[rows] = _minima(part.words.hashes, part.words.first, n, minima.shape[1])
        spaced[rows] = False
    if spaced.all():
        minima = _minima(found.hashes, found.first, near.ngram, minima.shape[1])
    elif spaced.any():
        minima[spaced] = _minima(found.hashes, found.first, near.ngram, minima.shape[1])[spaced]
    return _keys(_filled(minima), near)


def agreement(one: Hashes, other: Hashes, near: Near) -> npt.NDArray[np.float64]:
    """float64[rows]: Jaccard of the shingles of two documents, estimated from their signatures.

    The share of minima that agree in the bits kept, less what agrees by chance (Li & König 2010). May be a little
    below 0.

    Args:
        one: uint64[rows, bands], signatures.
        other: the same of as many other documents.
        near: with which they were made.
    """
    bits = _bits(near)
    apart = one ^ other
    mask = np.uint64((1 << bits) - 1)
    equal = sum(np.count_nonzero(apart >> np.uint64(row * bits) & mask == 0, axis=1) for row in range(near.rows))
    chance = 2.0**-bits
    return (equal / (near.bands * near.rows) - chance) / (1 - chance)


def _unspaced(texts: pa.StringArray, found: Words) -> list[tuple[Ints, Unspaced]]:
    """Rows in scripts without spaces that have words, and what `unspaced` makes of them; quick where there are none."""
    wide = np.flatnonzero(found.data >= 0xE0)  # as every character of these scripts begins
    count = np.diff(np.searchsorted(wide, found.offsets))
    likely = (count > 0) & (count >= SHARE / 4 * np.diff(found.offsets))  # a code point has 4 bytes at most
    rows = np.flatnonzero(likely & (np.diff(found.first) > 0))
    if not len(rows):
        return []
    if len(rows) < len(texts):
        texts = texts.take(pa.array(rows))
        found = words(texts)
        wide = np.flatnonzero(found.data >= 0xE0)
    chars = np.asarray(pc.fill_null(pc.utf8_length(texts), 0)).astype(np.int64)
    return [(rows[part.rows], part) for part in unspaced(texts, found, chars, wide)]


def _minima(hashes: Hashes, first: Ints, n: int, bins: int) -> Hashes:
    """uint64[rows, bins]: least value of each document's shingles in each bin, `_EMPTY` where there is none.

    One permutation hashing (Li, Owen & Zhang 2012): the range of the hash is cut into bins, and each shingle counts for
    the one that it falls into.
    """
    count = np.diff(first)
    value = _shingles(hashes, first, n)
    place = np.repeat(np.arange(len(count)) * bins, count)
    place += ((value >> _HALF) * np.uint64(bins) >> _HALF).astype(np.int64)
    minima = np.full(len(count) * bins, _EMPTY, dtype=np.uint64)
    np.minimum.at(minima, place, value)
    return minima.reshape(-1, bins)


def _shingles(tokens: Hashes, first: Ints, n: int) -> Hashes:
    """uint64[tokens]: hash of the n tokens from each on, `_EMPTY` where those are of two documents.

    A document of fewer tokens has one shingle, of all of them.
    """
    begins, count = first[:-1], np.diff(first)
    value = _ngrams(tokens, n)
    for length in np.unique(count[(count > 0) & (count < n)]).tolist():
        short = begins[count == length]
        value[short] = _ngrams(tokens[short[:, None] + np.arange(length)].reshape(-1), length)[::length]
    value ^= value >> _HALF
    value *= _STIR
    value ^= value >> _HALF
    astride = first[1:, None] - np.arange(1, n)
    value[astride[astride > begins[:, None]]] = _EMPTY
    return value


def _ngrams(tokens: Hashes, n: int) -> Hashes:
    """uint64[tokens]: polynomial of the n tokens from each on; of fewer where they end."""
    value = tokens.copy()
    for ahead in range(1, min(n, len(tokens))):
        value *= _TURN
        value[:-ahead] += tokens[ahead:]
    return value


def _filled(minima: Hashes) -> Hashes:
    """Minima with each empty bin given that of another one; documents without shingles stay empty.

    Every bin has its own pseudo-random order of donors, the same for all documents, and takes the first that is not
    empty (Shrivastava 2017). Were its donors its neighbours, the bins of a band would agree together, and bands by
    mistake.
    """
    bins = minima.shape[1]
    empty = minima == _EMPTY
    some = bins - np.count_nonzero(empty, axis=1)
    # Two ways to the same donors: where most bins have a minimum, the empty ones ask in turn; where few have one, they
    # offer it to all bins.
    filled = minima.copy()
    place = np.flatnonzero(empty & (4 * some >= bins)[:, None])
    row, column = np.divmod(place, bins)
    row *= bins
    for donors in _donors(bins):
        if not len(place):
            break
        value = minima.take(row + donors.take(column))
        filled.put(place, value)
        on = np.flatnonzero(value == _EMPTY)
        place, row, column = place[on], row[on], column[on]
    sparse = np.flatnonzero((some > 0) & (4 * some < bins))
    if len(sparse):
        sparse = sparse[np.argsort(-some[sparse], kind="stable")]
        filled[sparse] = _offered(minima[sparse], some[sparse])
    return filled


def _offered(minima: Hashes, some: Ints) -> Hashes:
    """`minima` filled by offering each to all bins; documents come in falling order of `some`, how many they have."""
    offers, bits = _offers(minima.shape[1])
    best = np.full(minima.shape, np.iinfo(offers.dtype).max, dtype=offers.dtype)
    donor = np.nonzero(minima != _EMPTY)[1]
    begin = np.cumsum(some) - some
    turns = np.arange(some[0])
    for turn, count in zip(turns, np.searchsorted(-some, -turns).tolist(), strict=True):  # documents with more minima
        np.minimum(best[:count], offers.take(donor.take(begin[:count] + turn), axis=0), out=best[:count])
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


def _bits(near: Near) -> int:
    return min(64 // near.rows, 32)


def _keys(minima: Hashes, near: Near) -> Hashes:
    """uint64[rows, bands]: some bits of each minimum of a band, side by side.

    Each bin takes other bits, or documents of few shingles, whose bins repeat each other, would have few keys to
    differ in.
    """
    bits = _bits(near)
    taken = minima * (scrambled(np.arange(1, minima.shape[1] + 1, dtype=np.uint64)) | np.uint64(1))
    taken >>= np.uint64(64 - bits)
    taken = taken.reshape(-1, near.bands, near.rows) << np.arange(0, bits * near.rows, bits, dtype=np.uint64)
    keys = np.bitwise_or.reduce(taken, axis=2)
    keys[minima[:, 0] == _EMPTY] = 0
    return keys
