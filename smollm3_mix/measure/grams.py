"""How much of a document its repeated n-grams take up: Gopher's repetition measures (Rae et al. 2021, table A1).

Most n-grams occur once, and no more need be known of them. So each pair of words is first counted in a table by the
upper bits of its hash, which never counts too few; a longer n-gram occurs no more often than the rarest pair in it.
Only documents that could pass a limit by these bounds are looked at n-gram by n-gram, and then exactly.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from smollm3_mix.measure.chars import Flags
from smollm3_mix.measure.lines import crowd, grouped, later, salted
from smollm3_mix.measure.words import Hashes, Ints

Value = TypeVar("Value", bound=np.generic)
Floats = npt.NDArray[np.float64]

_FACTOR = np.uint64(0xD6E8FEB86659FD93)  # an odd multiplier with well-spread bits
_SLACK = 1 - 1e-9  # so that rounding never hides a document that passes a limit by a bit
_FEW = 16  # documents not to look at are taken out if they hold more than one of so many tokens
_CHUNK = 1 << 15  # tokens whose pairs are counted at a time; their table of 1 MiB stays in the cache


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

    def of(self, rows: Flags) -> "Tokens":
        """The tokens of the documents marked in bool[rows], which are counted anew."""
        count = np.diff(self.first)
        kept = np.repeat(rows, count)
        places, first = np.cumsum(np.diff(self.places)[kept]), np.cumsum(count[rows])
        return replace(self, hashes=self.hashes[kept], places=np.append(0, places), first=np.append(0, first))


@dataclass(frozen=True)
class Limits:
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


def first_passed(tokens: Tokens, chars: Ints, limits: Limits, among: Flags) -> Ints:
    """int64[rows]: n of the first limit that each document passes: of the top n-grams, then the duplicates; 0 = none.

    Args:
        tokens: of the whole block.
        chars: int64[rows], code points of each document.
        limits: looked at with n ascending. No n may stand both in `tops` and `duplicates`.
        among: bool[rows], documents to look at; the others get 0.
    """
    if np.diff(tokens.first)[~among].sum() * _FEW > len(tokens.hashes):
        rows = np.flatnonzero(among)
        passed = np.zeros(len(chars), dtype=np.int64)
        passed[rows] = first_passed(tokens.of(among), chars[rows], limits, among[rows])
        return passed
    passed = np.zeros(len(chars), dtype=np.int64)
    if len(tokens.hashes) < 2 * tokens.scale:
        return passed
    passed[among] = _Grams(tokens, chars, among).judged(_least_counts(tokens), limits)[among]
    return passed


def _least_counts(tokens: Tokens) -> Ints:
    """int64[tokens]: at least how often the pair from each on occurs in its document; 0 where none fits."""
    size = 2 * tokens.scale
    whole = len(tokens.hashes) - size + 1
    counts = np.zeros(len(tokens.hashes), dtype=np.int64)
    salts = np.arange(len(tokens.first) - 1).astype(np.uint64) * _FACTOR
    salt = np.repeat(salts, np.diff(tokens.first))
    for begin, end in _chunks(tokens.first):
        places = slice(begin, min(end, whole))
        keys = tokens.hashes[places] * _FACTOR
        for nth in range(1, size):
            if nth > 1:
                keys *= _FACTOR
            keys += tokens.hashes[nth:][places]
        keys += salt[places]
        counts[places] = crowd(keys)
    for back in range(1, size):  # the last tokens of each document
        last = tokens.first[1:] - back
        counts[last[last >= tokens.first[:-1]]] = 0
    return counts


class _Grams:
    """The n-grams of a block while they are judged.

    Attributes:
        owner: int64[tokens], the document of each token.
        passed: int64[rows], n of the first limit passed so far; -1 for documents not to look at.
    """

    def __init__(self, tokens: Tokens, chars: Ints, among: Flags) -> None:
        self.tokens, self.chars = tokens, chars
        self.owner = np.repeat(np.arange(len(chars)), np.diff(tokens.first))
        self.passed = np.where(among, 0, -1)

    def judged(self, counts: Ints, limits: Limits) -> Ints:
        """int64[rows]: `passed` in the end; `counts` are those of `_least_counts`."""
        least, last = counts, 2
        for n in sorted(limits.tops):
            least, last = _least_of_longer(least, (n - last) * self.tokens.scale), n
            self._judge_top(least, n, limits.tops[n], limits.occurrences)
        repeated, last = counts > 1, 2
        for n in sorted(limits.duplicates):
            bound = min(limit for m, limit in limits.duplicates.items() if m >= n)
            found = self._likely_duplicates(repeated, (n - last) * self.tokens.scale, n, bound)
            found = self._judge_duplicates(found, n, limits.duplicates[n], bound)
            if not len(found):
                break
            repeated, last = np.zeros(len(counts), dtype=np.bool_), n
            repeated[found] = True
        return self.passed

    def _keys(self, places: Ints, size: int) -> Hashes:
        """uint64[places]: hash of `size` tokens from there on, salted by document."""
        keys = self.tokens.hashes[places]
        for nth in range(1, size):
            keys *= _FACTOR
            keys += self.tokens.hashes[places + nth]
        return salted(keys, self.owner[places])

    def _chars_at(self, places: Ints, size: int) -> Ints:
        return self.tokens.places[places + size] - self.tokens.places[places]

    def _judge_top(self, least: Ints, n: int, limit: float, occurrences: int) -> None:
        """Judge by the top n-gram, given at most how often the n-gram at each place occurs."""
        tokens, size = self.tokens, n * self.tokens.scale
        spaces = tokens.spaced * (size - 1)
        length = np.zeros(
            len(least), dtype=np.int64
        )  # 0 where none fits in the block; where none in its document, least is
        length[: max(len(least) - size + 1, 0)] = tokens.places[size:] - tokens.places[:-size] + spaces
        filled = np.flatnonzero(np.diff(tokens.first))
        most = np.maximum.reduceat(least * length, tokens.first[filled])
        suspect = np.zeros(len(self.chars), dtype=np.bool_)
        suspect[filled] = most > limit * _SLACK * self.chars[filled]
        suspect &= self.passed == 0
        if not suspect.any():
            return
        place = np.flatnonzero(suspect[self.owner])
        place = place[place + size <= tokens.first[self.owner[place] + 1]]
        place, counts = self._tops(place, size)
        rows = self.owner[place]
        share = counts * (self._chars_at(place, size) + spaces) / self.chars[rows]
        self.passed[rows[(share > limit) & (counts >= occurrences)]] = n

    def _tops(self, places: Ints, size: int) -> tuple[Ints, Ints]:
        """First place of the most frequent n-gram of each document with some of the places, and how often it occurs."""
        order, fresh = grouped(self._keys(places, size))
        heads = np.flatnonzero(fresh)
        counts = np.diff(np.append(heads, len(order)))
        firsts = places[order[heads]]
        rows = self.owner[firsts]
        most = np.zeros(len(self.chars), dtype=np.int64)
        np.maximum.at(most, rows, counts)
        best = np.flatnonzero(counts == most[rows])
        best = best[np.argsort(firsts[best])]
        rows = self.owner[firsts[best]]
        best = best[np.append(True, rows[1:] != rows[:-1])]
        return firsts[best], counts[best]

    def _likely_duplicates(self, repeated: Flags, longer: int, n: int, bound: float) -> Ints:
        """Places where n-grams are likely to be repeated, in documents that these, all together, take beyond the bound.

        Args:
            repeated: bool[tokens], where a shorter n-gram may be.
            longer: by how many tokens it is shorter.
            n: of the n-grams.
            bound: the least limit that is still to be held against the documents.
        """
        size = n * self.tokens.scale
        found = np.flatnonzero(_least_of_longer(repeated, longer))
        rows = self.owner[found]
        found = found[(found + size <= self.tokens.first[rows + 1]) & (self.passed[rows] == 0)]
        found = self._within(found, self._covered(found, size) > bound * _SLACK * self.chars)
        return found[crowd(self._keys(found, size)) > 1] if len(found) else found

    def _covered(self, places: Ints, size: int) -> Floats:
        """float64[rows]: code points of the tokens from the ascending places on, `size` each, none counted twice."""
        upto = np.minimum(places + size, np.append(places[1:], len(self.owner)))
        covered = self.tokens.places[upto] - self.tokens.places[places]
        return np.bincount(self.owner[places], covered, minlength=len(self.chars)).astype(np.float64, copy=False)

    def _within(self, places: Ints, chosen: Flags) -> Ints:
        """Those of the places that are in documents marked in bool[rows]."""
        return places[chosen[self.owner[places]]]

    def _judge_duplicates(self, found: Ints, n: int, limit: float, bound: float) -> Ints:
        """Those of the places where n-grams are repeated that may pass a later limit."""
        size = n * self.tokens.scale
        counted = found[later(self._keys(found, size))]
        covered = self._covered(counted, size)
        places = _apart(self._within(counted, covered > limit * _SLACK * self.chars), size)
        chars = np.bincount(self.owner[places], self._chars_at(places, size), minlength=len(self.chars))
        self.passed[(chars / np.maximum(self.chars, 1) > limit) & (self.passed == 0)] = n
        return self._within(found, covered > bound * _SLACK * self.chars)


def _least_of_longer(least: npt.NDArray[Value], longer: int) -> npt.NDArray[Value]:
    """The least (int or bool) of each place and the `longer` places after it; 0 behind the end."""
    whole = max(len(least) - longer, 0)
    shrunk = least[:whole].copy()
    for nth in range(1, longer + 1):
        np.minimum(shrunk, least[nth : nth + whole], out=shrunk)
    return np.concatenate([shrunk, np.zeros(len(least) - whole, dtype=least.dtype)])


def _chunks(first: Ints) -> Iterator[tuple[int, int]]:
    """Tokens from and to: as many whole documents as have about _CHUNK tokens."""
    begin, rows = 0, len(first) - 1
    while begin < rows:
        end = max(begin + 1, int(np.searchsorted(first, first[begin] + _CHUNK, side="right")) - 1)
        yield int(first[begin]), int(first[end])
        begin = end


def _apart(places: Ints, size: int) -> Ints:
    """The first of the ascending places, then always the next that is `size` or more further on."""
    step = np.searchsorted(places, places + size).tolist()
    taken, here, end = [], 0, len(step)
    while here < end:
        taken.append(here)
        here = step[here]
    return places[taken]
