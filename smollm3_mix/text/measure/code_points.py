"""Count, decode and classify code points in UTF-8 bytes. The results do not depend on the Python version."""

import unicodedata
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from smollm3_mix.text.kernels import native

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

# Blocks of notation, not letters. Unicode 3.2 has no category for characters that were added to them later: punctuation
# to symbols, presentation and half-width forms, private and unused planes, notation and emoji.
_NOTATION = (
    (0x2000, 0x2C00),
    (0x2E00, 0x2E80),
    (0xE000, 0xF900),
    (0xFE10, 0x10000),
    (0x1D000, 0x20000),
    (0x30000, 0x40000),
)

# Sentence_Terminal of Unicode 15 (PropList.txt), without the leader U+2024 and the upright forms U+FE12 to U+FE16,
# which do not end lines. FineWeb uses the same set, plus three signs of Khmer.
_TERMINAL = (
    "21 2E 3F 589 61D-61F 6D4 700-702 7F9 837 839 83D-83E 964-965 104A-104B 1362 1367-1368 166E 1735-1736 "
    "17D4-17D5 1803 1809 1944-1945 1AA8-1AAB 1B5A-1B5B 1B5E-1B5F 1B7D-1B7E 1C3B-1C3C 1C7E-1C7F 203C-203D "
    "2047-2049 2E2E 2E3C 2E53-2E54 3002 A4FF A60E-A60F A6F3 A6F7 A876-A877 A8CE-A8CF A92F A9C8-A9C9 "
    "AA5D-AA5F AAF0-AAF1 ABEB FE52 FE56-FE57 FF01 FF0E FF1F FF61 10A56-10A57 10F55-10F59 10F86-10F89 "
    "11047-11048 110BE-110C1 11141-11143 111C5-111C6 111CD 111DE-111DF 11238-11239 1123B-1123C 112A9 "
    "1144B-1144C 115C2-115C3 115C9-115D7 11641-11642 1173C-1173E 11944 11946 11A42-11A43 11A9B-11A9C "
    "11C41-11C42 11EF7-11EF8 11F43-11F44 16A6E-16A6F 16AF5 16B37-16B38 16B44 16E98 1BC9F 1DA88"
)


class CharacterCounts(NamedTuple):
    """Numbers of characters of several kinds in each document, int64[rows] each.

    Attributes:
        points: Code points.
        newlines: Line feeds.
        hashes: Hash symbols (#).
        ellipses: … and groups of three dots.
        maybe_unspaced: Code points in the ranges of scripts without spaces, which also have other characters. See
            `scripts`.
    """

    points: Ints
    newlines: Ints
    hashes: Ints
    ellipses: Ints
    maybe_unspaced: Ints


def count_characters(data: Bytes, offsets: Ints) -> CharacterCounts:
    """Count the characters of each document data[offsets[i]:offsets[i + 1]], which must be valid UTF-8."""
    counts = np.empty((len(CharacterCounts._fields), len(offsets) - 1), dtype=np.int64)
    native.count_characters(data, offsets, len(offsets) - 1, counts)
    return CharacterCounts(*counts)


def count_code_points(data: Bytes, starts: Ints, ends: Ints) -> Ints:
    """Count the code points of each span data[starts[i]:ends[i]], int64[spans]."""
    points = np.empty(len(starts), dtype=np.int64)
    native.count_code_points(data, starts, ends, len(starts), points)
    return points


def code_points(data: Bytes, positions: Ints) -> Ints:
    """Return the code point whose first byte is at each position of valid UTF-8, int64[positions]."""
    lead = data[positions].astype(np.int64)
    codes = lead.copy()
    wide = np.flatnonzero(lead >= 0xC0)
    if len(wide) == 0:
        return codes
    lead, positions = lead[wide], positions[wide]
    code = lead & np.where(lead < 0xE0, 0x1F, np.where(lead < 0xF0, 0x0F, 0x07))
    for nth, low in ((1, 0xC0), (2, 0xE0), (3, 0xF0)):
        more = data.take(positions + nth, mode="clip").astype(np.int64) & 0x3F
        code = np.where(lead >= low, code << 6 | more, code)
    codes[wide] = code
    return codes


def last_code_points(data: Bytes, ends: Ints) -> Ints:
    """Return the code point before each end, int64[ends]. Each end is greater than 0."""
    positions = ends - 1
    for _ in range(3):
        continuation = (data[positions] & np.uint8(0xC0)) == 0x80
        if not continuation.any():
            break
        positions = np.maximum(positions - continuation, 0)
    return code_points(data, positions)


def are_letters(codes: Ints) -> Flags:
    """Return True for letters and marks of Unicode 3.2, and for later additions to blocks of scripts.

    Unicode 3.2 is the one version that every Python has, so decisions do not depend on the Python version.
    """
    return letters().take(codes, mode="clip")


def are_symbols(codes: Ints) -> Flags:
    """Return True for code points that are neither letters, marks nor numbers. See `letters_and_numbers`."""
    return letters_and_numbers().take(codes, mode="clip") == 0


def are_terminal(codes: Ints) -> Flags:
    """Return True for code points that end a sentence in any script (Sentence_Terminal of Unicode)."""
    return _terminals().take(codes, mode="clip")


def alphanumerics(data: Bytes, offsets: Ints) -> Ints:
    """Count letters, marks and ASCII digits in each document, int64[rows]."""
    found = np.empty(len(offsets) - 1, dtype=np.int64)
    native.count_marked(data, offsets, len(found), table := _alphanumerics(), len(table), found)
    return found


def sum_rows(values: npt.NDArray[np.generic], first: Ints) -> Ints:
    """Return the sum of values[first[i]:first[i + 1]] for each row, int64[rows]. Values are bool or integers."""
    sums = np.zeros(len(first) - 1, dtype=np.int64)
    filled = np.flatnonzero(first[1:] > first[:-1])
    if len(filled):
        sums[filled] = np.add.reduceat(values, first[filled], dtype=np.int64)  # empty rows in between do not contribute
    return sums


@lru_cache(maxsize=1)
def letters() -> Flags:
    """Return the table of `are_letters` by code point, bool[0x40001]. The last element is for higher code points."""
    category = unicodedata.ucd_3_2_0.category
    kinds = [category(chr(code)) for code in range(0x40000)]
    table = np.array([kind[0] in "LM" or kind == "Cn" for kind in kinds] + [False])
    assigned = np.array([kind != "Cn" for kind in kinds] + [True])
    for begin, end in _NOTATION:
        table[begin:end] &= assigned[begin:end]
    return table


@lru_cache(maxsize=1)
def letters_and_numbers() -> Bytes:
    """Return 1 for `letters`, 2 for numbers of any script (N* in Unicode 3.2), else 0, uint8[0x40001] by code point."""
    category = unicodedata.ucd_3_2_0.category
    numbers = np.array([category(chr(code))[0] == "N" for code in range(0x40000)] + [False])
    return np.where(letters(), np.uint8(1), numbers.astype(np.uint8) * np.uint8(2))


@lru_cache(maxsize=1)
def _alphanumerics() -> Flags:
    table = letters().copy()
    table[ord("0") : ord("9") + 1] = True
    return table


@lru_cache(maxsize=1)
def _terminals() -> Flags:
    table = np.zeros(0x20001, dtype=np.bool_)
    for part in _TERMINAL.split():
        begin, _, end = part.partition("-")
        table[int(begin, 16) : int(end or begin, 16) + 1] = True
    return table
