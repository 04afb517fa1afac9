"""Documents in plain characters: NFC, one line feed a line, nothing invisible or uncontrolled."""

import re
import unicodedata
from functools import cache
from typing import NamedTuple

import numpy as np

from smollm3_mix.text.clean.alphabet import JOINING, UNSPACED, Alphabet, Range, alphabet, replacements
from smollm3_mix.text.clean.byte_rows import Bytes, Integers, Rows, Spans, offsets_of
from smollm3_mix.text.kernels import native

# Odd characters rarer than one in so many bytes are found in one pass; more have to be looked for again.
HEADROOM = 16

# ECMA-48: control sequences (colours, cursor), operating system commands (titles, links), choice of a character set.
ESCAPES = re.compile("\x1b(?:\\[[0-?]*[ -/]*[@-~]|\\][^\x07\x1b\n]*(?:\x07|\x1b\\\\)|[()][0-9A-Za-z])")


class _Odd(NamedTuple):
    """Characters that may not be plain, and what is to be replaced for them, in order.

    Where every such character of a line becomes a space or line feed, each is replaced by itself, the two of CR LF by
    one line feed: that keeps neighbours apart, so nothing else need be looked at. Lines in which one vanishes, or may
    not be NFC, are looked at as a whole, with their line feed.

    Attributes:
        points: int64[k], code points.
        start: int64[n], first byte of what is to be replaced.
        end: int64[n], behind its last byte.
        becomes: uint8[n], the space or line feed; 0 for a line.
        last: int64[n], how many of `points` stand before `end`.
    """

    points: Integers
    start: Integers
    end: Integers
    becomes: Bytes
    last: Integers


def normalize_characters(rows: Rows, profile: str) -> Rows:
    """Documents in plain characters, see `Cleaning`; the very rows given if all of them are.

    Args:
        rows: the documents.
        profile: prose, code or math.
    """
    odd = _odd(rows, alphabet(profile))
    count = len(odd.start)
    first = np.arange(count)
    last, fresh = first + 1, odd.becomes
    lines = np.flatnonzero(odd.becomes == 0)
    if len(lines):
        old = [rows.data[odd.start[nth] : odd.end[nth]].tobytes() for nth in lines]
        new = [_plain_line(text, odd, nth, profile) for text, nth in zip(old, lines.tolist(), strict=True)]
        if len(lines) == count and new == old:
            return rows
        bounds = count + offsets_of(list(map(len, new)))
        first[lines], last[lines] = bounds[:-1], bounds[1:]
        fresh = np.concatenate([fresh, np.frombuffer(b"".join(new), np.uint8)])
    return rows.replace_spans(Spans(odd.start, odd.end, fresh, first, last))


def _plain_line(line: bytes, odd: _Odd, nth: int, profile: str) -> bytes:
    """A line that is to be looked at as a whole, the nth of what is to be replaced, in plain characters."""
    points = odd.points[odd.last[nth - 1] if nth else 0 : odd.last[nth]]
    return plain(line.decode(), "".join(map(chr, set(points.tolist()))), profile).encode()


def plain(text: str, odd: str, profile: str) -> str:
    """A line in plain characters; it may become several.

    Args:
        text: the line, with its line feed.
        odd: every character in it that is to be replaced; any other makes it be looked at as a whole.
        profile: prose, code or math.
    """
    becomes = replacements(profile)
    if "\x1b" in odd:
        text = ESCAPES.sub("", text)
    if "\b" in odd and profile != "code":
        text = apply_backspaces(text)
    if "\r" in odd:
        text = text.replace("\r\n", "\n")
    for character in odd:
        if character in becomes:
            text = text.replace(character, becomes[character])
    return _settled(text)  # what vanishes can bring marks to other letters


def apply_backspaces(text: str) -> str:
    """Text as a terminal leaves it on the screen: a backspace takes back the character before it, up to a line's start.

    Old manual pages and fortunes underline in this way.
    """
    screen: list[str] = []
    for character in text:
        if character != "\b":
            screen.append(character)
        elif screen and screen[-1] != "\n":
            screen.pop()
    return "".join(screen)


def _settled(text: str) -> str:
    """Text in NFC with joints only where they act; repeated, since NFC can bring joints to other neighbours."""
    while not text.isascii():
        placed, joined = text, False
        for joints, misplaced in _misplaced():
            if any(map(placed.__contains__, joints)):
                placed, joined = misplaced.sub("", placed), True
        text = _composed(placed)
        if text == placed or not joined:
            break
    return text


def _composed(text: str) -> str:
    """Text in NFC, line by line: nothing composes with a line feed, and most texts have few lines to be looked at."""
    lines = text.split("\n")
    return "\n".join([line if line.isascii() else unicodedata.normalize("NFC", line) for line in lines])


@cache
def _misplaced() -> tuple[tuple[str, re.Pattern[str]], ...]:
    """Zero-width spaces and joiners with the patterns of those that do nothing; of a run the first can act.

    The patterns begin with what they look for and look back from there, which `re` finds many times faster.
    """
    unspaced, joining = _set(UNSPACED), _set(JOINING)
    return (
        ("\u200b", re.compile(f"\u200b(?:(?<!{unspaced}.)|(?!\u200b*{unspaced}))")),
        ("\u200c\u200d", re.compile(f"[\u200c\u200d](?:(?<!{joining}.)|(?<=\u200c)(?![\u200c\u200d]*{joining}))")),
    )


def _set(ranges: tuple[Range, ...]) -> str:
    return "[" + "".join(f"{chr(low)}-{chr(high)}" for low, high in ranges) + "]"


def _odd(rows: Rows, letters: Alphabet) -> _Odd:
    """Where documents may not be in plain characters.

    Nothing is missed. What is found may still be plain: an order of marks that `unicodedata` has to judge.
    """
    tables = (letters.kinds, letters.becomes, letters.classes, letters.composites, len(letters.composites))
    room = len(rows.data) // HEADROOM + 1
    spans = np.empty(1, np.int64)
    while True:
        points, start, end, last = (np.empty(room, np.int64) for _ in range(4))
        found = (points, start, end, np.empty(room, np.uint8), last)
        count = native.irregular_characters(
            rows.data, rows.offsets, len(rows.offsets) - 1, *tables, room, *found, spans
        )
        if count <= room:
            some = slice(int(spans[0]))
            return _Odd(points[:count], start[some], end[some], found[3][some], last[some])
        room = count
