"""Files of every format, and the expected results of readers in plain Python."""

import bz2
import gzip
import json
import lzma
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from smollm3_mix.recipe.model import Block, Source
from smollm3_mix.sources.block_reader import RawBlock, Reader
from smollm3_mix.sources.partition import partition_source
from smollm3_mix.sources.source_files import Cursor, ResolvedSource, SourceFile


def source(**changes: Any) -> Source:
    return Source(**{"id": "s", "weight": 1.0, "name": "data", **changes})


def resolved(*paths: Path, form: str = "parquet", delimiter: str = ",") -> ResolvedSource:
    files = tuple(SourceFile(f"data/{path.name}", str(path), path.stat().st_size) for path in paths)
    return ResolvedSource("s", form, "files-000000000000", files, delimiter)


def reader(found: ResolvedSource, lane: int = 0, lanes: int = 1, block: Block | None = None, **changes: Any) -> Reader:
    return Reader(source(**changes), found, partition_source(found, lanes, 0, True)[lane], block or Block())


def blocks(opened: Reader) -> list[RawBlock]:
    return list(iter(opened.read, None))


def rows(found: list[RawBlock]) -> list[tuple[str, int, str | None, str | None]]:
    """Return (file, row, text, reason) of every row."""
    return [
        (block.file, row, text, reason)
        for block in found
        for row, text, reason in zip(
            block.rows.tolist(), block.texts.to_pylist(), block.reasons.to_pylist(), strict=True
        )
    ]


def expected_sizes(texts: list[str | None], block: Block) -> list[int]:
    """Return the number of rows of each block by the block rule."""
    sizes, count, filled = [], 0, 0
    for text in texts:
        count, filled = count + 1, filled + len((text or "").encode())
        if count == block.rows or filled >= block.bytes:
            sizes.append(count)
            count = filled = 0
    return [*sizes, count] if count else sizes


def write(path: Path, records: list[dict[str, Any]], groups: list[int] | None = None) -> Path:
    """Write a file in the format of its endings. `groups` has the rows of Parquet row groups or Arrow batches."""
    schema = _schema(records)
    if path.suffix == ".parquet":
        with pq.ParquetWriter(path, schema) as writer:
            for batch in _split(records, groups):
                writer.write_table(pa.Table.from_pylist(batch, schema=schema))
    elif path.suffix in {".arrow", ".stream"}:
        make = pa.ipc.new_file if path.suffix == ".arrow" else pa.ipc.new_stream
        with make(str(path), schema) as writer:
            for batch in _split(records, groups):
                writer.write_batch(pa.RecordBatch.from_pylist(batch, schema=schema))
    elif ".csv" in path.suffixes:
        sink = pa.BufferOutputStream()
        pyarrow.csv.write_csv(pa.Table.from_pylist(records, schema=schema), sink)
        path.write_bytes(packed(path, sink.getvalue().to_pybytes()))
    else:
        text = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
        path.write_bytes(packed(path, text.encode()))
    return path


def packed(path: Path, data: bytes) -> bytes:
    """Return the data compressed by the last ending. gzip has two members, as from `cat a.gz b.gz`."""
    if path.suffix == ".zst":
        return pa.compress(data, "zstd", asbytes=True) if data else b""
    half = len(data) // 2
    if path.suffix == ".gz":
        return gzip.compress(data[:half]) + gzip.compress(data[half:])
    pack = {".bz2": bz2.compress, ".xz": lzma.compress}.get(path.suffix)
    return pack(data) if pack else data


def _schema(records: list[dict[str, Any]]) -> pa.Schema:
    return pa.Table.from_pylist(records).schema if records else pa.schema([("text", pa.string())])


def _split(records: list[dict[str, Any]], groups: list[int] | None) -> list[list[dict[str, Any]]]:
    if not groups:
        return [records]
    edges = np.cumsum([0, *groups])
    return [records[a:b] for a, b in zip(edges, [*edges[1:], len(records)], strict=True) if records[a:b]]


def start() -> Cursor:
    return Cursor(0, 0)
