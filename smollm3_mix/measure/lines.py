"""Lines and paragraphs of a block, as runs of words, and which of them stand in their document before."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from smollm3_mix import kernels
from smollm3_mix.measure.chars import Flags
from smollm3_mix.measure.words import Hashes, Ints, Words


@dataclass(frozen=True, eq=False)
class Lines:
    r"""Lines that hold at least one word, in order, of all documents of a block.

    White space around and between the words of a line is no part of what it says: lines are equal if their words are.

    Attributes:
        words: the words of the block.
        newlines: int64, places of all "\n" in the block.
        begin: int64[lines + 1]; the words of line j are number begin[j] to begin[j + 1] - 1.
        first: int64[rows + 1]; the lines of document i are number first[i] to first[i + 1] - 1.
        opens: bool[lines]; True where a paragraph begins: at a document's first line and after an empty line.
    """

    words: Words
    newlines: Ints
    begin: Ints
    first: Ints
    opens: Flags

    @cached_property
    def starts(self) -> Ints:
        """int64[lines]: place of the first byte of each line's first word."""
        return self.words.starts[self.begin[:-1]]

    @cached_property
    def ends(self) -> Ints:
        """int64[lines]: place behind the last byte of each line's last word."""
        return self.words.ends[self.begin[1:] - 1]

    def whole(self, chosen: Ints | slice = slice(None)) -> tuple[Ints, Ints]:
        """int64[chosen] twice: where the chosen lines begin and end, with the white space at their ends."""
        # Two sorted runs, which the stable sort merges.
        limits = np.sort(np.concatenate([self.words.offsets, self.newlines + 1]), kind="stable")
        behind = np.searchsorted(limits, self.starts[chosen], side="right")
        ends = limits[behind]
        return limits[behind - 1], ends - (self.words.data[ends - 1] == ord("\n"))

    @cached_property
    def rows(self) -> Ints:
        """int64[lines]: the document of each line."""
        return np.repeat(np.arange(len(self.first) - 1), np.diff(self.first))

    @cached_property
    def hashes(self) -> Hashes:
        """uint64[lines]: equal for lines of the same words in the same order, else different but for chance."""
        return fold(self.words.hashes, self.begin)

    @cached_property
    def repeated(self) -> Ints:
        """int64: numbers of the lines that stand in their document before, ascending."""
        return copies(self.hashes, self.first)

    @cached_property
    def paragraphs(self) -> "Paragraphs":
        """The paragraphs these lines make."""
        begin = np.append(np.flatnonzero(self.opens), len(self.opens))
        return Paragraphs(self, begin, np.searchsorted(begin[:-1], self.first).astype(np.int64, copy=False))


@dataclass(frozen=True, eq=False)
class Paragraphs:
    """Paragraphs: lines up to the next empty line.

    Attributes:
        lines: the lines of the block.
        begin: int64[paragraphs + 1]; the lines of paragraph k are number begin[k] to begin[k + 1] - 1.
        first: int64[rows + 1]; the paragraphs of document i are number first[i] to first[i + 1] - 1.
    """

    lines: Lines
    begin: Ints
    first: Ints

    @cached_property
    def rows(self) -> Ints:
        """int64[paragraphs]: the document of each paragraph."""
        return np.repeat(np.arange(len(self.first) - 1), np.diff(self.first))

    @cached_property
    def repeated(self) -> Ints:
        """int64: numbers of the paragraphs that stand in their document before, ascending."""
        return copies(fold(self.lines.hashes, self.begin), self.first)


def lines(words: Words) -> Lines:
    r"""Lines of each document; see `Lines`.

    A line ends at "\n" alone: cleaning makes all other line ends into it.
    """
    newlines = np.flatnonzero(words.data == 0x0A)
    begins = np.zeros(len(words.starts) + 1, dtype=np.bool_)
    opens = begins.copy()
    after = np.searchsorted(words.starts, newlines)
    begins[after] = True
    opens[after[1:][after[1:] == after[:-1]]] = True
    begins[words.first] = opens[words.first] = True
    begins[-1] = False
    begin = np.flatnonzero(begins)
    first = np.searchsorted(begin, words.first).astype(np.int64, copy=False)
    return Lines(words, newlines, np.append(begin, len(words.starts)), first, opens[begin])


def fold(hashes: Hashes, begin: Ints) -> Hashes:
    """uint64[groups]: one hash for each run hashes[begin[j]:begin[j + 1]], none empty, which depends on their order."""
    folded = np.empty(len(begin) - 1, dtype=np.uint64)
    kernels.fold(hashes, begin, len(folded), folded)
    return folded


def copies(keys: Hashes, first: Ints) -> Ints:
    """int64: numbers of the keys that an equal key of their document stands before, ascending.

    Raises:
        MemoryError: no memory for 16 to 32 bytes a key of the longest document.
    """
    places = np.empty(len(keys), dtype=np.int64)
    found = kernels.repeated(keys, first, len(first) - 1, places)
    if found < 0:
        raise MemoryError(f"no memory to compare {np.diff(first).max()} lines of a document")
    return places[:found].copy()
