"""Normalize characters: Unicode NFC, line feeds as line ends, no invisible or control characters."""

import re
import unicodedata
from functools import cache
from typing import NamedTuple

import numpy as np

from smollm3_mix.text.clean.alphabet import JOINING, UNSPACED, Alphabet, Range, alphabet, replacements
from smollm3_mix.text.clean.byte_rows import Bytes, Integers, Rows, Spans, offsets_of
from smollm3_mix.text.kernels import native

# Bytes per irregular character for which the first buffer has space. Denser text takes a second pass.
BYTES_PER_CHARACTER = 16

# ECMA-48: control sequences (colors, cursor), operating system commands (titles, links), character set selection.
ESCAPES = re.compile("\x1b(?:\\[[0-?]*[ -/]*[@-~]|\\][^\x07\x1b\n]*(?:\x07|\x1b\\\\)|[()][0-9A-Za-z])")


class _Irregular(NamedTuple):
    """Characters that may be irregular, and the spans to replace for them, in order.

    If every such character of a line becomes a space or a line feed, each has a span of its own, and CR LF has one. The
    neighbors stay apart, so nothing else changes. A line with a character that is removed, or may not be NFC, is one
    span with its line feed.

    Attributes:
        points: Code points, int64[k].
        start: First byte of each span, int64[n].
        end: End of each span, int64[n].
        replacements: Space or line feed that replaces the span, 0 for a whole line, uint8[n].
        last: Number of `points` before `end`, int64[n].
    """

    points: Integers
    start: Integers
    end: Integers
    replacements: Bytes
    last: Integers


def normalize_characters(rows: Rows, profile: str) -> Rows:
    """Normalize characters as described in `Cleaning`.

    Args:
        rows: Documents.
        profile: prose, code or math.

    Returns:
        The normalized rows, or the same object if nothing changes.
    """
    found = _find_irregular(rows, alphabet(profile))
    count = len(found.start)
    first = np.arange(count)
    last, new_bytes = first + 1, found.replacements
    lines = np.flatnonzero(found.replacements == 0)
    if len(lines):
        old = [rows.data[found.start[nth] : found.end[nth]].tobytes() for nth in lines]
        new = [_normalize_span(text, found, nth, profile) for text, nth in zip(old, lines.tolist(), strict=True)]
        if len(lines) == count and new == old:
            return rows
        bounds = count + offsets_of(list(map(len, new)))
        first[lines], last[lines] = bounds[:-1], bounds[1:]
        new_bytes = np.concatenate([new_bytes, np.frombuffer(b"".join(new), np.uint8)])
    return rows.replace_spans(Spans(found.start, found.end, new_bytes, first, last))


def _normalize_span(line: bytes, found: _Irregular, nth: int, profile: str) -> bytes:
    """Return the normalized text of the nth span, which is a whole line."""
    points = found.points[found.last[nth - 1] if nth else 0 : found.last[nth]]
    return normalize_line(line.decode(), "".join(map(chr, set(points.tolist()))), profile).encode()


def normalize_line(text: str, irregular: str, profile: str) -> str:
    """Normalize the characters of a line, which may become several lines.

    Args:
        text: Line with its line feed.
        irregular: Every character of the line to replace. May have others.
        profile: prose, code or math.
    """
    replaced_by = replacements(profile)
    if "\x1b" in irregular:
        text = ESCAPES.sub("", text)
    if "\b" in irregular and profile != "code":
        text = apply_backspaces(text)
    if "\r" in irregular:
        text = text.replace("\r\n", "\n")
    for character in irregular:
        if character in replaced_by:
            text = text.replace(character, replaced_by[character])
    return _stable_nfc(text)  # a removal can join marks to other letters


def apply_backspaces(text: str) -> str:
    """Apply backspaces as a terminal does: each deletes the previous character of its line.

    Old manual pages and fortunes underline in this way.
    """
    screen: list[str] = []
    for character in text:
        if character != "\b":
            screen.append(character)
        elif screen and screen[-1] != "\n":
            screen.pop()
    return "".join(screen)


def _stable_nfc(text: str) -> str:
    """Return the text in NFC without ineffective joiners. Repeated, because NFC can change their neighbors."""
    while not text.isascii():
        reduced, joined = text, False
        for joiners, ineffective in _ineffective_joiners():
            if any(map(reduced.__contains__, joiners)):
                reduced, joined = ineffective.sub("", reduced), True
        text = _nfc(reduced)
        if text == reduced or not joined:
            break
    return text


def _nfc(text: str) -> str:
    """Return the text in NFC, line by line: no character composes with a line feed, and most lines are ASCII."""
    lines = text.split("\n")
    return "\n".join([line if line.isascii() else unicodedata.normalize("NFC", line) for line in lines])


@cache
def _ineffective_joiners() -> tuple[tuple[str, re.Pattern[str]], ...]:
    """Return zero-width spaces and joiners, with patterns of those without effect. In a run, only the first can act.

    The patterns begin with the character and look behind from it, which `re` matches many times faster.
    """
    unspaced, joining = _character_class(UNSPACED), _character_class(JOINING)
    return (
        ("\u200b", re.compile(f"\u200b(?:(?<!{unspaced}.)|(?!\u200b*{unspaced}))")),
        ("\u200c\u200d", re.compile(f"[\u200c\u200d](?:(?<!{joining}.)|(?<=\u200c)(?![\u200c\u200d]*{joining}))")),
    )


def _character_class(ranges: tuple[Range, ...]) -> str:
    return "[" + "".join(f"{chr(low)}-{chr(high)}" for low, high in ranges) + "]"


def _find_irregular(rows: Rows, letters: Alphabet) -> _Irregular:
    """Return the characters that may be irregular.

    None is missed. Some may be regular: only `unicodedata` can check the order of marks.
    """
    tables = (letters.kinds, letters.replacements, letters.classes, letters.composites, len(letters.composites))
    capacity = len(rows.data) // BYTES_PER_CHARACTER + 1
    spans = np.empty(1, np.int64)
    while True:
        points, start, end, last = (np.empty(capacity, np.int64) for _ in range(4))
        found = (points, start, end, np.empty(capacity, np.uint8), last)
        count = native.irregular_characters(
            rows.data, rows.offsets, len(rows.offsets) - 1, *tables, capacity, *found, spans
        )
        if count <= capacity:
            some = slice(int(spans[0]))
            return _Irregular(points[:count], start[some], end[some], found[3][some], last[some])
        capacity = count
