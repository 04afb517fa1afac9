"""The second pass of a dedup index: which documents of a range of keys come after another one with the same key."""

import itertools
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from smollm3_mix.dedup_index import index_units
from smollm3_mix.dedup_index.duplicate_ranges import RangeJob, decide_range, later_documents
from smollm3_mix.text.dedup.dedup_options import Dedup, Near
from smollm3_mix.text.dedup.key_table import ring_positions
from smollm3_mix.text.dedup.minhash import signature_agreement

WHOLE = (0, 2**64 - 1)


def keys_file(path: Path, keys: list[list[int]], compared: bool = False) -> str:
    """A file of keys as pass one writes it, with one list of keys for each document."""
    held = [(np.array(keys, np.uint64), np.arange(len(keys)))]
    with path.open("wb") as sink, pa.ipc.new_file(sink, index_units.KEYS) as file:
        index_units._write(file, held, len(keys), len(keys[0]), compared)
    return str(path)


def later(tmp_path: Path, dedup: Dedup, low: int, high: int, *documents: list[list[int]]) -> list[tuple[int, int]]:
    """Unit and row of the documents that `decide_range` finds in the first column."""
    compared = dedup.near is not None and dedup.near.jaccard > 0
    files = tuple(keys_file(tmp_path / f"{n}.arrow", keys, compared) for n, keys in enumerate(documents))
    out = tmp_path / "later.arrow"
    decide_range(RangeJob(0, low, high, dedup, files, str(out)))
    unit, row = later_documents(out)
    return list(zip(unit.tolist(), row.tolist(), strict=True))


def test_find_duplicates_includes_both_ends_of_range(tmp_path: Path) -> None:
    one, two = [[11], [22], [33], [22]], [[33], [44], [11], [22]]
    every = np.array([11, 22, 33], np.uint64)
    at = dict(zip(every.tolist(), ring_positions(every, np.zeros(3, np.int64)).tolist(), strict=True))
    expected = {11: [(1, 2)], 22: [(0, 3), (1, 3)], 33: [(1, 0)]}
    for key, found in expected.items():
        assert later(tmp_path, Dedup(), at[key], at[key], one, two) == found
    low, middle, high = sorted(at, key=at.__getitem__)
    assert later(tmp_path, Dedup(), at[low], at[middle], one, two) == sorted(expected[low] + expected[middle])
    assert later(tmp_path, Dedup(), at[middle], at[high], one, two) == sorted(expected[middle] + expected[high])
    assert later(tmp_path, Dedup(), *WHOLE, one, two) == sorted(itertools.chain(*expected.values()))


def wide(*bands: int) -> list[int]:
    """Keys of bands of two minima, which differ in both where the numbers do."""
    return [band << 32 | band for band in bands]


def test_find_duplicates_compares_with_first_document_of_key(tmp_path: Path) -> None:
    first, like_first, like_second = wide(1, 2, 3, 4), wide(1, 2, 8, 9), wide(1, 7, 8, 9)
    near = Near(bands=4, rows=2, jaccard=0.4)
    dedup = Dedup(exact=False, near=near)
    assert later(tmp_path, dedup, *WHOLE, [first, like_first], [like_second]) == [(0, 1)]
    assert later(tmp_path, dedup, *WHOLE, [like_first, first], [like_second]) == [(0, 1), (1, 0)]


def test_find_duplicates_includes_similarity_equal_to_jaccard(tmp_path: Path) -> None:
    one, other = wide(1, 2, 3, 4), wide(1, 2, 8, 9)
    near = Near(bands=4, rows=2)
    (alike,) = signature_agreement(np.array([one], np.uint64), np.array([other], np.uint64), near).tolist()
    assert alike == pytest.approx(0.5)
    for jaccard, found in ((alike, [(0, 1)]), (np.nextafter(alike, 1), [])):
        dedup = Dedup(exact=False, near=Near(bands=4, rows=2, jaccard=float(jaccard)))
        assert later(tmp_path, dedup, *WHOLE, [one, other]) == found
