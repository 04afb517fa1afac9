"""Named sets of rules. The values of a name never change, so recipes keep their output. New values get a new name."""

from dataclasses import fields, replace
from typing import Any

from smollm3_mix.text.filters.languages import find_language
from smollm3_mix.text.filters.thresholds import Code, FineWeb, GopherQuality, GopherRepetition

PRESETS = ("prose", "code", "math", "fineweb2")
"""Names of the presets.

prose, math and code are for sources that their authors have filtered, as all sources of SmolLM3. They drop what is not
text: the same line over and over, pictures made of characters, one unbroken run of letters, minified programs. The
    values
are specific to this project. They were set by inspecting the dropped documents of 33 sources in 17 natural and 12
programming languages (docs/judging.md). fineweb2 is for raw web text, and drops about as much as the pipeline of
FineWeb-2.
"""

MARKUP = ("html", "json", "markdown", "roff", "smt", "tex", "text", "xml")
"""Languages of files without a limit on the mean line length, because a line can be a paragraph.

StarCoder 2 exempts the same languages (Lozhkov et al. 2024, arXiv 2402.19173, section 3.2).
"""

_NO_QUALITY = replace(GopherQuality(), **dict.fromkeys([field.name for field in fields(GopherQuality)]))
_NO_PARAGRAPHS = GopherRepetition(
    duplicate_paragraphs=None, duplicate_line_chars=None, duplicate_paragraph_chars=None
)  # as in the pipeline of FineWeb-2: extraction leaves few paragraphs, and the FineWeb rules limit duplicate lines
# Manuals describe every button in the same sentences: up to 0.62 of a good page is in duplicate 5-grams, and 0.54 in
# duplicate 10-grams, in any translation. Documents beyond 0.7 or 0.6 repeat one line over and over.
_REPETITION = GopherRepetition(
    duplicate_lines=0.8,
    duplicate_paragraphs=None,
    duplicate_line_chars=0.6,
    duplicate_paragraph_chars=0.6,
    top_2gram=0.5,
    top_3gram=0.5,
    top_4gram=0.5,
    top_occurrences=4,
    duplicate_5grams=0.7,
    duplicate_6grams=None,
    duplicate_7grams=None,
    duplicate_8grams=None,
    duplicate_9grams=None,
    duplicate_10grams=0.6,
)
_PRESETS: dict[str, dict[str, Any]] = {
    "prose": {
        "gopher_quality": replace(_NO_QUALITY, max_mean_word_chars=30, min_alphabetic_words=0.3),
        "gopher_repetition": _REPETITION,
    },
    "math": {"gopher_quality": replace(_NO_QUALITY, max_mean_word_chars=30), "gopher_repetition": _REPETITION},
    # 100,000 is the limit of StarCoder 2 for the languages of MARKUP. For other languages, its limit of 1,000 drops
    # libraries with one long pattern or table, its mean of 100 drops type declarations, and its 0.25 drops deeply
    # indented code.
    "code": {"code": Code(max_lines=None, max_line_chars=100_000, max_mean_line_chars=500, min_alphanumerics=0.1)},
}


def find_preset(name: str | None, tag: str | None) -> dict[str, Any]:
    """Return the groups of rules of a preset by their names in `FilterOptions`. Groups without a name are off.

    Args:
        name: One of `PRESETS`, or None for no rules.
        tag: Language. fineweb2 uses the thresholds of `languages`, and those of FineWeb for English and unknown
            languages. code has no limit on the mean line of `MARKUP`.
    """
    if name == "fineweb2":
        return _fineweb2(tag)
    rules = _PRESETS.get(name or "", {})
    if name == "code" and (tag or "").lower() in MARKUP:
        return {"code": replace(rules["code"], max_mean_line_chars=None)}
    return rules


def _fineweb2(tag: str | None) -> dict[str, Any]:
    language = find_language(tag)
    if language is None:
        return {
            "gopher_quality": GopherQuality(),
            "gopher_repetition": _NO_PARAGRAPHS,
            "fineweb": FineWeb(max_short_lines=None),
        }
    minimum, maximum = language.mean_word_chars
    tops: dict[str, Any] = {f"top_{n}gram": limit for n, limit in zip((2, 3, 4), language.tops, strict=True)}
    duplicates: dict[str, Any] = {
        f"duplicate_{n}grams": limit for n, limit in zip(range(5, 11), language.duplicates, strict=True)
    }
    return {
        "gopher_quality": GopherQuality(
            min_mean_word_chars=minimum,
            max_mean_word_chars=maximum,
            min_alphabetic_words=language.alphabetic_words,
        ),
        "gopher_repetition": replace(_NO_PARAGRAPHS, duplicate_lines=language.duplicate_lines, **tops, **duplicates),
        "fineweb": FineWeb(
            min_punctuated_lines=language.punctuated_lines,
            max_short_lines=None,
            max_newlines_per_word=language.newlines_per_word,
        ),
    }
