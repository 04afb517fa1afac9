"""Measures of a block of documents. Each is computed once, on first use."""

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
    """Measures of the documents of a block, one value per row.

    The values depend on the text only, not on the block. Shares of words, lines or code points are from 0 to 1. A null
    or empty document has counts and shares of 0.

    In scripts without spaces, two characters of Chinese or Japanese count as a word, and four of Thai, Lao, Khmer,
    Myanmar or Tibetan (see `scripts`). Measures that do not apply to these scripts are NaN.

    Args:
        texts: string or large_string array.
        found: Result of `find_words(texts)`. Computed on first use by default.
    """

    def __init__(self, texts: pa.StringArray, found: Words | None = None) -> None:
        self.texts = texts
        self._words = found

    @cached_property
    def words(self) -> Words:
        """Words of the block."""
        return find_words(self.texts) if self._words is None else self._words

    @property
    def chars(self) -> Ints:
        """Unicode code points, int64[rows]."""
        return self.words.characters.points

    @property
    def newlines(self) -> Ints:
        """Line feeds, int64[rows]."""
        return self.words.characters.newlines

    @cached_property
    def word_count(self) -> Ints:
        """Words, int64[rows]."""
        count = np.diff(self.words.first)
        for part in self._unspaced:
            count[part.rows] = part.word_count
        return count

    @cached_property
    def counted_words(self) -> Ints:
        """Words with a letter, mark or number of any script, int64[rows]. Excludes symbol words (= + | -).

        datatrove counts these for the limits of Gopher on words and on their mean length. This is how FineWeb
        interprets Rae et al. 2021, which does not define words.
        """
        count = np.diff(self.words.first) - self.words.features.symbol_words
        for part in self._unspaced:
            count[part.rows] = part.counted_words
        return count

    @cached_property
    def mean_word_chars(self) -> Floats:
        """Code points per word of `counted_words`, float64[rows]. NaN in scripts without spaces."""
        first, features = self.words.first, self.words.features
        points = np.diff(features.code_point_offsets[first]) - features.symbol_code_points
        mean: Floats = points / np.maximum(np.diff(first) - features.symbol_words, 1)
        for part in self._unspaced:
            mean[part.rows] = np.nan
        return mean

    @cached_property
    def hashes_per_word(self) -> Floats:
        """Hash symbols (#) per word, float64[rows]."""
        return self._per_word(self.words.characters.hashes)

    @cached_property
    def ellipses_per_word(self) -> Floats:
        """Ellipses (… or three dots) per word, float64[rows]."""
        return self._per_word(self.words.characters.ellipses)

    @cached_property
    def bullet_lines(self) -> Floats:
        """Share of lines that begin with • or -, float64[rows]."""
        return self._per_line(self.lines.counts.bullets)

    @cached_property
    def ellipsis_lines(self) -> Floats:
        """Share of lines that end with … or three dots, float64[rows]."""
        return self._per_line(self.lines.counts.ellipses)

    @cached_property
    def alphabetic_words(self) -> Floats:
        """Share of words with at least one letter or mark of any script, float64[rows]."""
        share: Floats = self.words.features.with_letters / np.maximum(np.diff(self.words.first), 1)
        for part in self._unspaced:
            share[part.rows] = part.alphabetic
        return share

    def distinct_words(self, targets: tuple[str, ...]) -> Floats:
        """Count how many of the target words are in each document, with exact spelling, float64[rows].

        Chinese and Japanese can only match words of one character. Thai and similar scripts match none and have NaN.
        """
        keys = _keys(targets)
        found = _count_distinct(self.words.hashes, self.words.first, keys)
        for part in self._unspaced:
            found[part.rows] = (
                _count_distinct(part.words.hashes, part.words.first, keys) if part.script == "han" else np.nan
            )
        return found

    @cached_property
    def duplicate_lines(self) -> Floats:
        """Share of lines that repeat an earlier line of the document, float64[rows]."""
        return self._per_line(self.lines.counts.duplicate_lines)

    @property
    def duplicate_line_chars(self) -> Ints:
        """Code points of lines that repeat an earlier line of the document, int64[rows]."""
        return self.lines.counts.duplicate_line_chars

    @cached_property
    def duplicate_paragraphs(self) -> Floats:
        """Share of paragraphs that repeat an earlier paragraph of the document, float64[rows]."""
        counts = self.lines.counts
        return np.asarray(counts.duplicate_paragraphs / np.maximum(counts.paragraphs, 1))

    @property
    def duplicate_paragraph_chars(self) -> Ints:
        """Code points of paragraphs that repeat an earlier one, from first to last word, int64[rows]."""
        return self.lines.counts.duplicate_paragraph_chars

    def exceeded_ngram_limit(self, limits: NgramLimits, selected: Flags | None = None) -> Ints:
        """Return n of the first limit on n-grams that each document exceeds, 0 for none, int64[rows].

        Args:
            limits: Shares that n-grams may take up.
            selected: Documents to check, bool[rows]. The others get 0. All by default.
        """
        selected = np.ones(len(self.chars), dtype=np.bool_) if selected is None else selected
        tokens = NgramTokens(self.words.hashes, self.words.features.code_point_offsets, self.words.first)
        exceeded = first_exceeded_limit(tokens, self.chars, limits, selected)
        for part in self._unspaced:
            tokens = NgramTokens(
                part.words.hashes,
                part.words.features.code_point_offsets,
                part.words.first,
                0,
                CHARACTERS_PER_WORD[part.script],
            )
            exceeded[part.rows] = first_exceeded_limit(tokens, self.chars[part.rows], limits, selected[part.rows])
        return exceeded

    @cached_property
    def punctuated_lines(self) -> Floats:
        """Share of lines whose last character ends a sentence in any script, float64[rows]."""
        found = are_terminal(last_code_points(self.words.data, self.lines.ends))
        return self._per_line(sum_rows(found, self.lines.first))

    def short_lines(self, max_chars: int) -> Floats:
        """Return the share of lines of at most `max_chars` code points, float64[rows]. NaN without spaces."""
        found = count_code_points(self.words.data, *self.lines.with_white_space()) <= max_chars
        share = self._per_line(sum_rows(found, self.lines.first))
        for part in self._unspaced:
            share[part.rows] = np.nan
        return share

    @cached_property
    def newlines_per_word(self) -> Floats:
        """Line feeds per word, float64[rows]."""
        return self._per_word(self.newlines)

    @cached_property
    def line_count(self) -> Ints:
        """Lines, including empty lines, int64[rows]."""
        offsets = self.words.offsets
        filled = np.flatnonzero(offsets[1:] > offsets[:-1])
        count = self.newlines.copy()
        count[filled] += self.words.data[offsets[filled + 1] - 1] != ord("\n")
        return count

    @cached_property
    def mean_line_chars(self) -> Floats:
        """Code points per line without line feeds, including empty lines, float64[rows]."""
        return np.asarray((self.chars - self.newlines) / np.maximum(self.line_count, 1))

    @cached_property
    def longest_line_chars(self) -> Ints:
        """Code points of the longest line, int64[rows]."""
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
        """Share of code points that are letters, marks or ASCII digits, float64[rows]."""
        return np.asarray(alphanumerics(self.words.data, self.words.offsets) / np.maximum(self.chars, 1))

    @cached_property
    def lines(self) -> Lines:
        """Lines with at least one word."""
        return find_lines(self.words)

    @cached_property
    def _unspaced(self) -> tuple[Unspaced, ...]:
        return find_unspaced(self.texts, self.words)

    def _per_word(self, count: Ints) -> Floats:
        return np.asarray(count / np.maximum(self.word_count, 1))

    def _per_line(self, count: Ints) -> Floats:
        return np.asarray(count / np.maximum(np.diff(self.lines.first), 1))


@lru_cache(maxsize=32)
def _keys(targets: tuple[str, ...]) -> Hashes:
    """Return the hashes of the distinct words of the targets, uint64[words]."""
    return np.unique(find_words(pa.array(sorted(set(targets)), pa.string())).hashes)


def _count_distinct(hashes: Hashes, first: Ints, keys: Hashes) -> Floats:
    """Count how many of the keys are among the hashes of each document, float64[rows]."""
    found = np.empty(len(first) - 1, dtype=np.int64)
    if native.count_distinct(hashes, first, len(found), keys, len(keys), found):
        raise MemoryError(f"Out of memory for a search for {len(keys)} words. Use fewer stop words")
    return found.astype(np.float64)
