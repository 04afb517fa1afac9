"""Which documents share a run of words with a text that a model will be evaluated on.

The convention is that of GPT-3 (Brown et al. 2020, appendix C): runs of 13 words, without regard to case, punctuation
and white space. One common run is enough, as in datatrove's `NGramsDecontFilter` (which takes 12 words by default). The
document is dropped whole; GPT-3 cut 200 characters around the run out of it.
"""

import hashlib
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from smollm3_mix.text.measure.code_points import Bytes, Ints, code_points
from smollm3_mix.text.measure.scripts import CHARACTERS_PER_WORD, split_unspaced, unspaced_characters
from smollm3_mix.text.measure.words import Hashes, Words, runs, text_view

Flags = npt.NDArray[np.bool_]

NONE = -1
"""In place of a set's number: the document shares no run of words with any."""

_SPACE = 0x20
_TURN = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio, odd
_LEAST_BITS, _MOST_BITS = 16, 24  # of the table's size; 16 MiB at most, so that it stays near the processor

# ASCII in lower case, every byte of it that is no letter or digit as a space; other bytes as they are.
_PLAIN = bytes(b if b >= 0x80 or chr(b).isalnum() else _SPACE for b in bytes(range(256)).lower())


@dataclass(frozen=True, eq=False)
class NgramHashes:
    """Runs of n tokens of evaluation texts.

    Attributes:
        n: tokens in a run.
        hashes: uint64, ascending, each once.
        sets: int64, for each the first set that has it.
    """

    n: int
    hashes: Hashes
    sets: Ints

    @cached_property
    def _table(self) -> tuple[Flags, np.uint64]:
        """Which values the upper bits of the hashes have, and by how much to shift: most runs need no other look."""
        bits = min(max((16 * len(self.hashes)).bit_length(), _LEAST_BITS), _MOST_BITS)
        table, shift = np.zeros(1 << bits, dtype=np.bool_), np.uint64(64 - bits)
        table[(self.hashes >> shift).astype(np.int64)] = True
        return table, shift

    def __getstate__(self) -> dict[str, object]:
        """Without the table, which whoever needs it makes again."""
        return {"n": self.n, "hashes": self.hashes, "sets": self.sets}

    def search(self, found: Words) -> tuple[Ints, Ints]:
        """int64 twice: documents that have some of these runs, in ascending order and as often, and of which set."""
        value = count_ngrams(found.hashes, self.n)
        table, shift = self._table
        place = np.flatnonzero(table[(value >> shift).view(np.int64)])
        among = np.minimum(np.searchsorted(self.hashes, value[place]), len(self.hashes) - 1)
        same = self.hashes[among] == value[place]
        place, among = place[same], among[same]
        row = np.searchsorted(found.first, place, side="right") - 1
        whole = place + self.n <= found.first[row + 1]  # not half of the next document
        return row[whole], self.sets[among[whole]]


@dataclass(frozen=True, eq=False)
class EvaluationNgrams:
    """All runs of words of some sets of evaluation texts, 16 bytes each; the texts are not needed again.

    A run is known by 64 bits of a hash, so one that is not in the sets is taken for one that is with a chance of runs /
    2^64.

    Attributes:
        names: of the sets.
        ngrams: runs by their length in tokens.
    """

    names: tuple[str, ...]
    ngrams: tuple[NgramHashes, ...]

    @property
    def digest(self) -> str:
        """SHA-256 over all runs and the sets they are of, 64 hex digits."""
        state = hashlib.sha256()
        for grams in self.ngrams:
            state.update(f"{grams.n} {len(grams.hashes)}\n".encode())
            state.update(grams.hashes.astype("<u8").tobytes() + grams.sets.astype("<i8").tobytes())
        return state.hexdigest()

    def search(self, texts: pa.StringArray) -> Ints:
        """int64[rows]: the first set that each document shares a run of words with, `NONE` for most.

        A verdict depends on the text alone. A null row shares nothing.
        """
        found = word_tokens(texts)
        first = np.full(len(texts), len(self.names), dtype=np.int64)
        for grams in self.ngrams:
            rows, sets = grams.search(found)
            np.minimum.at(first, rows, sets)
        first[first == len(self.names)] = NONE
        return first


class NgramCollector:
    """Runs of words while sets of evaluation texts are read.

    Args:
        ngram: words in a run. In a text mostly of a script without spaces, characters are counted as near dedup does:
            two for a word of Chinese or Japanese, four for one of Thai and its like.
    """

    def __init__(self, ngram: int) -> None:
        self._ngram = ngram
        self._names: list[str] = []
        self._found: dict[int, list[tuple[Hashes, int]]] = {}
        self.texts = self.short = 0

    def begin(self, name: str) -> None:
        """From now on texts are of this set; `texts` and `short` count its texts, and those shorter than a run."""
        self._names.append(name)
        self.texts = self.short = 0

    def add(self, texts: pa.StringArray) -> None:
        """Take the runs of words of some texts. Shorter ones have none: they cannot be looked for."""
        found = word_tokens(texts)
        count = np.diff(found.first)
        size = self._ngram * _scales(found)
        self.texts += len(texts)
        self.short += int(np.count_nonzero(count < size))
        for n in np.unique(size[count >= size]).tolist():
            value = count_ngrams(found.hashes, n)
            place = np.arange(len(value))
            row = np.searchsorted(found.first, place, side="right") - 1
            mine = (place + n <= found.first[row + 1]) & (size[row] == n)
            self._found.setdefault(n, []).append((np.unique(value[mine]), len(self._names) - 1))

    def evaluation_ngrams(self) -> EvaluationNgrams:
        """All that was taken."""
        return EvaluationNgrams(tuple(self._names), tuple(_grams(n, parts) for n, parts in sorted(self._found.items())))


def _grams(n: int, parts: Iterable[tuple[Hashes, int]]) -> NgramHashes:
    """The runs of all parts, each once, with the least set."""
    held = list(parts)
    hashes = np.concatenate([part for part, _ in held])
    sets = np.repeat(np.array([number for _, number in held]), [len(part) for part, _ in held])
    unique, first = np.unique(hashes, return_index=True)  # the first occurrence: parts come in the order of sets
    return NgramHashes(n, unique, sets[first].astype(np.int64))


def word_tokens(texts: pa.StringArray) -> Words:
    """The words of each document as runs are made of them: in lower case, without anything but letters and digits.

    A word ends at every other character, so that "word—word" and "word — word" are the same; "don't" is two words.
    Characters of scripts without spaces are words of their own, whatever else the document holds. `Words.data` are the
    bytes in lower case, not those of `texts`.

    >>> found = tokens(pa.array(["It's 3 p.m., OK?", None]))
    >>> [bytes(found.data[a:b]).decode() for a, b in zip(found.starts, found.ends)], found.first.tolist()
    (['it', 's', '3', 'p', 'm', 'ok'], [0, 6, 6])
    """
    if texts.null_count:
        texts = pc.fill_null(texts, "")
    data, offsets = text_view(texts)
    ascii_only = not len(data) or int(data.max()) < 0x80
    if not ascii_only:
        data, offsets = text_view(pc.utf8_lower(texts))
    plain = np.frombuffer(data.tobytes().translate(_PLAIN), dtype=np.uint8)
    space = plain == _SPACE
    if not ascii_only:
        _mark_separators(plain, space)
    starts, ends = runs(space, offsets)
    found = Words(plain, offsets, starts, ends, np.searchsorted(starts, offsets).astype(np.int64, copy=False))
    if ascii_only or not any(map(len, unspaced_characters(plain, np.flatnonzero(plain >= 0xE0)).values())):
        return found
    return split_unspaced(found)[0]


def count_ngrams(hashes: Hashes, n: int) -> Hashes:
    """uint64[max(tokens - n + 1, 0)]: hash of the n tokens from each on: a polynomial, by doubling its length."""
    if len(hashes) < n:
        return np.zeros(0, dtype=np.uint64)
    power, length = hashes, 1  # of runs of 1, 2, 4, … tokens
    whole, size = hashes[:0], 0
    left = n
    while True:
        if left & 1:
            whole, size = (power, length) if size == 0 else (_joined(power, whole, length, size), size + length)
        left >>= 1
        if not left:
            return whole
        power, length = _joined(power, power, length, length), 2 * length


def _joined(one: Hashes, other: Hashes, length: int, size: int) -> Hashes:
    """Hash of `length` tokens (one) and the `size` tokens that follow (other), from each place where both fit."""
    fit = len(other) - length
    turn = np.uint64(pow(int(_TURN), size, 1 << 64))
    return one[:fit] * turn + other[length:]


def _scales(found: Words) -> Ints:
    """int64[rows]: tokens taken for one word of each document."""
    kinds = unspaced_characters(found.data, np.flatnonzero(found.data >= 0xE0))
    count = np.diff(found.first)
    scales = np.ones(len(count), dtype=np.int64)
    for script, places in kinds.items():
        scales[2 * np.diff(np.searchsorted(places, found.offsets)) > count] = CHARACTERS_PER_WORD[script]
    return scales


def _mark_separators(data: Bytes, space: Flags) -> None:
    """Set `space` at all bytes of characters beyond ASCII that are no part of a word."""
    heads, table = _separators()
    lead = np.flatnonzero(data >= 0xC0)
    second = data[lead + 1]  # valid UTF-8: a lead byte is never the last
    likely = lead[heads[(data[lead] & np.uint8(0x3F)).astype(np.int64) << 6 | (second & np.uint8(0x3F))]]
    codes = code_points(data, likely)
    found = likely[table.take(codes, mode="clip")]
    width = np.where(data[found] < 0xE0, 2, np.where(data[found] < 0xF0, 3, 4))
    for nth in range(4):
        space[found[width > nth] + nth] = True


@lru_cache(maxsize=1)
def _separators() -> tuple[Flags, Flags]:
    """Which code points are punctuation, symbols, spaces or controls (Unicode 3.2, which every Python knows).

    Returns:
        bool[4096], by the low six bits of the first byte and of the second: whether any such begins so; and
        bool[0x20000] by code point.
    """
    category = unicodedata.ucd_3_2_0.category
    table = np.array([point >= 0x80 and category(chr(point))[0] in "PSZ" for point in range(0x20000)])
    table |= np.array([point >= 0x80 and category(chr(point)) in ("Cc", "Cf") for point in range(0x20000)])
    table[-1] = False  # what lies above is clipped to it
    points = np.flatnonzero(table)
    lead = np.select([points < 0x800, points < 0x10000], [0xC0 | points >> 6, 0xE0 | points >> 12], 0xF0 | points >> 18)
    second = np.select([points < 0x800, points < 0x10000], [points, points >> 6], points >> 12) & 0x3F
    heads = np.zeros(4096, dtype=np.bool_)
    heads[(lead & 0x3F) << 6 | second] = True
    return heads, table
