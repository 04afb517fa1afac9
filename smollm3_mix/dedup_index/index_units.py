"""Pass one: the keys of all documents of one unit, a part of a source's file, in a file of their own."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from smollm3_mix.errors import SourceError
from smollm3_mix.mix.block_pipeline import filter_raw_block
from smollm3_mix.network.urls import Token
from smollm3_mix.recipe.index_scope import index_scope, index_scope_digest, of_rows
from smollm3_mix.recipe.model import Block, Holdout, Source
from smollm3_mix.recipe.recipe import Recipe
from smollm3_mix.sources.block_reader import Reader
from smollm3_mix.sources.dedup_lookup import INDEX_VERSION
from smollm3_mix.sources.formats.byte_ranges import modification_key
from smollm3_mix.sources.resolved_recipe import ResolvedRecipe
from smollm3_mix.sources.source_files import ResolvedSource, ShardSlice
from smollm3_mix.text.decontamination import EvaluationNgrams
from smollm3_mix.text.dedup import duplicate_rows, key_table
from smollm3_mix.text.exclusion import ExclusionList

Keys = npt.NDArray[np.uint64]
Rows = npt.NDArray[np.uint32]

UNIT = 256 << 20
"""Bytes of a Parquet file that are one unit; files of other formats, which are read from their beginning, are whole."""

HELD = 64 << 20
"""Bytes of keys that are sorted and written at once."""

KEYS = pa.schema([("place", pa.uint64()), ("row", pa.uint32())])


class IndexUnit(NamedTuple):
    """A part of one file of a source.

    Attributes:
        source: id.
        file: number of the file among those of the source.
        start, stop: bytes of it; see `sources.Part`.
        name: of its file of keys: 32 hex digits over the file and all that decides on its rows.
    """

    source: str
    file: int
    start: int
    stop: int
    name: str


@dataclass(frozen=True)
class IndexUnitJob:
    """What pass one needs to know of a unit; picklable.

    Attributes:
        recipe: pinned; its dedup remembers.
        source: whose file it is.
        resolved: the source with this one file.
        part: of that file.
        out: file of keys.
        token: for the Hub.
        excluded: what must not come out.
        evaluation_ngrams: runs of words of evaluations, likewise.
    """

    recipe: Recipe
    source: Source
    resolved: ResolvedSource
    part: ShardSlice
    out: str
    token: Token = None
    excluded: ExclusionList | None = None
    evaluation_ngrams: EvaluationNgrams | None = None


class Segment(NamedTuple):
    """Documents that were written at once.

    Attributes:
        batch: all columns' keys end to end, schema KEYS; each column ascends by place, then row.
        ends: where each column ends; one more than there are columns, from 0.
        read: rows read for it.
        documents: those that have keys.
    """

    batch: pa.RecordBatch
    ends: list[int]
    read: int
    documents: int

    def column(self, number: int) -> tuple[Keys, Rows]:
        """uint64 and uint32: places and rows of a column, as they lie in the file."""
        place, row = self.batch.slice(self.ends[number], self.ends[number + 1] - self.ends[number]).columns
        return place.to_numpy(), row.to_numpy()

    def documents_keys(self, columns: int) -> tuple[Keys, Rows]:
        """uint64[documents, columns] and uint32[documents], ascending: all keys of each document, where they stand."""
        place, row = self.batch.slice(self.ends[-1]).columns
        return place.to_numpy().reshape(-1, columns), row.to_numpy()[::columns]


def remembering(recipe: Recipe) -> Recipe:
    """The recipe without index and holdout: both splits are compared with each other."""
    return recipe.replace(dedup=replace(recipe.dedup, index=None), holdout=Holdout())


def units(plan: ResolvedRecipe) -> list[IndexUnit]:
    """All units of the plan's sources: in order of sources, files and rows, which says who comes first."""
    whole = index_scope(plan.recipe)
    found = []
    for source in plan.recipe.active:
        resolved = plan.resolved[source.id]
        decides = [INDEX_VERSION, of_rows(whole, source.id), resolved.format, resolved.delimiter]
        for number, file in enumerate(resolved.files):
            step = UNIT if resolved.format == "parquet" else max(file.size, 1)
            for start in range(0, file.size, step):
                stop = min(start + step, file.size)
                name = index_scope_digest(
                    [*decides, file.path, file.size, file.sha256, modification_key(file), start, stop]
                )[:32]
                found.append(IndexUnit(source.id, number, start, stop, name))
    return found


def unit_jobs(plan: ResolvedRecipe, found: list[IndexUnit], folder: Path) -> Iterator[IndexUnitJob]:
    """What pass one has to do for each unit."""
    recipe = remembering(plan.recipe)
    sources = {source.id: source for source in recipe.active}
    for unit in found:
        resolved = plan.resolved[unit.source]
        one = replace(resolved, files=(resolved.files[unit.file],))
        part, out = ShardSlice(0, unit.start, unit.stop), str(folder / f"{unit.name}.arrow")
        yield IndexUnitJob(
            recipe, sources[unit.source], one, part, out, plan.token, plan.excluded, plan.evaluation_ngrams
        )


def read_unit(job: IndexUnitJob) -> None:
    """Write the keys of a unit's documents: of all rows that the recipe would give, were there no duplicates.

    The file is there whole or not at all. Memory: a block of text, and HELD bytes of keys three times.

    Raises:
        SourceError: the source cannot be read.
    """
    out = Path(job.out)
    aside = out.with_suffix(f".{os.getpid()}.tmp")
    reader = Reader(job.source, job.resolved, (job.part,), Block(), job.token, job.excluded)
    near, exact, columns = job.recipe.dedup.near, int(job.recipe.dedup.exact), job.recipe.dedup.keys
    compared = near is not None and near.jaccard > 0
    with aside.open("wb") as sink, pa.ipc.new_file(sink, KEYS) as file:
        held: list[tuple[Keys, npt.NDArray[np.int64]]] = []
        read = size = 0
        while (raw := reader.read()) is not None:
            read += len(raw.rows)
            prepared = filter_raw_block(raw, job.recipe, job.source, "train", job.evaluation_ngrams)
            if prepared.hashes is None:
                continue
            keys = np.empty((len(raw.rows), columns), np.uint64)
            if exact:
                keys[:, 0] = prepared.hashes[:, 0]
            if prepared.signatures is not None:
                keys[:, exact:] = prepared.signatures
            kept = prepared.reasons.is_null().to_numpy(zero_copy_only=False) & keys.any(axis=1)
            if raw.rows[-1] > duplicate_rows.MOST:
                raise SourceError(
                    f"source '{job.source.id}': {raw.file} has more than {duplicate_rows.MOST:,} rows, which an index "
                    "cannot number. Split the file, or leave `dedup.index` out."
                )
            held.append((keys[kept], raw.rows[kept]))
            size += held[-1][0].nbytes
            if size >= HELD:
                _write(file, held, read, columns, compared)
                held, read, size = [], 0, 0
        _write(file, held, read, columns, compared)
    reader.close()
    aside.replace(out)


def segments(path: str | Path) -> Iterator[Segment]:
    """What `read_unit` wrote, in order of rows, mapped into memory."""
    with pa.memory_map(str(path)) as source, pa.ipc.open_file(source) as file:
        for number in range(file.num_record_batches):
            batch, said = file.get_batch_with_custom_metadata(number)
            counts = json.loads(said[b"counts"])
            yield Segment(batch, counts["ends"], counts["read"], counts["documents"])


def is_whole(path: Path) -> bool:
    """Whether a file of keys is there and was not cut off since."""
    try:
        with pa.memory_map(str(path)) as source, pa.ipc.open_file(source):
            return True
    except (FileNotFoundError, pa.ArrowInvalid):
        return False


def _write(file: Any, held: list[tuple[Keys, npt.NDArray[np.int64]]], read: int, columns: int, compared: bool) -> None:
    """One segment. Where signatures are to be compared, all keys of each document stand behind the columns."""
    keys = np.concatenate([np.empty((0, columns), np.uint64), *(each for each, _ in held)])
    rows = np.concatenate([np.empty(0, np.int64), *(each for _, each in held)]).astype(np.uint32)
    place_of: list[Keys] = []
    row_of: list[Rows] = []
    ends = [0]
    for column in range(columns):
        mine = np.flatnonzero(keys[:, column])
        place = key_table.ring_positions(keys[mine, column], np.full(len(mine), column))
        order = np.argsort(place, kind="stable")
        place_of.append(place[order])
        row_of.append(rows[mine[order]])
        ends.append(ends[-1] + len(mine))
    if compared:
        place_of.append(keys.reshape(-1))
        row_of.append(np.repeat(rows, columns))
    counts = {"ends": ends, "read": read, "documents": len(rows)}
    batch = pa.RecordBatch.from_arrays([pa.array(np.concatenate(each)) for each in (place_of, row_of)], schema=KEYS)
    file.write_batch(batch, custom_metadata={"counts": json.dumps(counts)})
