"""MinHash signatures of a block of documents. Each shingle is hashed once."""

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
    texts: pa.StringArray, near: Near, found: Words | None = None, selected: npt.NDArray[np.bool_] | None = None
) -> Hashes:
    """Return the key of each band of each document, uint64[rows, bands].

    Documents with a common key in a band are candidates for near duplicates. A key has 64 // rows bits (at most 32) of
    a hash of each minimum of its band, so signatures also show how many minima agree (see `signature_agreement`). A
    document without words has zeros. A signature depends on the text only, and is the same on every machine.

    Args:
        texts: String array. Null has no words.
        near: Bands, rows and shingles.
        found: Result of `find_words(texts)`. Computed by default.
        selected: Documents that need a signature, bool[rows]. The others get zeros. All by default.
    """
    found = find_words(texts) if found is None else found
    spaced = np.ones(len(texts), dtype=np.bool_) if selected is None else selected.copy()
    unspaced = find_unspaced(texts, found, spaced & (np.diff(found.first) > 0))
    for part in unspaced:
        spaced[part.rows] = False
    keys = _keys(found, spaced, near.ngram, near)
    for part in unspaced:
        everyone = np.ones(len(part.rows), dtype=np.bool_)
        keys[part.rows] = _keys(part.words, everyone, near.ngram * CHARACTERS_PER_WORD[part.script], near)
    return keys


def signature_agreement(one: Hashes, other: Hashes, near: Near) -> npt.NDArray[np.float64]:
    """Estimate the Jaccard similarity of pairs of documents from their signatures, float64[rows].

    The estimate is the share of minima that agree in the stored bits, corrected for agreement by chance (Li & König
    2010). It can be slightly negative.

    Args:
        one: Signatures, uint64[rows, bands].
        other: Signatures of the other documents, uint64[rows, bands].
        near: Options of the signatures.
    """
    one, other = np.ascontiguousarray(one), np.ascontiguousarray(other)
    found = np.empty(len(one), dtype=np.float64)
    native.signature_agreement(one, other, len(one), near.bands, near.rows, near.bits, found)
    return found


def _keys(found: Words, selected: npt.NDArray[np.bool_], n: int, near: Near) -> Hashes:
    """Return the signatures over n words of the selected rows, uint64[rows, bands]. Other rows are zeros.

    One permutation hashing (Li, Owen & Zhang 2012): the range of hashes is divided into bins, and each bin keeps the
    minimum of its shingles. An empty bin takes the minimum of its first donor that is not empty (Shrivastava 2017). The
    order of donors is pseudo-random per bin and the same for all documents. With neighbors as donors, the bins of a
    band would agree together, and bands would agree falsely. Each bin contributes different bits to the key. Otherwise,
    documents of few shingles, whose bins repeat each other, would have few distinct keys.
    """
    rows, bins = len(selected), near.bands * near.rows
    keys = np.zeros((rows, near.bands), dtype=np.uint64)
    offers, shift = _offers(bins)
    sizes = (rows, n, near.bands, near.rows, near.bits)
    if native.minhash_signatures(
        found.hashes, found.first, selected, *sizes, _donors(bins), offers, shift, _factors(bins), keys
    ):
        raise MemoryError(f"Out of memory for {bins} minima of a document. Use fewer bands or rows.")
    return keys


@cache
def _donors(bins: int) -> Ints:
    """Return the donor of rank i of bin j, int64[bins, bins]: all bins once, in pseudo-random order."""
    pairs = np.arange(1, bins * bins + 1, dtype=np.uint64).reshape(bins, bins)
    return np.argsort(mix_bits(pairs), axis=0, kind="stable")


@cache
def _offers(bins: int) -> tuple[npt.NDArray[np.uint32], int]:
    """Return the ranks of bin i among the donors of bin j (0 for i = j), shifted, plus i, uint32[bins, bins]."""
    rank = np.argsort(_donors(bins), axis=0, kind="stable") + 1
    np.fill_diagonal(rank, 0)
    bits = bins.bit_length()
    return ((rank << bits) + np.arange(bins)[:, None]).astype(np.uint32), bits


@cache
def _factors(bins: int) -> Hashes:
    """Return odd multipliers that select the bits of the minimum of each bin, uint64[bins]."""
    return mix_bits(np.arange(1, bins + 1, dtype=np.uint64)) | np.uint64(1)
