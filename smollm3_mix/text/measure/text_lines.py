"""Lines and paragraphs of a block, as runs of words, and which of them stand in their document before."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from smollm3_mix.text.kernels import native
from smollm3_mix.text.measure.code_points import Ints
from smollm3_mix.text.measure.words import Words


class LineCounts(NamedTuple):
    """Lines and paragraphs of each document, int64[rows] each; a paragraph is lines up to the next empty line.

    Attributes:
        bullets: lines that begin with • or -.
        ellipses: lines that end with … or three dots.
        duplicate_lines: lines that stand in the document before.
        duplicate_line_chars: code points of these, with the white space at their ends.
        paragraphs: paragraphs.
        duplicate_paragraphs: those that stand in the document before.
        duplicate_paragraph_chars: code points of these, from first word to last.
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
    r"""Lines that hold at least one word, in order, of all documents of a block.

    White space around and between the words of a line is no part of what it says: lines are equal if their words are.

    Attributes:
        words: the words of the block.
        begin: int64[lines + 1]; the words of line j are number begin[j] to begin[j + 1] - 1.
        first: int64[rows + 1]; the lines of document i are number first[i] to first[i + 1] - 1.
        counts: of each document.
    """

    words: Words
    begin: Ints
    first: Ints
    counts: LineCounts

    @cached_property
    def newlines(self) -> Ints:
        r"""int64: places of all "\n" in the block."""
        return np.flatnonzero(self.words.data == 0x0A)

    @cached_property
    def starts(self) -> Ints:
        """int64[lines]: place of the first byte of each line's first word."""
        return self.words.starts[self.begin[:-1]]

    @cached_property
    def ends(self) -> Ints:
        """int64[lines]: place behind the last byte of each line's last word."""
        return self.words.ends[self.begin[1:] - 1]

    def whole(self) -> tuple[Ints, Ints]:
        """int64[lines] twice: where the lines begin and end, with the white space at their ends."""
        # Two sorted runs, which the stable sort merges.
        limits = np.sort(np.concatenate([self.words.offsets, self.newlines + 1]), kind="stable")
        behind = np.searchsorted(limits, self.starts, side="right")
        ends = limits[behind]
        return limits[behind - 1], ends - (self.words.data[ends - 1] == ord("\n"))


def find_lines(words: Words) -> Lines:
    r"""Lines of each document; see `Lines`.

    A line ends at "\n" alone: cleaning makes all other line ends into it.

    Raises:
        MemoryError: no memory for 40 to 60 bytes a word of the longest document.
    """
    rows = len(words.first) - 1
    begin, first = np.empty(len(words.starts) + 1, dtype=np.int64), np.empty(rows + 1, dtype=np.int64)
    counts = np.empty((len(LineCounts._fields), rows), dtype=np.int64)
    parts = (words.data, words.offsets, words.starts, words.ends, words.first, words.hashes, rows)
    found = native.find_lines(*parts, begin, first, counts)
    if found < 0:
        raise MemoryError(f"no memory to compare the lines of a document of {np.diff(words.first).max()} words")
    return Lines(words, begin[: found + 1], first, LineCounts(*counts))
