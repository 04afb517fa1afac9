"""MinHash signatures of all documents of a block at once, each shingle hashed once."""

from functools import cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from smollm3_mix.text.dedup.dedup_options import Near
from smollm3_mix.text.kernels import native
from smollm3_mix.text.measure.code_points import Ints
from smollm3_mix.text.measure.scripts import CHARACTERS_PER_WORD, find_unspaced
from smollm3_mix.text.measure.words import Hashes, Words, find_words, mix_bits


def minhash_signatures(
    texts: pa.StringArray, near: Near, found: Words | None = None, among: npt.NDArray[np.bool_] | None = None
) -> Hashes:
    """uint64[rows, bands]: the key of each band of each document; two documents meet where they have a key in common.

    A key holds 64 // rows bits (at most 32) of a hash of each minimum of its band, so two signatures also tell in how
    many minima they agree (see `agreement`). A document without words has a row of zeros. A document's signature
    depends on its text alone, and is the same on every machine.

    Args:
        texts: string array; null = no words.
        near: bands, rows and shingles.
        found: `find_words(texts)`, if somebody has it already.
        among: bool[rows], documents that need a signature; the others get zeros. None = all.
    """
    found = find_words(texts) if found is None else found
    spaced = np.ones(len(texts), dtype=np.bool_) if among is None else among.copy()
    apart = find_unspaced(texts, found, spaced & (np.diff(found.first) > 0))
    for part in apart:
        spaced[part.rows] = False
    keys = _keys(found, spaced, near.ngram, near)
    for part in apart:
        everyone = np.ones(len(part.rows), dtype=np.bool_)
        keys[part.rows] = _keys(part.words, everyone, near.ngram * CHARACTERS_PER_WORD[part.script], near)
    return keys


def signature_agreement(one: Hashes, other: Hashes, near: Near) -> npt.NDArray[np.float64]:
    """float64[rows]: Jaccard of the shingles of two documents, estimated from their signatures.

    The share of minima that agree in the bits kept, less what agrees by chance (Li & König 2010). May be a little
    below 0.

    Args:
        one: uint64[rows, bands], signatures.
        other: the same of as many other documents.
        near: with which they were made.
    """
    one, other = np.ascontiguousarray(one), np.ascontiguousarray(other)
    found = np.empty(len(one), dtype=np.float64)
    native.signature_agreement(one, other, len(one), near.bands, near.rows, near.bits, found)
    return found


def _keys(found: Words, wanted: npt.NDArray[np.bool_], n: int, near: Near) -> Hashes:
    """uint64[rows, bands]: signatures over n words of the rows wanted, zeros for others and where no words are.

    One permutation hashing (Li, Owen & Zhang 2012): the range of the shingles' hash is cut into bins, and each keeps
    the least of those that fall into it. An empty bin takes the minimum of another: each has its own pseudo-random
    order of donors, the same for all documents, and takes the first that is not empty (Shrivastava 2017). Were its
    donors its neighbours, the bins of a band would agree together, and bands by mistake. Each bin takes other bits
    into the key, or documents of few shingles, whose bins repeat each other, would have few keys to differ in.
    """
    rows, bins = len(wanted), near.bands * near.rows
    keys = np.zeros((rows, near.bands), dtype=np.uint64)
    offers, shift = _offers(bins)
    sizes = (rows, n, near.bands, near.rows, near.bits)
    if native.minhash_signatures(
        found.hashes, found.first, wanted, *sizes, _donors(bins), offers, shift, _factors(bins), keys
    ):
        raise MemoryError(f"no memory for {bins} minima of a document")
    return keys


@cache
def _donors(bins: int) -> Ints:
    """int64[bins, bins]: the bin that bin j asks at its turn i, all others once and itself once, in random order."""
    pairs = np.arange(1, bins * bins + 1, dtype=np.uint64).reshape(bins, bins)
    return np.argsort(mix_bits(pairs), axis=0, kind="stable")


@cache
def _offers(bins: int) -> tuple[npt.NDArray[np.uint32], int]:
    """uint32[bins, bins]: at which turn bin j asks bin i (itself at 0), shifted by so many bits, plus i."""
    turn = np.argsort(_donors(bins), axis=0, kind="stable") + 1
    np.fill_diagonal(turn, 0)
    bits = bins.bit_length()
    return ((turn << bits) + np.arange(bins)[:, None]).astype(np.uint32), bits


@cache
def _factors(bins: int) -> Hashes:
    """uint64[bins]: odd multipliers that choose the bits of each bin's minimum."""
    return mix_bits(np.arange(1, bins + 1, dtype=np.uint64)) | np.uint64(1)
