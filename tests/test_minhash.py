"""MinHash signatures find near duplicates at the theoretical rate and depend on the text only."""

import random
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smollm3_mix.text.dedup.dedup_options import Near
from smollm3_mix.text.dedup.minhash import _donors, minhash_signatures, signature_agreement
from smollm3_mix.text.measure.words import find_words, mix_bits

NEAR = Near()
VOCABULARY = [f"word{n}" for n in range(5000)]
HAN = [chr(code) for code in range(0x4E00, 0x5200)]
TEXTS = st.lists(
    st.one_of(
        st.none(),
        st.text(max_size=20),
        st.lists(st.sampled_from(["a", "b", "cd", "é"]), max_size=30).map(" ".join),
        st.lists(st.sampled_from("中文字日本語 a。"), max_size=60).map("".join),
    ),
    max_size=10,
)


def near_duplicates(length, share, count, seed, vocabulary=VOCABULARY, between=" "):
    """Return texts, copies with some words replaced, and the Jaccard similarity of their shingles."""
    draw = random.Random(seed)
    n = NEAR.ngram if between else 2 * NEAR.ngram
    texts, others, jaccard = [], [], []
    for _ in range(count):
        one = draw.choices(vocabulary, k=length)
        other = [draw.choice(vocabulary) if draw.random() < share else word for word in one]
        a, b = ({tuple(part[at : at + n]) for at in range(max(length - n + 1, 1))} for part in (one, other))
        texts.append(between.join(one))
        others.append(between.join(other))
        jaccard.append(len(a & b) / len(a | b))
    return pa.array(texts), pa.array(others), np.array(jaccard)


@pytest.mark.parametrize(
    ("length", "share"), [(12, 0.02), (12, 0.05), (60, 0.05), (250, 0.02), (250, 0.05), (1500, 0.03)]
)
def test_near_duplicates_are_found_at_theoretical_rate(length, share):
    count = 2000 if length < 100 else 400 if length < 1000 else 100
    texts, others, jaccard = near_duplicates(length, share, count, seed=length)
    met = (minhash_signatures(texts, NEAR) == minhash_signatures(others, NEAR)).any(axis=1)
    expected = 1 - (1 - jaccard**NEAR.rows) ** NEAR.bands
    assert abs(met.mean() - expected.mean()) < 3.5 * np.sqrt(np.sum(expected * (1 - expected))) / count


def test_signature_agreement_estimates_jaccard():
    for length in (30, 300):
        texts, others, jaccard = near_duplicates(length, 0.1, 500, seed=1)
        error = signature_agreement(minhash_signatures(texts, NEAR), minhash_signatures(others, NEAR), NEAR) - jaccard
        assert abs(error.mean()) < 0.01
        assert np.sqrt(np.mean(error**2)) < 0.055


def test_unrelated_short_documents_have_no_common_band():
    draw = random.Random(3)
    texts = [" ".join(draw.choices(VOCABULARY, k=draw.randint(1, 40))) for _ in range(3000)]
    keys = minhash_signatures(pa.array(list(dict.fromkeys(texts))), NEAR)
    assert all(len(np.unique(keys[:, band])) == len(keys) for band in range(NEAR.bands))


@given(TEXTS, st.integers(0, 10))
def test_signature_depends_on_text_only(texts, start):
    block = pa.array(texts, pa.string())
    keys = minhash_signatures(block, NEAR)
    assert keys.tolist() == [minhash_signatures(pa.array([text], pa.string()), NEAR)[0].tolist() for text in texts]
    assert keys[start:].tolist() == minhash_signatures(block.slice(min(start, len(texts))), NEAR).tolist()
    assert keys.tolist() == minhash_signatures(block.cast(pa.large_string()), NEAR, find_words(block)).tolist()


def test_signatures_are_platform_independent():
    keys = minhash_signatures(
        pa.array(["the same on every machine, in every year to come", "混合物の言葉は毎年同じです"]), NEAR
    )
    assert [f"{key:016x}" for key in keys[:, [0, 13]].ravel().tolist()] == [
        "33d23ab7ee291d57",
        "088f4356409c5d9d",
        "b8e9bf44b7a91917",
        "ccb3273fdb899ef2",
    ]


def test_signature_ignores_white_space_and_depends_on_order():
    keys = minhash_signatures(pa.array(["a b\tc  d e f", "a b c\nd e f ", "f e d c b a"]), NEAR)
    assert (keys[0] == keys[1]).all()
    assert not (keys[0] == keys[2]).any()


def test_text_shorter_than_a_shingle_is_one_shingle():
    keys = minhash_signatures(pa.array(["a b", " a  b ", "b a", "a b c", "a", "a b c d e"]), NEAR)
    assert (keys[0] == keys[1]).all()
    assert len(np.unique(keys[:, 0])) == 5


def test_text_without_words_has_zero_signature():
    assert not minhash_signatures(pa.array(["", None, " \n\u3000"], pa.string()), NEAR).any()
    assert minhash_signatures(pa.array([], pa.string()), NEAR).shape == (0, 14)


@pytest.mark.parametrize("last", ["", " sometimes with a few English words inside"])
def test_unspaced_scripts_are_shingled_by_characters(last):
    texts, others, jaccard = near_duplicates(400, 0.02, 300, seed=5, vocabulary=HAN, between="")
    met = [(minhash_signatures(pa.array([f"{text.as_py()}{last}" for text in part]), NEAR)) for part in (texts, others)]
    expected = (1 - (1 - jaccard**NEAR.rows) ** NEAR.bands).mean()
    assert (met[0] == met[1]).any(axis=1).mean() > expected - 0.06
    assert not (met[0] == np.roll(met[0], 1, axis=0)).any()


@pytest.mark.parametrize(
    "near", [Near(1, 1, 1), Near(64, 16, 13), Near(25, 5, 5), Near(9, 13, 3), Near(2, 16, 64)], ids=str
)
def test_signatures_differ_for_any_bands_rows_and_ngrams(near):
    draw = random.Random(1)
    texts = pa.array([" ".join(draw.choices(VOCABULARY, k=draw.randint(1, 300))) for _ in range(60)])
    keys = minhash_signatures(texts, near)
    assert keys.shape == (60, near.bands)
    assert signature_agreement(keys, keys, near).tolist() == [1.0] * 60
    assert abs(signature_agreement(keys, np.roll(keys, 1, axis=0), near).mean()) < 0.1 / np.sqrt(near.bands * near.rows)


def reference(hashes, near):
    """Return the bands of one document, computed with Python integers."""
    mask, bins = 2**64 - 1, near.bands * near.rows
    minima = [None] * bins
    n = min(near.ngram, len(hashes))
    for at in range(len(hashes) - n + 1):
        value = 0
        for token in hashes[at : at + n]:
            value = (value * 0x9E3779B97F4A7C15 + token) & mask
        value = (value ^ value >> 32) * 0xD6E8FEB86659FD93 & mask
        value ^= value >> 32
        bin_ = (value >> 32) * bins >> 32
        minima[bin_] = value if minima[bin_] is None else min(minima[bin_], value)
    donors, bits = _donors(bins).tolist(), min(64 // near.rows, 32)
    factors = (mix_bits(np.arange(1, bins + 1, dtype=np.uint64)) | np.uint64(1)).tolist()
    keys = [0] * near.bands
    for bin_ in range(bins):
        candidates = (minima[donor[bin_]] for donor in donors)
        value = minima[bin_] if minima[bin_] is not None else next(found for found in candidates if found is not None)
        keys[bin_ // near.rows] |= (value * factors[bin_] & mask) >> (64 - bits) << bin_ % near.rows * bits
    return keys


@pytest.mark.parametrize(
    "near", [Near(1, 1, 1), Near(2, 1, 2), Near(14, 8, 5), Near(51, 5, 1), Near(32, 8, 3), Near(64, 16, 2)], ids=str
)
def test_signatures_match_reference_of_one_permutation_hashing(near):
    draw = random.Random(near.bands)
    texts = pa.array([" ".join(draw.choices(VOCABULARY, k=draw.choice([1, 2, 3, 9, 40, 300]))) for _ in range(24)])
    found = find_words(texts)
    keys = minhash_signatures(texts, near)
    for row, (begin, end) in enumerate(pairwise(found.first.tolist())):
        assert keys[row].tolist() == reference(found.hashes[begin:end].tolist(), near)


@given(TEXTS, st.lists(st.booleans(), min_size=10, max_size=10))
def test_signatures_do_not_depend_on_excluded_documents(texts, chosen):
    block, rows = pa.array(texts, pa.string()), np.resize(np.array(chosen, dtype=bool), len(texts))
    keys = minhash_signatures(block, NEAR)
    keys[~rows] = 0
    assert minhash_signatures(block, NEAR, selected=rows).tolist() == keys.tolist()


def test_signature_agreement_is_corrected_for_chance():
    near = Near(2, 16)  # 4 bits per minimum: one sixteenth agrees by chance
    one = np.array([[0x1111_1111_1111_1111, 0x2222_2222_2222_2222]] * 3, dtype=np.uint64)
    other = one.copy()
    other[1, 0] = 0x1111_1111_3333_3333  # 24 of 32 agree
    other[2] = 0  # none
    expected = [1.0, (24 / 32 - 1 / 16) / (15 / 16), -1 / 15]
    assert signature_agreement(one, other, near).tolist() == pytest.approx(expected, abs=1e-15)
