"""Pass two of a dedup index: documents of a range of keys that are not the first with their key."""

import itertools
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from smollm3_mix.dedup_index import index_units
from smollm3_mix.dedup_index.duplicate_ranges import RangeJob, find_duplicates, read_duplicates
from smollm3_mix.text.dedup.dedup_options import Dedup, Near
from smollm3_mix.text.dedup.key_table import ring_positions
from smollm3_mix.text.dedup.minhash import signature_agreement

ALL_KEYS = (0, 2**64 - 1)


def keys_file(path: Path, keys: list[list[int]], compared: bool = False) -> str:
    """Write a file of keys as pass one does, with one list of keys per document."""
    pending = [(np.array(keys, np.uint64), np.arange(len(keys)))]
    with path.open("wb") as sink, pa.ipc.new_file(sink, index_units.KEYS) as file:
        index_units._write(file, pending, len(keys), len(keys[0]), compared)
    return str(path)


def duplicates(tmp_path: Path, dedup: Dedup, low: int, high: int, *documents: list[list[int]]) -> list[tuple[int, int]]:
    """Return unit and row of the documents that `find_duplicates` finds in the first column."""
    compared = dedup.near is not None and dedup.near.jaccard > 0
    files = tuple(keys_file(tmp_path / f"{n}.arrow", keys, compared) for n, keys in enumerate(documents))
    out = tmp_path / "duplicates.arrow"
    find_duplicates(RangeJob(0, low, high, dedup, files, str(out)))
    unit, row = read_duplicates(out)
    return list(zip(unit.tolist(), row.tolist(), strict=True))


def test_find_duplicates_includes_both_ends_of_range(tmp_path: Path) -> None:
    one, two = [[11], [22], [33], [22]], [[33], [44], [11], [22]]
    every = np.array([11, 22, 33], np.uint64)
    positions = dict(zip(every.tolist(), ring_positions(every, np.zeros(3, np.int64)).tolist(), strict=True))
    expected = {11: [(1, 2)], 22: [(0, 3), (1, 3)], 33: [(1, 0)]}
    for key, found in expected.items():
        assert duplicates(tmp_path, Dedup(), positions[key], positions[key], one, two) == found
    low, middle, high = sorted(positions, key=positions.__getitem__)
    assert duplicates(tmp_path, Dedup(), positions[low], positions[middle], one, two) == sorted(
        expected[low] + expected[middle]
    )
    assert duplicates(tmp_path, Dedup(), positions[middle], positions[high], one, two) == sorted(
        expected[middle] + expected[high]
    )
    assert duplicates(tmp_path, Dedup(), *ALL_KEYS, one, two) == sorted(itertools.chain(*expected.values()))


def band_keys(*bands: int) -> list[int]:
    """Return keys of bands with two minima. Both minima of a band are its number."""
    return [band << 32 | band for band in bands]


def test_find_duplicates_compares_with_first_document_of_key(tmp_path: Path) -> None:
    first, like_first, like_second = band_keys(1, 2, 3, 4), band_keys(1, 2, 8, 9), band_keys(1, 7, 8, 9)
    near = Near(bands=4, rows=2, jaccard=0.4)
    dedup = Dedup(exact=False, near=near)
    assert duplicates(tmp_path, dedup, *ALL_KEYS, [first, like_first], [like_second]) == [(0, 1)]
    assert duplicates(tmp_path, dedup, *ALL_KEYS, [like_first, first], [like_second]) == [(0, 1), (1, 0)]


def test_find_duplicates_includes_similarity_equal_to_jaccard(tmp_path: Path) -> None:
    one, other = band_keys(1, 2, 3, 4), band_keys(1, 2, 8, 9)
    near = Near(bands=4, rows=2)
    (similarity,) = signature_agreement(np.array([one], np.uint64), np.array([other], np.uint64), near).tolist()
    assert similarity == pytest.approx(0.5)
    for jaccard, found in ((similarity, [(0, 1)]), (np.nextafter(similarity, 1), [])):
        dedup = Dedup(exact=False, near=Near(bands=4, rows=2, jaccard=float(jaccard)))
        assert duplicates(tmp_path, dedup, *ALL_KEYS, [one, other]) == found
