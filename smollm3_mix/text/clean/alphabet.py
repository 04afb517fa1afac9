"""The characters that cleaning looks at: which, why, and what they become."""

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
# Byte order mark, word joiner, invisible operators, deprecated format characters, interlinear annotation; and the marks
# and brackets of bidirectional text: they change how text is shown, not its order in memory, which is what a model
# reads, and in code they can hide what a program does (Boucher and Anderson 2021, "Trojan Source").
INVISIBLE: tuple[Range, ...] = (
    (0x061C, 0x061C),
    (0x200E, 0x200F),
    (0x202A, 0x202E),
    (0x2060, 0x206F),
    (0xFEFF, 0xFEFF),
    (0xFFF9, 0xFFFB),
)

ZERO_WIDTH_SPACE, NON_JOINER, JOINER = 0x200B, 0x200C, 0x200D
# Scripts without spaces in which a zero-width space marks words: Thai and Lao, Myanmar, Khmer.
UNSPACED: tuple[Range, ...] = ((0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF))
# What joiners act on: letters of Hebrew to the Indic scripts, symbols and emoji, presentation forms, emoji tags. No NFC
# mapping leads out of these ranges, hence the gaps at U+2329, U+232A and U+2ADC, and none of them is removed.
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

ODD, NOT_NFC, MARK, COMPOSING, DECOMPOSES, JOINT, IN_UNSPACED, IN_JOINING = (1 << bit for bit in range(8))
"""Bits of `Alphabet.kinds`, which the kernel has too: replaced wherever it stands; never in NFC text; moves or composes
by what stands before it; of these, the second of a pair that composes; may lose or take a mark that follows; kept or
not by its neighbours; in `UNSPACED`; in `JOINING`."""


@cache
def replacements(profile: str) -> dict[str, str]:
    """What becomes of each character that a profile replaces wherever it stands: "", a space or a line feed."""
    odd = dict.fromkeys(_members(CONTROLS + INVISIBLE), "") | dict.fromkeys(NEWLINES, "\n")
    if profile != "code":
        odd |= dict.fromkeys(PAGE_BREAKS, "\n") | dict.fromkeys(SPACES, " ") | {SOFT_HYPHEN: ""}
    return odd


class Alphabet(NamedTuple):
    """Tables over all code points.

    Attributes:
        kinds: uint8[0x110000], bits by code point.
        becomes: uint8[0x110000], the space or line feed that replaces a code point wherever it stands, or 0.
        classes: uint8[0x110000], canonical combining class.
        composites: int64[k], sorted, first << 21 | second of each pair of characters that NFC makes one.
    """

    kinds: Bytes
    becomes: Bytes
    classes: Bytes
    composites: Integers


@cache
def alphabet(profile: str) -> Alphabet:
    """The tables of a profile (not none); made at first use, from the running Python's Unicode data, in about 30 ms."""
    base, classes, composites = _unicode()
    kinds = base.copy()
    becomes = np.zeros(0x110000, np.uint8)
    for character, new in replacements(profile).items():
        kinds[ord(character)] |= ODD
        becomes[ord(character)] = ord(new) if new else 0
    kinds[[ZERO_WIDTH_SPACE, NON_JOINER, JOINER]] |= JOINT
    for bit, ranges in ((IN_UNSPACED, UNSPACED), (IN_JOINING, JOINING)):
        for low, high in ranges:
            kinds[low : high + 1] |= bit
    return Alphabet(kinds, becomes, classes, composites)


@cache
def _unicode() -> tuple[Bytes, Bytes, Integers]:
    """Kinds that concern NFC, combining classes, and composites (as in `Alphabet`), from `unicodedata`."""
    kinds, classes = np.zeros(0x110000, np.uint8), np.zeros(0x110000, np.uint8)
    pairs = []
    for point in range(0x80, 0x30000):  # above it nothing combines or decomposes; a test holds this
        character = chr(point)
        if unicodedata.combining(character):
            classes[point] = unicodedata.combining(character)
            kinds[point] |= MARK
        parts = unicodedata.decomposition(character)
        if parts and parts[0] != "<":  # a decomposition in angle brackets is one of compatibility, not of NFC
            if unicodedata.normalize("NFC", character) != character:
                kinds[point] |= NOT_NFC
            else:
                first, second = (int(part, 16) for part in parts.split())
                pairs.append(first << 21 | second)
                kinds[point] |= DECOMPOSES
                kinds[second] |= MARK | COMPOSING
    kinds[0x1161:0x1176] |= MARK | COMPOSING  # vowels and finals of Hangul, which compose by rule with
    kinds[0x11A8:0x11C3] |= MARK | COMPOSING
    kinds[0x1100:0x1113] |= DECOMPOSES  # initials
    kinds[0xAC00:0xD7A4] |= DECOMPOSES  # and syllables: more pairs than compose, but none is missed
    return kinds, classes, np.sort(np.array(pairs, np.int64))


def _members(ranges: tuple[Range, ...]) -> str:
    return "".join(chr(point) for low, high in ranges for point in range(low, high + 1) if point not in (0x09, 0x0A))
