"""Characters that cleaning replaces or checks, and their replacements."""

import unicodedata
from functools import cache
from typing import NamedTuple

import numpy as np

from smollm3_mix.text.clean.byte_rows import Bytes, Integers

Range = tuple[int, int]

NEWLINES = "\r\x85\u2028\u2029"
PAGE_BREAKS = "\x0b\x0c"
SPACES = "\xa0\u202f\u205f" + "".join(map(chr, range(0x2000, 0x200B)))
SOFT_HYPHEN = "\xad"

CONTROLS: tuple[Range, ...] = ((0x00, 0x08), (0x0B, 0x1F), (0x7F, 0x9F))
# Byte order mark, word joiner, invisible operators, deprecated format characters, interlinear annotation, and the marks
# and brackets of bidirectional text. The last change how text is displayed, not its order in memory, which is what a
# model reads. In code they can hide what a program does (Boucher and Anderson 2021, "Trojan Source").
INVISIBLE: tuple[Range, ...] = (
    (0x061C, 0x061C),
    (0x200E, 0x200F),
    (0x202A, 0x202E),
    (0x2060, 0x206F),
    (0xFEFF, 0xFEFF),
    (0xFFF9, 0xFFFB),
)

ZERO_WIDTH_SPACE, NON_JOINER, JOINER = 0x200B, 0x200C, 0x200D
# Scripts without spaces in which a zero-width space separates words: Thai and Lao, Myanmar, Khmer.
UNSPACED: tuple[Range, ...] = ((0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF))
# Characters that joiners affect: letters from Hebrew to the Indic scripts, symbols and emoji, presentation forms, emoji
# tags. No NFC mapping leads out of these ranges, hence the gaps at U+2329, U+232A and U+2ADC. None of them is removed.
JOINING: tuple[Range, ...] = (
    (0x0590, 0x061B),
    (0x061D, 0x1CFF),
    (0x2190, 0x2328),
    (0x232B, 0x2ADB),
    (0x2ADD, 0x2BFF),
    (0xA800, 0xABFF),
    (0xFB1D, 0xFDFF),
    (0xFE00, 0xFE0F),
    (0xFE70, 0xFEFC),
    (0x10A00, 0x1FBFF),
    (0xE0020, 0xE007F),
)

REPLACED, NOT_NFC, MARK, COMPOSING, DECOMPOSES, ZERO_WIDTH, IN_UNSPACED, IN_JOINING = (1 << bit for bit in range(8))
"""Bits of `Alphabet.kinds`, as in `irregular_characters.c`.

* REPLACED: Replaced in any context.
* NOT_NFC: Never in NFC text.
* MARK: Reordered or composed depending on the previous character.
* COMPOSING: Second character of a pair that composes.
* DECOMPOSES: May lose or absorb a mark that follows.
* ZERO_WIDTH: Removed or kept depending on its neighbors.
* IN_UNSPACED: In `UNSPACED`.
* IN_JOINING: In `JOINING`.
"""


@cache
def replacements(profile: str) -> dict[str, str]:
    """Return the replacement of each character that a profile replaces in any context: "", a space or a line feed."""
    found = dict.fromkeys(_members(CONTROLS + INVISIBLE), "") | dict.fromkeys(NEWLINES, "\n")
    if profile != "code":
        found |= dict.fromkeys(PAGE_BREAKS, "\n") | dict.fromkeys(SPACES, " ") | {SOFT_HYPHEN: ""}
    return found


class Alphabet(NamedTuple):
    """Tables over all code points.

    Attributes:
        kinds: Bits of each code point, uint8[0x110000].
        replacements: Space or line feed that replaces a code point in any context, else 0, uint8[0x110000].
        classes: Canonical combining classes, uint8[0x110000].
        composites: first << 21 | second of each pair of characters that NFC composes, int64[k], ascending.
    """

    kinds: Bytes
    replacements: Bytes
    classes: Bytes
    composites: Integers


@cache
def alphabet(profile: str) -> Alphabet:
    """Return the tables of a profile other than none. Built on first use from `unicodedata` in about 30 ms."""
    base, classes, composites = _unicode()
    kinds = base.copy()
    replaced_by = np.zeros(0x110000, np.uint8)
    for character, new in replacements(profile).items():
        kinds[ord(character)] |= REPLACED
        replaced_by[ord(character)] = ord(new) if new else 0
    kinds[[ZERO_WIDTH_SPACE, NON_JOINER, JOINER]] |= ZERO_WIDTH
    for bit, ranges in ((IN_UNSPACED, UNSPACED), (IN_JOINING, JOINING)):
        for low, high in ranges:
            kinds[low : high + 1] |= bit
    return Alphabet(kinds, replaced_by, classes, composites)


@cache
def _unicode() -> tuple[Bytes, Bytes, Integers]:
    """Return the kinds that concern NFC, the combining classes, and the composites, as in `Alphabet`."""
    kinds, classes = np.zeros(0x110000, np.uint8), np.zeros(0x110000, np.uint8)
    pairs = []
    for point in range(0x80, 0x30000):  # no higher code point combines or decomposes, as a test checks
        character = chr(point)
        if unicodedata.combining(character):
            classes[point] = unicodedata.combining(character)
            kinds[point] |= MARK
        parts = unicodedata.decomposition(character)
        if parts and parts[0] != "<":  # angle brackets mark compatibility decompositions, which NFC ignores
            if unicodedata.normalize("NFC", character) != character:
                kinds[point] |= NOT_NFC
            else:
                first, second = (int(part, 16) for part in parts.split())
                pairs.append(first << 21 | second)
                kinds[point] |= DECOMPOSES
                kinds[second] |= MARK | COMPOSING
    kinds[0x1161:0x1176] |= MARK | COMPOSING  # Hangul vowels and finals compose by rule with
    kinds[0x11A8:0x11C3] |= MARK | COMPOSING
    kinds[0x1100:0x1113] |= DECOMPOSES  # initials
    kinds[0xAC00:0xD7A4] |= DECOMPOSES  # and syllables. This includes pairs that do not compose
    return kinds, classes, np.sort(np.array(pairs, np.int64))


def _members(ranges: tuple[Range, ...]) -> str:
    return "".join(chr(point) for low, high in ranges for point in range(low, high + 1) if point not in (0x09, 0x0A))
