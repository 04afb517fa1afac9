"""Find the lines of a document that C4 keeps, and count their sentences (Raffel et al. 2020, section 2.2)."""

import re
from dataclasses import dataclass

import numpy as np

from smollm3_mix.text.measure.code_points import Bytes, Flags, Ints, sum_rows
from smollm3_mix.text.measure.measures import Measures
from smollm3_mix.text.measure.text_lines import Lines
from smollm3_mix.text.measure.words import Words

POLICY = (b"terms of use", b"privacy policy", b"cookie policy", b"uses cookies", b"use of cookies", b"use cookies")
"""Phrases that mark a boilerplate line in the code of C4 (c4_utils.py of tensorflow/datasets)."""

_CITATION = re.compile(rb"\[\d*\]|\[edit\]|\[citation needed\]")


@dataclass(frozen=True)
class KeptLines:
    """Properties of the lines of each document that C4 keeps.

    Attributes:
        sentences: Sentences in kept lines, int64[rows].
        lorem_ipsum: True if a line that is otherwise kept has "lorem ipsum", bool[rows].
        curly_bracket: True if a line that is otherwise kept has a {, bool[rows].
    """

    sentences: Ints
    lorem_ipsum: Flags
    curly_bracket: Flags


def kept_lines(measures: Measures, min_words: int, max_word_chars: int) -> KeptLines:
    """Return the sentences in the lines that C4 keeps, and the reasons for which it drops whole pages.

    C4 keeps lines with at least `min_words` words, none longer than `max_word_chars`. They must end with . ? ! " or ',
    but not with three dots, ignoring citations such as [1]. They must not mention javascript or a policy.
    """
    lines, data = measures.lines, measures.words.data
    good = np.diff(lines.begin) >= min_words
    good &= _finished(data, lines.starts, lines.ends)
    long = np.flatnonzero(np.diff(measures.words.features.code_point_offsets) > max_word_chars)
    good[np.searchsorted(lines.begin, long, side="right") - 1] = False
    lower = data.tobytes().lower()
    lorem = good & _lines_at(lines, _find_all(lower, b"lorem ipsum"))
    good &= ~_lines_at(lines, _find_all(lower, b"javascript"))
    curly = good & _lines_at(lines, np.flatnonzero(data == ord("{")))
    for phrase in POLICY:
        good &= ~_lines_at(lines, _find_all(lower, phrase))
    ends = _end_sentences(measures.words)
    ends[lines.begin[1:] - 1] = True  # the end of a line ends a sentence
    sentences = np.where(good, sum_rows(ends, lines.begin), 0)
    return KeptLines(
        sum_rows(sentences, lines.first), sum_rows(lorem, lines.first) > 0, sum_rows(curly, lines.first) > 0
    )


def _finished(data: Bytes, starts: Ints, ends: Ints) -> Flags:
    """Return True for lines that end with . ? ! " or ' without citations, but not with three dots, bool[lines]."""
    good = _is_any(data[ends - 1], b".?!\"'")
    dots = np.flatnonzero(good & (data[ends - 1] == ord(".")) & (ends - starts >= 3))
    good[dots[(data[ends[dots] - 2] == ord(".")) & (data[ends[dots] - 3] == ord("."))]] = False
    for line in np.flatnonzero(data[ends - 1] == ord("]")):
        text = _CITATION.sub(b"", data[starts[line] : ends[line]].tobytes())
        good[line] = text.endswith((b".", b"?", b"!", b'"', b"'")) and not text.endswith(b"...")
    return good


def _end_sentences(words: Words) -> Flags:
    """Return True for words that end with . ! or ?, ignoring closing quotes and brackets, bool[words].

    A full stop after a single capital letter marks an initial and does not count.
    """
    data, starts, last = words.data, words.starts, words.ends - 1
    found = _is_any(data[last], b".?!")
    for _ in range(3):
        closed = np.flatnonzero(_is_any(data[last], b"\"')]") & (last > starts))
        if len(closed) == 0:
            break
        last = last.copy()
        last[closed] -= 1
        found[closed] = _is_any(data[last[closed]], b".?!")
    dots = np.flatnonzero(found & (data[last] == ord(".")) & (last > starts))
    before = data[last[dots] - 1]
    capital = (before - np.uint8(ord("A"))) < 26
    alone = ~((data.take(last[dots] - 2, mode="clip") - np.uint8(ord("A"))) < 26) | (last[dots] - starts[dots] < 2)
    found[dots[capital & alone]] = False
    return found


def _is_any(data: Bytes, some: bytes) -> Flags:
    table = np.zeros(256, dtype=np.bool_)
    table[list(some)] = True
    return table.take(data)


def _find_all(text: bytes, phrase: bytes) -> Ints:
    """Return the positions of a phrase in a text, int64."""
    positions = []
    position = text.find(phrase)
    while position >= 0:
        positions.append(position)
        position = text.find(phrase, position + len(phrase))
    return np.array(positions, dtype=np.int64)


def _lines_at(lines: Lines, positions: Ints) -> Flags:
    """Return True for lines that contain one of the positions, bool[lines]."""
    found = np.zeros(len(lines.starts), dtype=np.bool_)
    line = np.searchsorted(lines.starts, positions, side="right") - 1
    inside = line >= 0
    inside[inside] = positions[inside] < lines.ends[line[inside]]
    found[line[inside]] = True
    return found
