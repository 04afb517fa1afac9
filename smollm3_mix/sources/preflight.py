"""Whether a source's files hold what its recipe asks for, by the footer or the first lines of one of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from smollm3_mix.network.urls import Token
from smollm3_mix.sources.formats import parquet
from smollm3_mix.sources.formats.column_binding import bind
from smollm3_mix.sources.local_sources import COMPRESSED
from smollm3_mix.sources.source_files import ResolvedSource

if TYPE_CHECKING:
    from smollm3_mix.recipe.model import Source

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from smollm3_mix.messages import listed
from smollm3_mix.sources.formats import csv_and_arrow, json_lines
from smollm3_mix.sources.formats.arrow_strings import is_text
from smollm3_mix.sources.formats.byte_ranges import stream
from smollm3_mix.sources.formats.column_binding import leaf, path_of, rows
from smollm3_mix.sources.source_files import SourceFault, SourceFile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from smollm3_mix.recipe.model import Source

PEEKED = 1 << 16
"""Bytes of lines looked at, at least one whole line."""

SWH = (
    "its rows hold Software Heritage ids in `blob_id`, and no text; add `content: swh` to fetch the texts, "
    "or name a source that holds them"
)


def preflight(source: Source, resolved: ResolvedSource, token: Token = None) -> None:
    """Reads the schema of the first file that is not empty.

    Raises:
        Fault: no rows, a column is missing, holds no text, or cannot be compared.
        OSError, pa.ArrowException and others: the file cannot be read.
    """
    file = next((file for file in resolved.files if file.size > 0), None)
    if file is None:
        raise SourceFault(f"its files are empty ({len(resolved.files)} of them)")
    if source.content == "swh" and resolved.format == "json":
        raise SourceFault(
            "`content: swh` reads ids from Parquet, Arrow or csv files, and its files are json; convert them"
        )
    if resolved.format == "json":
        _check_lines(source, file, token)
        return
    if resolved.format == "csv":
        bind(source, _known(source, csv_and_arrow.csv_names(file, resolved.delimiter, token)))
        return
    if resolved.format == "parquet":
        metadata = parquet.footer(file, token)
        schema = metadata.schema.to_arrow_schema()
        if metadata.num_rows == 0 and len(resolved.files) == 1:
            raise SourceFault(f"{file.path} has no rows")
    else:
        schema = csv_and_arrow.arrow_schema(file, token)
    columns = bind(source, _known(source, schema.names))
    empty = pa.RecordBatch.from_pylist([], schema=schema)
    for path in columns.texts[:1] if columns.addresses else columns.texts:
        kind = leaf(empty, path).type
        if not is_text(kind):
            raise SourceFault(f"column {'.'.join(path)!r} holds {kind}, no text; its columns: {listed(schema.names)}")
    rows(empty, columns, np.empty(0, dtype=np.int64))


def _known(source: Source, names: Sequence[str]) -> Sequence[str]:
    """The names, unless they show that the texts are elsewhere."""
    fields = [source.text_field] if isinstance(source.text_field, str) else source.text_field
    if (
        source.content != "swh"
        and "blob_id" in names
        and not any(path_of(field, names)[0] in names for field in fields)
    ):
        raise SourceFault(SWH)
    return names


def _check_lines(source: Source, file: SourceFile, token: Token) -> None:
    """The same for lines, where a key may be missing from some: the first ones show which there are."""
    chunk = next(json_lines.chunks(stream(file, token), PEEKED), b"")
    names = _known(source, json_lines.names(chunk))
    if not names:
        raise SourceFault(f"{file.path} has no rows in its first {PEEKED} bytes")
    lenient = dataclasses.replace(source, keep=())
    bind(lenient, names)


SHRUNK = 3.0
"""Bytes of text in a byte of a compressed file where nothing is known: about what gzip and zstd make of text."""


class TextDensity(NamedTuple):
    """About a source's text and files.

    Attributes:
        text: bytes of text in a byte of its files; None for ids of Software Heritage, whose texts are elsewhere.
        read: bytes that are read for a byte of text.
        known: whether these are of a file's footer; else they are taken.
    """

    text: float | None
    read: float
    known: bool


def text_density(source: Source, resolved: ResolvedSource, token: Token = None) -> TextDensity:
    """Of Parquet by the footer of the first file, which `resolve` has read; of other formats by their names.

    Not promised: that the other files are like the first.
    """
    file = next((file for file in resolved.files if file.size > 0), None)
    if source.content == "swh":
        return TextDensity(None, 1 / SHRUNK, False)
    if file is None or resolved.format != "parquet":
        shrunk = SHRUNK if file is not None and file.path.endswith(COMPRESSED) else 1.0
        return TextDensity(shrunk, 1 / shrunk, False)
    metadata = parquet.footer(file, token)
    text, read = parquet.sizes(metadata, bind(source, metadata.schema.to_arrow_schema().names))
    return TextDensity(text / file.size, read / text, True)
