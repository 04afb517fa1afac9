"""Filter options: presets, groups, kinds, languages, custom functions, and invalid values."""

import pickle
from dataclasses import replace

import pyarrow as pa
import pytest

from smollm3_mix.errors import RecipeError
from smollm3_mix.recipe.parsing import FieldPath, plain, read_value
from smollm3_mix.text.filters.filter_block import drop_reasons
from smollm3_mix.text.filters.filter_options import FilterOptions
from smollm3_mix.text.filters.languages import LANGUAGES, stop_words
from smollm3_mix.text.filters.presets import MARKUP, PRESETS
from smollm3_mix.text.filters.reasons import REASONS
from smollm3_mix.text.filters.thresholds import C4, Code, FineWeb, GopherQuality, GopherRepetition

PROSE = "The first line says what it is about.\nThe second says a little more of it, with 3 numbers: 1, 2 and 3.\n"


def read(filters):
    problems = []
    value = read_value(FilterOptions, filters, FieldPath(keys="filters"), problems)
    return problems or value


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, FilterOptions()),
        ("prose", FilterOptions(preset="prose")),
        ({"min_chars": 50, "preset": "kind"}, FilterOptions(preset="kind", min_chars=50)),
        ({"c4": True, "code": False, "fineweb": None}, FilterOptions(c4=C4(), code=False)),
        ({"gopher_quality": {"min_words": None, "stop_words": ["un", "une"]}},
         FilterOptions(gopher_quality=GopherQuality(min_words=None, stop_words=("un", "une")))),
        ({"python": "rules:reasons"}, FilterOptions(python="rules:reasons")),
    ],
)  # fmt: skip
def test_filter_options_are_read_from_recipes(filters, expected):
    assert read(filters) == expected
    assert read(plain(expected)) == expected
    assert pickle.loads(pickle.dumps(expected)) == expected


@pytest.mark.parametrize(
    ("filters", "problem"),
    [
        ("web", "filters.preset: expected prose, code, math, fineweb2 or kind, got 'web'"),
        ({"min_chars": -1}, "filters.min_chars: expected 0 or more, got -1"),
        ({"min_chars": 9, "max_chars": 8}, "filters.min_chars: expected at most max_chars (8), got 9"),
        ({"python": "rules.py"},
         'filters.python: expected "module:function", for example "my_rules:reasons", got \'rules.py\''),
        ({"gopher_quality": {"max_words": -2, "min_words": None}},
         "filters.gopher_quality.max_words: expected a finite number of 0 or more, got -2"),
        ({"gopher_quality": {"min_words": 9, "max_words": 8}},
         "filters.gopher_quality.min_words: expected at most max_words (8), got 9"),
        ({"gopher_qualty": True}, "filters: unknown key 'gopher_qualty' (did you mean 'gopher_quality'?)"),
    ],
)  # fmt: skip
def test_recipe_with_invalid_filters_is_rejected(filters, problem):
    assert read(filters) == [problem]


def test_filter_options_reject_nan_thresholds():
    with pytest.raises(ValueError, match=r"^max_lines: expected a finite number of 0 or more, got nan$"):
        Code(max_lines=float("nan"))


def test_filter_group_true_selects_published_thresholds():
    assert FilterOptions(
        gopher_quality=True, gopher_repetition=True, c4=True, fineweb=True, code=True
    ) == FilterOptions(
        gopher_quality=GopherQuality(), gopher_repetition=GopherRepetition(), c4=C4(), fineweb=FineWeb(), code=Code()
    )


def test_published_thresholds_match_papers():
    """Rae et al. 2021, appendix A1.1 and table A1; Penedo et al. 2024, section 3.6; Kocetkov et al. 2022."""
    assert list(plain(GopherQuality()).values()) == [50, 100_000, 3, 10, 0.1, 0.1, 0.9, 0.3, 0.8, 2, None]
    shares = [0.3, 0.3, 0.2, 0.2, 0.2, 0.18, 0.16, 1, 0.15, 0.14, 0.13, 0.12, 0.11, 0.1]
    assert list(plain(GopherRepetition()).values()) == shares
    assert (C4().min_words_per_line, C4().min_sentences, C4().max_word_chars) == (3, 5, 1000)
    assert (FineWeb().min_punctuated_lines, FineWeb().max_short_lines, FineWeb().max_duplicate_line_chars) == (
        0.12,
        0.67,
        0.1,
    )
    assert list(plain(Code()).values()) == [100_000, 1000, 100, 0.25]
    assert stop_words("en") == ("the", "be", "to", "of", "and", "that", "have", "with")


def test_filter_group_overrides_preset_and_false_disables_it():
    in_full = FilterOptions("prose", gopher_quality=GopherQuality(min_words=7), gopher_repetition=False).expand_preset()
    assert in_full.gopher_quality == GopherQuality(min_words=7)
    assert in_full.gopher_repetition is None
    assert FilterOptions("prose").expand_preset().gopher_repetition is not None
    assert in_full.preset is None
    assert in_full.expand_preset() == in_full


@pytest.mark.parametrize(
    ("kind", "preset"), [("prose", "prose"), ("code", "code"), ("math", "math"), ("reasoning", None)]
)
def test_preset_kind_selects_preset_of_source_kind(kind, preset):
    options = FilterOptions(preset="kind", min_chars=5)
    assert options.for_kind(kind, "fr") == FilterOptions(preset=preset, min_chars=5, language="fr")


def test_for_kind_keeps_explicit_language_and_preset():
    assert FilterOptions("math", language="de").for_kind("code", "fr") == FilterOptions("math", language="de")


def test_expand_preset_rejects_preset_kind_without_kind():
    with pytest.raises(
        ValueError, match=r"^preset: kind requires the kind of a source\. Call for_kind\(\) first, or name a preset$"
    ):
        drop_reasons(pa.array(["a"]), FilterOptions("kind"))


def test_presets_have_fixed_thresholds():
    """The values of a preset never change. New values need a new name."""
    prose, math, code = (FilterOptions(name).expand_preset() for name in ("prose", "math", "code"))
    assert list(plain(prose.gopher_repetition).values()) == [
        0.8, None, 0.6, 0.6, 0.5, 0.5, 0.5, 4, 0.7, None, None, None, None, 0.6,
    ]  # fmt: skip
    quality = {name: value for name, value in plain(prose.gopher_quality).items() if value is not None}
    assert quality == {"max_mean_word_chars": 30, "min_alphabetic_words": 0.3}
    assert math.gopher_quality == replace(prose.gopher_quality, min_alphabetic_words=None)
    assert math.gopher_repetition == prose.gopher_repetition
    assert plain(code.code) == {
        "max_lines": None, "max_line_chars": 100_000, "max_mean_line_chars": 500, "min_alphanumerics": 0.1,
    }  # fmt: skip
    assert [group for filters in (prose, math, code) for group in (filters.c4, filters.fineweb)] == [None] * 6


GOOD = {
    "prose": [
        PROSE,
        "是。",
        "短い。",
        "- one\n- two\n- three\n",
        "Haiku,\nhaiku,\nhaiku.",
        "x = 1",
        "ภาษาไทยเป็นภาษาที่ใช้กันในประเทศไทย",
    ],
    "code": ["f({});\n", "int main() {\n    return 0;\n}\n", "x" * 400, "                    }\n" + "a = b;\n" * 9],
    "math": ["$$\\int_0^1 x\\,dx = \\frac{1}{2}$$", "1 + 1 = 2\n2 + 2 = 4\n", "∀ε>0 ∃δ>0"],
}
BAD = {
    "prose": [("spam " * 50, "top_2gram"), ("No such thing.\n" * 5, "duplicate_line_chars"),
              ("=-" * 40, "too_few_alphabetic_words"), ("= - _ " * 9, "too_few_alphabetic_words"),
              ("QUJD" * 20, "words_too_long"), (PROSE * 4, "duplicate_line_chars")],
    "code": [("x" * 501, "lines_too_long"), ("\n" * 999 + "x" * 100_001, "line_too_long"),
             (" " * 91 + "abcdefghi", "too_few_alphanumerics")],
    "math": [("0 " * 50, "top_2gram"), ("\\frac{123456789012345678901}{2} " * 3, "words_too_long")],
}  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_lenient_presets_keep_short_text_and_drop_non_text(name):
    assert drop_reasons(pa.array(GOOD[name]), FilterOptions(name)).null_count == len(GOOD[name])
    texts, expected = zip(*BAD[name], strict=True)
    assert tuple(drop_reasons(pa.array(texts), FilterOptions(name)).to_pylist()) == expected


def entries(n, other):
    """Return n times the same ten words of five letters, then one long word. (n - 1) · 50 letters are repeated."""
    same = " ".join(letter * 5 for letter in "abcdefghij")
    return " ".join([same] * n + ["x" * other])


@pytest.mark.parametrize(
    ("n", "other", "expected"),
    [(6, 57, None), (6, 56, "duplicate_10grams"), (8, 20, None), (8, 19, "duplicate_5grams")],
)
@pytest.mark.parametrize("name", ["prose", "math"])
def test_prose_preset_keeps_repetitive_manual_entries(name, n, other, expected):
    """250 of 417 characters are below 0.6, of 416 above. 350 of 500 are 0.7, of 499 above."""
    text = entries(n, other)
    rules = FilterOptions(name).expand_preset().gopher_repetition
    if expected != "duplicate_10grams":
        rules = replace(rules, duplicate_10grams=None)
    assert drop_reasons(pa.array([text]), FilterOptions(gopher_repetition=rules)).to_pylist() == [expected]


@pytest.mark.parametrize("language", [*MARKUP, "Markdown"])
def test_code_preset_limits_line_length_of_markup(language):
    texts = pa.array(["a paragraph " * 42, "x" * 100_000, "x" * 100_001, "{}; " * 20])
    expected = [None, None, "line_too_long", "too_few_alphanumerics"]
    assert drop_reasons(texts, FilterOptions("code", language=language)).to_pylist() == expected
    assert drop_reasons(texts[:1], FilterOptions("code", language="python")).to_pylist() == ["lines_too_long"]


def test_fineweb2_preset_uses_thresholds_of_the_language():
    french, unknown = (
        FilterOptions("fineweb2", language="fr").expand_preset(),
        FilterOptions("fineweb2", language="xx").expand_preset(),
    )
    assert french.gopher_repetition.duplicate_lines == LANGUAGES["fra"].duplicate_lines == 0.264
    assert (french.gopher_quality.min_mean_word_chars, french.gopher_quality.max_mean_word_chars) == (2, 11)
    assert (french.fineweb.min_punctuated_lines, french.fineweb.max_short_lines) == (0.1, None)
    assert unknown.gopher_quality == GopherQuality()
    assert unknown.gopher_repetition.duplicate_lines == 0.3


@pytest.mark.parametrize(
    ("tag", "word"), [("fr", "est"), ("fra_Latn", "est"), ("pt-BR", "uma"), ("zho", "的"), ("EN", "the")]
)
def test_find_language_accepts_common_tags(tag, word):
    assert word in stop_words(tag)


def test_presets_and_languages_have_thresholds_in_range():
    for tag, known in LANGUAGES.items():
        found = FilterOptions("fineweb2", language=tag).expand_preset()
        assert all(0 <= share <= 1 for share in (*known.tops, *known.duplicates, known.alphabetic_words))
        assert found.gopher_quality.min_mean_word_chars < found.gopher_quality.max_mean_word_chars
    assert set(PRESETS) == {"prose", "code", "math", "fineweb2"}
    assert "empty" in REASONS


def keeping(texts):
    """Custom filter that keeps texts with an e."""
    return [None if "e" in text else "no_e" for text in texts.to_pylist()]


def as_arrow(texts):
    return pa.array(["own"] * len(texts))


BROKEN = {
    "none": (lambda texts: None, "expected a list or an Arrow array of reasons, got NoneType"),
    "few": (lambda texts: [None], "expected a reason or None for each of 2 texts, got 1"),
    "flags": (lambda texts: [True, False], "expected None or a non-empty string as reason, got True for text 0"),
    "blank": (lambda texts: [None, ""], "expected None or a non-empty string as reason, got '' for text 1"),
    "divides": (lambda texts: 1 // 0, "raised ZeroDivisionError: integer division or modulo by zero. Fix the function"),
}


def test_custom_filter_receives_remaining_texts():
    texts = pa.array(["", "hello", None, "rust", "no"])
    found = drop_reasons(texts, FilterOptions(min_chars=3, python=f"{__name__}:keeping"))
    assert found.to_pylist() == ["empty", None, None, "no_e", "too_short"]
    assert drop_reasons(texts, FilterOptions(python=f"{__name__}:as_arrow")).to_pylist() == [
        "empty",
        "own",
        None,
        "own",
        "own",
    ]


def test_custom_filter_is_not_called_without_texts():
    assert drop_reasons(pa.array(["", None]), FilterOptions(python="no_such_module:reasons")).to_pylist() == [
        "empty",
        None,
    ]


@pytest.mark.parametrize("name", BROKEN)
def test_custom_filter_error_names_function_with_invalid_result(name, monkeypatch):
    function, problem = BROKEN[name]
    monkeypatch.setattr(f"{__name__}.as_arrow", function)
    with pytest.raises(RecipeError) as caught:
        drop_reasons(pa.array(["a", "b"]), FilterOptions(python=f"{__name__}:as_arrow"))
    assert str(caught.value) == f"filters.python '{__name__}:as_arrow': {problem}"


NOT_FOUND = (
    "module 'no_such_module' cannot be imported (No module named 'no_such_module'). "
    "Install it, or add its folder to PYTHONPATH"
)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("no_such_module:reasons", NOT_FOUND),
        ("math:reasons", "module 'math' has no 'reasons'. Name a function of it"),
        ("math:pi", "expected a function, got float"),
    ],
)  # fmt: skip
def test_custom_filter_error_names_missing_function(name, problem):
    with pytest.raises(RecipeError) as caught:
        drop_reasons(pa.array(["a"]), FilterOptions(python=name))
    assert str(caught.value) == f"filters.python {name!r}: {problem}"


def test_thresholds_may_be_zero_or_equal():
    rules = GopherQuality(min_words=3, max_words=3, max_hashes_per_word=0)
    texts = pa.array(["one two", "one two three", "one two three four", "one two #three"])
    only = replace(rules, min_stop_words=None, min_alphabetic_words=None)
    found = drop_reasons(texts, FilterOptions(gopher_quality=only)).to_pylist()
    assert found == ["too_few_words", None, "too_many_words", "too_many_hashes"]
    assert (FilterOptions(min_chars=3, max_chars=3).min_chars, Code(max_lines=0).max_lines) == (3, 0)
