"""Lines and paragraphs of a block as runs of words, and counts of repeated ones."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from smollm3_mix.text.kernels import native
from smollm3_mix.text.measure.code_points import Ints
from smollm3_mix.text.measure.words import Words


class LineCounts(NamedTuple):
    """Counts of lines and paragraphs of each document, int64[rows] each. Empty lines separate paragraphs.

    Attributes:
        bullets: Lines that begin with • or -.
        ellipses: Lines that end with … or three dots.
        duplicate_lines: Lines that repeat an earlier line of the document.
        duplicate_line_chars: Code points of these lines, including white space at both ends.
        paragraphs: Paragraphs.
        duplicate_paragraphs: Paragraphs that repeat an earlier one of the document.
        duplicate_paragraph_chars: Code points of these paragraphs, from first to last word.
    """

    bullets: Ints
    ellipses: Ints
    duplicate_lines: Ints
    duplicate_line_chars: Ints
    paragraphs: Ints
    duplicate_paragraphs: Ints
    duplicate_paragraph_chars: Ints


@dataclass(frozen=True, eq=False)
class Lines:
    """Lines with at least one word of all documents of a block, in order.

    Lines are equal if their words are equal. White space around and between the words is ignored.

    Attributes:
        words: Words of the block.
        begin: int64[lines + 1]. Line j has the words begin[j] to begin[j + 1] - 1.
        first: int64[rows + 1]. Document i has the lines first[i] to first[i + 1] - 1.
        counts: Counts of each document.
    """

    words: Words
    begin: Ints
    first: Ints
    counts: LineCounts

    @cached_property
    def newlines(self) -> Ints:
        r"""Positions of all "\n" in the block, int64."""
        return np.flatnonzero(self.words.data == 0x0A)

    @cached_property
    def starts(self) -> Ints:
        """Position of the first byte of the first word of each line, int64[lines]."""
        return self.words.starts[self.begin[:-1]]

    @cached_property
    def ends(self) -> Ints:
        """Position after the last byte of the last word of each line, int64[lines]."""
        return self.words.ends[self.begin[1:] - 1]

    def with_white_space(self) -> tuple[Ints, Ints]:
        """Return the starts and ends of the lines including white space at both ends, int64[lines] twice."""
        # The input consists of two sorted runs, which a stable sort merges.
        limits = np.sort(np.concatenate([self.words.offsets, self.newlines + 1]), kind="stable")
        after = np.searchsorted(limits, self.starts, side="right")
        ends = limits[after]
        return limits[after - 1], ends - (self.words.data[ends - 1] == ord("\n"))


def find_lines(words: Words) -> Lines:
    r"""Find the lines of each document.

    A line ends at "\n" only. Cleaning replaces all other line ends by it.

    Raises:
        MemoryError: If 40 to 60 bytes per word of the longest document are not available.
    """
    rows = len(words.first) - 1
    begin, first = np.empty(len(words.starts) + 1, dtype=np.int64), np.empty(rows + 1, dtype=np.int64)
    counts = np.empty((len(LineCounts._fields), rows), dtype=np.int64)
    parts = (words.data, words.offsets, words.starts, words.ends, words.first, words.hashes, rows)
    found = native.find_lines(*parts, begin, first, counts)
    if found < 0:
        longest = np.diff(words.first).max()
        raise MemoryError(f"Out of memory for the lines of a document of {longest:,} words. Free memory or split it")
    return Lines(words, begin[: found + 1], first, LineCounts(*counts))
