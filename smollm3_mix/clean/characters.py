"""Documents in plain characters: NFC, one line feed a line, nothing invisible or uncontrolled."""

import re
import unicodedata
from functools import cache

import numpy as np
import numpy.typing as npt

from smollm3_mix.clean.alphabet import (
    COMPOSING,
    DECOMPOSES,
    JOINER,
    JOINING,
    JOINT,
    MARK,
    NOT_NFC,
    ODD,
    UNSPACED,
    ZERO_WIDTH_SPACE,
    Alphabet,
    Range,
    alphabet,
    member,
    replacements,
)
from smollm3_mix.clean.rows import Bytes, Flags, Integers, Rows

Points = npt.NDArray[np.int32]

TAB, LINE_FEED, CARRIAGE_RETURN = 0x09, 0x0A, 0x0D

# ECMA-48: control sequences (colours, cursor), operating system commands (titles, links), choice of a character set.
ESCAPES = re.compile("\x1b(?:\\[[0-?]*[ -/]*[@-~]|\\][^\x07\x1b\n]*(?:\x07|\x1b\\\\)|[()][0-9A-Za-z])")


def with_plain_characters(rows: Rows, profile: str) -> Rows:
    """Documents in plain characters, see `Cleaning`; the very rows given if all of them are.

    Args:
        rows: the documents.
        profile: prose, code or math.
    """
    letters = alphabet(profile)
    positions, points = _odd(rows, letters)
    if not len(positions):
        return rows
    row = rows.at(positions)
    whole = np.zeros(len(rows.offsets), np.bool_)  # documents to be looked at as a whole
    whole[row[letters.becomes[points] == 0]] = True
    easy = np.flatnonzero(~whole[row])
    if len(easy):
        rows = _with_spaces(rows, positions[easy], letters.becomes[points[easy]])
    # One number for each document and odd character in it: a document is then repaired with few calls of str.replace.
    found: dict[int, str] = {}
    hard = np.flatnonzero(whole[row])
    for number in np.unique(row[hard] << 21 | points[hard]).tolist():
        found[number >> 21] = found.get(number >> 21, "") + chr(number & 0x1FFFFF)
    changed: list[int] = []
    texts: list[bytes] = []
    for document, odd in found.items():
        old = rows.data[rows.offsets[document] : rows.offsets[document + 1]].tobytes()
        new = plain(old.decode(), odd, profile).encode()
        if new != old:
            changed.append(document)
            texts.append(new)
    return rows.with_rows(np.array(changed, np.int64), texts)


def _with_spaces(rows: Rows, positions: Integers, becomes: Bytes) -> Rows:
    """Documents with the character at each position replaced by one byte, and the two of CR LF by one line feed.

    A space or line feed in place of another keeps neighbours apart, so nothing else need be looked at.

    Args:
        rows: the documents.
        positions: int64[k], first bytes, increasing.
        becomes: uint8[k], SPACE or LINE_FEED.
    """
    first = rows.data[positions]
    width = 1 + (first >= 0xC0).astype(np.int64) + (first >= 0xE0)
    after = positions + 1
    pair = (first == CARRIAGE_RETURN) & (np.take(rows.data, after, mode="clip") == LINE_FEED) & ~rows.meets(after)
    data = rows.data.copy()
    data[positions] = becomes
    cut = np.flatnonzero((width > 1) | pair)
    return Rows(data, rows.offsets).without(after[cut] - pair[cut], (positions + width)[cut])


def plain(text: str, odd: str, profile: str) -> str:
    """One document in plain characters.

    Args:
        text: the document.
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


def _odd(rows: Rows, letters: Alphabet) -> tuple[Integers, Points]:
    """Where documents may not be in plain characters, and which character stands there.

    Nothing is missed. What is found may still be plain: an order of marks that `unicodedata` has to judge.

    Returns:
        Byte positions, int64[k]; code points, int32[k].
    """
    controls, wide = _candidates(rows.data, letters)
    if not len(wide):
        return controls, rows.data[controls].astype(np.int32)
    points = point_at(rows.data, wide)
    kinds = letters.kinds[points]
    odd = kinds & (ODD | NOT_NFC) != 0
    for kind, judge in ((MARK, _misplaced_marks), (JOINT, _misplaced_joints)):
        which = np.flatnonzero(kinds & kind)
        if len(which):
            odd[which] |= judge(rows, letters, wide[which], points[which])
    positions = np.concatenate([controls, wide[odd]])
    order = np.argsort(positions)
    return positions[order], np.concatenate([rows.data[controls].astype(np.int32), points[odd]])[order]


def _candidates(data: Bytes, letters: Alphabet) -> tuple[Integers, Integers]:
    """Positions of ASCII controls but tab and line feed; first bytes of wider characters that may have a kind."""
    unusual = data - np.uint8(0x20) >= 0x5F  # all but the ASCII characters that show
    if np.count_nonzero(unusual) > len(data) // 16:  # dense: looked up byte by byte, few positions are left
        odd = ((data < 0x20) & (data - np.uint8(TAB) > 1)) | (data == 0x7F)  # tab and line feed are neighbours
        controls = np.flatnonzero(odd) if odd.any() else np.zeros(0, np.int64)
        leads = np.flatnonzero(np.frombuffer(data.tobytes().translate(letters.leads), np.bool_))
    else:
        positions = np.flatnonzero(unusual)
        byte = data[positions]
        controls = positions[(byte < 0x80) & (byte - np.uint8(TAB) > 1)]
        leads = positions[byte >= 0xC2]
    keys = (data[leads] & 0x3F).astype(np.uint16) << 6 | data[1:][leads] & 0x3F
    return controls, leads[letters.seconds[keys]]


def point_at(data: Bytes, positions: Integers) -> Points:
    """Code point of the character that starts at each position: int32, as many as positions; past the end, any."""
    first, second, third = (np.take(data, positions + step, mode="clip").astype(np.int32) for step in range(3))
    second, third = second & 0x3F, third & 0x3F
    points = np.where(first < 0xE0, (first & 0x1F) << 6 | second, (first & 0x0F) << 12 | second << 6 | third)
    ascii_only, long = first < 0x80, np.flatnonzero(first >= 0xF0)
    points[ascii_only] = first[ascii_only]
    points[long] = (points[long] & 0x7FFF) << 6 | data[positions[long] + 3] & 0x3F
    return points


def _before(data: Bytes, positions: Integers) -> Points:
    """Code point of the character before each position; at the block's start, that of the last one."""
    start = positions - 1
    for _ in range(3):
        start = start - (data[start] & 0xC0 == 0x80)
    return point_at(data, start)


def _misplaced_marks(rows: Rows, letters: Alphabet, positions: Integers, points: Points) -> Flags:
    """Whether each mark may keep its document out of NFC.

    It cannot after a letter that it does not compose with and that has no decomposition, nor, unless it composes with
    anything, after a mark of no higher class (UAX #15, section 9). A mark that begins a document is judged by the
    document before: too much may be found, but nothing is missed.
    """
    before = _before(rows.data, positions)
    last, this = letters.classes[before], letters.classes[points]
    pairs = before.astype(np.int64) << 21 | points
    nearest = np.searchsorted(letters.composites, pairs).clip(max=len(letters.composites) - 1)
    composes = letters.composites[nearest] == pairs
    behind = (this > 0) & ((last > this) | (last > 0) & (letters.kinds[points] & COMPOSING != 0))
    judged: Flags = composes | behind | (letters.kinds[before] & DECOMPOSES != 0)
    return judged


def _misplaced_joints(rows: Rows, letters: Alphabet, positions: Integers, points: Points) -> Flags:
    """Whether each zero-width space, joiner or non-joiner stands where it does nothing."""
    del letters
    after = positions + 3
    before_point = np.where(rows.meets(positions), 0, _before(rows.data, positions))
    after_point = np.where(rows.meets(after), 0, point_at(rows.data, after))
    space, joiner = points == ZERO_WIDTH_SPACE, points == JOINER
    marks_words = space & member(before_point, UNSPACED) & member(after_point, UNSPACED)
    joins = ~space & member(before_point, JOINING) & (joiner | member(after_point, JOINING))
    idle: Flags = ~(marks_words | joins)
    return idle
