"""Shares of repeated n-grams: the repetition measures of Gopher (Rae et al. 2021, table A1)."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from smollm3_mix.text.kernels import native
from smollm3_mix.text.measure.code_points import Flags, Ints
from smollm3_mix.text.measure.words import Hashes

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class NgramTokens:
    """Tokens of n-grams: words, or characters of a script without spaces.

    Attributes:
        hashes: Hash of each token, uint64[tokens].
        code_point_offsets: Running sum of code points, int64[tokens + 1].
        first: int64[rows + 1]. Document i has the tokens first[i] to first[i + 1] - 1.
        separator: Code points between two tokens of an n-gram: 1 for words, 0 for characters.
        scale: Tokens that count as one word. An n-gram is n · scale tokens long.
    """

    hashes: Hashes
    code_point_offsets: Ints
    first: Ints
    separator: int = 1
    scale: int = 1


@dataclass(frozen=True)
class NgramLimits:
    """Maximum shares of the code points of a document that its n-grams may take up.

    Attributes:
        tops: n → limit on the most frequent n-gram, or the first of several: number of occurrences times length with
            spaces.
        duplicates: n → limit on words in n-grams that equal an earlier one, without spaces. N-grams are taken from the
            start of the document without overlap.
        occurrences: Minimum number of occurrences of the most frequent n-gram for `tops` to apply.
    """

    tops: Mapping[int, float]
    duplicates: Mapping[int, float]
    occurrences: int = 1


def first_exceeded_limit(tokens: NgramTokens, chars: Ints, limits: NgramLimits, selected: Flags) -> Ints:
    """Return n of the first limit that each document exceeds, 0 for none, int64[rows].

    Limits on the top n-grams come first, then those on duplicates.

    Args:
        tokens: Tokens of the block.
        chars: Code points of each document, int64[rows].
        limits: Limits, checked with n ascending. No n may be both in `tops` and `duplicates`.
        selected: Documents to check, bool[rows]. The others get 0.

    Raises:
        MemoryError: If 50 to 90 bytes per token of the longest document are not available, or it has 2^28 tokens.
    """
    rules = sorted(
        [(n, limit, True) for n, limit in limits.tops.items()]
        + [(n, limit, False) for n, limit in limits.duplicates.items()]
    )
    ns = np.array([n for n, _, _ in rules], dtype=np.int64)
    shares = np.array([limit for _, limit, _ in rules], dtype=np.float64)
    tops = np.array([top for _, _, top in rules], dtype=np.bool_)
    exceeded = np.empty(len(chars), dtype=np.int64)
    sizes = (len(chars), tokens.separator, tokens.scale)
    parts = (tokens.hashes, tokens.code_point_offsets, tokens.first, chars, selected, *sizes)
    occurrences = min(limits.occurrences, 2**63 - 1)  # INT64_MAX is more than any document has
    if native.ngram_limits(*parts, ns, shares, tops, len(ns), occurrences, exceeded):
        longest = np.diff(tokens.first).max()
        raise MemoryError(
            f"Out of memory for the n-grams of a document of {longest:,} tokens. Set max_chars to drop it"
        )
    return exceeded
