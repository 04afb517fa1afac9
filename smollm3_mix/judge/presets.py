"""Rules by name. What a name means never changes: other values get another name, so that a recipe's output stays the same."""

from typing import Any

from smollm3_mix.judge.languages import language
from smollm3_mix.judge.thresholds import Code, FineWeb, GopherQuality, GopherRepetition

PRESETS = ("prose", "code", "math", "fineweb2")
"""Names of the presets."""


def preset(name: str | None, tag: str | None) -> dict[str, Any]:
    """Groups of rules by their names in `Judge`; those that are not named are off."""
    if name == "fineweb2":
        return _fineweb2(tag)
    return {}


def _fineweb2(tag: str | None) -> dict[str, Any]:
    known = language(tag)
    lines = {"duplicate_paragraphs": None, "duplicate_line_chars": None, "duplicate_paragraph_chars": None}
    if known is None:
        return {
            "gopher_quality": GopherQuality(),
            "gopher_repetition": GopherRepetition(**lines),
            "fineweb": FineWeb(max_short_lines=None),
        }
    least, most = known.mean_word_chars
    tops = {f"top_{n}gram": limit for n, limit in zip((2, 3, 4), known.tops, strict=True)}
    duplicates = {f"duplicate_{n}grams": limit for n, limit in zip(range(5, 11), known.duplicates, strict=True)}
    return {
        "gopher_quality": GopherQuality(
            min_mean_word_chars=least, max_mean_word_chars=most, min_alphabetic_words=known.alphabetic_words
        ),
        "gopher_repetition": GopherRepetition(duplicate_lines=known.duplicate_lines, **lines, **tops, **duplicates),
        "fineweb": FineWeb(
            min_punctuated_lines=known.punctuated_lines,
            max_short_lines=None,
            max_newlines_per_word=known.newlines_per_word,
        ),
    }
