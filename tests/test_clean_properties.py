"""Properties of cleaning: equal to a slow reference, idempotent, and independent of adjacent rows."""

import re
import unicodedata
from functools import cache

import numpy as np
import pyarrow as pa
import pytest
from conftest import examples
from hypothesis import given
from hypothesis import strategies as st

from smollm3_mix.text.clean import plain_characters
from smollm3_mix.text.clean.alphabet import MARK, NOT_NFC, REPLACED, ZERO_WIDTH, alphabet
from smollm3_mix.text.clean.byte_rows import Rows
from smollm3_mix.text.clean.clean_block import clean_texts
from smollm3_mix.text.clean.cleaning_options import PROFILES, Cleaning

FRAGMENTS = (
    *(" ", "  ", "\t", "\n", "\n\n\n", "    ", "\r\n", "\r", "\x0b", "\x0c", "\x85", "\u2028"),
    *("\x00", "\x07", "\x1b", "\x1b[31m", "\x1b]0;t\x07", "\x1b(B", "[", "m", "\b", "\b\b", "\x7f", "\x80", "\x9b"),
    *("\u200b", "\u200c", "\u200d", "\ufeff", "\xad", "\u2060", "\u200e", "\u202e", "\u061c", "\u180e", "\u034f"),
    *("\xa0", "\u202f", "\u2003", "\u2000", "\u205f", "\u3000"),
    *("a", "word", "é", "e", "\u0301", "\u0323", "\u0302", "â", "ạ", "\u0345", "\u0344", "\u212b", "\u2329", "\u037e"),
    *("\u1100", "\u1161", "\u11a8", "가", "각", "か", "\u3099", "中", "\U0002f800", "\U0001d15e", "\u2adc", "\u0338"),
    *("क", "\u093c", "\u094d", "\u0958", "न", "ন", "\u09be", "\u09c7", "ಕ", "\u0cc6", "\u0cd5", "\u0fb2", "\u0f71"),
    *(
        "\u0e01",
        "\u0e38",
        "\u0e48",
        "ក",
        "\u17d2",
        "م",
        "ه",
        "\u0651",
        "\u064e",
        "\u0653",
        "ا",
        "ש",
        "\u05b8",
        "\u05c1",
    ),
    *("👩", "❤", "\ufe0f", "\U000e0067", "\U00011099", "\U000110ba", "\U0010ffff", "\ufffd", "\uffff"),
    *("```", "``` `", "~~~", ">>>", "...", "`", "\\", "$"),
)
TEXT = st.one_of(st.lists(st.sampled_from(FRAGMENTS), max_size=25).map("".join), st.text(max_size=20))
TEXTS = st.lists(st.none() | TEXT, max_size=8)
PROFILE = st.sampled_from(PROFILES)

REMOVED = {0xFEFF, 0x200E, 0x200F, 0x061C, *range(0x202A, 0x202F), *range(0x2060, 0x2070), 0xFFF9, 0xFFFA, 0xFFFB}
SPACES = {"\xa0", "\u202f", "\u205f", *map(chr, range(0x2000, 0x200B))}


def reference(text, profile):
    """Clean a text in plain Python, one character and one line at a time."""
    if profile == "none":
        return text
    text = re.sub(
        r"\x1b(\[[\x30-\x3f]*[\x20-\x2f]*[\x40-\x7e]|\][^\x07\x1b\n]*(\x07|\x1b\\)|[()][0-9A-Za-z])", "", text
    )
    while profile != "code" and "\b" in text:
        at = text.index("\b")
        erased = at > 0 and text[at - 1] != "\n"
        text = text[: at - erased] + text[at + 1 :]
    text = "".join(cleaned_character(character, profile) for character in text.replace("\r\n", "\n"))
    settled = None
    while settled != text:
        settled = text
        text = unicodedata.normalize("NFC", joined(spaced(text)))
    return code_layout(text) if profile == "code" else prose_layout(text, profile == "prose")


@cache
def cleaned_character(character, profile):
    if character in "\n\t":
        return character
    if character in "\r\x85\u2028\u2029" or (profile != "code" and character in "\x0b\x0c"):
        return "\n"
    if (
        unicodedata.category(character) == "Cc"
        or ord(character) in REMOVED
        or (profile != "code" and character == "\xad")
    ):
        return ""
    return " " if profile != "code" and character in SPACES else character


@cache
def unspaced(character):
    names = ("THAI", "LAO", "MYANMAR", "KHMER")
    return 0xE00 <= ord(character) < 0x1800 and unicodedata.name(character, "").startswith(names)


JOINING = {
    *(set(range(0x0590, 0x1D00)) - {0x061C}),
    *(set(range(0x2190, 0x2C00)) - {0x2329, 0x232A, 0x2ADC}),
    *(*range(0xA800, 0xAC00), *range(0xFB1D, 0xFE10), *range(0xFE70, 0xFEFD)),
    *(*range(0x10A00, 0x1FC00), *range(0xE0020, 0xE0080)),
}


def spaced(text):
    """Keep one of each run of zero-width spaces if it is between two letters of an unspaced script."""
    parts = re.split("(\u200b+)", text)
    for number in range(1, len(parts), 2):
        before, after = parts[number - 1], parts[number + 1]
        parts[number] = "\u200b" if before and after and unspaced(before[-1]) and unspaced(after[0]) else ""
    return "".join(parts)


def joined(text):
    """Keep the first of each run of joiners after a character it affects. A non-joiner must also precede one."""
    parts = re.split("([\u200c\u200d]+)", text)
    for number in range(1, len(parts), 2):
        before, run, after = parts[number - 1 : number + 2]
        acts = before and ord(before[-1]) in JOINING and (run[0] == "\u200d" or (after and ord(after[0]) in JOINING))
        parts[number] = run[0] if acts else ""
    return "".join(parts)


def prose_layout(text, collapse):
    lines, fenced = [], False
    for raw in text.strip(" \t\n").split("\n"):
        fenced ^= re.fullmatch(" {0,3}```+[^`]*", raw) is not None
        line = raw.rstrip(" \t")
        indent = line[: len(line) - len(line.lstrip(" \t"))]
        if collapse and line and not fenced and not line.startswith(("    ", "\t", ">>>", "...")):
            inner = re.sub("[ \t]{2,}", lambda run: "\t" if "\t" in run[0] else " ", line[len(indent) :])
            lines.append(indent + inner)
        elif line or lines[-1:] != [""]:
            lines.append(line)
    return "\n".join(lines)


def code_layout(text):
    lines = text.split("\n")
    full = [number for number, line in enumerate(lines) if line.strip(" \t")]
    if not full:
        return ""
    return "\n".join(lines[full[0] : full[-1] + 1]) + "\n" * (full[-1] < len(lines) - 1)


def cleaned(texts, profile):
    return clean_texts(pa.array(texts, pa.string()), Cleaning(profile))


@examples(600)
@given(TEXTS, PROFILE)
def test_cleaning_matches_reference(texts, profile):
    expected = [None if text is None else reference(text, profile) for text in texts]
    assert cleaned(texts, profile).to_pylist() == expected


@examples(400)
@given(TEXTS, PROFILE)
def test_cleaning_is_idempotent_without_copies(texts, profile):
    once = cleaned(texts, profile)
    once.validate(full=True)
    assert clean_texts(once, Cleaning(profile)) is once


@examples(300)
@given(st.lists(st.sampled_from(("javascript", "enable", "lorem", "ipsum", "use", "cookies", *FRAGMENTS))).map("".join))
def test_removing_boilerplate_is_idempotent(text):
    once = clean_texts(pa.array([text]), Cleaning(boilerplate=True))
    assert clean_texts(once, Cleaning(boilerplate=True)) is once


@examples(300)
@given(TEXTS, PROFILE, st.data())
def test_cleaned_row_does_not_depend_on_its_block(texts, profile, data):
    block = cleaned(texts, profile)
    start = data.draw(st.integers(0, len(texts)))
    stop = data.draw(st.integers(start, len(texts)))
    part = pa.array(texts, pa.string())[start:stop]
    assert clean_texts(part, Cleaning(profile)).to_pylist() == block[start:stop].to_pylist()
    assert [cleaned([text], profile)[0].as_py() for text in texts] == block.to_pylist()


BORDERING = (
    *(
        "",
        " ",
        "\n",
        "a",
        "\x00",
        "\r\n",
        "a\r",
        "e\u0301",
        "\u0301",
        "é",
        "か\u3099",
        "क\u093cष",
        "\u1100\u1161",
        "👩\u200d👩",
    ),
    *(
        "a\u200bb",
        "ក\u200bខ",
        "x\xa0y",
        "a  b",
        "a \t b",
        "  a",
        "a  ",
        "\n\na\n\n\n\nb\n\n",
        "a \n \n  b\n",
        "a\n\n" + " " * 70 + "b",
    ),
    *(
        "```\na  b\n```",
        "a\n    b  c",
        "a\n>>> b  c\nd  e",
        "a" + "\n" * 70 + "b",
        "a" + "  b" * 30,
        "\x1b[31mred",
        "\U0002f800",
    ),
)


@pytest.mark.parametrize("profile", ("prose", "math", "code"))
def test_cleaned_row_does_not_depend_on_its_offset(profile):
    """Kernels process 64 bytes per step. Documents and blocks can begin and end at any of them."""
    expected = [reference(text, profile) for text in BORDERING]
    for shift in range(66):
        for text, clean_text in zip(BORDERING, expected, strict=True):
            assert cleaned(["x" * shift, text], profile)[1].as_py() == clean_text
        texts = [part for text in BORDERING for part in ("x" * shift, text)]
        assert cleaned(texts, profile).to_pylist()[1::2] == expected


@pytest.mark.parametrize("profile", ("prose", "code"))
def test_kernel_finds_every_character_with_a_kind(profile):
    letters = alphabet(profile)
    kinds = letters.kinds & (REPLACED | NOT_NFC | MARK | ZERO_WIDTH)
    points = np.flatnonzero(kinds)
    data = "".join(f"x{chr(point)}" for point in points).encode()
    kinds[points] = REPLACED
    with_tables = letters._replace(kinds=kinds, replacements=np.full(0x110000, 0x20, np.uint8))
    irregular = plain_characters._find_irregular(
        Rows(np.frombuffer(data, np.uint8), np.array([0, len(data)])), with_tables
    )
    assert irregular.points.tolist() == points.tolist()
    assert len(irregular.start) == len(points)


def test_cleaning_handles_every_character_alone_and_between_letters():
    points = [*range(0xD800), *range(0xE000, 0x30000), *range(0xE0000, 0xE0200), *range(0x10FF00, 0x110000)]
    characters = list(map(chr, points))
    for template in ("{}", "a{}", "क{}म"):
        texts = [template.format(character) for character in characters]
        expected = [unicodedata.normalize("NFC", text) for text in texts]
        got = cleaned(texts, "code").to_pylist()
        different = [points[row] for row in np.flatnonzero(np.array(got, object) != np.array(expected, object))]
        irregular = {point for point in points if cleaned_character(chr(point), "code") != chr(point)} | {
            0x200B,
            0x200C,
            0x200D,
            0x20,
            0x09,
        }
        assert set(different) <= irregular | {0x0A}
        assert [got[points.index(point)] for point in irregular] == [
            reference(template.format(chr(point)), "code") for point in irregular
        ]


def test_cleaning_composes_every_decomposed_character():
    forms = [
        form
        for point in (*range(0x80, 0xD800), *range(0xF900, 0x30000))
        if unicodedata.decomposition(chr(point)) or 0xAC00 <= point < 0xAC80
        for form in (unicodedata.normalize("NFD", chr(point)), unicodedata.normalize("NFD", chr(point))[::-1])
    ]
    texts = [f"{before}{form}" for form in forms for before in ("", "e\u0301")]
    assert cleaned(texts, "code").to_pylist() == [reference(text, "code") for text in texts]


@examples(300)
@given(st.lists(st.sampled_from([c for c in FRAGMENTS if not unicodedata.is_normalized("NFC", "e" + c + "\u0323")])))
def test_cleaning_orders_marks_as_nfc(marks):
    text = "e" + "".join(marks) + "\u0323"
    assert cleaned([text], "code").to_pylist() == [reference(text, "code")]


def test_planes_beyond_the_tables_have_no_marks_or_decompositions():
    assert not any(
        unicodedata.combining(chr(point)) or unicodedata.decomposition(chr(point)) for point in range(0x30000, 0x110000)
    )
