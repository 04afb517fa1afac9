"""Pass one: write the keys of all documents of an index unit, a part of a source's file, to a file."""

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
from smollm3_mix.recipe.curriculum import AnyRecipe
from smollm3_mix.recipe.index_scope import index_scope, index_scope_digest, of_rows
from smollm3_mix.recipe.model import Block, Holdout, Source
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

UNIT_BYTES = 256 << 20
"""Bytes of a Parquet file per unit. Files of other formats are read from their start, so they are one unit."""

SEGMENT_BYTES = 64 << 20
"""Bytes of keys that are sorted and written at once."""

KEYS = pa.schema([("position", pa.uint64()), ("row", pa.uint32())])


class IndexUnit(NamedTuple):
    """A part of one file of a source.

    Attributes:
        source: Id of the source.
        file: Number of the file in the source.
        start, stop: Bytes of the file; see `ShardSlice`.
        name: Name of the file of keys: 32 hex digits over the file and everything that decides its rows.
    """

    source: str
    file: int
    start: int
    stop: int
    name: str


@dataclass(frozen=True)
class IndexUnitJob:
    """Job of pass one for one unit. Picklable.

    Attributes:
        recipe: Pinned recipe without index and holdout.
        source: Source of the file.
        resolved: Source with this file only.
        shard_slice: Slice of the file.
        out: File of keys.
        token: Hugging Face access token.
        excluded: Exclusion list.
        evaluation_ngrams: Word n-grams of the evaluation texts.
    """

    recipe: AnyRecipe
    source: Source
    resolved: ResolvedSource
    shard_slice: ShardSlice
    out: str
    token: Token = None
    excluded: ExclusionList | None = None
    evaluation_ngrams: EvaluationNgrams | None = None


class Segment(NamedTuple):
    """Keys of documents that were written together.

    Attributes:
        batch: Keys of all columns in sequence, with schema KEYS. Each column ascends by ring position, then row.
        ends: Ends of the columns, with a leading 0.
        read: Number of rows read.
        documents: Number of documents with keys.
    """

    batch: pa.RecordBatch
    ends: list[int]
    read: int
    documents: int

    def column(self, number: int) -> tuple[Keys, Rows]:
        """Return ring positions (uint64) and rows (uint32) of a column."""
        position, row = self.batch.slice(self.ends[number], self.ends[number + 1] - self.ends[number]).columns
        return position.to_numpy(), row.to_numpy()

    def documents_keys(self, columns: int) -> tuple[Keys, Rows]:
        """Return all keys, uint64[documents, columns], and rows, uint32[documents]. Only with `near.jaccard`."""
        position, row = self.batch.slice(self.ends[-1]).columns
        return position.to_numpy().reshape(-1, columns), row.to_numpy()[::columns]


def without_index(recipe: AnyRecipe) -> AnyRecipe:
    """Return the recipe without index and holdout, because both splits are compared with each other."""
    return recipe.replace(dedup=replace(recipe.dedup, index=None), holdout=Holdout())


def index_units(resolved_recipe: ResolvedRecipe) -> list[IndexUnit]:
    """Return all units in order of sources, files and rows. This order decides which document comes first."""
    scope = index_scope(resolved_recipe.recipe)
    found = []
    for source in resolved_recipe.recipe.active:
        resolved = resolved_recipe.sources[source.id]
        inputs = [INDEX_VERSION, of_rows(scope, source.id), resolved.format, resolved.delimiter]
        for number, file in enumerate(resolved.files):
            step = UNIT_BYTES if resolved.format == "parquet" else max(file.size, 1)
            for start in range(0, file.size, step):
                stop = min(start + step, file.size)
                name = index_scope_digest(
                    [*inputs, file.path, file.size, file.sha256, modification_key(file), start, stop]
                )[:32]
                found.append(IndexUnit(source.id, number, start, stop, name))
    return found


def unit_jobs(resolved_recipe: ResolvedRecipe, units: list[IndexUnit], folder: Path) -> Iterator[IndexUnitJob]:
    """Yield the job of each unit."""
    recipe = without_index(resolved_recipe.recipe)
    sources = {source.id: source for source in recipe.active}
    for unit in units:
        resolved = resolved_recipe.sources[unit.source]
        one = replace(resolved, files=(resolved.files[unit.file],))
        yield IndexUnitJob(
            recipe,
            sources[unit.source],
            one,
            ShardSlice(0, unit.start, unit.stop),
            str(folder / f"{unit.name}.arrow"),
            resolved_recipe.token,
            resolved_recipe.excluded,
            resolved_recipe.evaluation_ngrams,
        )


def read_unit(job: IndexUnitJob) -> None:
    """Write the keys of a unit's documents, which are all rows that the recipe would emit without dedup.

    The file is written atomically. Memory: a block of text, and three times SEGMENT_BYTES.

    Raises:
        SourceError: If the source cannot be read.
    """
    out = Path(job.out)
    temporary = out.with_suffix(f".{os.getpid()}.tmp")
    reader = Reader(job.source, job.resolved, (job.shard_slice,), Block(), job.token, job.excluded)
    near, exact, columns = job.recipe.dedup.near, int(job.recipe.dedup.exact), job.recipe.dedup.keys_per_document
    compared = near is not None and near.jaccard > 0
    with temporary.open("wb") as sink, pa.ipc.new_file(sink, KEYS) as file:
        pending: list[tuple[Keys, npt.NDArray[np.int64]]] = []
        read = size = 0
        while (raw := reader.read()) is not None:
            read += len(raw.rows)
            filtered = filter_raw_block(raw, job.recipe, job.source, "train", job.evaluation_ngrams)
            if filtered.hashes is None:
                continue
            keys = np.empty((len(raw.rows), columns), np.uint64)
            if exact:
                keys[:, 0] = filtered.hashes[:, 0]
            if filtered.signatures is not None:
                keys[:, exact:] = filtered.signatures
            kept = filtered.reasons.is_null().to_numpy(zero_copy_only=False) & keys.any(axis=1)
            if raw.rows[-1] > duplicate_rows.MAX_ROW:
                raise SourceError(
                    f"source '{job.source.id}': {raw.file} has more than {duplicate_rows.MAX_ROW:,} rows, which an "
                    "index cannot number. Split the file, or leave `dedup.index` out."
                )
            pending.append((keys[kept], raw.rows[kept]))
            size += pending[-1][0].nbytes
            if size >= SEGMENT_BYTES:
                _write(file, pending, read, columns, compared)
                pending, read, size = [], 0, 0
        _write(file, pending, read, columns, compared)
    reader.close()
    temporary.replace(out)


def read_segments(path: str | Path) -> Iterator[Segment]:
    """Yield the segments that `read_unit` wrote, in order of rows, memory-mapped."""
    with pa.memory_map(str(path)) as source, pa.ipc.open_file(source) as file:
        for number in range(file.num_record_batches):
            batch, metadata = file.get_batch_with_custom_metadata(number)
            counts = json.loads(metadata[b"counts"])
            yield Segment(batch, counts["ends"], counts["read"], counts["documents"])


def is_complete(path: Path) -> bool:
    """Return True if a file of keys exists and is not truncated."""
    try:
        with pa.memory_map(str(path)) as source, pa.ipc.open_file(source):
            return True
    except (FileNotFoundError, pa.ArrowInvalid):
        return False


def _write(
    file: Any, pending: list[tuple[Keys, npt.NDArray[np.int64]]], read: int, columns: int, compared: bool
) -> None:
    """Write one segment. To compare signatures, all keys of each document follow the columns."""
    keys = np.concatenate([np.empty((0, columns), np.uint64), *(each for each, _ in pending)])
    rows = np.concatenate([np.empty(0, np.int64), *(each for _, each in pending)]).astype(np.uint32)
    position_of: list[Keys] = []
    row_of: list[Rows] = []
    ends = [0]
    for column in range(columns):
        mine = np.flatnonzero(keys[:, column])
        position = key_table.ring_positions(keys[mine, column], np.full(len(mine), column))
        order = np.argsort(position, kind="stable")
        position_of.append(position[order])
        row_of.append(rows[mine[order]])
        ends.append(ends[-1] + len(mine))
    if compared:
        position_of.append(keys.reshape(-1))
        row_of.append(np.repeat(rows, columns))
    counts = {"ends": ends, "read": read, "documents": len(rows)}
    batch = pa.RecordBatch.from_arrays([pa.array(np.concatenate(each)) for each in (position_of, row_of)], schema=KEYS)
    file.write_batch(batch, custom_metadata={"counts": json.dumps(counts)})
