"""Read the rows of a Parquet file from any row on. Reads only the needed columns and decodes parts of row groups."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from smollm3_mix.network.urls import Token
from smollm3_mix.recipe.model import Source
from smollm3_mix.sources.formats.byte_ranges import RangedFile, local_path, modification_key
from smollm3_mix.sources.formats.column_binding import Columns, bind, bind_rows, bound, rejected_rows
from smollm3_mix.sources.formats.predicates import may_match
from smollm3_mix.sources.source_files import ReadRequest, SourceFile

LOCAL_BUFFER = 1 << 17
"""Bytes to read at once from each column of a local file. Idle readers keep this buffer, and more is not faster."""

REMOTE_BUFFER = 1 << 22
"""Bytes to read at once from each column of a remote file, where a request costs more than its bytes."""

PREFETCHED = 1 << 23
"""Maximum compressed bytes of the needed columns for which a remote row group is fetched at once, in merged
requests."""

DECODED_AT_ONCE = 1 << 23
"""Maximum bytes of the needed columns for which a row group is decoded at once. A running decoder needs more memory: it
keeps two copies of a dictionary of the first thousand texts."""

MIN_STEP = 16
"""Minimum number of rows to decode at once, however long they are."""

FOOTER_BYTES = 1 << 24
"""Bytes of serialized footers to cache, for lanes that share a file and for readers that return to one."""

_footers: OrderedDict[tuple[str, str], Any] = OrderedDict()
_lock = threading.Lock()


def footer(file: SourceFile, token: Token = None) -> pq.FileMetaData:
    """Return the metadata of a file. Cached."""
    key = file.url, modification_key(file)
    with _lock:
        if key in _footers:
            _footers.move_to_end(key)
            return _footers[key]
    found = pq.ParquetFile(RangedFile(file, token)).metadata
    with _lock:
        _footers[key] = found
        while len(_footers) > 1 and sum(kept.serialized_size for kept in _footers.values()) > FOOTER_BYTES:
            _footers.popitem(last=False)
    return found


def read(request: ReadRequest) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a shard slice in schema ROWS, from `row` on, in batches of about the requested size.

    Raises:
        SourceFault: If a column is missing or cannot be compared.
        pa.ArrowException, OSError: If the file cannot be read.
    """
    file, shard_slice = request.file, request.shard_slice
    metadata = footer(file, request.token)
    columns = bound(request, metadata.schema.to_arrow_schema().names)
    leaves = _leaves(metadata, columns)
    edges = _edges(metadata)
    weights = [_weight(metadata.row_group(group), leaves) for group in range(metadata.num_row_groups)]
    row = max(request.row, cut(edges, weights, shard_slice.start, file.size))
    stop = cut(edges, weights, shard_slice.stop, file.size)
    while row < stop:
        group = bisect_right(edges, row) - 1
        end = min(edges[group + 1], stop)
        if _may_match(metadata.row_group(group), leaves, columns):
            yield from _group(request, metadata, group, columns, range(row - edges[group], end - edges[group]))
        else:
            for start in range(row, end, request.rows):
                yield rejected_rows(np.arange(start, min(start + request.rows, end), dtype=np.int64))
        row = end


def held_bytes(source: Source, file: SourceFile, token: Token = None) -> int:
    """Return about the bytes that a reader keeps between two blocks: the needed columns of a row group."""
    metadata = footer(file, token)
    leaves = _leaves(metadata, bind(source, metadata.schema.to_arrow_schema().names))
    groups = range(metadata.num_row_groups)
    return min(max((_weight(metadata.row_group(group), leaves) for group in groups), default=0), 2 * DECODED_AT_ONCE)


def cut(edges: list[int], weights: list[int], offset: int, size: int) -> int:
    """Return the row at byte `offset` of a file, in proportion to the text in its row groups.

    Args:
        edges: First row of each row group, followed by the number of rows.
        weights: Bytes of text in each row group.
        offset: Byte offset. 0 gives row 0, `size` gives the number of rows.
        size: Bytes of the file.
    """
    if offset >= size:
        return edges[-1]
    left = sum(weights) * offset // size
    for group, weight in enumerate(weights):
        if left < weight:
            return edges[group] + (edges[group + 1] - edges[group]) * left // weight
        left -= weight
    return edges[-1]


def _group(
    request: ReadRequest, metadata: pq.FileMetaData, group: int, columns: Columns, wanted: range
) -> Iterator[pa.RecordBatch]:
    """Yield the wanted rows of a row group. `wanted` counts from its first row."""
    file, info = request.file, metadata.row_group(group)
    leaves = _leaves(metadata, columns)
    chunks = [info.column(leaf) for leaf in leaves]
    at_once = local_path(file) is None and sum(chunk.total_compressed_size for chunk in chunks) <= PREFETCHED
    opened = pq.ParquetFile(
        RangedFile(file, request.token),
        metadata=metadata,
        pre_buffer=at_once,
        buffer_size=0 if at_once else LOCAL_BUFFER if local_path(file) else REMOTE_BUFFER,
        page_checksum_verification=True,
    )
    size = sum(chunk.total_uncompressed_size for chunk in chunks)
    step = min(max(request.bytes * info.num_rows // max(size, 1), MIN_STEP), request.rows)
    batches = opened.iter_batches(
        info.num_rows if size <= DECODED_AT_ONCE else step,
        row_groups=[group],
        columns=list(leaves.values()),
        use_threads=False,
    )
    if size <= DECODED_AT_ONCE:
        batches = iter(list(batches))  # frees the decoder
    first = sum(metadata.row_group(before).num_rows for before in range(group))
    done = 0
    for batch in batches:
        low, high = max(wanted.start - done, 0), min(wanted.stop - done, len(batch))
        for start in range(low, high, step):
            some = batch.slice(start, min(step, high - start))
            row = first + done + start
            yield bind_rows(some, columns, np.arange(row, row + len(some), dtype=np.int64))
        done += len(batch)
        if done >= wanted.stop:
            return


def _edges(metadata: pq.FileMetaData) -> list[int]:
    counts = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
    return [0, *np.cumsum(counts, dtype=np.int64).tolist()]


def _leaves(metadata: pq.FileMetaData, columns: Columns) -> dict[int, str]:
    """Return number and path of the needed leaf columns. `a.b` also matches `a.list.element.b`, a list."""
    found = {}
    for number in range(len(metadata.schema)):
        full = metadata.schema.column(number).path
        for path in columns.paths:
            names = iter(full.removeprefix(path[0]).split("."))
            if (full == path[0] or full.startswith(path[0] + ".")) and all(name in names for name in path[1:]):
                found[number] = full
    return found


def sizes(metadata: pq.FileMetaData, columns: Columns) -> tuple[int, int]:
    """Return the uncompressed bytes of the text columns, at least 1, and the stored bytes of all needed ones."""
    texts = _leaves(metadata, replace(columns, id=None, where=(), keep=(), exclusions=None))
    groups = [metadata.row_group(group) for group in range(metadata.num_row_groups)]
    read = sum(int(group.column(leaf).total_compressed_size) for group in groups for leaf in _leaves(metadata, columns))
    return max(sum(_weight(group, texts) for group in groups), 1), read


def _weight(group: pq.RowGroupMetaData, leaves: dict[int, str]) -> int:
    """Return the uncompressed bytes of the needed columns, at least 1."""
    return max(sum(int(group.column(leaf).total_uncompressed_size) for leaf in leaves), 1)


def _may_match(group: pq.RowGroupMetaData, leaves: dict[int, str], columns: Columns) -> bool:
    """Return False if the statistics of the group's plain columns show that no row can meet every condition."""
    numbers = {full: leaf for leaf, full in leaves.items()}
    for where in columns.where:
        leaf = numbers.get(".".join(where.path))
        statistics = None if leaf is None else group.column(leaf).statistics
        if statistics is None or not statistics.has_min_max:
            continue
        if not may_match(where, statistics.min, statistics.max):
            return False
    return True
