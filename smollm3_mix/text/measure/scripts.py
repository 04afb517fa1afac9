"""Scripts that write no spaces between words: which documents are in one, and their text cut into characters."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from smollm3_mix.text.measure.code_points import Bytes, Flags, Ints, are_letters, are_symbols, code_points, sum_rows
from smollm3_mix.text.measure.words import Words, find_words

SHARE = 0.2
"""A document is in a script without spaces if that share of its code points is."""

CHARACTERS_PER_WORD = {"han": 2, "thai": 4}
"""Characters taken for one word. han: Chinese and Japanese; thai: Thai, Lao, Khmer, Myanmar, Tibetan."""


@dataclass(frozen=True, eq=False)
class Unspaced:
    """Documents of a block in one kind of script without spaces, cut into its characters and other words.

    Attributes:
        script: "han" or "thai"; see `CHARACTERS_PER_WORD`.
        rows: int64, numbers of the documents in the block, ascending.
        words: of these documents alone: what white space parts, cut before and after each character of the script.
        single: bool[words], True for the characters of the script.
    """

    script: str
    rows: Ints
    words: Words
    single: Flags

    @cached_property
    def word_count(self) -> Ints:
        """int64[len(rows)]: about how many words each document has; `CHARACTERS_PER_WORD` characters count as one."""
        singles = sum_rows(self.single, self.words.first)
        return np.diff(self.words.first) - singles + singles // CHARACTERS_PER_WORD[self.script]

    @cached_property
    def counted_words(self) -> Ints:
        """int64[len(rows)]: the same without words of signs alone, such as the marks between two clauses."""
        signs = self.single.copy()  # a sign that is itself of the script stays what it is there, a part of a word
        single = np.flatnonzero(signs)
        signs[single] = are_symbols(code_points(self.words.data, self.words.starts[single]))
        return np.asarray(self.word_count - self.words.features.symbol_words + sum_rows(signs, self.words.first))

    @cached_property
    def alphabetic(self) -> npt.NDArray[np.float64]:
        """float64[len(rows)]: share of the words with at least one letter or mark of any script."""
        others = self.single.copy()  # signs of the script that are no letters count as such
        single = np.flatnonzero(others)
        others[single] = ~are_letters(code_points(self.words.data, self.words.starts[single]))
        found = self.words.features.with_letters + sum_rows(others, self.words.first)
        return np.asarray(found / np.maximum(np.diff(self.words.first), 1))


def find_unspaced(texts: pa.StringArray, found: Words, among: Flags | None = None) -> tuple[Unspaced, ...]:
    """The documents of a block that are in a script without spaces, by kind of script; none for most blocks.

    Args:
        texts: string or large_string array.
        found: `find_words(texts)`.
        among: bool[rows], documents to look at. None = all.
    """
    likely = _may_be_unspaced(found)
    rows = np.flatnonzero(likely if among is None else likely & among)
    if not len(rows):
        return ()
    if len(rows) < len(texts):
        texts = texts.take(pa.array(rows))
        found = find_words(texts)
    characters = unspaced_characters(found.data, np.flatnonzero(found.data >= 0xE0))
    counts = {script: np.diff(np.searchsorted(places, found.offsets)) for script, places in characters.items()}
    total = counts["han"] + counts["thai"]
    inside = (total > 0) & (total >= SHARE * found.characters.points)
    mostly = {"han": counts["han"] >= counts["thai"], "thai": counts["han"] < counts["thai"]}
    parts = []
    for script in CHARACTERS_PER_WORD:
        mine = np.flatnonzero(inside & mostly[script])
        if len(mine) == len(texts):
            parts.append(_cut(script, rows[mine], found))
        elif len(mine):
            parts.append(_cut(script, rows[mine], find_words(texts.take(pa.array(mine)))))
    return tuple(parts)


def _may_be_unspaced(found: Words) -> Flags:
    """bool[rows]: which documents may be in a script without spaces; of the others none is."""
    likely = found.characters.maybe_unspaced
    return np.asarray((likely > 0) & (likely >= SHARE * found.characters.points))


def unspaced_characters(data: Bytes, wide: Ints) -> dict[str, Ints]:
    """First bytes of the characters of scripts without spaces, by kind of script.

    han: kana, bopomofo and Han characters of the Basic Multilingual Plane, U+3040 to U+9FFF. thai: Thai, Lao and
    Tibetan, U+0E00 to U+0FFF; Myanmar, U+1000 to U+109F; Khmer, U+1780 to U+17FF.
    """
    lead, second = data[wide], data.take(wide + 1, mode="clip") if len(wide) else data[:0]
    han = ((lead - np.uint8(0xE4)) < 6) | ((lead == 0xE3) & (second > 0x80))  # E3 80 is punctuation
    thai = (lead == 0xE0) & (second >= 0xB8)
    likely = np.flatnonzero(lead == 0xE1)
    two, three = second[likely], data.take(wide[likely] + 2, mode="clip") if len(likely) else data[:0]
    myanmar = (two <= 0x81) | ((two == 0x82) & (three < 0xA0))  # Georgian begins at U+10A0
    thai[likely] = myanmar | (two == 0x9E) | (two == 0x9F)
    return {"han": wide[han], "thai": wide[thai]}


def _cut(script: str, rows: Ints, found: Words) -> Unspaced:
    """The documents `found` are the words of, cut before and after each character of either kind."""
    return Unspaced(script, rows, *split_unspaced(found))


def split_unspaced(found: Words) -> tuple[Words, Flags]:
    """The words cut before and after each character of a script without spaces, and bool[words]: which are such."""
    places = np.concatenate(list(unspaced_characters(found.data, np.flatnonzero(found.data >= 0xE0)).values()))
    word = np.searchsorted(found.starts, places, side="right") - 1
    places = places[(word >= 0) & (places < np.append(found.ends, 0)[word])]  # others part words, as ・ may
    size = len(found.data)
    single, marks, edges = (np.zeros(size + 1, dtype=np.bool_) for _ in range(3))
    single[places] = True
    edges[found.starts] = True
    marks[found.starts] = marks[places] = marks[places + 3] = True  # the blocks of these scripts take three bytes
    marks[found.ends] = edges[found.ends]  # what is behind a word is none, unless the next document begins there
    starts = np.flatnonzero(marks)
    word = np.cumsum(edges[starts]) - 1
    ends = np.minimum(np.append(starts[1:], size), found.ends[word])
    first = np.searchsorted(starts, np.append(found.starts, size)[found.first]).astype(np.int64, copy=False)
    return Words(found.data, found.offsets, starts, ends, first), single[starts]
