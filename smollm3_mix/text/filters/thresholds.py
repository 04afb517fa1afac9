"""What documents are judged by: groups of thresholds with their published values, each rule alone can be off.

A value at its threshold passes. None turns a rule off.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields


class _Checked:
    """A group of thresholds that refuses numbers no document could be held against."""

    def __post_init__(self) -> None:
        problems = list(_problems(self))
        if problems:
            raise ValueError("; ".join(problems))


@dataclass(frozen=True)
class GopherQuality(_Checked):
    """Quality rules of Gopher: Rae et al. 2021 (arXiv 2112.11446), appendix A1.1, in its order.

    The paper does not say what a word is. Here it is what white space parts. For the first four rules one counts if it
    has a letter, mark or number of any script: datatrove, which made FineWeb, leaves words of signs alone (= + | -)
    out of these four and no other.

    Attributes:
        min_words: words a document needs → too_few_words.
        max_words: words it may have → too_many_words.
        min_mean_word_chars: code points a word → words_too_short. Not held against scripts without spaces.
        max_mean_word_chars: code points a word → words_too_long. Not held against scripts without spaces.
        max_hashes_per_word: # over words → too_many_hashes.
        max_ellipses_per_word: … and ... over words → too_many_ellipses.
        max_bullet_lines: share of lines that begin with • or - → too_many_bullet_lines.
        max_ellipsis_lines: share of lines that end with … or ... → too_many_ellipsis_lines.
        min_alphabetic_words: share of words with a letter or mark of any script → too_few_alphabetic_words.
        min_stop_words: how many different stop words it needs → too_few_stop_words.
        stop_words: None = those of the language (see `languages`), and no such rule for a language without any.
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
    """Repetition rules of Gopher: Rae et al. 2021 (arXiv 2112.11446), table A1, in its order; all are shares.

    Lines and paragraphs count as duplicate from their second time on. For what is counted of n-grams see
    `measure.Limits`.

    Attributes:
        duplicate_lines: of lines → duplicate_lines.
        duplicate_paragraphs: of paragraphs → duplicate_paragraphs.
        duplicate_line_chars: of code points, in duplicate lines → duplicate_line_chars.
        duplicate_paragraph_chars: of code points, in duplicate paragraphs → duplicate_paragraph_chars.
        top_2gram, top_3gram, top_4gram: of code points, in the most frequent n-gram → the same names.
        top_occurrences: times the most frequent n-gram occurs, at least, to be held against a document. With 1, as the
            paper has it, a document of a few words fails by any n-gram.
        duplicate_5grams, …, duplicate_10grams: of code points, in duplicate n-grams → the same names.
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

    They look at the lines C4 keeps: those that end with . ? ! " or ' and name neither javascript nor a policy. Here the
    lines stay as they are; taking them out is for `clean`. The list of bad words is not applied. For English.

    Attributes:
        min_words_per_line: words a line needs to be looked at.
        max_word_chars: code points of the longest word of a line that is looked at.
        min_sentences: sentences in these lines → too_few_sentences.
        lorem_ipsum: drop documents with "lorem ipsum" in such a line → lorem_ipsum.
        curly_bracket: drop documents with a { in such a line → curly_bracket.
    """

    min_words_per_line: int = 3
    max_word_chars: int = 1000
    min_sentences: int | None = 5
    lorem_ipsum: bool = True
    curly_bracket: bool = True


@dataclass(frozen=True)
class FineWeb(_Checked):
    """FineWeb's own rules: Penedo et al. 2024 (arXiv 2406.17557), section 3.6; the last is in its code only.

    Attributes:
        min_punctuated_lines: share of lines whose last character ends a sentence → too_few_punctuated_lines.
        max_short_lines: share of lines of at most `short_line_chars` code points → too_many_short_lines. Not held
            against scripts without spaces.
        short_line_chars: code points.
        max_duplicate_line_chars: share of code points, line feeds apart, in lines that stand in the document before
            → duplicate_line_chars. The paper says 0.1; FineWeb's English pipeline ran with 0.01, FineWeb-2's with 0.1.
        max_newlines_per_word: line feeds over words → too_many_newlines.
    """

    min_punctuated_lines: float | None = 0.12
    max_short_lines: float | None = 0.67
    short_line_chars: int = 30
    max_duplicate_line_chars: float | None = 0.1
    max_newlines_per_word: float | None = 0.3


@dataclass(frozen=True)
class Code(_Checked):
    """Rules for source code: The Stack (Kocetkov et al. 2022, arXiv 2211.15533) after Codex (Chen et al. 2021).

    StarCoder 2 (Lozhkov et al. 2024, arXiv 2402.19173, section 3.2) has the same values, and max_lines; it holds
    HTML, JSON, Markdown, Roff, TeX and XML to line lengths of 100,000 instead.

    Attributes:
        max_lines: lines → too_many_lines.
        max_line_chars: code points of the longest line → line_too_long.
        max_mean_line_chars: code points a line → lines_too_long.
        min_alphanumerics: share of code points that are letters or digits → too_few_alphanumerics.
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
        least, most = values.get("min_" + name[4:]), value
        if name.startswith("max_") and least is not None and most is not None and least > most:
            yield f"min_{name[4:]}: expected at most max_{name[4:]} ({most}), got {least}"
