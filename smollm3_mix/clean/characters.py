"""Documents in plain characters: NFC, one line feed a line, nothing invisible or uncontrolled."""

import re
import unicodedata
from functools import cache
from typing import NamedTuple

import numpy as np

from smollm3_mix import kernels
from smollm3_mix.clean.alphabet import JOINING, UNSPACED, Alphabet, Range, alphabet, replacements
from smollm3_mix.clean.rows import Bytes, Integers, Rows, Spans, offsets_of

# Odd characters rarer than one in so many bytes are found in one pass; more have to be looked for again.
ROOM = 16

# ECMA-48: control sequences (colours, cursor), operating system commands (titles, links), choice of a character set.
ESCAPES = re.compile("\x1b(?:\\[[0-?]*[ -/]*[@-~]|\\][^\x07\x1b\n]*(?:\x07|\x1b\\\\)|[()][0-9A-Za-z])")


class _Odd(NamedTuple):
    """Characters that may not be plain, in order: int64[k] each.

    Attributes:
        start: position of the first byte.
        end: position behind the last; the two characters of CR LF are one.
        point: code point.
        line: where the line begins that it stands in; lines end with a line feed or the document.
        feed: position behind that.
    """

    start: Integers
    end: Integers
    point: Integers
    line: Integers
    feed: Integers


def with_plain_characters(rows: Rows, profile: str) -> Rows:
    """Documents in plain characters, see `Cleaning`; the very rows given if all of them are.

    Args:
        rows: the documents.
        profile: prose, code or math.
    """
    letters = alphabet(profile)
    odd = _odd(rows, letters)
    becomes = letters.becomes[odd.point]
    if not becomes.all():
        return rows.with_spans(_repaired(rows, odd, becomes, profile))
    one = np.arange(len(becomes))
    return rows.with_spans(Spans(odd.start, odd.end, becomes, one, one + 1))


def _repaired(rows: Rows, odd: _Odd, becomes: Bytes, profile: str) -> Spans:
    """What is to change where some odd characters do not become a space or line feed.

    Lines in which one vanishes, or may not be NFC, are looked at as a whole. In all others, spaces and line feeds keep
    neighbours apart as what they replace did, so nothing else need be looked at.
    """
    begin = np.flatnonzero(np.diff(odd.line, prepend=-1))
    end = np.append(begin[1:], len(becomes))
    whole = np.minimum.reduceat(becomes, begin) == 0
    easy = np.flatnonzero(np.repeat(~whole, end - begin))
    changed, texts = [], []
    for nth, last in zip(begin[whole].tolist(), end[whole].tolist(), strict=True):
        old = rows.data[odd.line[nth] : odd.feed[nth]].tobytes()
        new = plain(old.decode(), "".join(map(chr, set(odd.point[nth:last].tolist()))), profile).encode()
        if new != old:
            changed.append(nth)
            texts.append(new)
    hard, one, bounds = np.array(changed, np.int64), np.arange(len(easy)), len(easy) + offsets_of(list(map(len, texts)))
    start = np.concatenate([odd.start[easy], odd.line[hard]])
    order = np.argsort(start)
    return Spans(
        start[order],
        np.concatenate([odd.end[easy], odd.feed[hard]])[order],
        np.concatenate([becomes[easy], np.frombuffer(b"".join(texts), np.uint8)]),
        np.concatenate([one, bounds[:-1]])[order],
        np.concatenate([one + 1, bounds[1:]])[order],
    )


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
        text = overstruck(text)
    if "\r" in odd:
        text = text.replace("\r\n", "\n")
    for character in odd:
        if character in becomes:
            text = text.replace(character, becomes[character])
    return _settled(text)  # what vanishes can bring marks to other letters


def overstruck(text: str) -> str:
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
    tables = (letters.kinds, letters.classes, letters.composites, len(letters.composites))
    room = len(rows.data) // ROOM + 1
    while True:
        found = _Odd(*(np.empty(room, np.int64) for _ in _Odd._fields))
        count = kernels.odd_characters(rows.data, rows.offsets, len(rows.offsets) - 1, *tables, room, *found)
        if count <= room:
            return _Odd(*(some[:count] for some in found))
        room = count
