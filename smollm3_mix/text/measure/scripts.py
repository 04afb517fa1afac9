"""Scripts without spaces between words: find such documents and split their text into characters."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from smollm3_mix.text.measure.code_points import Bytes, Flags, Ints, are_letters, are_symbols, code_points, sum_rows
from smollm3_mix.text.measure.words import Words, find_words

SHARE = 0.2
"""Minimum share of code points for a document to be in a script without spaces."""

CHARACTERS_PER_WORD = {"han": 2, "thai": 4}
"""Characters that count as one word. han: Chinese and Japanese. thai: Thai, Lao, Khmer, Myanmar, Tibetan."""


@dataclass(frozen=True, eq=False)
class Unspaced:
    """Documents of a block in one kind of script without spaces, split into characters and other words.

    Attributes:
        script: "han" or "thai". See `CHARACTERS_PER_WORD`.
        rows: Numbers of the documents in the block, int64, ascending.
        words: Words of these documents only, split before and after each character of the script.
        is_character: True for the characters of the script, bool[words].
    """

    script: str
    rows: Ints
    words: Words
    is_character: Flags

    @cached_property
    def word_count(self) -> Ints:
        """Approximate number of words, int64[len(rows)]. `CHARACTERS_PER_WORD` characters count as one."""
        characters = sum_rows(self.is_character, self.words.first)
        return np.diff(self.words.first) - characters + characters // CHARACTERS_PER_WORD[self.script]

    @cached_property
    def counted_words(self) -> Ints:
        """Approximate number of words without symbol words, such as punctuation between clauses, int64[len(rows)]."""
        symbols = self.is_character.copy()  # a symbol of the script itself counts as a part of a word
        characters = np.flatnonzero(symbols)
        symbols[characters] = are_symbols(code_points(self.words.data, self.words.starts[characters]))
        return np.asarray(self.word_count - self.words.features.symbol_words + sum_rows(symbols, self.words.first))

    @cached_property
    def alphabetic(self) -> npt.NDArray[np.float64]:
        """Share of the words with at least one letter or mark of any script, float64[len(rows)]."""
        others = self.is_character.copy()  # symbols of the script count as letters
        characters = np.flatnonzero(others)
        others[characters] = ~are_letters(code_points(self.words.data, self.words.starts[characters]))
        found = self.words.features.with_letters + sum_rows(others, self.words.first)
        return np.asarray(found / np.maximum(np.diff(self.words.first), 1))


def find_unspaced(texts: pa.StringArray, found: Words, selected: Flags | None = None) -> tuple[Unspaced, ...]:
    """Return the documents of a block that are in a script without spaces, by kind of script. Empty for most blocks.

    Args:
        texts: string or large_string array.
        found: Result of `find_words(texts)`.
        selected: Documents to check, bool[rows]. All by default.
    """
    likely = _may_be_unspaced(found)
    rows = np.flatnonzero(likely if selected is None else likely & selected)
    if not len(rows):
        return ()
    if len(rows) < len(texts):
        texts = texts.take(pa.array(rows))
        found = find_words(texts)
    characters = unspaced_characters(found.data, np.flatnonzero(found.data >= 0xE0))
    counts = {script: np.diff(np.searchsorted(at, found.offsets)) for script, at in characters.items()}
    total = counts["han"] + counts["thai"]
    inside = (total > 0) & (total >= SHARE * found.characters.points)
    mostly = {"han": counts["han"] >= counts["thai"], "thai": counts["han"] < counts["thai"]}
    parts = []
    for script in CHARACTERS_PER_WORD:
        own = np.flatnonzero(inside & mostly[script])
        if len(own) == len(texts):
            parts.append(Unspaced(script, rows[own], *split_unspaced(found)))
        elif len(own):
            parts.append(Unspaced(script, rows[own], *split_unspaced(find_words(texts.take(pa.array(own))))))
    return tuple(parts)


def _may_be_unspaced(found: Words) -> Flags:
    """Return True for documents that may be in a script without spaces, bool[rows]. No other document is."""
    likely = found.characters.maybe_unspaced
    return np.asarray((likely > 0) & (likely >= SHARE * found.characters.points))


def unspaced_characters(data: Bytes, wide: Ints) -> dict[str, Ints]:
    """Return the positions of the characters of scripts without spaces, by kind of script.

    `wide` has the positions of lead bytes of at least E0. han: kana, bopomofo and Han characters of the Basic
    Multilingual Plane, U+3040 to U+9FFF. thai: Thai, Lao and Tibetan, U+0E00 to U+0FFF; Myanmar, U+1000 to U+109F;
    Khmer, U+1780 to U+17FF.
    """
    lead, second = data[wide], data.take(wide + 1, mode="clip") if len(wide) else data[:0]
    han = ((lead - np.uint8(0xE4)) < 6) | ((lead == 0xE3) & (second > 0x80))  # E3 80 is punctuation
    thai = (lead == 0xE0) & (second >= 0xB8)
    likely = np.flatnonzero(lead == 0xE1)
    two, three = second[likely], data.take(wide[likely] + 2, mode="clip") if len(likely) else data[:0]
    myanmar = (two <= 0x81) | ((two == 0x82) & (three < 0xA0))  # Georgian begins at U+10A0
    thai[likely] = myanmar | (two == 0x9E) | (two == 0x9F)
    return {"han": wide[han], "thai": wide[thai]}


def split_unspaced(found: Words) -> tuple[Words, Flags]:
    """Split words before and after each character of a script without spaces. Also return where these are, bool."""
    positions = np.concatenate(list(unspaced_characters(found.data, np.flatnonzero(found.data >= 0xE0)).values()))
    word = np.searchsorted(found.starts, positions, side="right") - 1
    positions = positions[(word >= 0) & (positions < np.append(found.ends, 0)[word])]  # others, as ・, separate words
    size = len(found.data)
    is_character, marks, edges = (np.zeros(size + 1, dtype=np.bool_) for _ in range(3))
    is_character[positions] = True
    edges[found.starts] = True
    marks[found.starts] = marks[positions] = marks[positions + 3] = True  # characters of these scripts take three bytes
    marks[found.ends] = edges[found.ends]  # no word begins at the end of a word, unless a document begins there
    starts = np.flatnonzero(marks)
    word = np.cumsum(edges[starts]) - 1
    ends = np.minimum(np.append(starts[1:], size), found.ends[word])
    first = np.searchsorted(starts, np.append(found.starts, size)[found.first]).astype(np.int64, copy=False)
    return Words(found.data, found.offsets, starts, ends, first), is_character[starts]
