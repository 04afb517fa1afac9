"""Pass two: of all documents whose keys lie in one range, those that are not the first with a key."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from smollm3_mix.dedup_index.index_units import Keys, segments
from smollm3_mix.text.dedup import minhash
from smollm3_mix.text.dedup.dedup_options import Dedup, Near

Ints = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.uint32]

BYTES = 64
"""Bytes that a key takes while its range is decided: place 8, unit and row 8, and the same again sorted, order 8, and
what sorting takes."""

LATER = pa.schema([("unit", pa.uint32()), ("row", pa.uint32())])


@dataclass(frozen=True)
class RangeJob:
    """What pass two needs to know of a range of keys; picklable.

    Attributes:
        column: of the keys: exact first, then each band.
        low, high: places of the range, both included.
        dedup: what a duplicate is.
        keys: files of keys, in the order of units.
        out: file of the result.
    """

    column: int
    low: int
    high: int
    dedup: Dedup
    keys: tuple[str, ...]
    out: str


def decide_range(job: RangeJob) -> None:
    """Write unit and row of each document that has a key of the range which an earlier document has too.

    Earlier is by unit, then row. Any earlier document counts, dropped or not: so ranges, columns and units can be gone
    through in any order, and of all documents that hang together by keys at least the first stays.

    With `near.jaccard`, it must also be as alike to the first that has the key. The file is there whole or not at all.
    """
    near = job.dedup.near if job.column >= job.dedup.exact else None
    compared = near is not None and near.jaccard > 0
    later_units: list[Numbers] = []
    later_rows: list[Numbers] = []
    places, units, rows = [np.empty(0, np.uint64)], [np.empty(0, np.uint32)], [np.empty(0, np.uint32)]
    for unit, path in enumerate(job.keys):
        for segment in segments(path):
            place, row = segment.column(job.column)
            begin, end = np.searchsorted(place, np.array([job.low], np.uint64))[0], len(place)
            if job.high < 2**64 - 1:
                end = np.searchsorted(place, np.array([job.high], np.uint64), side="right")[0]
            place, row = place[begin:end], row[begin:end]
            first = np.ones(len(place), np.bool_)
            if not compared:  # one of a kind goes on: a key that many documents have takes no more room than others
                np.not_equal(place[1:], place[:-1], out=first[1:])
                later_units.append(np.full(len(first) - np.count_nonzero(first), unit, np.uint32))
                later_rows.append(row[~first])
            places.append(place[first])
            units.append(np.full(len(places[-1]), unit, np.uint32))
            rows.append(row[first])
    place, unit_of, row_of = np.concatenate(places), np.concatenate(units), np.concatenate(rows)
    order = np.argsort(place, kind="stable")  # merges runs that ascend already
    later = np.flatnonzero(place[order[1:]] == place[order[:-1]]) + 1
    if compared and near is not None and len(later):
        later = later[_alike(job, near, order, later, unit_of, row_of)]
    found = order[later]
    all_units = np.concatenate([*later_units, unit_of[found]])
    all_rows = np.concatenate([*later_rows, row_of[found]])
    sorting = np.lexsort((all_rows, all_units))
    _write(Path(job.out), all_units[sorting], all_rows[sorting])


def later_documents(path: str | Path) -> tuple[Numbers, Numbers]:
    """uint32 and uint32: unit and row of what `decide_range` found, ascending, mapped into memory."""
    with pa.memory_map(str(path)) as source, pa.ipc.open_file(source) as file:
        unit, row = file.get_batch(0).columns
        return unit.to_numpy(), row.to_numpy()


def _alike(  # noqa: PLR0917 - called in one place only
    job: RangeJob, near: Near, order: Ints, later: Ints, units: Numbers, rows: Numbers
) -> npt.NDArray[np.bool_]:
    """bool[later]: whether each is as alike to the first of its key as `near.jaccard` asks."""
    begins = np.ones(len(order), np.bool_)
    begins[later] = False
    first = np.maximum.accumulate(np.where(begins, np.arange(len(order)), 0))
    one = _signatures(job, units[order[later]], rows[order[later]])
    other = _signatures(job, units[order[first[later]]], rows[order[first[later]]])
    return np.asarray(minhash.signature_agreement(one, other, near) >= near.jaccard)


def _signatures(job: RangeJob, units: Numbers, rows: Numbers) -> Keys:
    """uint64[documents, bands]: band keys of documents given by unit and row."""
    columns = job.dedup.keys
    found = np.zeros((len(rows), columns), np.uint64)
    for unit in np.unique(units).tolist():
        mine = np.flatnonzero(units == unit)
        for segment in segments(job.keys[unit]):
            keys, numbers = segment.documents_keys(columns)
            if len(numbers):
                place = np.minimum(np.searchsorted(numbers, rows[mine]), len(numbers) - 1)
                here = numbers[place] == rows[mine]
                found[mine[here]] = keys[place[here]]
    return found[:, int(job.dedup.exact) :]


def _write(out: Path, units: Numbers, rows: Numbers) -> None:
    aside = out.with_suffix(f".{os.getpid()}.tmp")
    with aside.open("wb") as sink, pa.ipc.new_file(sink, LATER) as file:
        file.write_batch(pa.RecordBatch.from_arrays([pa.array(units), pa.array(rows)], schema=LATER))
    aside.replace(out)
