"""The measures of a block of documents, each computed once, when first asked for."""

from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from smollm3_mix.measure.chars import (
    Continuations,
    Flags,
    alphanumerics,
    are_terminal,
    have_letters,
    last_code_points,
    sum_rows,
)
from smollm3_mix.measure.grams import Floats, Limits, Tokens, first_passed
from smollm3_mix.measure.lines import Lines, lines
from smollm3_mix.measure.scripts import SCALES, Unspaced, unspaced
from smollm3_mix.measure.words import Hashes, Ints, Words, words


class Measures:
    """Numbers about each document of a block; every array has one place a row.

    A document's numbers depend on its text alone, never on its block. Shares are of words, lines or code points,
    from 0 to 1; a null or empty document has counts and shares of 0.

    In scripts that write no spaces between words, two characters of Chinese or Japanese count as a word, four of Thai,
    Lao, Khmer, Myanmar or Tibetan (see `scripts`); what means nothing there is NaN.

    Args:
        texts: string or large_string array.
        found: `words(texts)`, if somebody has it already.
    """

    def __init__(self, texts: pa.StringArray, found: Words | None = None) -> None:
        self.texts = texts
        self._words = found

    @cached_property
    def words(self) -> Words:
        """Where the words are."""
        return words(self.texts) if self._words is None else self._words

    @cached_property
    def chars(self) -> Ints:
        """int64[rows]: Unicode code points."""
        return np.asarray(pc.fill_null(pc.utf8_length(self.texts), 0)).astype(np.int64)

    @cached_property
    def newlines(self) -> Ints:
        """int64[rows]: line feeds."""
        return self._count(self.lines.newlines)

    @cached_property
    def word_count(self) -> Ints:
        """int64[rows]: words."""
        count = np.diff(self.words.first)
        for part in self._unspaced:
            count[part.rows] = part.word_count
        return count

    @cached_property
    def mean_word_chars(self) -> Floats:
        """float64[rows]: code points a word; NaN where words are not written apart."""
        first = self.words.first
        mean: Floats = sum_rows(np.diff(self.places), first) / np.maximum(np.diff(first), 1)
        for part in self._unspaced:
            mean[part.rows] = np.nan
        return mean

    @cached_property
    def hashes_per_word(self) -> Floats:
        """float64[rows]: hash symbols (#) over words."""
        return self._per_word(self._count(np.flatnonzero(self.words.data == ord("#"))))

    @cached_property
    def ellipses_per_word(self) -> Floats:
        """float64[rows]: ellipses (…, and three dots in a row) over words."""
        count = self._count(self._ellipses)
        dots = np.flatnonzero(self.words.data == ord("."))
        heads = np.ones(len(dots), dtype=np.bool_)
        heads[1:] = np.diff(dots) > 1
        begin = np.searchsorted(dots, self.words.offsets)
        heads[begin[begin < len(dots)]] = True  # two documents' dots are no ellipsis
        runs = np.flatnonzero(heads)
        threes = np.diff(np.append(runs, len(dots))) // 3
        return self._per_word(count + sum_rows(threes, np.searchsorted(runs, begin)))

    @cached_property
    def bullet_lines(self) -> Floats:
        """float64[rows]: share of lines that begin with • or -."""
        data, starts = self.words.data, self.lines.starts
        found = data[starts] == ord("-")
        wide = np.flatnonzero(data[starts] == 0xE2)
        found[wide] = _spell(data, starts[wide], "•")
        return self._of_lines(found)

    @cached_property
    def ellipsis_lines(self) -> Floats:
        """float64[rows]: share of lines that end with … or three dots."""
        data, starts, ends = self.words.data, self.lines.starts, self.lines.ends
        found = np.zeros(len(starts), dtype=np.bool_)
        long = np.flatnonzero(ends - starts >= 3)
        found[long] = _spell(data, ends[long] - 3, "...") | _spell(data, ends[long] - 3, "…")
        return self._of_lines(found)

    @cached_property
    def alphabetic_words(self) -> Floats:
        """float64[rows]: share of words with at least one letter or mark, of any script."""
        found, first = have_letters(self.words.data, self.words.starts, self.words.ends), self.words.first
        share: Floats = sum_rows(found, first) / np.maximum(np.diff(first), 1)
        for part in self._unspaced:
            share[part.rows] = part.alphabetic
        return share

    def distinct_words(self, wanted: tuple[str, ...]) -> Floats:
        """float64[rows]: how many of the wanted words each document holds, written as they are.

        In Chinese and Japanese only wanted words of one character can be found; in Thai and the like none: NaN.
        """
        keys = np.sort(words(pa.array(sorted(set(wanted)), pa.string())).hashes)
        found = _distinct(self.words.hashes, self.words.first, keys)
        for part in self._unspaced:
            found[part.rows] = _distinct(part.words.hashes, part.words.first, keys) if part.script == "han" else np.nan
        return found

    @cached_property
    def duplicate_lines(self) -> Floats:
        """float64[rows]: share of lines that stand in the document before."""
        return self._of_lines(_marked(len(self.lines.starts), self.lines.repeated))

    @cached_property
    def duplicate_line_chars(self) -> Ints:
        """int64[rows]: code points of lines that stand in the document before."""
        chosen = self.lines.repeated
        return self._sum_chars(*self.lines.whole(chosen), self.lines.rows[chosen])

    @cached_property
    def duplicate_paragraphs(self) -> Floats:
        """float64[rows]: share of paragraphs that stand in the document before."""
        first = self.lines.paragraphs.first
        found = _marked(int(first[-1]), self.lines.paragraphs.repeated)
        return np.asarray(sum_rows(found, first) / np.maximum(np.diff(first), 1))

    @cached_property
    def duplicate_paragraph_chars(self) -> Ints:
        """int64[rows]: code points of paragraphs that stand in the document before, from first word to last."""
        found = self.lines.paragraphs
        chosen = found.repeated
        starts, ends = self.lines.starts[found.begin[chosen]], self.lines.ends[found.begin[chosen + 1] - 1]
        return self._sum_chars(starts, ends, found.rows[chosen])

    def passed_grams(self, limits: Limits, among: Flags | None = None) -> Ints:
        """int64[rows]: n of the first limit on n-grams that each document passes, 0 where none; see `grams`.

        Args:
            limits: shares that n-grams may take up.
            among: bool[rows], documents to look at; the others get 0. None = all.
        """
        among = np.ones(len(self.chars), dtype=np.bool_) if among is None else among
        tokens = Tokens(self.words.hashes, self.places, self.words.first)
        passed = first_passed(tokens, self.chars, limits, among)
        for part in self._unspaced:
            tokens = Tokens(part.words.hashes, part.places, part.words.first, 0, SCALES[part.script])
            passed[part.rows] = first_passed(tokens, self.chars[part.rows], limits, among[part.rows])
        return passed

    @cached_property
    def punctuated_lines(self) -> Floats:
        """float64[rows]: share of lines whose last character ends a sentence, in any script."""
        return self._of_lines(are_terminal(last_code_points(self.words.data, self.lines.ends)))

    def short_lines(self, longest: int) -> Floats:
        """float64[rows]: share of lines of at most `longest` code points; NaN where words are not written apart."""
        share = self._of_lines(self._continuations.code_points(*self.lines.whole()) <= longest)
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
        length = self._continuations.code_points(edges[:-1], edges[1:])
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
        return lines(self.words)

    @cached_property
    def places(self) -> Ints:
        """int64[words + 1]: running sum of the words' code points."""
        length = self._continuations.code_points(self.words.starts, self.words.ends)
        return np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(length)])

    @cached_property
    def _unspaced(self) -> tuple[Unspaced, ...]:
        return unspaced(self.texts, self.words, self.chars, self._wide)

    @cached_property
    def _continuations(self) -> Continuations:
        return Continuations(self.words.data)

    @cached_property
    def _wide(self) -> Ints:
        return self._continuations.wide()

    @cached_property
    def _ellipses(self) -> Ints:
        return self._wide[_spell(self.words.data, self._wide, "…")]

    def _sum_chars(self, starts: Ints, ends: Ints, rows: Ints) -> Ints:
        """int64[rows]: code points of the spans that belong to each document."""
        length = self._continuations.code_points(starts, ends)
        return np.bincount(rows, length, minlength=len(self.texts)).astype(np.int64)

    def _count(self, places: Ints) -> Ints:
        """int64[rows]: how many of the ascending places lie in each document."""
        return np.diff(np.searchsorted(places, self.words.offsets)).astype(np.int64, copy=False)

    def _per_word(self, count: Ints) -> Floats:
        return np.asarray(count / np.maximum(self.word_count, 1))

    def _of_lines(self, found: Flags) -> Floats:
        first = self.lines.first
        return np.asarray(sum_rows(found, first) / np.maximum(np.diff(first), 1))


def _spell(data: npt.NDArray[np.uint8], places: Ints, text: str) -> Flags:
    """bool[places]: whether the UTF-8 bytes of `text` stand at each place."""
    found = np.ones(len(places), dtype=np.bool_)
    for nth, byte in enumerate(text.encode()):
        found &= data.take(places + nth, mode="clip") == byte
    return found


def _marked(size: int, places: Ints) -> Flags:
    marks = np.zeros(size, dtype=np.bool_)
    marks[places] = True
    return marks


def _distinct(hashes: Hashes, first: Ints, keys: Hashes) -> Floats:
    """float64[rows]: how many of the sorted keys are among the hashes of each document."""
    marks = np.zeros(1 << 12, dtype=np.bool_)
    marks[(keys >> np.uint64(52)).astype(np.int64)] = True
    likely = np.flatnonzero(marks.take((hashes >> np.uint64(52)).astype(np.int64)))
    number = np.minimum(np.searchsorted(keys, hashes[likely]), max(len(keys) - 1, 0))
    right = keys[number] == hashes[likely] if len(keys) else np.zeros(0, dtype=np.bool_)
    rows = np.searchsorted(first, likely[right], side="right") - 1
    held = np.zeros((len(first) - 1, len(keys)), dtype=np.bool_)
    held[rows, number[right]] = True
    return held.sum(axis=1).astype(np.float64)
