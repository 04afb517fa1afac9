"""Which lines C4 keeps of a document, and how many sentences are in them (Raffel et al. 2020, section 2.2)."""

import re
from dataclasses import dataclass

import numpy as np

from smollm3_mix.text.measure.code_points import Bytes, Flags, Ints, sum_rows
from smollm3_mix.text.measure.measures import Measures
from smollm3_mix.text.measure.text_lines import Lines
from smollm3_mix.text.measure.words import Words

POLICY = (b"terms of use", b"privacy policy", b"cookie policy", b"uses cookies", b"use of cookies", b"use cookies")
"""Phrases by which C4's code knows a boilerplate line (c4_utils.py of tensorflow/datasets)."""

_CITATION = re.compile(rb"\[\d*\]|\[edit\]|\[citation needed\]")


@dataclass(frozen=True)
class KeptLines:
    """What is left of each document when its poor lines are taken out.

    Attributes:
        sentences: int64[rows], sentences in lines that are kept.
        lorem_ipsum: bool[rows], "lorem ipsum" stands in a line that is otherwise kept.
        curly_bracket: bool[rows], a { stands in a line that is otherwise kept.
    """

    sentences: Ints
    lorem_ipsum: Flags
    curly_bracket: Flags


def kept_lines(measures: Measures, min_words: int, max_word_chars: int) -> KeptLines:
    """Sentences in the lines that C4 keeps, and what makes it drop whole pages.

    Kept are lines with at least `min_words` words, none longer than `max_word_chars`, that end with . ? ! " or ' but
    not with three dots (citations such as [1] left aside), and name neither javascript nor a policy.
    """
    lines, data = measures.lines, measures.words.data
    good = np.diff(lines.begin) >= min_words
    good &= _finished(data, lines.starts, lines.ends)
    long = np.flatnonzero(np.diff(measures.words.features.code_point_offsets) > max_word_chars)
    good[np.searchsorted(lines.begin, long, side="right") - 1] = False
    lower = data.tobytes().lower()
    lorem = good & _around(lines, _found(lower, b"lorem ipsum"))
    good &= ~_around(lines, _found(lower, b"javascript"))
    curly = good & _around(lines, np.flatnonzero(data == ord("{")))
    for phrase in POLICY:
        good &= ~_around(lines, _found(lower, phrase))
    ends = _end_sentences(measures.words)
    ends[lines.begin[1:] - 1] = True  # a line ends whatever sentence is left
    sentences = np.where(good, sum_rows(ends, lines.begin), 0)
    return KeptLines(
        sum_rows(sentences, lines.first), sum_rows(lorem, lines.first) > 0, sum_rows(curly, lines.first) > 0
    )


def _finished(data: Bytes, starts: Ints, ends: Ints) -> Flags:
    """bool[lines]: which end with . ? ! " or ' once citations are taken out, but not with three dots."""
    good = _is_any(data[ends - 1], b".?!\"'")
    dots = np.flatnonzero(good & (data[ends - 1] == ord(".")) & (ends - starts >= 3))
    good[dots[(data[ends[dots] - 2] == ord(".")) & (data[ends[dots] - 3] == ord("."))]] = False
    for line in np.flatnonzero(data[ends - 1] == ord("]")):
        text = _CITATION.sub(b"", data[starts[line] : ends[line]].tobytes())
        good[line] = text.endswith((b".", b"?", b"!", b'"', b"'")) and not text.endswith(b"...")
    return good


def _end_sentences(words: Words) -> Flags:
    """bool[words]: which end with . ! or ?, closing quotes and brackets left aside.

    A full stop behind a lone capital ends none: it is an initial.
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


def _found(text: bytes, phrase: bytes) -> Ints:
    """int64: where the phrase stands in the text."""
    places = []
    place = text.find(phrase)
    while place >= 0:
        places.append(place)
        place = text.find(phrase, place + len(phrase))
    return np.array(places, dtype=np.int64)


def _around(lines: Lines, places: Ints) -> Flags:
    """bool[lines]: which lines hold one of the places."""
    found = np.zeros(len(lines.starts), dtype=np.bool_)
    line = np.searchsorted(lines.starts, places, side="right") - 1
    inside = line >= 0
    inside[inside] = places[inside] < lines.ends[line[inside]]
    found[line[inside]] = True
    return found
