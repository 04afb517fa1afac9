"""Measures of a block equal those of a slow reference, and do not depend on the block."""

import re
import unicodedata

import numpy as np
import pyarrow as pa
import pytest
from conftest import examples
from hypothesis import given
from hypothesis import strategies as st

from smollm3_mix.text.measure.code_points import are_letters, are_terminal
from smollm3_mix.text.measure.measures import Measures
from smollm3_mix.text.measure.sentences import kept_lines
from smollm3_mix.text.measure.words import find_words

HAN = re.compile("[\u3040-\u9fff]")
THAI = re.compile("[\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff]")
TERMINAL = set(".!?。؟।።")
CITATION = re.compile(r"\[\d*\]|\[edit\]|\[citation needed\]")
POLICY = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")

WORDS = ["a", "the", "café", "Жук", "x.", "y!", "[1]", "end.[2]", "(U.S.A.)", "J.", "3.", "...", "…", "wait...", "oh…",
         "#", "##", "-", "•", "•b", "{", "²", "٣", "½.", "-----------", "=+", "→",
         '"so."', "it's", "12", "--", "=", "한국", "नमस्ते", "naïve,", "lorem ipsum",
         "JavaScript", "use cookies", "。", "؟", "\u00a0", "\u2028"]  # fmt: skip
JOINS = st.sampled_from([" ", " ", " ", "\n", "\n", "\n\n", "  ", "\t", " \n ", "\n \n", "\r\n", ""])
SPACED = st.lists(st.tuples(st.sampled_from(WORDS), JOINS), max_size=40).map(lambda parts: "".join(map("".join, parts)))
UNSPACED = st.text("我们是人日本ひらカナ・๑๏٣ไทยກខမြកខ 。、a b12\n.", max_size=60)
ANY = st.text(st.characters(codec="utf-8"), max_size=30)
BLOCKS = st.lists(st.one_of(st.none(), SPACED, SPACED, UNSPACED, ANY), max_size=8)


def has_letter(word):
    return bool(are_letters(np.array([ord(c) for c in word])).any())


def is_symbols(word):
    return not has_letter(word) and not any(unicodedata.ucd_3_2_0.category(c)[0] == "N" for c in word)


def share(found, of):
    return len(found) / max(len(of), 1)


def script(text):
    han, thai = len(HAN.findall(text)), len(THAI.findall(text))
    if han + thai == 0 or han + thai < 0.2 * len(text):
        return None
    return "han" if han >= thai else "thai"


def tokens(text):
    """Return the words, or the characters of an unspaced script and the parts of words between them."""
    if script(text) is None:
        return text.split()
    cut = re.compile(f"({HAN.pattern}|{THAI.pattern})")
    return [part for word in text.split() for part in cut.split(word) if part]


def reference(text):
    """Compute all measures of one document from their definitions."""
    found = text.split()
    lines = [line for line in text.split("\n") if line.split()]
    keys = [tuple(line.split()) for line in lines]
    again = [i for i, key in enumerate(keys) if key in keys[:i]]
    paragraphs = []
    for line in text.split("\n"):
        paragraphs = [*paragraphs, []] if not line.split() or not paragraphs else paragraphs
        if line.split():
            paragraphs[-1].append(tuple(line.split()))
    paragraphs = [tuple(p) for p in paragraphs if p]
    spans = [len(p.strip()) for p in re.split(r"\n(?:\s*\n)+", text) if p.strip()]
    parts = tokens(text)
    singles = [part for part in parts if HAN.fullmatch(part) or THAI.fullmatch(part)] if script(text) else []
    count = len(parts) - len(singles) + len(singles) // {"han": 2, "thai": 4, None: 1}[script(text)]
    signs = [part for part in parts if is_symbols(part) and part not in singles]
    counted = [word for word in found if not is_symbols(word)]
    all_lines = text.split("\n")[: -1 if text.endswith("\n") else None] if text else []
    return {
        "chars": len(text),
        "newlines": text.count("\n"),
        "word_count": count,
        "counted_words": count - len(signs),
        "mean_word_chars": np.nan if script(text) else sum(map(len, counted)) / max(len(counted), 1),
        "hashes_per_word": text.count("#") / max(count, 1),
        "ellipses_per_word": (text.count("...") + text.count("…")) / max(count, 1),
        "bullet_lines": share([line for line in lines if line.split()[0][0] in "•-"], lines),
        "ellipsis_lines": share([line for line in lines if line.split()[-1].endswith(("...", "…"))], lines),
        "alphabetic_words": share([part for part in parts if has_letter(part) or part in singles], parts),
        "duplicate_lines": share(again, lines),
        "duplicate_line_chars": sum(len(lines[i]) for i in again),
        "duplicate_paragraphs": share([i for i, p in enumerate(paragraphs) if p in paragraphs[:i]], paragraphs),
        "duplicate_paragraph_chars": sum(spans[i] for i, p in enumerate(paragraphs) if p in paragraphs[:i]),
        "punctuated_lines": share([s for s in lines if are_terminal(np.array([ord(s.rstrip()[-1])]))[0]], lines),
        "newlines_per_word": text.count("\n") / max(count, 1),
        "line_count": len(all_lines),
        "mean_line_chars": sum(map(len, all_lines)) / max(len(all_lines), 1),
        "longest_line_chars": max(map(len, all_lines), default=0),
        "alphanumerics": share([c for c in text if c in "0123456789" or has_letter(c)], text),
    }


def measured(block, row):
    return {name: getattr(block, name)[row] for name in reference("")}


@examples(150)
@given(BLOCKS)
def test_measures_match_reference(texts):
    block = Measures(pa.array(texts, pa.string()))
    for row, text in enumerate(texts):
        assert measured(block, row) == pytest.approx(reference(text or ""), nan_ok=True), repr(text)
        lines = [s for s in (text or "").split("\n") if s.split()]
        short = np.nan if script(text or "") else share([s for s in lines if len(s) <= 5], lines)
        assert block.short_lines(5)[row] == pytest.approx(short, nan_ok=True)


@examples(100)
@given(BLOCKS, st.integers(0, 8))
def test_measures_do_not_depend_on_the_block(texts, cut):
    block = Measures(pa.array(texts, pa.string()))
    parts = [Measures(pa.array(texts, pa.string())[:cut]), Measures(pa.array(texts, pa.large_string())[cut:])]
    for name in reference(""):
        np.testing.assert_array_equal(
            getattr(block, name), np.concatenate([getattr(part, name) for part in parts]), err_msg=name
        )


@examples(100)
@given(BLOCKS, st.lists(st.sampled_from(["the", "a", "naïve,", "absent", "我", "は", "ไทย"]), max_size=5))
def test_distinct_words_counts_each_word_once(texts, targets):
    found = Measures(pa.array(texts, pa.string())).distinct_words(tuple(targets))
    for row, text in enumerate(texts):
        expected = len(set(targets) & set(tokens(text or "")))
        assert found[row] == pytest.approx(np.nan if script(text or "") == "thai" else expected, nan_ok=True)


def kept_by_reference(text, least, longest):
    """Apply the page rules of C4 line by line."""
    sentences, lorem, curly = 0, False, False
    for line in text.split("\n"):
        found = line.split()
        if len(found) < least or any(len(word) > longest for word in found):
            continue
        bare = CITATION.sub("", line.strip()) if line.strip().endswith("]") else line.strip()
        if not bare.endswith((".", "?", "!", '"', "'")) or bare.endswith("..."):
            continue
        low = line.encode().lower().decode()
        if "lorem ipsum" in low:
            lorem = True
        if "javascript" in low:
            continue
        curly |= "{" in line
        if any(phrase in low for phrase in POLICY):
            continue
        sentences += sum(map(ends_sentence, found[:-1])) + 1
    return sentences, lorem, curly


def ends_sentence(word):
    for _ in range(3):
        word = word[:-1] if len(word) > 1 and word[-1] in "\"')]" else word
    return word[-1] in ".?!" and not re.search(r"(^|[^A-Z])[A-Z]\.$", word)


@examples(200)
@given(st.lists(st.one_of(SPACED, ANY), max_size=6), st.integers(0, 4), st.integers(3, 9))
def test_kept_lines_match_reference(texts, least, longest):
    kept = kept_lines(Measures(pa.array(texts, pa.string())), least, longest)
    found = list(zip(kept.sentences.tolist(), kept.lorem_ipsum.tolist(), kept.curly_bracket.tolist(), strict=True))
    assert found == [kept_by_reference(text, least, longest) for text in texts]


def test_kept_lines_exclude_line_of_three_dots():
    texts = ["...", "a...", "..", "a. ...", "wait. [1]..."]
    kept = kept_lines(Measures(pa.array(texts)), 1, 9)
    assert kept.sentences.tolist() == [kept_by_reference(text, 1, 9)[0] for text in texts] == [0, 0, 1, 0, 0]


def test_measures_reuse_given_words():
    texts = pa.array(["one two", None, "three"])
    found = find_words(texts)
    assert Measures(texts, found).words is found


@pytest.mark.parametrize("letters", ["Aé", "Жñ", "中あ", "ไक", "한ب", "أ́"])
def test_are_letters_accepts_letters_and_marks_of_living_scripts(letters):
    assert are_letters(np.array([ord(c) for c in letters])).all()


@pytest.mark.parametrize("others", ["0٣", "#-", "•…", "。、", "←√", "😀🚀", "\ue000", "\U000f0000\U0010ffff"])
def test_are_letters_rejects_digits_punctuation_and_symbols(others):
    assert not are_letters(np.array([ord(c) for c in others])).any()


def test_are_letters_matches_unicodedata_for_characters_of_unicode_3_2():
    old = unicodedata.ucd_3_2_0.category
    codes = [c for c in range(0x30000) if old(chr(c)) == unicodedata.category(chr(c)) != "Cn"]
    expected = [unicodedata.category(chr(c))[0] in "LM" for c in codes]
    assert are_letters(np.array(codes)).tolist() == expected


def test_counted_words_exclude_symbol_words_in_every_script():
    texts = ["x = ( y + 2 ) | ---", "+ = |", "二 二 。 。", "中文,很好。再见!", "ไทย ๑ ๏ ฯ --", "١ + ٢ ؟"]
    block = Measures(pa.array(texts))
    assert block.counted_words.tolist() == [3, 0, 1, 3, 1, 2]
    np.testing.assert_array_equal(block.mean_word_chars, [1, 0, np.nan, np.nan, np.nan, 1])
    assert block.word_count.tolist() == [9, 3, 3, 6, 2, 4]


def test_measures_accept_long_line_without_spaces():
    text = "-" * 5_000_000 + "é"
    block = Measures(pa.array(["short", text]))
    assert block.word_count.tolist() == [1, 1]
    assert block.mean_word_chars.tolist() == [5, 5_000_001]
    assert block.alphabetic_words.tolist() == [1, 1]
    assert block.longest_line_chars.tolist() == [5, 5_000_001]


@pytest.mark.parametrize("before", [0, 1, 61, 62, 63, 125, 126, 127, 128, 129, 254, 255, 256])
@pytest.mark.parametrize("mark", ["...", "…", "......", "..", "#", "\n", "é", "日", "𝒳"])
def test_character_counts_do_not_depend_on_offset(mark, before):
    texts = ["a" * before + mark + "b" * after for after in (0, 1, 2, 128)]
    found = find_words(pa.array([*texts, ".", "."])).characters
    assert found.points.tolist() == [*map(len, texts), 1, 1]
    assert found.newlines.tolist() == [*(text.count("\n") for text in texts), 0, 0]
    assert found.hashes.tolist() == [*(text.count("#") for text in texts), 0, 0]
    assert found.ellipses.tolist() == [*(text.count("...") + text.count("…") for text in texts), 0, 0]


def test_measures_ignore_bytes_under_nulls():
    texts = pa.Array.from_buffers(
        pa.string(),
        3,
        [pa.py_buffer(b"\x05"), pa.py_buffer(np.array([0, 2, 8, 10], np.int32)), pa.py_buffer(b"a.{\n#...b.")],
    )
    assert texts.to_pylist() == ["a.", None, "b."]
    block, clean = Measures(texts), Measures(pa.array(["a.", None, "b."]))
    for name in (
        "chars",
        "newlines",
        "hashes_per_word",
        "word_count",
        "counted_words",
        "duplicate_lines",
        "bullet_lines",
        "punctuated_lines",
        "alphabetic_words",
    ):
        np.testing.assert_array_equal(getattr(block, name), getattr(clean, name), err_msg=name)
    assert not kept_lines(block, 1, 9).curly_bracket.any()


EDGES = ("我aaaa", "我aaaaa", "กaaaa", "\u109faaa", "\u10a0aaa", "\u3040aaa", "\u303faaa", "\u9fffaaa", "\ua000aaa",
         "\u0e00aaa", "\u0dffaaa", "\u0fffaaa", "\u1780aaa", "\u177faaa", "\u17ffaaa", "\u1800aaa")  # fmt: skip


@pytest.mark.parametrize("text", EDGES)
def test_unspaced_scripts_end_at_block_boundaries(text):
    block = Measures(pa.array([text]))
    assert measured(block, 0) == pytest.approx(reference(text), nan_ok=True)
