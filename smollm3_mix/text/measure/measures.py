"""The measures of a block of documents, each computed once, when first asked for."""

from functools import cached_property, lru_cache

import numpy as np
import pyarrow as pa

from smollm3_mix.text.kernels import native
from smollm3_mix.text.measure.code_points import (
    Flags,
    Ints,
    alphanumerics,
    are_terminal,
    count_code_points,
    last_code_points,
    sum_rows,
)
from smollm3_mix.text.measure.ngram_limits import Floats, NgramLimits, NgramTokens, first_exceeded_limit
from smollm3_mix.text.measure.scripts import CHARACTERS_PER_WORD, Unspaced, find_unspaced
from smollm3_mix.text.measure.text_lines import Lines, find_lines
from smollm3_mix.text.measure.words import Hashes, Words, find_words


class Measures:
    """Numbers about each document of a block; every array has one place a row.

    A document's numbers depend on its text alone, never on its block. Shares are of words, lines or code points,
    from 0 to 1; a null or empty document has counts and shares of 0.

    In scripts that write no spaces between words, two characters of Chinese or Japanese count as a word, four of Thai,
    Lao, Khmer, Myanmar or Tibetan (see `scripts`); what means nothing there is NaN.

    Args:
        texts: string or large_string array.
        found: `find_words(texts)`, if somebody has it already.
    """

    def __init__(self, texts: pa.StringArray, found: Words | None = None) -> None:
        self.texts = texts
        self._words = found

    @cached_property
    def words(self) -> Words:
        """Where the words are."""
        return find_words(self.texts) if self._words is None else self._words

    @property
    def chars(self) -> Ints:
        """int64[rows]: Unicode code points."""
        return self.words.characters.points

    @property
    def newlines(self) -> Ints:
        """int64[rows]: line feeds."""
        return self.words.characters.newlines

    @cached_property
    def word_count(self) -> Ints:
        """int64[rows]: words."""
        count = np.diff(self.words.first)
        for part in self._unspaced:
            count[part.rows] = part.word_count
        return count

    @cached_property
    def counted_words(self) -> Ints:
        """int64[rows]: words with a letter, mark or number of any script; words of signs alone (= + | -) are left out.

        As datatrove counts them for Gopher's limits to words and to their mean length: FineWeb's reading of Rae et al.
        2021, which does not say what a word is.
        """
        count = np.diff(self.words.first) - self.words.features.symbol_words
        for part in self._unspaced:
            count[part.rows] = part.counted_words
        return count

    @cached_property
    def mean_word_chars(self) -> Floats:
        """float64[rows]: code points a word, of `counted_words`; NaN where words are not written apart."""
        first, features = self.words.first, self.words.features
        points = np.diff(features.code_point_offsets[first]) - features.symbol_code_points
        mean: Floats = points / np.maximum(np.diff(first) - features.symbol_words, 1)
        for part in self._unspaced:
            mean[part.rows] = np.nan
        return mean

    @cached_property
    def hashes_per_word(self) -> Floats:
        """float64[rows]: hash symbols (#) over words."""
        return self._per_word(self.words.characters.hashes)

    @cached_property
    def ellipses_per_word(self) -> Floats:
        """float64[rows]: ellipses (…, and three dots in a row) over words."""
        return self._per_word(self.words.characters.ellipses)

    @cached_property
    def bullet_lines(self) -> Floats:
        """float64[rows]: share of lines that begin with • or -."""
        return self._of_lines(self.lines.counts.bullets)

    @cached_property
    def ellipsis_lines(self) -> Floats:
        """float64[rows]: share of lines that end with … or three dots."""
        return self._of_lines(self.lines.counts.ellipses)

    @cached_property
    def alphabetic_words(self) -> Floats:
        """float64[rows]: share of words with at least one letter or mark, of any script."""
        share: Floats = self.words.features.with_letters / np.maximum(np.diff(self.words.first), 1)
        for part in self._unspaced:
            share[part.rows] = part.alphabetic
        return share

    def distinct_words(self, wanted: tuple[str, ...]) -> Floats:
        """float64[rows]: how many of the wanted words each document holds, written as they are.

        In Chinese and Japanese only wanted words of one character can be found; in Thai and the like none: NaN.
        """
        keys = _keys(wanted)
        found = _distinct(self.words.hashes, self.words.first, keys)
        for part in self._unspaced:
            found[part.rows] = _distinct(part.words.hashes, part.words.first, keys) if part.script == "han" else np.nan
        return found

    @cached_property
    def duplicate_lines(self) -> Floats:
        """float64[rows]: share of lines that stand in the document before."""
        return self._of_lines(self.lines.counts.duplicate_lines)

    @property
    def duplicate_line_chars(self) -> Ints:
        """int64[rows]: code points of lines that stand in the document before."""
        return self.lines.counts.duplicate_line_chars

    @cached_property
    def duplicate_paragraphs(self) -> Floats:
        """float64[rows]: share of paragraphs that stand in the document before."""
        counts = self.lines.counts
        return np.asarray(counts.duplicate_paragraphs / np.maximum(counts.paragraphs, 1))

    @property
    def duplicate_paragraph_chars(self) -> Ints:
        """int64[rows]: code points of paragraphs that stand in the document before, from first word to last."""
        return self.lines.counts.duplicate_paragraph_chars

    def exceeded_ngram_limit(self, limits: NgramLimits, among: Flags | None = None) -> Ints:
        """int64[rows]: n of the first limit on n-grams that each document passes, 0 where none; see `grams`.

        Args:
            limits: shares that n-grams may take up.
            among: bool[rows], documents to look at; the others get 0. None = all.
        """
        among = np.ones(len(self.chars), dtype=np.bool_) if among is None else among
        tokens = NgramTokens(self.words.hashes, self.words.features.code_point_offsets, self.words.first)
        passed = first_exceeded_limit(tokens, self.chars, limits, among)
        for part in self._unspaced:
            tokens = NgramTokens(
                part.words.hashes,
                part.words.features.code_point_offsets,
                part.words.first,
                0,
                CHARACTERS_PER_WORD[part.script],
            )
            passed[part.rows] = first_exceeded_limit(tokens, self.chars[part.rows], limits, among[part.rows])
        return passed

    @cached_property
    def punctuated_lines(self) -> Floats:
        """float64[rows]: share of lines whose last character ends a sentence, in any script."""
        found = are_terminal(last_code_points(self.words.data, self.lines.ends))
        return self._of_lines(sum_rows(found, self.lines.first))

    def short_lines(self, longest: int) -> Floats:
        """float64[rows]: share of lines of at most `longest` code points; NaN where words are not written apart."""
        found = count_code_points(self.words.data, *self.lines.whole()) <= longest
        share = self._of_lines(sum_rows(found, self.lines.first))
        for part in self._unspaced:
            share[part.rows] = np.nan
        return share

    @cached_property
    def newlines_per_word(self) -> Floats:
        """float64[rows]: line feeds over words."""
        return self._per_word(self.newlines)

    @cached_property
    def line_count(self) -> Ints:
        """int64[rows]: lines, empty ones too."""
        offsets = self.words.offsets
        filled = np.flatnonzero(offsets[1:] > offsets[:-1])
        count = self.newlines.copy()
        count[filled] += self.words.data[offsets[filled + 1] - 1] != ord("\n")
        return count

    @cached_property
    def mean_line_chars(self) -> Floats:
        """float64[rows]: code points a line, empty lines too, without line feeds."""
        return np.asarray((self.chars - self.newlines) / np.maximum(self.line_count, 1))

    @cached_property
    def longest_line_chars(self) -> Ints:
        """int64[rows]: code points of the longest line."""
        offsets, inner = self.words.offsets, self.lines.newlines + 1
        edges = np.sort(np.concatenate([offsets, inner]))
        length = count_code_points(self.words.data, edges[:-1], edges[1:])
        some = np.flatnonzero(length)
        length[some] -= self.words.data[edges[some + 1] - 1] == ord("\n")
        longest = np.zeros(len(offsets) - 1, dtype=np.int64)
        filled = np.flatnonzero(offsets[1:] > offsets[:-1])
        if len(filled):
            longest[filled] = np.maximum.reduceat(length, np.searchsorted(edges, offsets[filled]))
        return longest

    @cached_property
    def alphanumerics(self) -> Floats:
        """float64[rows]: share of code points that are letters, marks or ASCII digits."""
        return np.asarray(alphanumerics(self.words.data, self.words.offsets) / np.maximum(self.chars, 1))

    @cached_property
    def lines(self) -> Lines:
        """Lines with a word in them."""
        return find_lines(self.words)

    @cached_property
    def _unspaced(self) -> tuple[Unspaced, ...]:
        return find_unspaced(self.texts, self.words)

    def _per_word(self, count: Ints) -> Floats:
        return np.asarray(count / np.maximum(self.word_count, 1))

    def _of_lines(self, count: Ints) -> Floats:
        return np.asarray(count / np.maximum(np.diff(self.lines.first), 1))


@lru_cache(maxsize=32)
def _keys(wanted: tuple[str, ...]) -> Hashes:
    """uint64[words]: hashes of the different words, those that white space parts apart."""
    return np.unique(find_words(pa.array(sorted(set(wanted)), pa.string())).hashes)


def _distinct(hashes: Hashes, first: Ints, keys: Hashes) -> Floats:
    """float64[rows]: how many of the keys are among the hashes of each document."""
    found = np.empty(len(first) - 1, dtype=np.int64)
    if native.count_distinct(hashes, first, len(found), keys, len(keys), found):
        raise MemoryError(f"no memory to look for {len(keys)} words")
    return found.astype(np.float64)
