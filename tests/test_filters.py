"""Examples of every filter at its threshold, order of reasons, independence of the block, and invalid input."""

from dataclasses import fields, replace

import pyarrow as pa
import pytest
from conftest import examples
from hypothesis import given
from hypothesis import strategies as st
from test_measure import BLOCKS

from smollm3_mix.text.filters.filter_block import drop_reasons
from smollm3_mix.text.filters.filter_options import FilterOptions
from smollm3_mix.text.filters.reasons import REASONS
from smollm3_mix.text.filters.thresholds import C4, Code, FineWeb, GopherQuality, GopherRepetition
from smollm3_mix.text.measure.words import find_words

GROUPS = {
    "gopher_quality": GopherQuality,
    "gopher_repetition": GopherRepetition,
    "c4": C4,
    "fineweb": FineWeb,
    "code": Code,
}
ALL = FilterOptions(min_chars=3, max_chars=200, language="en", **dict.fromkeys(GROUPS, True))


def only(group, **rules):
    """Return options with these rules of a group only. Thresholds that are not rules keep their defaults."""
    cls = GROUPS[group]
    off = {f.name: None for f in fields(cls) if "None" in str(f.type)} | {"lorem_ipsum": False, "curly_bracket": False}
    off = {name: value for name, value in off.items() if name in {f.name for f in fields(cls)}}
    return FilterOptions(language="en", **{group: cls(**(off | rules))})


def reason(text, rules):
    return drop_reasons(pa.array([text]), rules).to_pylist()[0]


def distinct_words(n):
    """Return n different words of three letters on one line."""
    return " ".join(f"{chr(97 + i // 26 % 26)}{chr(97 + i % 26)}x" for i in range(n))


Q, R, F = "gopher_quality", "gopher_repetition", "fineweb"
EXAMPLES = [
    # group, rule, threshold, text at the threshold, text beyond it, reason
    (Q, "min_words", 3, "a b c", "a b", "too_few_words"),
    (Q, "max_words", 3, "a b c", "a b c d", "too_many_words"),
    (Q, "min_mean_word_chars", 3, "ab dé fghi xyz?", "ab dé fgh xyz?", "words_too_short"),
    (Q, "max_mean_word_chars", 3, "ab éfgh", "ab éfghi", "words_too_long"),
    (Q, "min_words", 3, "a + 1 = é", "a + = é", "too_few_words"),
    (Q, "max_words", 3, "a + b = c | ...", "a + b = c | 12", "too_many_words"),
    (Q, "min_mean_word_chars", 3, "abc + def = ghi", "abc ---------- de", "words_too_short"),
    (Q, "max_mean_word_chars", 3, "ab | éfgh ----------", "ab | éfghi", "words_too_long"),
    (Q, "max_hashes_per_word", 0.5, "#a b", "##a b c", "too_many_hashes"),
    (Q, "max_hashes_per_word", 0.5, "#a +", "##a + -", "too_many_hashes"),
    (Q, "max_hashes_per_word", 0.5, "#a +", "##a + -", "too_many_hashes"),
    (Q, "max_hashes_per_word", 0.5, "#a +", "##a + -", "too_many_hashes"),
    (Q, "max_ellipses_per_word", 0.5, "a..... b", "a...... b c", "too_many_ellipses"),
    (Q, "max_ellipses_per_word", 0.5, "a… b", "a… b… c", "too_many_ellipses"),
    (Q, "max_bullet_lines", 0.5, "- a\n\nb", "  • a\n-b\nc", "too_many_bullet_lines"),
    (Q, "max_ellipsis_lines", 0.5, "a ...\n\nb", "a…  \nb...\nc", "too_many_ellipsis_lines"),
    (Q, "min_alphabetic_words", 0.5, "1é +", "1é + 2", "too_few_alphabetic_words"),
    (Q, "min_stop_words", 2, "the end of it", "the the The. With", "too_few_stop_words"),
    (R, "duplicate_lines", 0.5, "a\na", "a\n\n a\na", "duplicate_lines"),
    (R, "duplicate_paragraphs", 0.5, "a\nb\n\na  \n b", "a\n\na\n \na\n", "duplicate_paragraphs"),
    (R, "duplicate_line_chars", 0.25, "éé\néé\nyy", "ééé\nééé\nyy", "duplicate_line_chars"),
    (R, "duplicate_paragraph_chars", 0.25, "éé\n\néé\n\n", "éé\n\néé\n", "duplicate_paragraph_chars"),
    (R, "top_2gram", 0.6, "a b a b cd", "a b a b c", "top_2gram"),
    (R, "top_3gram", 0.5, "a b c a b c 12345678", "a b c a b c 1234567", "top_3gram"),
    (R, "top_4gram", 0.5, "a b c d a b c d 123456789012", "a b c d a b c d 12345678901", "top_4gram"),
    *[
        (R, f"duplicate_{n}grams", 0.2, f"{g} {g} {'x' * n}", f"{g} {g} {'x' * (n - 1)}", f"duplicate_{n}grams")
        for n in range(5, 11)
        for g in [" ".join("abcdefghij"[:n])]
    ],
    ("c4", "min_sentences", 2, "Is one enough? No, two.", "Is one enough, or two?", "too_few_sentences"),
    (F, "min_punctuated_lines", 0.5, "a.  \n\nb", "a.\nb\nc", "too_few_punctuated_lines"),
    (F, "min_punctuated_lines", 0.5, "是。\nb", "是\nक।\nc", "too_few_punctuated_lines"),
    (F, "max_short_lines", 0.5, f"{'é' * 30}\n{'é' * 31}", f"{'é' * 30}\n{'é' * 31}\n  a", "too_many_short_lines"),
    (F, "max_duplicate_line_chars", 0.5, "éé\n\néé", "éé\n\néé\néé", "duplicate_line_chars"),
    (F, "max_duplicate_line_chars", 0.5, "a\n\na", "a\na\na", "duplicate_line_chars"),
    (F, "max_newlines_per_word", 0.5, "a\nb", "a\n\nb c", "too_many_newlines"),
    ("code", "max_lines", 2, "a\nb\n", "a\nb\nc", "too_many_lines"),
    ("code", "max_line_chars", 3, "ééé\na", "é\néééé\na", "line_too_long"),
    ("code", "max_mean_line_chars", 2, "éé\n\nabcd", "éé\n\nabcde", "lines_too_long"),
    ("code", "min_alphanumerics", 0.5, "é1{}", "é1{};", "too_few_alphanumerics"),
]


@pytest.mark.parametrize(("group", "rule", "limit", "good", "bad", "expected"), EXAMPLES)
def test_filters_pass_at_the_threshold_and_fail_beyond(group, rule, limit, good, bad, expected):
    rules = only(group, **{rule: limit})
    assert (reason(good, rules), reason(bad, rules)) == (None, expected)
    assert reason(bad, only(group)) is None


FIVE = "It is one. Is it two? It is three! It is four. It is five."
C4_LINES = [
    (FIVE, None),
    (FIVE.replace("four.", "four"), "too_few_sentences"),
    (f"{FIVE}[12][citation needed]", None),
    (f"{FIVE[:-1]}...", "too_few_sentences"),
    (f"{FIVE[:-1]}", "too_few_sentences"),
    (f'{FIVE[:-1]}"', None),
    (f"{FIVE} Javascript is off.", "too_few_sentences"),
    (f"Javascript is off.\n{FIVE}", None),
    (f"See our Privacy Policy. {FIVE}", "too_few_sentences"),
    (f"{FIVE}\nLorem ipsum dolor.", "lorem_ipsum"),
    (f"{FIVE}\nLorem ipsum dolor", None),
    (f"{FIVE}\nSay {{ here.", "curly_bracket"),
    (f"{FIVE}\nSay {{ here", None),
    (f"{FIVE}\nJavascript {{ here.", None),
    ("One two.\n" * 9, "too_few_sentences"),  # lines of two words
    (f"{FIVE} {'x' * 1001}.", "too_few_sentences"),
    (f"{FIVE} {'é' * 999}.", None),
    ("Mr. A. B. Cee said so, and J. R. R. Tee.", "too_few_sentences"),
]


@pytest.mark.parametrize(("text", "expected"), C4_LINES)
def test_c4_filters_use_kept_lines_only(text, expected):
    assert reason(text, FilterOptions(c4=True)) == expected


def test_length_filters_count_code_points():
    rules = FilterOptions(min_chars=2, max_chars=3)
    texts = ["", "é", "éé", "𝒳𝒳𝒳", "𝒳𝒳𝒳𝒳"]
    assert drop_reasons(pa.array(texts), rules).to_pylist() == ["empty", "too_short", None, None, "too_long"]


def test_filters_without_rules_drop_empty_documents_only():
    assert drop_reasons(pa.array(["", " ", "\x00", None]), FilterOptions()).to_pylist() == ["empty", None, None, None]


STRANGE = ["", " \n\t ", "\n", "\u3000", "\x00", "\u0301", "\u202e", "{", "…", "\ufeff", "是"]


@pytest.mark.parametrize("text", STRANGE)
def test_filters_accept_unusual_short_documents(text):
    assert reason(text, ALL) in {*REASONS, None}


def test_filters_accept_empty_and_all_null_blocks():
    assert drop_reasons(pa.array([], pa.string()), ALL).to_pylist() == []
    assert drop_reasons(pa.array([None, None], pa.string()), ALL).to_pylist() == [None, None]


def test_reasons_are_in_documented_order():
    """A text that fails several rules has the first reason, or the next if that rule is off."""
    texts = pa.array(
        [
            *STRANGE,
            FIVE,
            f"{FIVE}\n{{ is one.",
            "a\n" * 60,
            "如果" * 60,
            "ทดสอบ" * 36,
            "{}; " * 49,
            distinct_words(50),
            f"{distinct_words(48)}. The of",
        ]
    )
    single = [FilterOptions(min_chars=3), FilterOptions(max_chars=200)]
    single += [
        only(name, **{rule.name: rule.default})
        for name, cls in GROUPS.items()
        for rule in fields(cls)
        if "None" in str(rule.type) or isinstance(rule.default, bool)
    ]
    by_rule = [drop_reasons(texts, rules).to_pylist() for rules in single]
    expected = []
    for row in range(len(texts)):
        given_by = [reasons[row] for reasons in by_rule if reasons[row]]
        expected.append(min(given_by, key=list(REASONS).index, default=None))
    assert drop_reasons(texts, ALL).to_pylist() == expected
    assert len(set(expected)) > 4


@examples(100)
@given(BLOCKS, st.integers(0, 8), st.booleans())
def test_drop_reasons_do_not_depend_on_the_block(texts, cut, large):
    block = pa.array(texts, pa.large_string() if large else pa.string())
    reasons = drop_reasons(block, ALL)
    assert reasons.type == pa.string()
    assert (
        drop_reasons(block[:cut], ALL).to_pylist() + drop_reasons(block[cut:], ALL).to_pylist() == reasons.to_pylist()
    )
    assert drop_reasons(block, ALL, find_words(block)).to_pylist() == reasons.to_pylist()


def test_filters_accept_line_of_50_mb():
    assert reason("x" * 50_000_000, replace(ALL, max_chars=None)) == "too_few_words"
    text = "all work and no play makes jack a dull boy " * 100_000
    assert reason(text, replace(ALL, max_chars=None)) == "too_many_words"
    assert reason(text, only(R, duplicate_5grams=0.15)) == "duplicate_5grams"


@pytest.mark.parametrize("texts", [["a"], pa.array([b"a"]), pa.chunked_array([["a"]]), None])
def test_drop_reasons_rejects_other_arrays(texts):
    with pytest.raises(
        TypeError, match=r"texts must be a pyarrow string array, got .*\. Cast it or combine its chunks"
    ):
        drop_reasons(texts, FilterOptions())


CHINESE = "如果软件包没有安装，系统会提示用户先从网络上下载它，然后再继续。这个过程通常只需要几分钟的时间。"
THAI = "ภาษาไทยเป็นภาษาที่ใช้กันในประเทศไทยและไม่มีการเว้นวรรคระหว่างคำในประโยคเดียวกันเหมือนภาษาอังกฤษ"


def test_filters_count_characters_in_unspaced_scripts():
    rules = FilterOptions(gopher_quality=GopherQuality(min_words=20), language="zh")
    assert drop_reasons(pa.array([CHINESE, CHINESE[:30], "没有" * 40]), rules).to_pylist() == [
        None,
        "too_few_words",
        "too_few_stop_words",
    ]
    assert reason(THAI, replace(rules, language="th")) is None
    twice = only(R, duplicate_5grams=0.15)
    assert [reason(text, twice) for text in (CHINESE, THAI)] == [None, None]
    assert [reason(text * 2, twice) for text in (CHINESE, THAI)] == ["duplicate_5grams"] * 2


def test_stop_words_follow_the_language():
    french = " ".join(["jardin", "maison"] * 30) + " de la"
    for language, expected in [
        ("fr", None),
        ("fra_Latn", None),
        ("en", "too_few_stop_words"),
        (None, None),
        ("xx", None),
    ]:
        assert reason(french, FilterOptions(gopher_quality=True, language=language)) == expected
    own = GopherQuality(stop_words=("aax", "absent"))
    assert reason(french, FilterOptions(gopher_quality=own)) == "too_few_stop_words"
