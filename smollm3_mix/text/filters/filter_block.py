"""Filter a block of documents. The reason of a dropped document is the first rule that it fails."""

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
    """Return the reason to drop each document, null for documents to keep: the first rule that fails.

    Rules are checked in the order of `REASONS`. The result depends on the text only, not on the block. An empty text
    always fails as `empty`. A null row has no reason.

    Args:
        texts: string or large_string array of valid UTF-8.
        rules: Filter options.
        words: Result of `find_words(texts)`. Computed by default.

    Returns:
        pa.StringArray[rows].

    Raises:
        TypeError: If `texts` is not an Arrow string array.
        RecipeError: If the custom function cannot be imported, raises, or does not return a list of reasons.

    >>> drop_reasons(pa.array(["", "Hm.", "Long enough.", None]), FilterOptions(min_chars=10)).to_pylist()
    ['empty', 'too_short', None, None]
    """
    if not isinstance(texts, pa.StringArray | pa.LargeStringArray):
        raise TypeError(
            f"texts must be a pyarrow string array, got {type(texts).__name__}. Cast it or combine its chunks"
        )
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
    """Yield each reason and its rows, in order. Slow rules skip rows whose entry in `decisions` is not 0."""
    # The length in bytes is enough here. Counting code points would scan the text.
    yield "empty", np.asarray(pc.fill_null(pc.binary_length(measures.texts), 0)) == 0
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
    # A measure that does not apply to a script is NaN. Comparisons with NaN are false, so it passes.
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
    targets = stop_words(language) if rules.stop_words is None else rules.stop_words
    if rules.min_stop_words is not None and targets:
        yield "too_few_stop_words", measures.distinct_words(targets) < rules.min_stop_words


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
    exceeded = measures.exceeded_ngram_limit(NgramLimits(tops, duplicates, rules.top_occurrences), decisions == 0)
    for n in tops:
        yield f"top_{n}gram", exceeded == n
    for n in duplicates:
        yield f"duplicate_{n}grams", exceeded == n


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
