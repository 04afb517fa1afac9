"""Rules by name. What a name means never changes, so that a recipe's output never does: other values, another name."""

from dataclasses import fields, replace
from typing import Any

from smollm3_mix.text.filters.languages import find_language
from smollm3_mix.text.filters.thresholds import Code, FineWeb, GopherQuality, GopherRepetition

PRESETS = ("prose", "code", "math", "fineweb2")
"""Names of the presets.

prose, math and code are for sources that were filtered by those who made them, as all of SmolLM3's were: they take out
what no reader would call text (the same line over and over, pictures made of characters, one unbroken run of letters,
minified programs). Their values are this project's own, set by reading what they drop of 33 sources in 17 natural and
12 programming languages (docs/judging.md). fineweb2 is for raw web text, and drops about as much as FineWeb-2's own
pipeline would.
"""

MARKUP = ("html", "json", "markdown", "roff", "smt", "tex", "text", "xml")
"""Languages of files whose lines may be of any length on average: a line may be a paragraph.

Those that StarCoder 2 exempts from its limit (Lozhkov et al. 2024, arXiv 2402.19173, section 3.2).
"""

_NO_QUALITY = replace(GopherQuality(), **dict.fromkeys([field.name for field in fields(GopherQuality)]))
_NO_PARAGRAPHS = GopherRepetition(
    duplicate_paragraphs=None, duplicate_line_chars=None, duplicate_paragraph_chars=None
)  # as in FineWeb-2's pipeline: extraction leaves few paragraphs, and FineWeb's rules have their own limit for lines
# Manuals describe every button in the same sentences: up to 0.62 of a good page stands in 5-grams that came before, and
# 0.54 in 10-grams, in whichever of its translations. What passes 0.7 or 0.6 is one line over and over.
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
_OWN: dict[str, dict[str, Any]] = {
    "prose": {
        "gopher_quality": replace(_NO_QUALITY, max_mean_word_chars=30, min_alphabetic_words=0.3),
        "gopher_repetition": _REPETITION,
    },
    "math": {"gopher_quality": replace(_NO_QUALITY, max_mean_word_chars=30), "gopher_repetition": _REPETITION},
    # 100,000 is StarCoder 2's limit for the languages of MARKUP. Of the others its 1,000 drops libraries for one long
    # pattern or table in them, its 100 for the mean line type declarations, its 0.25 code for deep indentation.
    "code": {"code": Code(max_lines=None, max_line_chars=100_000, max_mean_line_chars=500, min_alphanumerics=0.1)},
}


def find_preset(name: str | None, tag: str | None) -> dict[str, Any]:
    """Groups of rules by their names in `Judge`; those that are not named are off.

    Args:
        name: one of `PRESETS`; None = no rules.
        tag: the language. For fineweb2: the thresholds of `languages`, for English and any other FineWeb's own. For
            code: no limit to the mean line of `MARKUP`.
    """
    if name == "fineweb2":
        return _fineweb2(tag)
    rules = _OWN.get(name or "", {})
    if name == "code" and (tag or "").lower() in MARKUP:
        return {"code": replace(rules["code"], max_mean_line_chars=None)}
    return rules


def _fineweb2(tag: str | None) -> dict[str, Any]:
    known = find_language(tag)
    if known is None:
        return {
            "gopher_quality": GopherQuality(),
            "gopher_repetition": _NO_PARAGRAPHS,
            "fineweb": FineWeb(max_short_lines=None),
        }
    least, most = known.mean_word_chars
    tops: dict[str, Any] = {f"top_{n}gram": limit for n, limit in zip((2, 3, 4), known.tops, strict=True)}
    duplicates: dict[str, Any] = {
        f"duplicate_{n}grams": limit for n, limit in zip(range(5, 11), known.duplicates, strict=True)
    }
    return {
        "gopher_quality": GopherQuality(
            min_mean_word_chars=least, max_mean_word_chars=most, min_alphabetic_words=known.alphabetic_words
        ),
        "gopher_repetition": replace(_NO_PARAGRAPHS, duplicate_lines=known.duplicate_lines, **tops, **duplicates),
        "fineweb": FineWeb(
            min_punctuated_lines=known.punctuated_lines,
            max_short_lines=None,
            max_newlines_per_word=known.newlines_per_word,
        ),
    }
