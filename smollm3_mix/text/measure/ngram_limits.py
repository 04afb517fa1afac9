"""How much of a document its repeated n-grams take up: Gopher's repetition measures (Rae et al. 2021, table A1)."""

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
    """What n-grams are made of: words, or the characters of a script that writes no spaces.

    Attributes:
        hashes: uint64[tokens].
        places: int64[tokens + 1]; token i has places[i + 1] - places[i] code points.
        first: int64[rows + 1]; the tokens of document i are number first[i] to first[i + 1] - 1.
        spaced: code points between two tokens of an n-gram: 1 for words, 0 for characters.
        scale: tokens taken for one word: an n-gram is n · scale tokens long.
    """

    hashes: Hashes
    places: Ints
    first: Ints
    spaced: int = 1
    scale: int = 1


@dataclass(frozen=True)
class NgramLimits:
    """Shares of a document's code points that its n-grams may take up.

    Attributes:
        tops: n → limit for the most frequent n-gram (of several, the first): how often it occurs, times its length with
            its spaces.
        duplicates: n → limit for words in n-grams that stand in the document before, taken from its beginning without
            overlap, without spaces.
        occurrences: a most frequent n-gram that occurs less often counts as none.
    """

    tops: Mapping[int, float]
    duplicates: Mapping[int, float]
    occurrences: int = 1


def first_exceeded_limit(tokens: NgramTokens, chars: Ints, limits: NgramLimits, among: Flags) -> Ints:
    """int64[rows]: n of the first limit that each document passes: of the top n-grams, then the duplicates; 0 = none.

    Args:
        tokens: of the whole block.
        chars: int64[rows], code points of each document.
        limits: looked at with n ascending. No n may stand both in `tops` and `duplicates`.
        among: bool[rows], documents to look at; the others get 0.

    Raises:
        MemoryError: no memory for 50 to 90 bytes a token of the longest document, or it has 2^28 tokens.
    """
    rules = sorted(
        [(n, limit, True) for n, limit in limits.tops.items()]
        + [(n, limit, False) for n, limit in limits.duplicates.items()]
    )
    ns = np.array([n for n, _, _ in rules], dtype=np.int64)
    shares = np.array([limit for _, limit, _ in rules], dtype=np.float64)
    tops = np.array([top for _, _, top in rules], dtype=np.bool_)
    passed = np.empty(len(chars), dtype=np.int64)
    parts = (tokens.hashes, tokens.places, tokens.first, chars, among, len(chars), tokens.spaced, tokens.scale)
    occurrences = min(limits.occurrences, 2**63 - 1)  # C has no greater number, and no document has as many n-grams
    if native.ngram_limits(*parts, ns, shares, tops, len(ns), occurrences, passed):
        raise MemoryError(f"no memory to count the n-grams of a document of {np.diff(tokens.first).max()} tokens")
    return passed
