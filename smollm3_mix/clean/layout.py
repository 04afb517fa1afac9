"""Documents with spaces and line ends in order."""

import re
from typing import NamedTuple

import numpy as np

from smollm3_mix.clean.rows import Flags, Integers, Rows

SPACE, TAB, LINE_FEED, BACKTICK = 0x20, 0x09, 0x0A, 0x60
# First bytes of a line of quoted code: Markdown's indented code, a tab, a Python session.
QUOTED = (b"    ", b"\t", b">>>", b"...")

_BLANK_LINES = re.compile(rb"(?:[ \t]*\n)+")


def with_plain_layout(rows: Rows, profile: str) -> Rows:
    """Documents with plain layout, see `Cleaning`; the very rows given if all of them have it.

    Args:
        rows: documents in plain characters: a byte up to 0x20 is a space, tab or line feed.
        profile: prose, code or math.
    """
    rows = _trimmed(rows, profile)
    return rows if profile == "code" else _evened(rows, collapse=profile == "prose")


def _trimmed(rows: Rows, profile: str) -> Rows:
    """Documents without blank lines at both ends; but for code, without any space there."""
    data, offsets = rows.data, rows.offsets
    full = np.flatnonzero(np.diff(offsets))
    first, last = data[offsets[full]], data[offsets[full + 1] - 1]
    loose = (first <= SPACE) | (last <= SPACE)
    if profile == "code":  # by far most files end with one line feed, as they should
        before = data[np.maximum(offsets[full + 1] - 2, offsets[full])]
        loose &= ~((first > SPACE) & (last == LINE_FEED) & (before > SPACE))
    changed: list[int] = []
    texts: list[bytes] = []
    for row in full[loose].tolist():
        old = data[offsets[row] : offsets[row + 1]].tobytes()
        new = trimmed_code(old) if profile == "code" else old.strip(b" \t\n")
        if new != old:
            changed.append(row)
            texts.append(new)
    return rows.with_rows(np.array(changed, np.int64), texts)


def trimmed_code(text: bytes) -> bytes:
    """Code without blank lines at both ends; the first line keeps its indentation, the last its line feed if any."""
    body = len(text.rstrip(b" \t\n"))
    if not body:
        return b""
    blank = _BLANK_LINES.match(text)
    end = text.find(b"\n", body) + 1 or len(text)
    return text[blank.end() if blank else 0 : end]


class _Runs(NamedTuple):
    """Runs of two or more spaces, tabs and line feeds: int64[runs] each.

    Attributes:
        start: position of the first byte.
        end: position after the last byte.
        lines: line feeds in it.
        tail: bytes after the last line feed; the whole length where there is none.
        tabs: tabs after the first byte.
    """

    start: Integers
    end: Integers
    lines: Integers
    tail: Integers
    tabs: Integers


def _evened(rows: Rows, collapse: bool) -> Rows:
    """Trimmed documents without spaces at line ends and a second blank line; with `collapse`, without inner runs."""
    data = rows.data
    runs = _runs(rows)
    length = np.where(runs.lines > 0, np.minimum(runs.lines, 2) + runs.tail, runs.end - runs.start)
    if collapse:
        inner = np.flatnonzero(runs.lines == 0)
        if len(inner):
            length[inner[~_in_quoted_code(rows, runs.start[inner])]] = 1
    dirty = np.flatnonzero(length < runs.end - runs.start)
    if not len(dirty):
        return rows
    # The end of each run is written over with what stays, and the bytes before are taken out.
    start, end, lines = runs.start[dirty], runs.end[dirty], runs.lines[dirty]
    cut = end - length[dirty]
    data = data.copy()
    data[cut[lines > 0]] = LINE_FEED
    data[cut[lines > 1] + 1] = LINE_FEED
    inner = np.flatnonzero(lines == 0)
    if len(inner):
        tabs = (runs.tabs[dirty[inner]] > 0) | (data[start[inner]] == TAB)
        data[cut[inner]] = np.where(tabs, TAB, SPACE)
    return Rows(data, rows.offsets).without(start, cut)


def _runs(rows: Rows) -> _Runs:
    """The runs of a block of trimmed documents but for those of two line feeds; none spans two documents."""
    data = rows.data
    space = data <= SPACE
    pair = np.flatnonzero(space[1:] & space[:-1])
    if len(pair):  # by far most runs are the single blank line between paragraphs, which is as it should be
        joined = np.diff(pair) == 1
        blank = (data[pair] == LINE_FEED) & (data[pair + 1] == LINE_FEED)
        blank[1:] &= ~joined
        blank[:-1] &= ~joined
        pair = pair[~blank]
    if not len(pair):
        return _Runs(pair, pair, pair, pair, pair)
    gap = np.flatnonzero(np.diff(pair) != 1)
    first, last = np.concatenate([[0], gap + 1]), np.concatenate([gap, [len(pair) - 1]])
    start, end = pair[first], pair[last] + 2
    byte = data[pair + 1]
    ends_line = byte == LINE_FEED
    lines = _counts(ends_line, first, last) + (data[start] == LINE_FEED)
    tab = byte == TAB
    tabs = _counts(tab, first, last) if tab.any() else np.zeros_like(first)
    latest = np.maximum.accumulate(np.where(ends_line, pair + 1, -1))[last]
    latest = np.where((latest < start) & (lines > 0), start, latest)
    return _Runs(start, end, lines, np.where(lines > 0, end - latest - 1, end - start), tabs)


def _counts(flags: Flags, first: Integers, last: Integers) -> Integers:
    """Flags set in each stretch, both ends included."""
    count = np.cumsum(flags, dtype=np.int64)
    counts: Integers = count[last] - count[first] + flags[first]
    return counts


def _in_quoted_code(rows: Rows, positions: Integers) -> Flags:
    """Whether each position is in quoted code: in a line that begins as such, or between fences of backticks.

    Args:
        rows: trimmed documents.
        positions: int64[k], increasing.
    """
    feeds = np.flatnonzero(rows.data == LINE_FEED)
    quoted = np.zeros(len(positions), np.bool_)
    lines = np.concatenate([rows.offsets[:-1], feeds + 1])  # the last may be the block's end
    begins = np.take(rows.data, lines, mode="clip")
    marked = [some[_begins(rows, some, mark)] for mark in QUOTED if len(some := lines[begins == mark[0]])]
    if any(map(len, marked)):  # few texts have such a line, and only then it matters which line a position is in
        starts = np.sort(np.concatenate(marked))
        mine = _line_starts(rows, feeds, positions)
        quoted = np.take(starts, np.searchsorted(starts, mine), mode="clip") == mine
    fences = _fences(rows, feeds)
    if len(fences):
        document = rows.offsets[rows.at(positions)]
        quoted |= (np.searchsorted(fences, positions) - np.searchsorted(fences, document)) % 2 == 1
    return quoted


def _line_starts(rows: Rows, feeds: Integers, positions: Integers) -> Integers:
    """First byte of the line that each position lies in."""
    before = np.searchsorted(feeds, positions)
    line = np.where(before > 0, feeds[np.maximum(before, 1) - 1] + 1, 0) if len(feeds) else np.zeros_like(positions)
    return np.maximum(line, rows.offsets[rows.at(positions)])


def _begins(rows: Rows, starts: Integers, mark: bytes) -> Flags:
    same = np.ones(len(starts), np.bool_)
    for step, byte in enumerate(mark):
        same &= np.take(rows.data, starts + step, mode="clip") == byte
    return same


def _fences(rows: Rows, feeds: Integers) -> Integers:
    """First backtick of each fence: a line of up to three spaces, three or more backticks, and no backtick after.

    CommonMark 0.31, section 4.5; a fence that closes another is not told from one that opens.
    """
    data = rows.data
    ticks = np.flatnonzero(data == BACKTICK)
    if not (ticks[2:] - ticks[:-2] == 2).any():
        return ticks[:0]
    opens = np.flatnonzero((np.diff(ticks, prepend=-2) != 1) | rows.meets(ticks))
    closes = np.append(opens[1:], len(ticks)) - 1
    fence, last = ticks[opens], ticks[closes]
    long = last - fence >= 2
    fence, last, closes = fence[long], last[long], closes[long]
    starts = _line_starts(rows, feeds, fence)
    indent = fence - starts
    alone = indent <= 3
    for step in range(1, 4):
        alone &= (indent < step) | (data[fence - step] == SPACE)
    following = np.append(ticks, len(data))[closes + 1]
    line_end = np.append(feeds, len(data))[np.searchsorted(feeds, last)]
    fences: Integers = fence[alone & (following >= np.minimum(line_end, rows.offsets[rows.at(last) + 1]))]
    return fences
