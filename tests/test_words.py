"""Words equal those of `str.split` for any text, slice and block."""

import sys

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smollm3_mix.text.measure.words import Words, find_words

SPACES = [c for c in map(chr, range(sys.maxunicode + 1)) if c.isspace()]
LOOKALIKES = [
    "\u200b",
    "\ufeff",
    "\u180e",
    "\u2060",
    "\u1681",
    "\u200c",
    "\u2030",
    "\u3001",
    "\u00a1",
    "\u0084",
    "\x00",
]
TEXTS = st.text(
    st.one_of(st.sampled_from(SPACES + LOOKALIKES), st.sampled_from("abcé中ậ𝒳"), st.characters(codec="utf-8"))
)
BLOCKS = st.lists(st.one_of(st.none(), TEXTS), max_size=8)


def as_strings(found: Words) -> list[list[str]]:
    """Return the words of each document as strings."""
    data = found.data.tobytes()
    each = [data[a:b].decode() for a, b in zip(found.starts, found.ends, strict=True)]
    return [each[a:b] for a, b in zip(found.first[:-1], found.first[1:], strict=True)]


@given(BLOCKS)
def test_words_match_str_split(texts):
    assert as_strings(find_words(pa.array(texts, pa.string()))) == [(text or "").split() for text in texts]


@pytest.mark.parametrize("space", SPACES, ids=lambda c: f"U+{ord(c):04X}")
def test_words_are_separated_by_every_unicode_space(space):
    assert as_strings(find_words(pa.array([f"a{space}b{space}", f"{space}c", space]))) == [["a", "b"], ["c"], []]


@given(BLOCKS, st.integers(0, 8), st.integers(0, 8))
def test_find_words_supports_slices_and_large_strings(texts, start, length):
    block, part = pa.array(texts, pa.string()), texts[start : start + length]
    found = find_words(block.slice(min(start, len(texts)), length))
    assert as_strings(found) == [(text or "").split() for text in part]
    large = find_words(block.cast(pa.large_string()).slice(min(start, len(texts)), length))
    assert large.starts.tolist() == found.starts.tolist()
    assert large.hashes.tolist() == found.hashes.tolist() == find_words(pa.array(part, pa.string())).hashes.tolist()


@given(st.lists(st.binary(min_size=1, max_size=40).map(lambda b: b.hex()[:-1]), min_size=1))
def test_word_hashes_are_equal_only_for_equal_words(tokens):
    hashes = find_words(pa.array([" ".join(tokens)])).hashes.tolist()
    assert len(set(hashes)) == len(set(tokens))
    rows = pa.array([text for token in tokens for text in ("x", token)])
    assert find_words(rows).hashes[1::2].tolist() == hashes


def test_word_hash_changes_with_any_byte_at_every_length():
    lengths = [*range(1, 40), 127, 128, 129, 1023, 1024, 1025, 5000]
    tokens = ["a" * n for n in lengths]
    tokens += ["a" * at + "b" + "a" * (n - at - 1) for n in lengths for at in {0, n // 2, n - 1}]
    found = find_words(pa.array(tokens))
    assert len(np.unique(found.hashes)) == len(set(tokens))


def test_word_hashes_are_platform_independent():
    found = find_words(pa.array(["a mixture of", None, "internationalisation 混合物の言葉", "x" * 2000]))
    assert [f"{h:016x}" for h in found.hashes.tolist()] == [
        "56e7221c09a65d5a",
        "3c32499e9621979e",
        "d0a4955b4370acca",
        "38a8de09b97281e7",
        "7a216c08f2a88418",
        "e136f256394eee91",
    ]


def test_word_hash_differs_for_swapped_parts_and_trailing_nuls():
    tokens = ["12345678abcdefgh", "abcdefgh12345678", "a", "a\0", "a\0\0", "\0a", "12345678", "12345678\0"]
    assert len(np.unique(find_words(pa.array(tokens)).hashes)) == len(tokens)


def test_find_words_ignores_bytes_under_nulls():
    buffers = pa.array(["one two", "hidden words", "three"]).buffers()
    validity = pa.py_buffer(bytes([0b101]))
    texts = pa.StringArray.from_buffers(3, buffers[1], buffers[2], validity, null_count=1)
    assert as_strings(find_words(texts)) == [["one", "two"], [], ["three"]]


def test_find_words_accepts_word_of_fifty_megabytes():
    found = find_words(pa.array(["a " + "b" * 50_000_000]))
    assert found.first.tolist() == [0, 2]
    assert len(found.hashes) == 2


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 15, 16, 17, 63, 64, 65, 127, 128, 129])
@pytest.mark.parametrize(
    "piece", ["a", "é", "日", "𝒳", ".", "a ", "日本 ", " \u3000", "7é", "-7", "²", "٣", "→", "=+ |1 "]
)
def test_word_features_do_not_depend_on_length_or_offset(piece, size):
    text = (piece * size)[:size]
    found = find_words(pa.array([text, f"{text} {text}", f"-{text}"]))
    assert as_strings(found) == [text.split(), f"{text} {text}".split(), f"-{text}".split()]
    each = [word for part in as_strings(found) for word in part]
    assert np.diff(found.features.code_point_offsets).tolist() == [len(word) for word in each]
    letters = [sum(any(c in "aé日本𝒳" for c in word) for word in part) for part in as_strings(found)]
    assert found.features.with_letters.tolist() == letters
    signs = [[word for word in part if not any(c in "aé日本𝒳71²٣" for c in word)] for part in as_strings(found)]
    assert found.features.symbol_words.tolist() == [*map(len, signs)]
    assert found.features.symbol_code_points.tolist() == [sum(map(len, part)) for part in signs]
    alone = [int(find_words(pa.array([word])).hashes[0]) for word in each]
    assert found.hashes.tolist() == alone


def test_find_words_rejects_other_arrays():
    with pytest.raises(
        TypeError, match=r"^texts must be a pyarrow string array, got ChunkedArray\. Cast it or combine its chunks$"
    ):
        find_words(pa.chunked_array([["a"]]))
