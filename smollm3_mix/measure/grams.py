"""How much of a document its repeated n-grams take up: Gopher's repetition measures (Rae et al. 2021, table A1).

Most n-grams occur once, and no more need be known of them. So each pair of words is first counted in a table by the upper
bits of its hash, which never counts too few; a longer n-gram occurs no more often than the rarest pair in it. Only
documents that could pass a limit by these bounds are looked at n-gram by n-gram, and then exactly.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from smollm3_mix.measure.chars import Flags
from smollm3_mix.measure.lines import crowd, later, salted
from smollm3_mix.measure.words import Hashes, Ints

Floats = npt.NDArray[np.float64]

_FACTOR = np.uint64(0xD6E8FEB86659FD93)  # an odd multiplier with well-spread bits
_SLACK = 1 - 1e-9  # so that rounding never hides a document that passes a limit by a bit
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


def first_passed(tokens: Tokens, chars: Ints, limits: Limits) -> Ints:
    """int64[rows]: n of the first limit that each document passes: of the top n-grams, then the duplicates; 0 = none.

    Args:
        tokens: of the whole block.
        chars: int64[rows], code points of each document.
        limits: in any order; looked at with n ascending. No n may stand both in `tops` and `duplicates`.
    """
    found = _Grams(tokens, chars)
    if len(tokens.hashes) >= 2 * tokens.scale:
        found.judge(limits)
    return found.passed


class _Grams:
    """The n-grams of a block while they are judged.

    Attributes:
        owner: int64[tokens], the document of each token.
        passed: int64[rows], n of the first limit passed so far.
    """

    def __init__(self, tokens: Tokens, chars: Ints) -> None:
        self.tokens, self.chars = tokens, chars
        self.owner = np.repeat(np.arange(len(chars)), np.diff(tokens.first))
        self.passed = np.zeros(len(chars), dtype=np.int64)

    def judge(self, limits: Limits) -> None:
        """Put n of the first limit passed into `passed`."""
        counts = self._least_counts()
        often = np.flatnonzero(counts > 1)
        found, least, last = often, counts[often], 2
        for n in sorted(limits.tops):
            found, least = self._longer(found, least, counts, n)
            self._judge_top(found, least, n, limits.tops[n], limits.occurrences)
        found = often
        for n in sorted(limits.duplicates):
            bound = min(limit for m, limit in limits.duplicates.items() if m >= n)
            found = self._likely_duplicates(found, n, last, bound)
            found = self._judge_duplicates(found, n, limits.duplicates[n], bound)
            last = n

    def _least_counts(self) -> Ints:
        """int64[tokens]: at least how often the pair from each on occurs in its document; 0 where none fits."""
        size = 2 * self.tokens.scale
        whole = len(self.owner) - size + 1
        counts = np.zeros(len(self.owner), dtype=np.int64)
        for begin, end in _chunks(self.tokens.first):
            end = min(end, whole)
            if begin < end:
                keys = self.tokens.hashes[begin:end].copy()
                for nth in range(1, size):
                    keys *= _FACTOR
                    keys += self.tokens.hashes[begin + nth : end + nth]
                counts[begin:end] = crowd(salted(keys, self.owner[begin:end]))
        for back in range(1, size):  # the last tokens of each document
            last = self.tokens.first[1:] - back
            counts[last[last >= self.tokens.first[:-1]]] = 0
        return counts

    def _keys(self, places: Ints, size: int) -> Hashes:
        """uint64[places]: hash of `size` tokens from there on, salted by document."""
        keys = self.tokens.hashes[places]
        for nth in range(1, size):
            keys *= _FACTOR
            keys += self.tokens.hashes[places + nth]
        return salted(keys, self.owner[places])

    def _chars_at(self, places: Ints, size: int) -> Ints:
        return self.tokens.places[places + size] - self.tokens.places[places]

    def _longer(self, often: Ints, least: Ints, counts: Ints, n: int) -> tuple[Ints, Ints]:
        """Of the places of pairs or (n - 1)-grams those where an n-gram may be repeated, and at most how often it is."""
        scale = self.tokens.scale
        size = n * scale
        fits = often + size <= self.tokens.first[self.owner[often] + 1]
        often, least = often[fits], least[fits]
        for nth in range(1, size - 2 * scale + 1):
            least = np.minimum(least, counts[often + nth])
        return often[least > 1], least[least > 1]

    def _judge_top(self, often: Ints, least: Ints, n: int, limit: float, occurrences: int) -> None:
        tokens, size = self.tokens, n * self.tokens.scale
        spaces = tokens.spaced * (size - 1)
        most = limit * _SLACK * self.chars
        suspect = np.zeros(len(self.chars), dtype=np.bool_)
        rows = self.owner[often]
        suspect[rows[least * (self._chars_at(often, size) + spaces) > most[rows]]] = True
        heads = np.flatnonzero(np.diff(tokens.first) >= size)
        if occurrences == 1:
            # Where none occurs twice the first is the top one: too long a share only of a very short document.
            suspect[heads[self._chars_at(tokens.first[heads], size) + spaces > most[heads]]] = True
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
        """Where the most frequent n-gram of each document that has some of the places is first, and how often it occurs."""
        keys = self._keys(places, size)
        order = np.argsort(keys, kind="stable")
        ordered = keys[order]
        heads = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
        counts = np.diff(np.append(heads, len(order)))
        firsts = places[order[heads]]
        best = np.lexsort((firsts, -counts, self.owner[firsts]))
        rows = self.owner[firsts[best]]
        best = best[np.append(True, rows[1:] != rows[:-1])]
        return firsts[best], counts[best]

    def _likely_duplicates(self, found: Ints, n: int, last: int, bound: float) -> Ints:
        """Places where n-grams are likely to be repeated, in documents that these, all together, take beyond the bound.

        Args:
            found: places where `last`-grams may be repeated.
            n: of the n-grams.
            last: 2 or more, below n.
            bound: the least limit that is still to be held against the documents.
        """
        size = n * self.tokens.scale
        marks: Flags = np.zeros(len(self.owner) + size, dtype=np.bool_)
        marks[found] = True
        for nth in range(self.tokens.scale, size - last * self.tokens.scale + 1, self.tokens.scale):
            found = found[marks[found + nth]]
        rows = self.owner[found]
        found = found[(found + size <= self.tokens.first[rows + 1]) & (self.passed[rows] == 0)]
        found = self._much(found, found, size, bound)
        return found[crowd(self._keys(found, size)) > 1] if len(found) else found

    def _much(self, found: Ints, counted: Ints, size: int, bound: float) -> Ints:
        """Those found in documents whose tokens from the counted places on, `size` from each, make up more than the bound."""
        upto = np.minimum(counted + size, np.append(counted[1:], len(self.owner)))
        covered = self.tokens.places[upto] - self.tokens.places[counted]
        chars = np.bincount(self.owner[counted], covered, minlength=len(self.chars))
        return found[(chars > bound * _SLACK * self.chars)[self.owner[found]]]

    def _judge_duplicates(self, found: Ints, n: int, limit: float, bound: float) -> Ints:
        """Those of the places where n-grams are repeated that may pass a later limit."""
        size = n * self.tokens.scale
        counted = found[later(self._keys(found, size))]
        places = _apart(self._much(counted, counted, size, limit), size)
        chars = np.bincount(self.owner[places], self._chars_at(places, size), minlength=len(self.chars))
        self.passed[(chars / np.maximum(self.chars, 1) > limit) & (self.passed == 0)] = n
        return self._much(found, counted, size, bound)


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
