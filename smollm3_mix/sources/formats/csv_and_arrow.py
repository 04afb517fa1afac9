"""Rows of csv files and of Arrow files (both the file and the stream format), plain or compressed, from any row on."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv

from smollm3_mix.network.urls import Token
from smollm3_mix.sources.formats.byte_ranges import RangedFile, stream
from smollm3_mix.sources.formats.column_binding import Columns, bound, rows
from smollm3_mix.sources.formats.predicates import kind
from smollm3_mix.sources.partition import row_stripe
from smollm3_mix.sources.source_files import ReadRequest, SourceFault, SourceFile

CSV_BLOCK = 1 << 20
"""Bytes parsed at once at first; a row that does not fit doubles it."""

CSV_BLOCK_MOST = 1 << 30
"""Arrow's csv parser counts in 32 bits."""

LONG_ROW = "straddling object"
"""What Arrow's csv reader says of a row that is longer than a block."""

ARROW_FILE = b"ARROW1"
"""First bytes of the Arrow file format; a stream has none."""


def read_csv(span: ReadRequest) -> Iterator[pa.RecordBatch]:
    """Rows of schema ROWS, those of the part from `row` on (0 is the first below the header; blank lines are no rows).

    Raises:
        Fault: a column is missing, or a row has another number of columns.
        pa.ArrowException, OSError: the file cannot be read.
    """
    row, block = span.row, min(CSV_BLOCK, span.bytes)
    columns = bound(span, csv_names(span.file, span.resolved.delimiter, span.token))
    while True:
        try:
            for batch, numbers in _mine(_csv(span, columns, block), span, row):
                yield rows(batch, columns, numbers)
                row = int(numbers[-1]) + 1
        except pa.ArrowInvalid as error:
            if LONG_ROW in str(error) and block < CSV_BLOCK_MOST:
                block *= 2
                continue
            raise SourceFault(f"below row {row} (from 0): {str(error).splitlines()[0]}") from error
        return


def csv_names(file: SourceFile, delimiter: str, token: Token = None) -> list[str]:
    """The columns of a csv file, as its first line names them."""
    try:
        opened = pyarrow.csv.open_csv(
            _exact(stream(file, token)),
            read_options=pyarrow.csv.ReadOptions(use_threads=False, block_size=CSV_BLOCK),
            parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter, invalid_row_handler=lambda _: "skip"),
        )
    except pa.ArrowInvalid as error:
        raise SourceFault(f"its header cannot be read: {str(error).splitlines()[0]}") from error
    return list(opened.schema.names)


def _csv(span: ReadRequest, columns: Columns, block: int) -> Iterator[pa.RecordBatch]:
    wanted = dict.fromkeys(columns.top, pa.string()) | {where.path[0]: kind(where) for where in columns.where}
    if columns.tokens:
        wanted[columns.tokens[0]] = pa.int64()
    return iter(
        pyarrow.csv.open_csv(
            _exact(stream(span.file, span.token)),
            read_options=pyarrow.csv.ReadOptions(use_threads=False, block_size=block),
            parse_options=pyarrow.csv.ParseOptions(delimiter=span.resolved.delimiter, newlines_in_values=True),
            convert_options=pyarrow.csv.ConvertOptions(
                include_columns=columns.top,
                # Bytes are checked row by row later: one bad byte would end the file here.
                column_types={name: pa.binary() if pa.types.is_string(t) else t for name, t in wanted.items()},
            ),
        )
    )


def read_arrow(span: ReadRequest) -> Iterator[pa.RecordBatch]:
    """Rows of schema ROWS, those of the part from `row` on.

    Raises:
        Fault: a column is missing.
        pa.ArrowException, OSError: the file cannot be read.
    """
    names = arrow_schema(span.file, span.token).names
    columns = bound(span, names)
    batches = _arrow(span.file, span.token, [names.index(name) for name in columns.top])
    for whole, numbers in _mine(batches, span, span.row):
        for start in range(0, len(numbers), span.rows):
            yield rows(whole.slice(start, span.rows), columns, numbers[start : start + span.rows])


def arrow_schema(file: SourceFile, token: Token = None) -> pa.Schema:
    """The schema of an Arrow file."""
    source = RangedFile(file, token)
    if source.read(len(ARROW_FILE)) == ARROW_FILE:
        source.seek(0)
        return pa.ipc.open_file(pa.PythonFile(source, mode="r")).schema
    return pa.ipc.open_stream(_exact(stream(file, token))).schema


def _arrow(file: SourceFile, token: Token, included: list[int]) -> Iterator[pa.RecordBatch]:
    options = pa.ipc.IpcReadOptions(included_fields=included, use_threads=False)
    source = RangedFile(file, token)
    if source.read(len(ARROW_FILE)) != ARROW_FILE:
        yield from pa.ipc.open_stream(_exact(stream(file, token)), options=options)
        return
    source.seek(0)
    opened = pa.ipc.open_file(pa.PythonFile(source, mode="r"), options=options)
    for number in range(opened.num_record_batches):
        yield opened.get_batch(number)


def _mine(batches: Iterator[pa.RecordBatch], span: ReadRequest, row: int) -> Iterator[tuple[pa.RecordBatch, Any]]:
    """The rows of a file's batches that belong to the part, from `row` on, with their numbers int64[rows]."""
    first = 0
    for batch in batches:
        numbers = np.arange(first, first + len(batch), dtype=np.int64)
        first += len(batch)
        mine = (numbers >= row) & row_stripe(span.part, span.file.size, numbers)
        if mine.all() and len(batch):
            yield batch, numbers
        elif mine.any():
            yield batch.filter(pa.array(mine)), numbers[mine]


def _exact(source: Any) -> Any:
    """A stream whose `read(n)` gives n bytes unless it ends, as Arrow's readers need."""
    return source if isinstance(source, pa.NativeFile) else pa.PythonFile(io.BufferedReader(source), mode="r")
