"""Find documents that share a word n-gram with an evaluation text.

The convention is that of GPT-3 (Brown et al. 2020, appendix C): n-grams of 13 words, ignoring case, punctuation and
white space. One shared n-gram is enough, as in datatrove's `NGramsDecontFilter`, whose default is 12 words. The whole
document is dropped. GPT-3 removed 200 characters around the n-gram instead.
"""

import hashlib
import unicodedata
from collections.abc import Sequence
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
"""Number for a document that shares no n-gram with any set."""

_SPACE = 0x20
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio, odd
_MIN_BITS, _MAX_BITS = 16, 24  # bits of the table size: at most 16 MiB, to stay in the cache

# Maps ASCII letters to lower case, other ASCII except digits to spaces. Other bytes are unchanged.
_NORMALIZED = bytes(b if b >= 0x80 or chr(b).isalnum() else _SPACE for b in bytes(range(256)).lower())


@dataclass(frozen=True, eq=False)
class NgramHashes:
    """Hashes of all n-grams of one length in the evaluation texts.

    Attributes:
        n: Length in words, or in characters of a script without spaces.
        hashes: Distinct hashes, uint64, ascending.
        sets: Number of the first set that has each n-gram, int64.
    """

    n: int
    hashes: Hashes
    sets: Ints

    @cached_property
    def _table(self) -> tuple[Flags, np.uint64]:
        """Prefilter by the upper bits of a hash, bool[2^bits], and the shift to these bits. Rejects most n-grams."""
        bits = min(max((16 * len(self.hashes)).bit_length(), _MIN_BITS), _MAX_BITS)
        table, shift = np.zeros(1 << bits, dtype=np.bool_), np.uint64(64 - bits)
        table[(self.hashes >> shift).astype(np.int64)] = True
        return table, shift

    def __getstate__(self) -> dict[str, object]:
        """Return the state without the prefilter, which is rebuilt on first use."""
        return {"n": self.n, "hashes": self.hashes, "sets": self.sets}

    def search(self, words: Words) -> tuple[Ints, Ints]:
        """Return the row and the set of each match, int64 twice. Rows are ascending, one entry per match."""
        value = hash_ngrams(words.hashes, self.n)
        table, shift = self._table
        position = np.flatnonzero(table[(value >> shift).view(np.int64)])
        match = np.minimum(np.searchsorted(self.hashes, value[position]), len(self.hashes) - 1)
        equal = self.hashes[match] == value[position]
        position, match = position[equal], match[equal]
        row = np.searchsorted(words.first, position, side="right") - 1
        inside = position + self.n <= words.first[row + 1]  # not across the end of a document
        return row[inside], self.sets[match[inside]]


@dataclass(frozen=True, eq=False)
class EvaluationNgrams:
    """Hashes of all word n-grams of the evaluation sets, 16 bytes per n-gram. The texts are not kept.

    An n-gram is compared by 64 bits of a hash. The probability that an n-gram outside the sets matches by chance is the
    number of n-grams / 2^64.

    Attributes:
        names: Names of the sets.
        ngrams: Hashes by length, shortest first.
    """

    names: tuple[str, ...]
    ngrams: tuple[NgramHashes, ...]

    @property
    def digest(self) -> str:
        """SHA-256 of all n-grams and their sets, 64 hexadecimal digits."""
        state = hashlib.sha256()
        for ngrams in self.ngrams:
            state.update(f"{ngrams.n} {len(ngrams.hashes)}\n".encode())
            state.update(ngrams.hashes.astype("<u8").tobytes() + ngrams.sets.astype("<i8").tobytes())
        return state.hexdigest()

    def search(self, texts: pa.StringArray) -> Ints:
        """Return the number of the first set that shares an n-gram with each document, else `NONE`, int64[rows].

        The result depends on the text only. A null row shares nothing.
        """
        words = normalized_words(texts)
        first = np.full(len(texts), len(self.names), dtype=np.int64)
        for ngrams in self.ngrams:
            rows, sets = ngrams.search(words)
            np.minimum.at(first, rows, sets)
        first[first == len(self.names)] = NONE
        return first


class NgramCollector:
    """Collector of the n-grams of evaluation texts, one set after the other.

    Args:
        ngram: Words per n-gram. In a text that is mostly in a script without spaces, characters count as in near dedup:
            two per word of Chinese or Japanese, four per word of Thai and similar scripts.

    Attributes:
        texts: Number of texts in the current set.
        short: Number of these that are shorter than an n-gram.
    """

    def __init__(self, ngram: int) -> None:
        self._ngram = ngram
        self._names: list[str] = []
        self._hashes: dict[int, list[tuple[Hashes, int]]] = {}
        self.texts = self.short = 0

    def begin(self, name: str) -> None:
        """Start the next set. Resets `texts` and `short`."""
        self._names.append(name)
        self.texts = self.short = 0

    def add(self, texts: pa.StringArray) -> None:
        """Add the n-grams of texts to the current set. A text shorter than an n-gram has none, so it is never found."""
        words = normalized_words(texts)
        count = np.diff(words.first)
        size = self._ngram * _tokens_per_word(words)
        self.texts += len(texts)
        self.short += int(np.count_nonzero(count < size))
        for n in np.unique(size[count >= size]).tolist():
            value = hash_ngrams(words.hashes, n)
            position = np.arange(len(value))
            row = np.searchsorted(words.first, position, side="right") - 1
            selected = (position + n <= words.first[row + 1]) & (size[row] == n)
            self._hashes.setdefault(n, []).append((np.unique(value[selected]), len(self._names) - 1))

    def evaluation_ngrams(self) -> EvaluationNgrams:
        """Return the n-grams of all sets."""
        found = sorted(self._hashes.items())
        return EvaluationNgrams(tuple(self._names), tuple(_merge_hashes(n, parts) for n, parts in found))


def _merge_hashes(n: int, parts: Sequence[tuple[Hashes, int]]) -> NgramHashes:
    """Return the distinct hashes of all parts, each with its lowest set number."""
    hashes = np.concatenate([part for part, _ in parts])
    sets = np.repeat(np.array([number for _, number in parts]), [len(part) for part, _ in parts])
    unique, first = np.unique(hashes, return_index=True)  # first occurrence, because parts are in the order of the sets
    return NgramHashes(n, unique, sets[first].astype(np.int64))


def normalized_words(texts: pa.StringArray) -> Words:
    """Return the words that n-grams consist of: runs of letters and digits in lower case.

    A word ends at any other character, so "word—word" and "word — word" are equal, and "don't" is two words. Each
    character of a script without spaces is a word. `Words.data` has the bytes in lower case, not those of `texts`.

    >>> words = normalized_words(pa.array(["It's 3 p.m., OK?", None]))
    >>> [bytes(words.data[a:b]).decode() for a, b in zip(words.starts, words.ends)], words.first.tolist()
    (['it', 's', '3', 'p', 'm', 'ok'], [0, 6, 6])
    """
    if texts.null_count:
        texts = pc.fill_null(texts, "")
    data, offsets = text_view(texts)
    ascii_only = not len(data) or int(data.max()) < 0x80
    if not ascii_only:
        data, offsets = text_view(pc.utf8_lower(texts))
    plain = np.frombuffer(data.tobytes().translate(_NORMALIZED), dtype=np.uint8)
    space = plain == _SPACE
    if not ascii_only:
        _mark_separators(plain, space)
    starts, ends = runs(space, offsets)
    words = Words(plain, offsets, starts, ends, np.searchsorted(starts, offsets).astype(np.int64, copy=False))
    if ascii_only or not any(map(len, unspaced_characters(plain, np.flatnonzero(plain >= 0xE0)).values())):
        return words
    return split_unspaced(words)[0]


def hash_ngrams(hashes: Hashes, n: int) -> Hashes:
    """Return a polynomial hash of the n tokens from each token on, uint64[max(tokens - n + 1, 0)]."""
    if len(hashes) < n:
        return np.zeros(0, dtype=np.uint64)
    power, length = hashes, 1  # hashes of 1, 2, 4, … tokens
    result, size = hashes[:0], 0
    left = n
    while True:
        if left & 1:
            result, size = (power, length) if size == 0 else (_concatenate(power, result, length, size), size + length)
        left >>= 1
        if not left:
            return result
        power, length = _concatenate(power, power, length, length), 2 * length


def _concatenate(head: Hashes, tail: Hashes, length: int, size: int) -> Hashes:
    """Return the hash of `length` tokens (head) and the next `size` tokens (tail) at each position where both fit."""
    fit = len(tail) - length
    factor = np.uint64(pow(int(_MULTIPLIER), size, 1 << 64))
    return head[:fit] * factor + tail[length:]


def _tokens_per_word(words: Words) -> Ints:
    """Return the number of tokens that count as one word of each document, int64[rows]."""
    characters = unspaced_characters(words.data, np.flatnonzero(words.data >= 0xE0))
    count = np.diff(words.first)
    tokens = np.ones(len(count), dtype=np.int64)
    for script, positions in characters.items():
        tokens[2 * np.diff(np.searchsorted(positions, words.offsets)) > count] = CHARACTERS_PER_WORD[script]
    return tokens


def _mark_separators(data: Bytes, space: Flags) -> None:
    """Set `space` at all bytes of non-ASCII characters that separate words."""
    heads, table = _separators()
    lead = np.flatnonzero(data >= 0xC0)
    second = data[lead + 1]  # in valid UTF-8, a lead byte is never the last byte
    likely = lead[heads[(data[lead] & np.uint8(0x3F)).astype(np.int64) << 6 | (second & np.uint8(0x3F))]]
    codes = code_points(data, likely)
    found = likely[table.take(codes, mode="clip")]
    width = np.where(data[found] < 0xE0, 2, np.where(data[found] < 0xF0, 3, 4))
    for nth in range(4):
        space[found[width > nth] + nth] = True


@lru_cache(maxsize=1)
def _separators() -> tuple[Flags, Flags]:
    """Return tables of punctuation, symbols, spaces and controls of Unicode 3.2, which every Python has.

    Returns:
        bool[4096], indexed by the low six bits of the first and the second byte: True if such a character begins with
        these bytes. bool[0x20000], indexed by code point.
    """
    category = unicodedata.ucd_3_2_0.category
    table = np.array([point >= 0x80 and category(chr(point))[0] in "PSZ" for point in range(0x20000)])
    table |= np.array([point >= 0x80 and category(chr(point)) in ("Cc", "Cf") for point in range(0x20000)])
    table[-1] = False  # higher code points are clipped to the last
    points = np.flatnonzero(table)
    lead = np.select([points < 0x800, points < 0x10000], [0xC0 | points >> 6, 0xE0 | points >> 12], 0xF0 | points >> 18)
    second = np.select([points < 0x800, points < 0x10000], [points, points >> 6], points >> 12) & 0x3F
    heads = np.zeros(4096, dtype=np.bool_)
    heads[(lead & 0x3F) << 6 | second] = True
    return heads, table
