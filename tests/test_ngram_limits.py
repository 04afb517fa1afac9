"""Limits on repeated n-grams equal those of a slow reference."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from conftest import examples
from hypothesis import given
from hypothesis import strategies as st
from test_measure import script, tokens

from smollm3_mix.text.measure.measures import Measures
from smollm3_mix.text.measure.ngram_limits import NgramLimits

SOME = st.lists(st.sampled_from(["a", "b", "is", "café", "longer-word"]), max_size=80).map(" ".join)
PATTERN = st.tuples(st.lists(st.sampled_from("abcdefghij"), min_size=1, max_size=12), st.integers(1, 8), SOME).map(
    lambda parts: " ".join(parts[0] * parts[1]) + " " + parts[2]
)
HAN = st.text("我们是人日本の、。a ", max_size=120)
THAI = st.text("กขคงไ ", max_size=150)
BLOCKS = st.lists(st.one_of(SOME, SOME, PATTERN, PATTERN, HAN, THAI, st.just("")), max_size=6)
SHARE = st.sampled_from([0.0, 0.05, 0.1, 0.16, 0.2, 0.3, 0.5, 0.8, 1.2])
TOPS = st.dictionaries(st.sampled_from([2, 3, 4]), SHARE)
DUPLICATES = st.dictionaries(st.sampled_from([5, 6, 7, 8, 9, 10]), SHARE)


def tokenized(text):
    """Return the tokens, the code points between two tokens, and the tokens per word."""
    kind = script(text)
    return tokens(text), int(kind is None), {None: 1, "han": 2, "thai": 4}[kind]


def top_share(text, n, occurrences):
    found, separator, scale = tokenized(text)
    size = n * scale
    grams = [tuple(found[i : i + size]) for i in range(len(found) - size + 1)]
    if not grams:
        return 0
    gram, count = Counter(grams).most_common(1)[0]  # the first of several
    return count * (sum(map(len, gram)) + separator * (size - 1)) / len(text) if count >= occurrences else 0


def duplicate_share(text, n):
    found, _, scale = tokenized(text)
    size = n * scale
    grams = [tuple(found[i : i + size]) for i in range(len(found) - size + 1)]
    position, chars = 0, 0
    while position < len(grams):
        if grams[position] in grams[:position]:
            chars += sum(map(len, grams[position]))
            position += size
        else:
            position += 1
    return chars / len(text)


def first_exceeded_limit(text, limits):
    for n in sorted(limits.tops):
        if top_share(text, n, limits.occurrences) > limits.tops[n]:
            return n
    for n in sorted(limits.duplicates):
        if text and duplicate_share(text, n) > limits.duplicates[n]:
            return n
    return 0


@examples(300)
@given(BLOCKS, TOPS, DUPLICATES, st.integers(1, 4))
def test_first_exceeded_limit_matches_reference(texts, tops, duplicates, occurrences):
    limits = NgramLimits(tops, duplicates, occurrences)
    found = Measures(pa.array(texts, pa.string())).exceeded_ngram_limit(limits)
    assert found.tolist() == [first_exceeded_limit(text, limits) for text in texts]


def test_ngram_limits_do_not_mix_long_documents():
    rng = np.random.default_rng(7)
    distinct = [" ".join(f"w{i}" for i in rng.integers(0, 10**9, 9_000)) for _ in range(12)]
    twice = [f"{text} {text}" for text in distinct[:4]]
    limits = NgramLimits({2: 0.01}, {5: 0.4, 10: 0.3})
    found = Measures(pa.array([*distinct[:4], *twice, *distinct[4:]])).exceeded_ngram_limit(limits)
    assert found.tolist() == [0] * 4 + [5] * 4 + [0] * 8


def test_ngram_limits_accept_occurrences_beyond_int64():
    text = Measures(pa.array(["ab cd " * 20]))
    assert text.exceeded_ngram_limit(NgramLimits({2: 0.1}, {}, 1)).tolist() == [2]
    assert text.exceeded_ngram_limit(NgramLimits({2: 0.1}, {}, 2**63)).tolist() == [0]


@pytest.mark.parametrize("n", [2, 3, 4])
def test_top_ngram_counts_spaces_and_passes_at_the_limit(n):
    # Two occurrences of the n-gram take up (2n - 1) code points each, of 100.
    gram = " ".join("abcd"[:n])
    text = f"{gram} {gram} "
    text += " ".join("efghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"[: (100 - len(text) + 1) // 2])
    text += "!" * (100 - len(text))
    share = 2 * (2 * n - 1) / 100
    block = Measures(pa.array([text]))
    assert block.exceeded_ngram_limit(NgramLimits({n: share}, {})).tolist() == [0]
    assert block.exceeded_ngram_limit(NgramLimits({n: share - 0.001}, {})).tolist() == [n]


@pytest.mark.parametrize("n", range(5, 11))
def test_duplicate_ngrams_exclude_spaces_and_pass_at_the_limit(n):
    gram = " ".join("abcdefghij"[:n])
    text = f"{gram} x {gram}"
    share = n / len(text)
    block = Measures(pa.array([text]))
    assert block.exceeded_ngram_limit(NgramLimits({}, {n: share})).tolist() == [0]
    assert block.exceeded_ngram_limit(NgramLimits({}, {n: share - 0.001})).tolist() == [n]


def test_ngram_limits_take_seconds_for_megabytes_of_one_word():
    block = Measures(pa.array(["no " * 1_000_000, "ha" * 2_000_000, "哈" * 300_000]))
    assert block.exceeded_ngram_limit(NgramLimits({}, {5: 0.5})).tolist() == [5, 0, 5]
    assert block.exceeded_ngram_limit(NgramLimits({4: 0.5}, {})).tolist() == [4, 0, 4]


@pytest.mark.parametrize("times", [253, 254, 255, 256, 257, 300])
def test_ngram_with_hundreds_of_occurrences_passes_at_the_limit(times):
    text = " ".join(f"a b {n:05}" for n in range(times))
    share = times * 3 / len(text)
    block = Measures(pa.array([text]))
    assert block.exceeded_ngram_limit(NgramLimits({2: share}, {})).tolist() == [0]
    assert block.exceeded_ngram_limit(NgramLimits({2: share - 1e-9}, {})).tolist() == [2]
