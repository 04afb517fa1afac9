"""Groups of filter thresholds with their published values.

A value equal to its threshold passes. None turns off a rule.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields


class _Checked:
    """Group of thresholds that rejects invalid numbers."""

    def __post_init__(self) -> None:
        problems = list(_problems(self))
        if problems:
            raise ValueError("; ".join(problems))


@dataclass(frozen=True)
class GopherQuality(_Checked):
    """Quality rules of Gopher: Rae et al. 2021 (arXiv 2112.11446), appendix A1.1, in its order.

    The paper does not define words. Here, words are separated by white space. The first four rules count words with a
    letter, mark or number of any script. datatrove, which made FineWeb, excludes symbol words (= + | -) in these four
    rules only.

    Attributes:
        min_words: Minimum number of words → too_few_words.
        max_words: Maximum number of words → too_many_words.
        min_mean_word_chars: Minimum of code points per word → words_too_short. Not for scripts without spaces.
        max_mean_word_chars: Maximum of code points per word → words_too_long. Not for scripts without spaces.
        max_hashes_per_word: Maximum of # per word → too_many_hashes.
        max_ellipses_per_word: Maximum of … and ... per word → too_many_ellipses.
        max_bullet_lines: Maximum share of lines that begin with • or - → too_many_bullet_lines.
        max_ellipsis_lines: Maximum share of lines that end with … or ... → too_many_ellipsis_lines.
        min_alphabetic_words: Minimum share of words with a letter or mark of any script → too_few_alphabetic_words.
        min_stop_words: Minimum number of distinct stop words → too_few_stop_words.
        stop_words: Stop words. Those of the language by default (see `languages`). A language without stop words has no
            such rule.
    """

    min_words: int | None = 50
    max_words: int | None = 100_000
    min_mean_word_chars: float | None = 3
    max_mean_word_chars: float | None = 10
    max_hashes_per_word: float | None = 0.1
    max_ellipses_per_word: float | None = 0.1
    max_bullet_lines: float | None = 0.9
    max_ellipsis_lines: float | None = 0.3
    min_alphabetic_words: float | None = 0.8
    min_stop_words: int | None = 2
    stop_words: tuple[str, ...] | None = None


@dataclass(frozen=True)
class GopherRepetition(_Checked):
    """Repetition rules of Gopher: Rae et al. 2021 (arXiv 2112.11446), table A1, in its order. All are shares.

    Lines and paragraphs are duplicates from their second occurrence on. `NgramLimits` defines how n-grams are
    counted.

    Attributes:
        duplicate_lines: Maximum share of lines that are duplicates → duplicate_lines.
        duplicate_paragraphs: Maximum share of paragraphs that are duplicates → duplicate_paragraphs.
        duplicate_line_chars: Maximum share of code points in duplicate lines → duplicate_line_chars.
        duplicate_paragraph_chars: Maximum share of code points in duplicate paragraphs → duplicate_paragraph_chars.
        top_2gram, top_3gram, top_4gram: Maximum share of code points in the most frequent n-gram → the same names.
        top_occurrences: Minimum number of occurrences of the most frequent n-gram. With 1, as in the paper, any n-gram
            of a document of a few words exceeds its limit.
        duplicate_5grams, …, duplicate_10grams: Maximum share of code points in duplicate n-grams → the same names.
    """

    duplicate_lines: float | None = 0.30
    duplicate_paragraphs: float | None = 0.30
    duplicate_line_chars: float | None = 0.20
    duplicate_paragraph_chars: float | None = 0.20
    top_2gram: float | None = 0.20
    top_3gram: float | None = 0.18
    top_4gram: float | None = 0.16
    top_occurrences: int = 1
    duplicate_5grams: float | None = 0.15
    duplicate_6grams: float | None = 0.14
    duplicate_7grams: float | None = 0.13
    duplicate_8grams: float | None = 0.12
    duplicate_9grams: float | None = 0.11
    duplicate_10grams: float | None = 0.10


@dataclass(frozen=True)
class C4(_Checked):
    """Page rules of C4: Raffel et al. 2020 (JMLR 21-140), section 2.2, as in its code (tensorflow/datasets).

    They apply to the lines that C4 keeps: lines that end with . ? ! " or ' and mention neither javascript nor a policy.
    The other lines stay in the text. Use `clean` to remove them. The list of bad words is not applied. For English.

    Attributes:
        min_words_per_line: Minimum number of words of a line that counts.
        max_word_chars: Maximum number of code points of the longest word of a line that counts.
        min_sentences: Minimum number of sentences in these lines → too_few_sentences.
        lorem_ipsum: Drop documents with "lorem ipsum" in such a line → lorem_ipsum.
        curly_bracket: Drop documents with a { in such a line → curly_bracket.
    """

    min_words_per_line: int = 3
    max_word_chars: int = 1000
    min_sentences: int | None = 5
    lorem_ipsum: bool = True
    curly_bracket: bool = True


@dataclass(frozen=True)
class FineWeb(_Checked):
    """Rules of FineWeb: Penedo et al. 2024 (arXiv 2406.17557), section 3.6. The last rule is only in its code.

    Attributes:
        min_punctuated_lines: Minimum share of lines whose last character ends a sentence → too_few_punctuated_lines.
        max_short_lines: Maximum share of lines of at most `short_line_chars` code points → too_many_short_lines. Not
            for scripts without spaces.
        short_line_chars: Maximum number of code points of a short line.
        max_duplicate_line_chars: Maximum share of code points, without line feeds, in duplicate lines
            → duplicate_line_chars. 0.1 in the paper and in FineWeb-2, 0.01 in the English pipeline of FineWeb.
        max_newlines_per_word: Maximum of line feeds per word → too_many_newlines.
    """

    min_punctuated_lines: float | None = 0.12
    max_short_lines: float | None = 0.67
    short_line_chars: int = 30
    max_duplicate_line_chars: float | None = 0.1
    max_newlines_per_word: float | None = 0.3


@dataclass(frozen=True)
class Code(_Checked):
    """Rules for source code: The Stack (Kocetkov et al. 2022, arXiv 2211.15533) after Codex (Chen et al. 2021).

    StarCoder 2 (Lozhkov et al. 2024, arXiv 2402.19173, section 3.2) has the same values and max_lines. Its limit
    on lines of HTML, JSON, Markdown, Roff, TeX and XML is 100,000 instead.

    Attributes:
        max_lines: Maximum number of lines → too_many_lines.
        max_line_chars: Maximum number of code points of the longest line → line_too_long.
        max_mean_line_chars: Maximum of code points per line → lines_too_long.
        min_alphanumerics: Minimum share of code points that are letters or digits → too_few_alphanumerics.
    """

    max_lines: int | None = 100_000
    max_line_chars: int | None = 1_000
    max_mean_line_chars: float | None = 100
    min_alphanumerics: float | None = 0.25


def _problems(group: object) -> Iterator[str]:
    values = {field.name: getattr(group, field.name) for field in fields(group)}  # type: ignore[arg-type]
    for name, value in values.items():
        if isinstance(value, int | float) and not (math.isfinite(value) and value >= 0):
            yield f"{name}: expected a finite number of 0 or more, got {value}"
        minimum, maximum = values.get("min_" + name[4:]), value
        if name.startswith("max_") and minimum is not None and maximum is not None and minimum > maximum:
            yield f"min_{name[4:]}: expected at most max_{name[4:]} ({maximum}), got {minimum}"
