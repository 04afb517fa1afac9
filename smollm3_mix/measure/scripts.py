"""Scripts that write no spaces between words: which documents are in one, and their text cut into characters."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from smollm3_mix.measure.chars import sum_rows
from smollm3_mix.measure.words import Bytes, Hashes, Ints, Words, hash_runs

SHARE = 0.2
"""A document is in a script without spaces if that share of its code points is."""

SCALES = {"han": 2, "thai": 4}
"""Characters taken for one word. han: Chinese and Japanese; thai: Thai, Lao, Khmer, Myanmar, Tibetan."""


@dataclass(frozen=True, eq=False)
class Unspaced:
    """Documents of a block in one kind of script without spaces, cut into its characters and other words.

    Attributes:
        script: "han" or "thai"; see `SCALES`.
        rows: int64, numbers of the documents in the block, ascending.
        data: uint8[bytes], UTF-8 bytes of the block.
        starts: int64[tokens], offset into `data` of each token's first byte, ascending.
        ends: int64[tokens], offset behind each token's last byte.
        first: int64[len(rows) + 1]; the tokens of document rows[i] are number first[i] to first[i + 1] - 1.
        singles: int64[len(rows)], how many of the tokens are characters of the script.
    """

    script: str
    rows: Ints
    data: Bytes
    starts: Ints
    ends: Ints
    first: Ints
    singles: Ints

    @cached_property
    def hashes(self) -> Hashes:
        """uint64[tokens]: equal for equal bytes, as in `Words`."""
        return hash_runs(self.data, self.starts, self.ends)

    @property
    def words(self) -> Ints:
        """int64[len(rows)]: about how many words each document has; `SCALES` characters count as one."""
        return np.diff(self.first) - self.singles + self.singles // SCALES[self.script]


def unspaced(words: Words, chars: Ints) -> tuple[Unspaced, ...]:
    """The documents of a block that are in a script without spaces, by kind of script; empty for most blocks.

    Args:
        words: of the block.
        chars: int64[rows], code points of each document.
    """
    han, thai = _han(words.data), _thai(words.data)
    if len(han) == len(thai) == 0:
        return ()
    counts = {"han": _per_row(han, words.offsets), "thai": _per_row(thai, words.offsets)}
    total = counts["han"] + counts["thai"]
    inside = (total > 0) & (total >= SHARE * chars)
    mostly = {"han": counts["han"] >= counts["thai"], "thai": counts["han"] < counts["thai"]}
    found = []
    for script in SCALES:
        rows = np.flatnonzero(inside & mostly[script])
        if len(rows):
            found.append(_cut(words, script, rows, np.concatenate([han, thai]), total[rows]))
    return tuple(found)


def _han(data: Bytes) -> Ints:
    """First bytes of kana, bopomofo and Han characters of the Basic Multilingual Plane: U+3040 to U+9FFF."""
    found = np.flatnonzero((data - np.uint8(0xE3)) < 7)
    return found[(data[found] > 0xE3) | (data.take(found + 1, mode="clip") > 0x80)]  # E3 80 is punctuation


def _thai(data: Bytes) -> Ints:
    """First bytes of Thai, Lao, Tibetan (U+0E00 to U+0FFF), Myanmar (U+1000 to U+109F) and Khmer (U+1780 to U+17FF)."""
    found = np.flatnonzero((data - np.uint8(0xE0)) < 2)
    if len(found) == 0:
        return found
    second = data.take(found + 1, mode="clip")
    south = (data[found] == 0xE0) & (second >= 0xB8)
    east = (data[found] == 0xE1) & ((second <= 0x82) | (second == 0x9E) | (second == 0x9F))
    return found[south | east]


def _per_row(places: Ints, offsets: Ints) -> Ints:
    return np.diff(np.searchsorted(places, offsets)).astype(np.int64)


def _cut(words: Words, script: str, rows: Ints, places: Ints, singles: Ints) -> Unspaced:
    """The given documents, cut before and after each character whose first byte is in `places`."""
    marks = np.zeros(len(words.data) + 4, dtype=np.bool_)
    marks[words.starts] = marks[places] = marks[places + 3] = True  # the blocks of these scripts take three bytes
    starts = np.flatnonzero(marks)
    word = np.searchsorted(words.starts, starts, side="right") - 1
    ends = np.minimum(np.append(starts[1:], len(words.data)), words.ends[word])
    owner = np.searchsorted(words.first, word, side="right") - 1
    mine = (starts < ends) & (word >= 0) & np.isin(owner, rows)
    first = np.searchsorted(owner[mine], np.append(rows, len(words.first))).astype(np.int64, copy=False)
    return Unspaced(script, rows, words.data, starts[mine], ends[mine], first, singles)
