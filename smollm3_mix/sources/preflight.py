"""Check the columns and sizes of a source before its data is read, from the footer or first lines of one file."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from smollm3_mix.messages import listed
from smollm3_mix.network.urls import Token
from smollm3_mix.recipe.model import Source
from smollm3_mix.sources.formats import csv_and_arrow, json_lines, parquet
from smollm3_mix.sources.formats.arrow_strings import is_text
from smollm3_mix.sources.formats.byte_ranges import stream
from smollm3_mix.sources.formats.column_binding import bind, bind_rows, leaf, path_of
from smollm3_mix.sources.local_sources import COMPRESSED
from smollm3_mix.sources.source_files import ResolvedSource, SourceFault, SourceFile

SAMPLE_BYTES = 1 << 16
"""Bytes of JSON lines to inspect, at least one complete line."""

BLOB_IDS = (
    "its rows contain Software Heritage ids in `blob_id` and no text. Add `content: swh` to fetch the texts, "
    "or name a source that contains them."
)


def preflight(source: Source, resolved: ResolvedSource, token: Token = None) -> None:
    """Check the schema of the first nonempty file.

    Raises:
        SourceFault: If there are no rows, or a column is missing, contains no text or cannot be compared.
        OSError: If the file cannot be read, or another of `read_errors()`.
    """
    file = next((file for file in resolved.files if file.size > 0), None)
    if file is None:
        raise SourceFault(f"all of its files are empty ({len(resolved.files):,})")
    if source.content == "swh" and resolved.format == "json":
        raise SourceFault("`content: swh` reads ids from Parquet, Arrow or CSV files, got JSON. Convert the files.")
    if resolved.format == "json":
        _check_lines(source, file, token)
        return
    if resolved.format == "csv":
        bind(source, _check_texts(source, csv_and_arrow.csv_names(file, resolved.delimiter, token)))
        return
    if resolved.format == "parquet":
        metadata = parquet.footer(file, token)
        schema = metadata.schema.to_arrow_schema()
        if metadata.num_rows == 0 and len(resolved.files) == 1:
            raise SourceFault(f"{file.path} has no rows")
    else:
        schema = csv_and_arrow.arrow_schema(file, token)
    columns = bind(source, _check_texts(source, schema.names))
    empty = pa.RecordBatch.from_pylist([], schema=schema)
    for path in columns.texts[:1] if columns.addresses else columns.texts:
        kind = leaf(empty, path).type
        if not is_text(kind):
            raise SourceFault(
                f"column {'.'.join(path)!r} has type {kind}, expected text. Columns: {listed(schema.names)}"
            )
    bind_rows(empty, columns, np.empty(0, dtype=np.int64))


def _check_texts(source: Source, names: Sequence[str]) -> Sequence[str]:
    """Return `names`. Raise SourceFault if they show that the source has blob ids instead of texts."""
    fields = [source.text_field] if isinstance(source.text_field, str) else source.text_field
    if (
        source.content != "swh"
        and "blob_id" in names
        and not any(path_of(field, names)[0] in names for field in fields)
    ):
        raise SourceFault(BLOB_IDS)
    return names


def _check_lines(source: Source, file: SourceFile, token: Token) -> None:
    """Check the keys in the first lines of a JSON file. Other lines may have other keys."""
    chunk = next(json_lines.chunks(stream(file, token), SAMPLE_BYTES), b"")
    names = _check_texts(source, json_lines.sample_keys(chunk))
    if not names:
        raise SourceFault(f"{file.path} has no rows in its first {SAMPLE_BYTES:,} bytes")
    lenient = dataclasses.replace(source, keep=())
    bind(lenient, names)


COMPRESSION_RATIO = 3.0
"""Assumed bytes of text per byte of a compressed file: about the ratio of gzip and zstd on text."""


class TextDensity(NamedTuple):
    """Ratio of a source's text to its files.

    Attributes:
        text: Bytes of text per byte of its files. None for ids of Software Heritage, whose texts are elsewhere.
        read: Bytes to read per byte of text.
        measured: True if the ratios come from a file's footer. Otherwise they are assumed.
    """

    text: float | None
    read: float
    measured: bool


def text_density(source: Source, resolved: ResolvedSource, token: Token = None) -> TextDensity:
    """Estimate a source's text density, from the footer of its first Parquet file, else from its file names.

    The other files may differ from the first.
    """
    file = next((file for file in resolved.files if file.size > 0), None)
    if source.content == "swh":
        return TextDensity(None, 1 / COMPRESSION_RATIO, False)
    if file is None or resolved.format != "parquet":
        ratio = COMPRESSION_RATIO if file is not None and file.path.endswith(COMPRESSED) else 1.0
        return TextDensity(ratio, 1 / ratio, False)
    metadata = parquet.footer(file, token)
    text, read = parquet.sizes(metadata, bind(source, metadata.schema.to_arrow_schema().names))
    return TextDensity(text / file.size, read / text, True)
