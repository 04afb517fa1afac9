"""Text hashes, options of dedup, and duplicate rows."""

import re

import numpy as np
import pyarrow as pa
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from smollm3_mix.cli.main import main
from smollm3_mix.text.dedup.dedup_options import Dedup, Near
from smollm3_mix.text.dedup.dedup_store import DedupStore
from smollm3_mix.text.dedup.duplicate_rows import DuplicateRows
from smollm3_mix.text.dedup.text_hashes import hash_texts


@given(st.lists(st.one_of(st.none(), st.text(max_size=40))), st.integers(0, 5), st.booleans())
def test_text_hashes_are_xxh3_of_utf8_bytes(texts, start, large):
    block = pa.array(texts, pa.large_string() if large else pa.string())
    found = hash_texts(block.slice(min(start, len(texts))))
    assert found.shape == (len(texts[start:]), 2)
    assert found.dtype == np.uint64
    for text, pair in zip(texts[start:], found.tolist(), strict=True):
        number = 0 if text is None else xxhash.xxh3_128_intdigest(text.encode())
        assert pair == [number >> 64, number % 2**64]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"bands": 0}, "dedup.near.bands: expected a whole number from 1 to 64, got 0"),
        ({"rows": 17}, "dedup.near.rows: expected a whole number from 1 to 16, got 17"),
        ({"ngram": True}, "dedup.near.ngram: expected a whole number from 1 to 64, got True"),
        ({"ngram": 2.5}, "dedup.near.ngram: expected a whole number from 1 to 64, got 2.5"),
        ({"jaccard": 1.5}, "dedup.near.jaccard: expected a number from 0 to 1, got 1.5"),
        ({"jaccard": float("nan")}, "dedup.near.jaccard: expected a number from 0 to 1, got nan"),
    ],
)
def test_near_rejects_invalid_options(options, problem):
    with pytest.raises(ValueError, match=f"^{re.escape(problem)}$"):
        Near(**options)


@pytest.mark.parametrize("memory", [0, -1, "1GiB", True])
def test_dedup_rejects_invalid_memory(memory):
    with pytest.raises(ValueError, match=f"^dedup.memory: expected a number of bytes, got {memory!r}$"):
        Dedup(memory=memory)


def test_plan_reports_dedup_capacity_and_false_positives(tmp_path, capsys):
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("lanes: 2\ndedup: {near: {bands: 14}, memory: 390000}\ndatasets:\n  - {name: a/b, weight: 1}\n")
    assert main(["plan", str(recipe), "--offline"]) == 0
    assert (
        "Dedup can store 2,000 documents in 390,000 bytes, 1,000 in each of 2 lanes. A full lane is an error. The "
        "false-positive rate is at most 8e-16 per document.\n"
    ) in capsys.readouterr().out
    recipe.write_text("dedup: {exact: false}\ndatasets:\n  - {name: a/b, weight: 1}\n")
    assert main(["plan", str(recipe), "--offline"]) == 0
    assert "Dedup" not in capsys.readouterr().out


def test_dedup_capacity_matches_store():
    for dedup in (Dedup(), Dedup(near=Near()), Dedup(exact=False, near=Near(bands=3))):
        assert dedup.capacity(1) == DedupStore(dedup, dedup.memory).capacity
    assert Dedup(exact=False).capacity(1) == 0


@given(st.lists(st.integers(0, 40), unique=True), st.lists(st.sampled_from([0, 1, 2]), min_size=41, max_size=41))
def test_duplicate_rows_classifies_each_row(rows, codes):
    listed = [np.array([row for row, code_ in enumerate(codes) if code_ == code], np.uint32) for code in (1, 2)]
    drops = DuplicateRows(*listed)
    rows = np.array(sorted(rows) or [0], np.int64)
    assert drops.codes(rows).tolist() == [codes[row] for row in rows]
    again = DuplicateRows.from_bytes(drops.to_bytes(), len(listed[0]))
    assert again.codes(rows).tolist() == drops.codes(rows).tolist()


def test_duplicate_rows_includes_first_and_last_row():
    drops = DuplicateRows(np.array([2, 9], np.uint32), np.array([4, 7], np.uint32))
    assert drops.codes(np.array([4, 5, 9])).tolist() == [2, 0, 1]
    assert drops.codes(np.array([2, 3, 7])).tolist() == [1, 0, 2]
    assert drops.codes(np.array([3, 5, 8])).tolist() == [0, 0, 0]
