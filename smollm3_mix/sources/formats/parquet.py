"""Rows of a Parquet file from any row on: only the needed columns, a part of a row group at a time."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from smollm3_mix.network.urls import Token
from smollm3_mix.sources.formats.byte_ranges import RangedFile, local, state
from smollm3_mix.sources.formats.column_binding import Columns, bind, bound, dropped, rows
from smollm3_mix.sources.formats.predicates import possible
from smollm3_mix.sources.source_files import ReadRequest, SourceFile

if TYPE_CHECKING:
    from smollm3_mix.recipe.model import Source

LOCAL_BUFFER = 1 << 17
"""Bytes read at once from each column of a local file; more is no faster, and idle readers hold it."""

REMOTE_BUFFER = 1 << 22
"""The same for remote files, where a request costs more than the bytes."""

WHOLE = 1 << 23
"""Remote row groups with at most so many compressed bytes in the needed columns are fetched at once, in merged
requests."""

SMALL = 1 << 23
"""Row groups with at most so many bytes in the needed columns are decoded whole: a decoder at work holds more, namely a
dictionary of the first thousand texts, twice."""

STEP = 16
"""Fewest rows decoded at once, however long."""

FOOTERS = 1 << 24
"""Bytes of footers kept, as serialised: the lanes that share a file, and readers that come back to it, read it once."""

_footers: OrderedDict[tuple[str, str], Any] = OrderedDict()
_lock = threading.Lock()


def footer(file: SourceFile, token: Token = None) -> pq.FileMetaData:
    """The file's metadata, kept for the next who asks."""
    known = file.url, state(file)
    with _lock:
        if known in _footers:
            _footers.move_to_end(known)
            return _footers[known]
    found = pq.ParquetFile(RangedFile(file, token)).metadata
    with _lock:
        _footers[known] = found
        while len(_footers) > 1 and sum(kept.serialized_size for kept in _footers.values()) > FOOTERS:
            _footers.popitem(last=False)
    return found


def read(span: ReadRequest) -> Iterator[pa.RecordBatch]:
    """Rows of schema ROWS, those of the part from `row` on, in batches of about the size asked for.

    Raises:
        Fault: a column is missing or cannot be compared.
        pa.ArrowException, OSError: the file cannot be read.
    """
    file, part = span.file, span.part
    metadata = footer(file, span.token)
    columns = bound(span, metadata.schema.to_arrow_schema().names)
    leaves = _leaves(metadata, columns)
    edges = _edges(metadata)
    weights = [_weight(metadata.row_group(group), leaves) for group in range(metadata.num_row_groups)]
    row = max(span.row, cut(edges, weights, part.start, file.size))
    stop = cut(edges, weights, part.stop, file.size)
    while row < stop:
        group = bisect_right(edges, row) - 1
        end = min(edges[group + 1], stop)
        if _possible(metadata.row_group(group), leaves, columns):
            yield from _group(span, metadata, group, columns, range(row - edges[group], end - edges[group]))
        else:
            for start in range(row, end, span.rows):
                yield dropped(np.arange(start, min(start + span.rows, end), dtype=np.int64))
        row = end


def held(source: Source, file: SourceFile, token: Token = None) -> int:
    """About the bytes that a reader of the file keeps from one block to the next: a row group's needed columns."""
    metadata = footer(file, token)
    leaves = _leaves(metadata, bind(source, metadata.schema.to_arrow_schema().names))
    groups = range(metadata.num_row_groups)
    return min(max((_weight(metadata.row_group(group), leaves) for group in groups), default=0), 2 * SMALL)


def cut(edges: list[int], weights: list[int], place: int, size: int) -> int:
    """The row that lies at byte `place` of a file of `size` bytes, by the text in its row groups.

    Args:
        edges: first row of each row group, and the number of rows.
        weights: bytes of text in each row group.
        place: 0 gives row 0, `size` the number of rows.
        size: bytes of the file.
    """
    if place >= size:
        return edges[-1]
    left = sum(weights) * place // size
    for group, weight in enumerate(weights):
        if left < weight:
            return edges[group] + (edges[group + 1] - edges[group]) * left // weight
        left -= weight
    return edges[-1]


def _group(
    span: ReadRequest, metadata: pq.FileMetaData, group: int, columns: Columns, wanted: range
) -> Iterator[pa.RecordBatch]:
    """The wanted rows of a row group, counted from its first."""
    file, info = span.file, metadata.row_group(group)
    leaves = _leaves(metadata, columns)
    chunks = [info.column(leaf) for leaf in leaves]
    whole = local(file) is None and sum(chunk.total_compressed_size for chunk in chunks) <= WHOLE
    opened = pq.ParquetFile(
        RangedFile(file, span.token),
        metadata=metadata,
        pre_buffer=whole,
        buffer_size=0 if whole else LOCAL_BUFFER if local(file) else REMOTE_BUFFER,
        page_checksum_verification=True,
    )
    size = sum(chunk.total_uncompressed_size for chunk in chunks)
    step = min(max(span.bytes * info.num_rows // max(size, 1), STEP), span.rows)
    batches = opened.iter_batches(
        info.num_rows if size <= SMALL else step, row_groups=[group], columns=list(leaves.values()), use_threads=False
    )
    if size <= SMALL:
        batches = iter(list(batches))  # and the decoder is done with
    first = sum(metadata.row_group(before).num_rows for before in range(group))
    at = 0
    for batch in batches:
        low, high = max(wanted.start - at, 0), min(wanted.stop - at, len(batch))
        for start in range(low, high, step):
            some = batch.slice(start, min(step, high - start))
            yield rows(some, columns, np.arange(first + at + start, first + at + start + len(some), dtype=np.int64))
        at += len(batch)
        if at >= wanted.stop:
            return


def _edges(metadata: pq.FileMetaData) -> list[int]:
    counts = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
    return [0, *np.cumsum(counts, dtype=np.int64).tolist()]


def _leaves(metadata: pq.FileMetaData, columns: Columns) -> dict[int, str]:
    """Number and full path of the leaf columns needed: `a.b` also stands for `a.list.element.b`, as lists are spelt."""
    found = {}
    for number in range(len(metadata.schema)):
        full = metadata.schema.column(number).path
        for path in columns.paths:
            names = iter(full.removeprefix(path[0]).split("."))
            if (full == path[0] or full.startswith(path[0] + ".")) and all(name in names for name in path[1:]):
                found[number] = full
    return found


def sizes(metadata: pq.FileMetaData, columns: Columns) -> tuple[int, int]:
    """Bytes of a file's text columns before compression, at least 1, and of all needed columns as they are stored."""
    texts = _leaves(metadata, replace(columns, id=None, where=(), keep=(), exclusions=None))
    groups = [metadata.row_group(group) for group in range(metadata.num_row_groups)]
    read = sum(int(group.column(leaf).total_compressed_size) for group in groups for leaf in _leaves(metadata, columns))
    return max(sum(_weight(group, texts) for group in groups), 1), read


def _weight(group: pq.RowGroupMetaData, leaves: dict[int, str]) -> int:
    """Uncompressed bytes of the needed columns, at least 1."""
    return max(sum(int(group.column(leaf).total_uncompressed_size) for leaf in leaves), 1)


def _possible(group: pq.RowGroupMetaData, leaves: dict[int, str], columns: Columns) -> bool:
    """Whether a row of the group might meet every condition, by the statistics of its plain columns."""
    numbers = {full: leaf for leaf, full in leaves.items()}
    for where in columns.where:
        leaf = numbers.get(".".join(where.path))
        statistics = None if leaf is None else group.column(leaf).statistics
        if statistics is None or not statistics.has_min_max:
            continue
        if not possible(where, statistics.min, statistics.max):
            return False
    return True
