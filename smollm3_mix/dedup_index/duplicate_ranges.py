"""Pass two: find the documents in a range of keys that are not the first with their key."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from smollm3_mix.dedup_index.index_units import Keys, read_segments
from smollm3_mix.text.dedup import minhash
from smollm3_mix.text.dedup.dedup_options import Dedup, Near

Ints = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.uint32]

KEY_BYTES = 64
"""Memory per key of a range: position 8, unit and row 8, the same again sorted, order 8, and memory of the sort."""

DUPLICATES = pa.schema([("unit", pa.uint32()), ("row", pa.uint32())])


@dataclass(frozen=True)
class RangeJob:
    """Job of pass two for one range of keys. Picklable.

    Attributes:
        column: Column of the keys. Exact comes first, then each band.
        low, high: First and last ring position of the range.
        dedup: Definition of a duplicate.
        keys: Files of keys in the order of units.
        out: File of the result.
    """

    column: int
    low: int
    high: int
    dedup: Dedup
    keys: tuple[str, ...]
    out: str


def find_duplicates(job: RangeJob) -> None:
    """Write unit and row of each document that shares a key of the range with an earlier document.

    Earlier means by unit, then by row. Every earlier document counts, duplicate or not. Ranges, columns and units can
    therefore be processed in any order, and at least the first of all documents that are connected by keys stays.

    With `near.jaccard`, the document must also be similar enough to the first document with the key. The file is
    written atomically.
    """
    near = job.dedup.near if job.column >= job.dedup.exact else None
    compared = near is not None and near.jaccard > 0
    later_units: list[Numbers] = []
    later_rows: list[Numbers] = []
    positions, units, rows = [np.empty(0, np.uint64)], [np.empty(0, np.uint32)], [np.empty(0, np.uint32)]
    for unit, path in enumerate(job.keys):
        for segment in read_segments(path):
            position, row = segment.column(job.column)
            begin, end = np.searchsorted(position, np.array([job.low], np.uint64))[0], len(position)
            if job.high < 2**64 - 1:
                end = np.searchsorted(position, np.array([job.high], np.uint64), side="right")[0]
            position, row = position[begin:end], row[begin:end]
            first = np.ones(len(position), np.bool_)
            if not compared:  # keep one document per key, so that frequent keys need no more memory than others
                np.not_equal(position[1:], position[:-1], out=first[1:])
                later_units.append(np.full(len(first) - np.count_nonzero(first), unit, np.uint32))
                later_rows.append(row[~first])
            positions.append(position[first])
            units.append(np.full(len(positions[-1]), unit, np.uint32))
            rows.append(row[first])
    position, unit_of, row_of = np.concatenate(positions), np.concatenate(units), np.concatenate(rows)
    order = np.argsort(position, kind="stable")  # merges sorted runs
    later = np.flatnonzero(position[order[1:]] == position[order[:-1]]) + 1
    if compared and near is not None and len(later):
        later = later[_is_similar(job, near, order, later, unit_of, row_of)]
    found = order[later]
    all_units = np.concatenate([*later_units, unit_of[found]])
    all_rows = np.concatenate([*later_rows, row_of[found]])
    sorting = np.lexsort((all_rows, all_units))
    _write(Path(job.out), all_units[sorting], all_rows[sorting])


def read_duplicates(path: str | Path) -> tuple[Numbers, Numbers]:
    """Return units and rows that `find_duplicates` found: two uint32 arrays, ascending, memory-mapped."""
    with pa.memory_map(str(path)) as source, pa.ipc.open_file(source) as file:
        unit, row = file.get_batch(0).columns
        return unit.to_numpy(), row.to_numpy()


def _is_similar(  # noqa: PLR0917 - called in one place only
    job: RangeJob, near: Near, order: Ints, later: Ints, units: Numbers, rows: Numbers
) -> npt.NDArray[np.bool_]:
    """Return bool[later]: whether each document is as similar to the first of its key as `near.jaccard` requires."""
    is_first = np.ones(len(order), np.bool_)
    is_first[later] = False
    first = np.maximum.accumulate(np.where(is_first, np.arange(len(order)), 0))
    one = _signatures(job, units[order[later]], rows[order[later]])
    other = _signatures(job, units[order[first[later]]], rows[order[first[later]]])
    return np.asarray(minhash.signature_agreement(one, other, near) >= near.jaccard)


def _signatures(job: RangeJob, units: Numbers, rows: Numbers) -> Keys:
    """Return the band keys of documents by unit and row: uint64[documents, bands]."""
    columns = job.dedup.keys_per_document
    found = np.zeros((len(rows), columns), np.uint64)
    for unit in np.unique(units).tolist():
        mine = np.flatnonzero(units == unit)
        for segment in read_segments(job.keys[unit]):
            keys, numbers = segment.documents_keys(columns)
            if len(numbers):
                index = np.minimum(np.searchsorted(numbers, rows[mine]), len(numbers) - 1)
                here = numbers[index] == rows[mine]
                found[mine[here]] = keys[index[here]]
    return found[:, int(job.dedup.exact) :]


def _write(out: Path, units: Numbers, rows: Numbers) -> None:
    temporary = out.with_suffix(f".{os.getpid()}.tmp")
    with temporary.open("wb") as sink, pa.ipc.new_file(sink, DUPLICATES) as file:
        file.write_batch(pa.RecordBatch.from_arrays([pa.array(units), pa.array(rows)], schema=DUPLICATES))
    temporary.replace(out)
