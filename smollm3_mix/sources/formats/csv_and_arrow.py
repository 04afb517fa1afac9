"""Read the rows of CSV and Arrow files from any row on.

Reads both Arrow formats (file and stream), plain or compressed.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv

from smollm3_mix.network.urls import Token
from smollm3_mix.sources.formats.byte_ranges import RangedFile, stream
from smollm3_mix.sources.formats.column_binding import Columns, bind_rows, bound
from smollm3_mix.sources.formats.predicates import kind
from smollm3_mix.sources.partition import row_stripe
from smollm3_mix.sources.source_files import ReadRequest, SourceFault, SourceFile

CSV_BLOCK = 1 << 20
"""Initial number of bytes to parse at once. Doubles for a row that does not fit."""

MAX_CSV_BLOCK = 1 << 30
"""Maximum number of bytes to parse at once. Arrow's CSV parser counts in 32 bits."""

LONG_ROW = "straddling object"
"""Part of the message of Arrow's CSV reader about a row that is longer than a block."""

ARROW_FILE = b"ARROW1"
"""First bytes of the Arrow file format. The stream format has none."""


def read_csv(request: ReadRequest) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a shard slice in schema ROWS, from `row` on.

    Row 0 follows the header. Blank lines yield no row.

    Raises:
        SourceFault: If a column is missing, or a row has another number of columns.
        pa.ArrowException, OSError: If the file cannot be read.
    """
    row, block = request.row, min(CSV_BLOCK, request.bytes)
    columns = bound(request, csv_names(request.file, request.resolved.delimiter, request.token))
    while True:
        try:
            for batch, numbers in _select_rows(_csv(request, columns, block), request, row):
                yield bind_rows(batch, columns, numbers)
                row = int(numbers[-1]) + 1
        except pa.ArrowInvalid as error:
            if LONG_ROW in str(error) and block < MAX_CSV_BLOCK:
                block *= 2
                continue
            raise SourceFault(f"cannot parse CSV from row {row} on: {str(error).splitlines()[0]}") from error
        return


def csv_names(file: SourceFile, delimiter: str, token: Token = None) -> list[str]:
    """Return the column names in the first line of a CSV file."""
    try:
        opened = pyarrow.csv.open_csv(
            _full_reads(stream(file, token)),
            read_options=pyarrow.csv.ReadOptions(use_threads=False, block_size=CSV_BLOCK),
            parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter, invalid_row_handler=lambda _: "skip"),
        )
    except pa.ArrowInvalid as error:
        raise SourceFault(f"cannot read the CSV header: {str(error).splitlines()[0]}") from error
    return list(opened.schema.names)


def _csv(request: ReadRequest, columns: Columns, block: int) -> Iterator[pa.RecordBatch]:
    wanted = dict.fromkeys(columns.top, pa.string()) | {where.path[0]: kind(where) for where in columns.where}
    if columns.tokens:
        wanted[columns.tokens[0]] = pa.int64()
    return iter(
        pyarrow.csv.open_csv(
            _full_reads(stream(request.file, request.token)),
            read_options=pyarrow.csv.ReadOptions(use_threads=False, block_size=block),
            parse_options=pyarrow.csv.ParseOptions(delimiter=request.resolved.delimiter, newlines_in_values=True),
            convert_options=pyarrow.csv.ConvertOptions(
                include_columns=columns.top,
                # Text is decoded row by row later. Here, one invalid byte would end the file.
                column_types={name: pa.binary() if pa.types.is_string(t) else t for name, t in wanted.items()},
            ),
        )
    )


def read_arrow(request: ReadRequest) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a shard slice in schema ROWS, from `row` on.

    Raises:
        SourceFault: If a column is missing.
        pa.ArrowException, OSError: If the file cannot be read.
    """
    names = arrow_schema(request.file, request.token).names
    columns = bound(request, names)
    batches = _arrow(request.file, request.token, [names.index(name) for name in columns.top])
    for selected, numbers in _select_rows(batches, request, request.row):
        for start in range(0, len(numbers), request.rows):
            stop = start + request.rows
            yield bind_rows(selected.slice(start, request.rows), columns, numbers[start:stop])


def arrow_schema(file: SourceFile, token: Token = None) -> pa.Schema:
    """Return the schema of an Arrow file."""
    source = RangedFile(file, token)
    if source.read(len(ARROW_FILE)) == ARROW_FILE:
        source.seek(0)
        return pa.ipc.open_file(pa.PythonFile(source, mode="r")).schema
    return pa.ipc.open_stream(_full_reads(stream(file, token))).schema


def _arrow(file: SourceFile, token: Token, included: list[int]) -> Iterator[pa.RecordBatch]:
    options = pa.ipc.IpcReadOptions(included_fields=included, use_threads=False)
    source = RangedFile(file, token)
    if source.read(len(ARROW_FILE)) != ARROW_FILE:
        yield from pa.ipc.open_stream(_full_reads(stream(file, token)), options=options)
        return
    source.seek(0)
    opened = pa.ipc.open_file(pa.PythonFile(source, mode="r"), options=options)
    for number in range(opened.num_record_batches):
        yield opened.get_batch(number)


def _select_rows(
    batches: Iterator[pa.RecordBatch], request: ReadRequest, row: int
) -> Iterator[tuple[pa.RecordBatch, Any]]:
    """Yield the rows of the slice from `row` on, batch by batch, with their numbers int64[rows]."""
    first = 0
    for batch in batches:
        numbers = np.arange(first, first + len(batch), dtype=np.int64)
        first += len(batch)
        selected = (numbers >= row) & row_stripe(request.shard_slice, request.file.size, numbers)
        if selected.all() and len(batch):
            yield batch, numbers
        elif selected.any():
            yield batch.filter(pa.array(selected)), numbers[selected]


def _full_reads(source: Any) -> Any:
    """Return a stream whose `read(n)` returns n bytes except at its end, as Arrow's readers require."""
    return source if isinstance(source, pa.NativeFile) else pa.PythonFile(io.BufferedReader(source), mode="r")
