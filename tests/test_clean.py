"""Examples of every rule of every profile, unusual input, and invalid options of `Cleaning`."""

import re
import unicodedata

import pyarrow as pa
import pytest

from smollm3_mix.text.clean.byte_rows import from_arrow
from smollm3_mix.text.clean.clean_block import clean_texts
from smollm3_mix.text.clean.cleaning_options import PROFILES, Cleaning

CHANGING = [profile for profile in PROFILES if profile != "none"]


def one(text, profile="prose", **options):
    return clean_texts(pa.array([text], pa.string()), Cleaning(profile, **options)).to_pylist()[0]


@pytest.mark.parametrize(
    "dirty, expected",
    [
        ("a\x00b\x01\x1f\x7f\x80\x9fc", "abc"),
        ("\x1b[33;1mred\x1b[m, \x1b]8;;http://x\x07link\x1b]8;;\x1b\\, \x1b(Bplain \x1b", "red, link, plain"),
        ("\x1b[31", "[31"),
        ("one\r\ntwo\rthree\x85four\u2028five\u2029six\r\r\n", "one\ntwo\nthree\nfour\nfive\nsix"),
        ("\ufeffzero\u200bwidth\u2060 \u2061f\u206a \ufff9x\ufffa", "zerowidth f x"),
        ("\u200eleft\u202e to\u2066 right\u061c", "left to right"),
        ("cafe\u0301 \u212b \u0958 \u1112\u1161\u11ab", "café Å \u0915\u093c 한"),
        ("e\u200b\u0301", "é"),
        ("q\u0323\u0307 q\u0307\u0323", "q\u0323\u0307 q\u0323\u0307"),
        ("\u00e2\u0323", "\u1ead"),  # â and a dot below: each is NFC alone, and they are not a composing pair
        ("か\u3099き", "がき"),
    ],
)
@pytest.mark.parametrize("profile", CHANGING)
def test_profiles_remove_control_and_invisible_characters(profile, dirty, expected):
    assert one(dirty, profile).rstrip(" \n") == expected


@pytest.mark.parametrize(
    "text",
    [
        "می\u200cخواهم و خانه\u200cها",
        "क्\u200dष क्\u200cष",
        "ശ്രീ ന്\u200d",
        "👩\u200d👩\u200d👧 ❤️\u200d🔥 🏴\U000e0067\U000e0062\U000e007f",
        "ភាសា\u200bខ្មែរ",
        "مُحَمَّد",
        "שָׁלוֹם".replace("\u05c1\u05b8", "\u05b8\u05c1"),
        "Tiếng Việt",
        "한국어 ひらがな 漢字\u3000全角",
        "�",
        "",
    ],
)
@pytest.mark.parametrize("profile", PROFILES)
def test_cleaning_keeps_joiners_of_scripts_and_emoji(profile, text):
    text = unicodedata.normalize("NFC", text)
    assert one(text, profile) == text


@pytest.mark.parametrize(
    "dirty, expected",
    [
        ("a\u200cb", "ab"),
        ("é\u200d", "é"),
        ("\u200dخ", "خ"),
        ("آن\u200c\u200cها", "آن\u200cها"),
        ("نسخه\u200c اصلی", "نسخه اصلی"),
        ("خ\u200d", "خ\u200d"),
        ("خ\u200c\ufeffه", "خ\u200cه"),
        ("خ\ufeff\u200cه", "خ\u200cه"),
        ("ក\u200b\u200bខ\u200b", "ក\u200bខ"),
        ("中\u200b文", "中文"),
        ("\u2329\u200d\u232a", "\u3008\u3009"),
    ],
)
def test_cleaning_removes_joiners_without_effect(dirty, expected):
    assert one(dirty) == expected


def test_joiners_ignore_adjacent_documents():
    texts = pa.array(["خ", "\u200cه", "ه\u200c", "خ", "e", "\u0301", "ក", "\u200bខ"])
    assert clean_texts(texts, Cleaning()).to_pylist() == ["خ", "ه", "ه", "خ", "e", "\u0301", "ក", "ខ"]


@pytest.mark.parametrize(
    "dirty, prose, math, code",
    [
        ("a  b   c", "a b c", "a  b   c", "a  b   c"),
        ("a \t b\tc", "a\tb\tc", "a \t b\tc", "a \t b\tc"),
        ("a\xa0b\u202fc\u2003d", "a b c d", "a b c d", "a\xa0b\u202fc\u2003d"),
        ("soft\xadhyphen", "softhyphen", "softhyphen", "soft\xadhyphen"),
        ("a  \nb\t\n", "a\nb", "a\nb", "a  \nb\t\n"),
        ("a\n\n\n\nb", "a\n\nb", "a\n\nb", "a\n\n\n\nb"),
        ("a\n \n\t\n\n  b", "a\n\n  b", "a\n\n  b", "a\n \n\t\n\n  b"),
        ("\n \n  a\n\n \n", "a", "a", "  a\n"),
        ("  a  ", "a", "a", "  a  "),
        ("a\x0bb\x0cc", "a\nb\nc", "a\nb\nc", "abc"),
        ("_\bN _____\b\b\b\b\bnever\n\bx", "N never\nx", "N never\nx", "_N _____never\nx"),
        ("list:\n  - one  two\n   c  d", "list:\n  - one two\n   c d", *["list:\n  - one  two\n   c  d"] * 2),
        (
            "x\n    y  = 1\n\tz  = 2\n>>> u  = 3\n...   v  = 4",
            *["x\n    y  = 1\n\tz  = 2\n>>> u  = 3\n...   v  = 4"] * 3,
        ),
        ("```py\na  = 1\n```\nb  c", "```py\na  = 1\n```\nb c", *["```py\na  = 1\n```\nb  c"] * 2),
        ("   ```\na  b\n```` `\nc  d\n~```\ne  f", "```\na  b\n```` `\nc  d\n~```\ne  f", None, None),
        ("```a``` b  c\nd  e", "```a``` b c\nd e", *["```a``` b  c\nd  e"] * 2),
        ("all:\n\tcc  -o x\t\n", "all:\n\tcc  -o x", "all:\n\tcc  -o x", "all:\n\tcc  -o x\t\n"),
        (r"$a \, b \ $" + "\n\\[  x  & y \\\\\n\\]", None, *[r"$a \, b \ $" + "\n\\[  x  & y \\\\\n\\]"] * 2),
        (" \t\r\n\x00\u200b ", "", "", ""),
    ],
)
def test_profiles_normalize_spaces_and_lines(dirty, prose, math, code):
    for profile, expected in zip(("prose", "math", "code", "none"), (prose, math, code, dirty), strict=True):
        if expected is not None:
            assert one(dirty, profile) == expected, profile


@pytest.mark.parametrize("profile", PROFILES)
def test_clean_texts_returns_same_array_when_nothing_changes(profile):
    texts = pa.array(["Plain text.\n\nAnother “paragraph”, in Ελληνικά and 中文.", "", None, "  x"[2:]])
    assert clean_texts(texts, Cleaning(profile)) is texts
    assert clean_texts(texts[1:3], Cleaning(profile)).to_pylist() == ["", None]


@pytest.mark.parametrize("texts", [[], [None], [None, None], ["", None, ""]])
@pytest.mark.parametrize("profile", PROFILES)
def test_clean_texts_accepts_blocks_without_text(profile, texts):
    assert clean_texts(pa.array(texts, pa.string()), Cleaning(profile)).to_pylist() == texts


def test_clean_texts_ignores_bytes_under_nulls():
    dirty = pa.array(["a  b", "\x00 hidden", "c  d"])
    texts = pa.StringArray.from_buffers(3, *dirty.buffers()[1:], pa.py_buffer(b"\x05"), 1)
    assert clean_texts(texts, Cleaning()).to_pylist() == ["a b", None, "c d"]


def test_clean_texts_accepts_line_of_five_megabytes():
    line = "word  " * 800_000 + "\x00"
    assert one(line) == "word " * 799_999 + "word"
    assert one("x" * 5_000_000) == "x" * 5_000_000


def test_clean_texts_empties_five_megabytes_of_white_space():
    for nothing in (" ", "\n", "\x00", "\u200d", "\b", "\x1b[", "\r"):
        assert re.fullmatch(r"\[*", one(nothing * (5_000_000 // len(nothing.encode()))))


def test_clean_texts_accepts_many_tiny_documents():
    texts = pa.array(["a", " ", "\n", "\x00", "", "é"] * 2000)
    assert clean_texts(texts, Cleaning()).to_pylist() == ["a", "", "", "", "", "é"] * 2000


def test_clean_texts_handles_right_to_left_and_stacked_marks():
    stacked = "a" + "\u0301\u0323" * 1000
    assert one(stacked) == unicodedata.normalize("NFC", stacked)
    assert one("\u0301\u0323 \u200fשלום\u200e  عالم\u200f") == "\u0323\u0301 שלום عالم"


def test_cleaned_slice_keeps_nulls():
    texts = pa.array(["x  x", None, "a  b", None, "c", "d\x00"])[1:5]
    assert clean_texts(texts, Cleaning()).to_pylist() == [None, "a b", None, "c"]
    assert clean_texts(texts, Cleaning()).null_count == 2


@pytest.mark.parametrize(
    "line",
    ["Please enable JavaScript.", "LOREM  ipsum dolor", "We use cookies!", "Terms of\tUse", "JavaScript is disabled."],
)
def test_boilerplate_lines_are_removed(line):
    text = f"First.\n\n{line}\n\nLast."
    assert one(text, boilerplate=True) == "First.\n\nLast."
    assert one(text) == re.sub("[ \t]{2,}", " ", text)
    assert one(line, boilerplate=True) == ""


def test_fences_do_not_span_documents():
    texts = pa.array(["``", "`\na  b", "```", "a  b", "x`", "```\na  b\n```", "```\nc  d"])
    expected = ["``", "`\na b", "```", "a b", "x`", "```\na  b\n```", "```\nc  d"]
    assert clean_texts(texts, Cleaning()).to_pylist() == expected


def test_boilerplate_keeps_fences_and_content():
    text = "```javascript\nlet a  = 1;\n```\nA cookie jar, a privacy\npolicy, JavaScript is a language"
    assert one(text, boilerplate=True) == text
    fence = "```javascript turned on\nlet a = 1;\n```"  # would be a warning if it were not a fence
    assert one(fence, boilerplate=True) == fence
    split = pa.array(["java", "script", "x JAVASCRIPT turned  on\ny"])
    assert clean_texts(split, Cleaning(boilerplate=True)).to_pylist() == ["java", "script", "y"]


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ({"profile": "markup"}, ValueError, "clean: profile must be one of prose, code, math, none, got 'markup'"),
        ({"boilerplate": "yes"}, TypeError, "clean: boilerplate must be true or false, got 'yes'"),
        (
            {"profile": "code", "boilerplate": True},
            ValueError,
            "clean: boilerplate requires profile prose, got code. Remove boilerplate",
        ),
        (
            {"profile": "none", "mojibake": True},
            ValueError,
            "clean: mojibake repairs text, but profile none changes nothing. Choose another profile",
        ),
    ],
)
def test_cleaning_rejects_invalid_options(arguments, error, message):
    with pytest.raises(error) as caught:
        Cleaning(**arguments)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "texts, kind",
    [
        (pa.array(["a"], pa.large_string()), "LargeStringArray of large_string"),
        (pa.chunked_array([["a"]]), "ChunkedArray of string"),
        (["a"], "list"),
    ],
)
def test_clean_texts_rejects_other_arrays(texts, kind):
    with pytest.raises(TypeError) as caught:
        clean_texts(texts, Cleaning())
    assert (
        str(caught.value) == f"texts must be a pa.StringArray, got {kind}. Cast it to pa.string() or combine its chunks"
    )


def test_from_arrow_drops_bytes_under_nulls():
    dirty = pa.array(["a  b", "\x00 hidden", "c  d"])
    texts = pa.StringArray.from_buffers(3, *dirty.buffers()[1:], pa.py_buffer(b"\x05"), 1)
    rows = from_arrow(texts)
    assert (rows.data.tobytes(), rows.offsets.tolist()) == (b"a  bc  d", [0, 4, 4, 8])
    rows = from_arrow(texts[1:])
    assert (rows.data.tobytes(), rows.offsets.tolist()) == (b"c  d", [0, 0, 4])
