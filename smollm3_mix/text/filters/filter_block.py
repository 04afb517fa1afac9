"""A block of documents judged: the first rule that each fails is its reason."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from smollm3_mix.text.filters.custom_filter import custom_reasons
from smollm3_mix.text.filters.filter_options import FilterOptions
from smollm3_mix.text.filters.languages import stop_words
from smollm3_mix.text.filters.thresholds import C4, Code, FineWeb, GopherQuality, GopherRepetition
from smollm3_mix.text.measure.measures import Measures
from smollm3_mix.text.measure.ngram_limits import NgramLimits
from smollm3_mix.text.measure.sentences import kept_lines
from smollm3_mix.text.measure.words import Words

ReasonMask = tuple[str, npt.NDArray[np.bool_]]


def drop_reasons(texts: pa.StringArray, rules: FilterOptions, words: Words | None = None) -> pa.StringArray:
    """Reason each document is not wanted, null where it is; the first fault found, in the order of `REASONS`.

    A verdict depends on the text alone: any split of the same rows gives the same. An empty text fails as `empty`
    whatever the rules; a null row stays null.

    Args:
        texts: string or large_string array of valid UTF-8.
        rules: what to judge by.
        words: `measure.words(texts)`, if somebody has it already.

    Returns:
        pa.StringArray[rows].

    Raises:
        TypeError: `texts` is no Arrow string array.
        RecipeError: the user's own function cannot be had, raises, or gives what is no list of reasons.

    >>> judge(pa.array(["", "Hm.", "Long enough.", None]), Judge(min_chars=10)).to_pylist()
    ['empty', 'too_short', None, None]
    """
    if not isinstance(texts, pa.StringArray | pa.LargeStringArray):
        raise TypeError(f"expected a pyarrow string array, got {type(texts).__name__}; cast it, or combine its chunks")
    measures = Measures(texts, words)
    names: list[str | None] = [None]
    decisions = np.zeros(len(texts), dtype=np.int64)
    null = np.asarray(texts.is_null())
    for reason, failed in _reason_masks(measures, rules.expand_preset(), decisions):
        names.append(reason)
        if failed.any():
            decisions[failed & (decisions == 0) & ~null] = len(names) - 1
    if decisions.any():
        reasons = pa.array(names, pa.string()).take(pa.array(decisions))
    else:
        reasons = pa.nulls(len(texts), pa.string())
    if rules.python is None:
        return reasons
    left = np.flatnonzero((decisions == 0) & ~null)
    return custom_reasons(rules.python, texts, left, reasons)


def _reason_masks(measures: Measures, rules: FilterOptions, decisions: npt.NDArray[np.int64]) -> Iterator[ReasonMask]:
    """Reasons and who has them, in order; a rule that is slow need not look where `verdicts` are no longer 0."""
    yield "empty", np.asarray(pc.fill_null(pc.binary_length(measures.texts), 0)) == 0  # code points take a scan
    if rules.min_chars is not None:
        yield "too_short", measures.chars < rules.min_chars
    if rules.max_chars is not None:
        yield "too_long", measures.chars > rules.max_chars
    if isinstance(rules.gopher_quality, GopherQuality):
        yield from _gopher_quality(measures, rules.gopher_quality, rules.language)
    if isinstance(rules.gopher_repetition, GopherRepetition):
        yield from _gopher_repetition(measures, rules.gopher_repetition, decisions)
    if isinstance(rules.c4, C4):
        yield from _c4(measures, rules.c4)
    if isinstance(rules.fineweb, FineWeb):
        yield from _fineweb(measures, rules.fineweb)
    if isinstance(rules.code, Code):
        yield from _code(measures, rules.code)


def _gopher_quality(measures: Measures, rules: GopherQuality, language: str | None) -> Iterator[ReasonMask]:
    # NaN, a measure that means nothing in a script, is neither less nor more than anything, so it passes.
    if rules.min_words is not None:
        yield "too_few_words", measures.counted_words < rules.min_words
    if rules.max_words is not None:
        yield "too_many_words", measures.counted_words > rules.max_words
    if rules.min_mean_word_chars is not None:
        yield "words_too_short", measures.mean_word_chars < rules.min_mean_word_chars
    if rules.max_mean_word_chars is not None:
        yield "words_too_long", measures.mean_word_chars > rules.max_mean_word_chars
    if rules.max_hashes_per_word is not None:
        yield "too_many_hashes", measures.hashes_per_word > rules.max_hashes_per_word
    if rules.max_ellipses_per_word is not None:
        yield "too_many_ellipses", measures.ellipses_per_word > rules.max_ellipses_per_word
    if rules.max_bullet_lines is not None:
        yield "too_many_bullet_lines", measures.bullet_lines > rules.max_bullet_lines
    if rules.max_ellipsis_lines is not None:
        yield "too_many_ellipsis_lines", measures.ellipsis_lines > rules.max_ellipsis_lines
    if rules.min_alphabetic_words is not None:
        yield "too_few_alphabetic_words", measures.alphabetic_words < rules.min_alphabetic_words
    wanted = stop_words(language) if rules.stop_words is None else rules.stop_words
    if rules.min_stop_words is not None and wanted:
        yield "too_few_stop_words", measures.distinct_words(wanted) < rules.min_stop_words


def _gopher_repetition(
    measures: Measures, rules: GopherRepetition, decisions: npt.NDArray[np.int64]
) -> Iterator[ReasonMask]:
    if rules.duplicate_lines is not None:
        yield "duplicate_lines", measures.duplicate_lines > rules.duplicate_lines
    if rules.duplicate_paragraphs is not None:
        yield "duplicate_paragraphs", measures.duplicate_paragraphs > rules.duplicate_paragraphs
    chars = np.maximum(measures.chars, 1)
    if rules.duplicate_line_chars is not None:
        yield "duplicate_line_chars", measures.duplicate_line_chars / chars > rules.duplicate_line_chars
    if rules.duplicate_paragraph_chars is not None:
        yield "duplicate_paragraph_chars", measures.duplicate_paragraph_chars / chars > rules.duplicate_paragraph_chars
    tops = {n: limit for n in (2, 3, 4) if (limit := getattr(rules, f"top_{n}gram")) is not None}
    duplicates = {n: limit for n in range(5, 11) if (limit := getattr(rules, f"duplicate_{n}grams")) is not None}
    passed = measures.exceeded_ngram_limit(NgramLimits(tops, duplicates, rules.top_occurrences), decisions == 0)
    for n in tops:
        yield f"top_{n}gram", passed == n
    for n in duplicates:
        yield f"duplicate_{n}grams", passed == n


def _c4(measures: Measures, rules: C4) -> Iterator[ReasonMask]:
    kept = kept_lines(measures, rules.min_words_per_line, rules.max_word_chars)
    if rules.lorem_ipsum:
        yield "lorem_ipsum", kept.lorem_ipsum
    if rules.curly_bracket:
        yield "curly_bracket", kept.curly_bracket
    if rules.min_sentences is not None:
        yield "too_few_sentences", kept.sentences < rules.min_sentences


def _fineweb(measures: Measures, rules: FineWeb) -> Iterator[ReasonMask]:
    if rules.min_punctuated_lines is not None:
        yield "too_few_punctuated_lines", measures.punctuated_lines < rules.min_punctuated_lines
    if rules.max_short_lines is not None:
        yield "too_many_short_lines", measures.short_lines(rules.short_line_chars) > rules.max_short_lines
    if rules.max_duplicate_line_chars is not None:
        share = measures.duplicate_line_chars / np.maximum(measures.chars - measures.newlines, 1)
        yield "duplicate_line_chars", share > rules.max_duplicate_line_chars
    if rules.max_newlines_per_word is not None:
        yield "too_many_newlines", measures.newlines_per_word > rules.max_newlines_per_word


def _code(measures: Measures, rules: Code) -> Iterator[ReasonMask]:
    if rules.max_lines is not None:
        yield "too_many_lines", measures.line_count > rules.max_lines
    if rules.max_line_chars is not None:
        yield "line_too_long", measures.longest_line_chars > rules.max_line_chars
    if rules.max_mean_line_chars is not None:
        yield "lines_too_long", measures.mean_line_chars > rules.max_mean_line_chars
    if rules.min_alphanumerics is not None:
        yield "too_few_alphanumerics", measures.alphanumerics < rules.min_alphanumerics
