"""MinHash signatures: what they find, measured against the theory, and that they depend on the text alone."""

import random

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smollm3_mix.dedup import Near, agreement, signatures
from smollm3_mix.dedup.signature import _donors, _filled
from smollm3_mix.measure import words

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


def planted(length, share, count, seed, vocabulary=VOCABULARY, between=" "):
    """Texts, the same with some words replaced, and the Jaccard of their shingles."""
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
def test_planted_near_duplicates_are_found_as_often_as_theory_says(length, share):
    count = 2000 if length < 100 else 400 if length < 1000 else 100
    texts, others, jaccard = planted(length, share, count, seed=length)
    met = (signatures(texts, NEAR) == signatures(others, NEAR)).any(axis=1)
    expected = 1 - (1 - jaccard**NEAR.rows) ** NEAR.bands
    assert abs(met.mean() - expected.mean()) < 3.5 * np.sqrt(np.sum(expected * (1 - expected))) / count


def test_signatures_estimate_the_jaccard():
    for length in (30, 300):
        texts, others, jaccard = planted(length, 0.1, 500, seed=1)
        error = agreement(signatures(texts, NEAR), signatures(others, NEAR), NEAR) - jaccard
        assert abs(error.mean()) < 0.01
        assert np.sqrt(np.mean(error**2)) < 0.055


def test_unrelated_documents_never_meet_however_short():
    draw = random.Random(3)
    texts = [" ".join(draw.choices(VOCABULARY, k=draw.randint(1, 40))) for _ in range(3000)]
    keys = signatures(pa.array(list(dict.fromkeys(texts))), NEAR)
    assert all(len(np.unique(keys[:, band])) == len(keys) for band in range(NEAR.bands))


@given(TEXTS, st.integers(0, 10))
def test_a_signature_depends_on_its_text_alone(texts, start):
    whole = pa.array(texts, pa.string())
    keys = signatures(whole, NEAR)
    assert keys.tolist() == [signatures(pa.array([text], pa.string()), NEAR)[0].tolist() for text in texts]
    assert keys[start:].tolist() == signatures(whole.slice(min(start, len(texts))), NEAR).tolist()
    assert keys.tolist() == signatures(whole.cast(pa.large_string()), NEAR, words(whole)).tolist()


def test_signatures_are_the_same_on_every_machine():
    keys = signatures(
        pa.array(["the same on every machine, in every year to come", "混合物の言葉は毎年同じです"]), NEAR
    )
    assert [f"{key:016x}" for key in keys[:, [0, 13]].ravel().tolist()] == [
        "33d23ab7ee291d57",
        "088f4356409c5d9d",
        "b8e9bf44b7a91917",
        "ccb3273fdb899ef2",
    ]


def test_white_space_is_no_difference_and_order_is_one():
    keys = signatures(pa.array(["a b\tc  d e f", "a b c\nd e f ", "f e d c b a"]), NEAR)
    assert (keys[0] == keys[1]).all()
    assert not (keys[0] == keys[2]).any()


def test_fewer_words_than_a_shingle_are_one_shingle():
    keys = signatures(pa.array(["a b", " a  b ", "b a", "a b c", "a", "a b c d e"]), NEAR)
    assert (keys[0] == keys[1]).all()
    assert len(np.unique(keys[:, 0])) == 5


def test_no_words_no_signature():
    assert not signatures(pa.array(["", None, " \n\u3000"], pa.string()), NEAR).any()
    assert signatures(pa.array([], pa.string()), NEAR).shape == (0, 14)


@pytest.mark.parametrize("last", ["", " sometimes with a few English words inside"])
def test_scripts_without_spaces_are_shingled_by_characters(last):
    texts, others, jaccard = planted(400, 0.02, 300, seed=5, vocabulary=HAN, between="")
    met = [(signatures(pa.array([f"{text.as_py()}{last}" for text in part]), NEAR)) for part in (texts, others)]
    expected = (1 - (1 - jaccard**NEAR.rows) ** NEAR.bands).mean()
    assert (met[0] == met[1]).any(axis=1).mean() > expected - 0.06
    assert not (met[0] == np.roll(met[0], 1, axis=0)).any()


@pytest.mark.parametrize(
    "near", [Near(1, 1, 1), Near(64, 16, 13), Near(25, 5, 5), Near(9, 13, 3), Near(2, 16, 64)], ids=str
)
def test_any_bands_rows_and_ngrams_tell_documents_apart(near):
    draw = random.Random(1)
    texts = pa.array([" ".join(draw.choices(VOCABULARY, k=draw.randint(1, 300))) for _ in range(60)])
    keys = signatures(texts, near)
    assert keys.shape == (60, near.bands)
    assert agreement(keys, keys, near).tolist() == [1.0] * 60
    assert abs(agreement(keys, np.roll(keys, 1, axis=0), near).mean()) < 0.1 / np.sqrt(near.bands * near.rows)


@pytest.mark.parametrize("bins", [1, 2, 3, 112, 255, 256, 1024])
def test_an_empty_bin_takes_the_minimum_of_its_first_donor_that_has_one(bins):
    draw = np.random.default_rng(bins)
    minima = draw.integers(0, 2**64 - 1, (120, bins), dtype=np.uint64)
    empty = draw.random(minima.shape) < draw.random((120, 1)) ** 0.3
    minima[empty] = 2**64 - 1
    filled, donors = _filled(minima), _donors(bins)
    for row, gone in enumerate(empty):
        if not gone.all():
            first = np.argmax(~gone[donors], axis=0)
            assert (
                filled[row].tolist()
                == np.where(gone, minima[row, donors[first, np.arange(bins)]], minima[row]).tolist()
            )
        else:
            assert (filled[row] == 2**64 - 1).all()


@given(TEXTS, st.lists(st.booleans(), min_size=10, max_size=10))
def test_documents_that_need_no_signature_change_none_of_the_others(texts, chosen):
    block, rows = pa.array(texts, pa.string()), np.resize(np.array(chosen, dtype=bool), len(texts))
    keys = signatures(block, NEAR)
    keys[~rows] = 0
    assert signatures(block, NEAR, among=rows).tolist() == keys.tolist()
