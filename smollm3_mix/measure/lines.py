"""Lines and paragraphs of a block, as runs of words, and which of them stand in their document before."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from smollm3_mix.measure.chars import Flags
from smollm3_mix.measure.words import Hashes, Ints, Words

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio, as in splitmix64 (Steele et al. 2014)
_SPREAD = np.uint64(0xBF58476D1CE4E5B9)  # a multiplier of splitmix64


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
        return copies(salted(self.hashes, self.rows))

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
        return copies(salted(fold(self.lines.hashes, self.begin), self.rows))


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
    if len(begin) < 2:
        return np.zeros(0, dtype=np.uint64)
    turn = np.arange(1, len(hashes) + 1, dtype=np.uint64)
    turn *= _GOLDEN  # of a place in the block; less that of the run's first place, of a place in the run
    mixed = hashes + turn
    mixed -= np.repeat(begin[:-1].astype(np.uint64) * _GOLDEN, np.diff(begin))
    mixed ^= mixed >> np.uint64(32)
    mixed *= _SPREAD
    mixed ^= mixed >> np.uint64(29)
    sums: Hashes = np.add.reduceat(mixed, begin[:-1])
    return sums


def salted(hashes: Hashes, rows: Ints) -> Hashes:
    """uint64: the hashes made different between documents, every bit spread upwards, for `copies` of a whole block."""
    keys = hashes + rows.astype(np.uint64) * _GOLDEN
    keys ^= keys >> np.uint64(32)
    keys *= _SPREAD
    return keys


def crowd(keys: Hashes) -> Ints:
    """int64[keys]: at least how often each key occurs, and seldom more; counted in a table by the upper bits."""
    bits = max(10, min(26, (4 * len(keys)).bit_length()))
    slots = (keys >> np.uint64(64 - bits)).astype(np.int64)
    return np.bincount(slots, minlength=1).take(slots)


def copies(keys: Hashes) -> Ints:
    """int64: numbers of the keys that an equal key stands before, ascending."""
    likely = np.flatnonzero(crowd(keys) > 1)  # a tenth of the time of sorting all
    return likely[later(keys[likely])]


def later(keys: Hashes) -> Ints:
    """int64: the same as `copies`, by sorting alone: faster where most keys are repeated."""
    order, fresh = grouped(keys)
    return np.sort(order[~fresh])


def grouped(keys: Hashes) -> tuple[Ints, Flags]:
    """Order that puts equal keys together, earlier ones first, and where in it a key differs from the last.

    Upper bits and number of each key are sorted as one value, which takes less than half the time of `argsort`; that
    does the work only if two keys differ and their upper bits do not.

    Returns:
        int64[keys] and bool[keys].
    """
    bits = np.uint64(max(len(keys) - 1, 1).bit_length())
    mask = (np.uint64(1) << bits) - np.uint64(1)
    packed = np.sort(keys & ~mask | np.arange(len(keys), dtype=np.uint64))
    order = (packed & mask).view(np.int64)
    ordered = keys[order]
    fresh = np.ones(len(keys), dtype=np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=fresh[1:])
    if np.count_nonzero(fresh[1:]) > np.count_nonzero((packed[1:] ^ packed[:-1]) > mask):
        order = np.argsort(keys, kind="stable")
        ordered = keys[order]
        np.not_equal(ordered[1:], ordered[:-1], out=fresh[1:])
    return order, fresh
