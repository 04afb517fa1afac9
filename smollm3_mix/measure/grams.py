"""How much of a document its repeated n-grams take up: Gopher's repetition measures (Rae et al. 2021, table A1).

Most n-grams occur once, and nothing need be known of them but that. So each pair of words is first counted in a table by the upper
bits of its hash, which never counts too few; a longer n-gram occurs no more often than the rarest pair in it. Only
documents that could pass a limit by these bounds are looked at n-gram by n-gram, and then exactly.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from smollm3_mix.measure.chars import Flags
from smollm3_mix.measure.lines import copies, crowd, salted
from smollm3_mix.measure.words import Hashes, Ints

Floats = npt.NDArray[np.float64]

_SLACK = 1 - 1e-9  # so that rounding never hides a document that passes a limit by a bit
_FACTOR = np.uint64(0xD6E8FEB86659FD93)  # an odd multiplier with well-spread bits


@dataclass(frozen=True, eq=False)
class Tokens:
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


def repeated_grams(
    tokens: Tokens, chars: Ints, tops: Mapping[int, float], duplicates: Mapping[int, float], top_occurrences: int = 1
) -> tuple[dict[int, Floats], dict[int, Floats]]:
    """Share of each document's code points in its most frequent n-gram, and in its duplicate n-grams.

    *Top*: occurrences of the most frequent n-gram (of several, the first) times its length with its spaces.
    *Duplicate*: words in n-grams that stand in the document before, taken from its beginning without overlap, without
    spaces.

    Args:
        tokens: of the whole block.
        chars: int64[rows], code points of each document.
        tops: n → limit of the top share.
        duplicates: n → limit of the duplicate share.
        top_occurrences: a top n-gram that occurs less often counts as 0.

    Returns:
        For each n of `tops`, and for each of `duplicates`, float64[rows]: the share where it is above the
        limit, else the share or 0, whichever is sooner known.
    """
    rows = len(tokens.first) - 1
    top_shares = {n: np.zeros(rows) for n in tops}
    duplicate_shares = {n: np.zeros(rows) for n in duplicates}
    size = 2 * tokens.scale
    if len(tokens.hashes) < size or not (tops or duplicates):
        return top_shares, duplicate_shares
    owner = np.repeat(np.arange(rows), np.diff(tokens.first))
    counts = _least_counts(tokens, owner, size)
    for n, limit in tops.items():
        found = _likely_tops(tokens, owner, counts, n, limit * _SLACK * chars, top_occurrences)
        _set_tops(tokens, owner, found, n * tokens.scale, top_occurrences, top_shares[n])
        top_shares[n] /= np.maximum(chars, 1)
    if duplicates:
        least = min(duplicates)
        found = _likely_duplicates(tokens, owner, counts, least, min(duplicates.values()) * _SLACK * chars)
        for n in sorted(duplicates):
            found = _set_duplicates(tokens, owner, found, n, duplicate_shares[n])
            duplicate_shares[n] /= np.maximum(chars, 1)
    return top_shares, duplicate_shares


def _least_counts(tokens: Tokens, owner: Ints, size: int) -> Ints:
    """int64[tokens]: at least how often the `size` tokens from each on occur in their document; 0 where they do not fit."""
    whole = len(owner) - size + 1
    counts = np.zeros(len(owner), dtype=np.int64)
    counts[:whole] = crowd(_keys(tokens, owner, slice(None), size))
    for back in range(1, size):  # the last tokens of each document
        last = tokens.first[1:] - back
        counts[last[last >= tokens.first[:-1]]] = 0
    return counts


def _keys(tokens: Tokens, owner: Ints, places: Ints | slice, size: int) -> Hashes:
    """uint64: for each place the hash of `size` tokens from there on, salted by document; a slice means all that fit."""
    whole = len(owner) - size + 1
    if isinstance(places, slice):
        keys = tokens.hashes[:whole].copy()
        for nth in range(1, size):
            keys *= _FACTOR
            keys += tokens.hashes[nth : nth + whole]
        return salted(keys, owner[:whole])
    keys = tokens.hashes[places]
    for nth in range(1, size):
        keys *= _FACTOR
        keys += tokens.hashes[places + nth]
    return salted(keys, owner[places])


def _likely_tops(tokens: Tokens, owner: Ints, counts: Ints, n: int, limits: Floats, occurrences: int) -> Ints:
    """int64: places of the n-grams to look at, in documents where one may take up more than the limit."""
    size = n * tokens.scale
    whole = len(counts) - size + 1
    if whole <= 0:
        return np.zeros(0, dtype=np.int64)
    least = counts[:whole]
    for nth in range(1, size - 2 * tokens.scale + 1):  # it occurs no more often than any pair in it
        least = np.minimum(least, counts[nth : nth + whole])
    often = np.flatnonzero(least >= max(occurrences, 2))
    taken = least[often] * _length(tokens, often, size)
    rows = owner[often]
    suspect = np.zeros(len(limits), dtype=np.bool_)
    suspect[rows[taken > limits[rows]]] = True
    if occurrences > 1:
        return often[suspect[rows]]
    # Where none occurs twice the first is the top one: too long a share only of a very short document.
    heads = tokens.first[:-1][np.diff(tokens.first) >= size]
    rows = owner[heads]
    suspect[rows[_length(tokens, heads, size) > limits[rows]]] = True
    return np.flatnonzero((least > 0) & suspect[owner[:whole]])


def _length(tokens: Tokens, places: Ints, size: int) -> Ints:
    """int64[places]: code points of the `size` tokens from each place on, with the spaces between them."""
    return tokens.places[places + size] - tokens.places[places] + tokens.spaced * (size - 1)


def _set_tops(tokens: Tokens, owner: Ints, found: Ints, size: int, occurrences: int, shares: Floats) -> None:
    """Put code points of the most frequent n-gram into `shares` for the documents that have places in `found`."""
    if len(found) == 0:
        return
    keys = _keys(tokens, owner, found, size)
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    heads = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    counts = np.diff(np.append(heads, len(order)))
    place = found[order[heads]]
    best = np.lexsort((place, -counts, owner[place]))
    rows = owner[place[best]]
    best = best[np.append(True, rows[1:] != rows[:-1])]
    best = best[counts[best] >= occurrences]
    shares[owner[place[best]]] = counts[best] * _length(tokens, place[best], size)


def _likely_duplicates(tokens: Tokens, owner: Ints, counts: Ints, n: int, limits: Floats) -> Ints:
    """int64: places of the n-grams that may be repeated, in documents where all these together pass the limit."""
    size = n * tokens.scale
    pairs = counts > 1
    whole = len(pairs) - size + 1
    if whole <= 0:
        return np.zeros(0, dtype=np.int64)
    likely = pairs[:whole].copy()
    for nth in range(1, size - 2 * tokens.scale + 1):
        likely &= pairs[nth : nth + whole]
    found = np.flatnonzero(likely)
    upto = np.minimum(found + size, np.append(found[1:], len(owner)))
    rows = owner[found]
    covered = np.bincount(rows, tokens.places[upto] - tokens.places[found], minlength=len(limits))
    return found[(covered > limits)[rows]]


def _set_duplicates(tokens: Tokens, owner: Ints, found: Ints, n: int, shares: Floats) -> Ints:
    """Put code points of duplicate n-grams into `shares`; return where the next longer ones may be repeated."""
    size = n * tokens.scale
    found = found[found + size <= tokens.first[owner[found] + 1]]
    if len(found) == 0:
        return found
    keys = _keys(tokens, owner, found, size)
    later = copies(keys)
    place = _apart(found[later], size)
    shares += np.bincount(owner[place], tokens.places[place + size] - tokens.places[place], minlength=len(shares))
    found = found[crowd(keys) > 1]
    marks: Flags = np.zeros(len(owner) + tokens.scale, dtype=np.bool_)
    marks[found] = True
    return found[marks[found + tokens.scale]]


def _apart(places: Ints, size: int) -> Ints:
    """The first of the ascending places, then always the next that is `size` or more further on."""
    step = np.searchsorted(places, places + size).tolist()
    taken, here = [], 0
    while here < len(step):
        taken.append(here)
        here = step[here]
    return places[taken]
