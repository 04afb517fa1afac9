"""Read the rows of a JSON lines file, plain or compressed, from any line on.

Arrow parses chunks of lines about three times as fast as `json`. A chunk that Arrow refuses (mixed types, invalid
UTF-8, lone surrogates) is parsed by `json` line by line and yields the same rows.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.json

from smollm3_mix.recipe.model import Source
from smollm3_mix.sources.formats.byte_ranges import stream
from smollm3_mix.sources.formats.column_binding import (
    Columns,
    Path,
    apply_reasons,
    bind,
    bind_rows,
    replace_surrogates,
    to_json,
    token_counts,
)
from smollm3_mix.sources.formats.predicates import Where, kind, matches
from smollm3_mix.sources.partition import row_stripe
from smollm3_mix.sources.source_files import ReadRequest, SourceFault
from smollm3_mix.text.exclusion import ExclusionList

CHUNK = 1 << 18
"""Bytes of lines to parse at once."""

SAMPLE = 64
"""Number of lines to inspect for a file's columns and their types."""

ARRAY = (
    "the file is one JSON array, expected one object per line. Convert it, for example: jq -c '.[]' FILE > FILE.jsonl"
)

NEWLINE, BRACE = ord("\n"), ord("{")


def read(request: ReadRequest) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a shard slice in schema ROWS, from line `row` on.

    Lines count from 0. Blank lines yield no row.

    Raises:
        SourceFault: If a line is not a JSON object.
        pa.ArrowException, OSError, EOFError: If the file cannot be read or decompressed.
    """
    number, known = 0, None
    for chunk in chunks(stream(request.file, request.token), min(CHUNK, request.bytes)):
        known = known or _bind_sample(request.source, chunk, request.excluded, request.file.path)
        ends = np.flatnonzero(np.frombuffer(chunk, np.uint8) == NEWLINE) + 1
        numbers = np.arange(number, number + len(ends), dtype=np.int64)
        number += len(ends)
        if number <= request.row:
            continue
        selected = (numbers >= request.row) & row_stripe(request.shard_slice, request.file.size, numbers)
        if not selected.any():
            continue
        batch = _parse(chunk if selected.all() else _select_lines(chunk, ends, selected), numbers[selected], *known)
        del chunk  # an idle reader must not keep parsed bytes
        if batch is not None:
            yield batch


def _select_lines(chunk: bytes, ends: npt.NDArray[np.int64], selected: npt.NDArray[np.bool_]) -> bytes:
    """Return the selected lines of a chunk, where line i ends before byte ends[i]."""
    starts = np.concatenate([[0], ends[:-1]])
    return b"".join([chunk[a:b] for a, b in zip(starts[selected].tolist(), ends[selected].tolist(), strict=True)])


def chunks(source: Any, size: int) -> Iterator[bytes]:
    """Yield complete lines in chunks of about `size` bytes. Every line ends with a newline, and no line is split."""
    pending: list[bytes] = []
    while data := source.read(size):
        cut = data.rfind(b"\n") + 1
        if not cut:
            pending.append(data)
            continue
        complete = [b"".join([*pending, data[:cut]])]
        pending = [data[cut:]] if cut < len(data) else []
        del data
        yield complete.pop()  # popped, so that the generator keeps no reference to the chunk
    if pending:
        yield b"".join([*pending, b"\n"])


def sample_keys(chunk: bytes) -> list[str]:
    """Return the keys in the first lines of a chunk, in order of appearance.

    Raises:
        SourceFault: If a line is not a JSON object.
    """
    return list(dict.fromkeys(name for line in _sample(chunk) for name in line))


def _sample(chunk: bytes) -> list[dict[str, Any]]:
    found = chunk.split(b"\n", SAMPLE)[:SAMPLE]
    return [line for line in (_object(line, number) for number, line in enumerate(found)) if line is not None]


def _bind_sample(
    source: Source, chunk: bytes, excluded: ExclusionList | None = None, file: str = ""
) -> tuple[Columns, pa.Schema | None]:
    """Return the needed columns, and their types if Arrow can parse all of them exactly."""
    sample = _sample(chunk)
    seen = list(dict.fromkeys(name for line in sample for name in line))
    columns = bind(source, seen, strict=False, excluded=excluded, file=file)
    return columns, _schema(columns, sample)


def _parse(
    chunk: bytes, numbers: npt.NDArray[np.int64], columns: Columns, schema: pa.Schema | None
) -> pa.RecordBatch | None:
    """Return the rows of the lines of a chunk, or None if all are blank.

    `numbers` has one number per line, blank lines included.
    """
    data = np.frombuffer(chunk, np.uint8)
    ends = np.flatnonzero(data == NEWLINE) + 1
    # Arrow crashes on a line that is only `null` and skips blank lines, so it gets only chunks of objects.
    if schema is not None and data[0] == BRACE and (data[ends[:-1]] == BRACE).all():
        table = _arrow(chunk, schema)
        if table is not None and table.num_rows == len(numbers):
            return bind_rows(table, columns, numbers)
    found = [
        (number, _object(line, number)) for number, line in zip(numbers.tolist(), chunk.split(b"\n"), strict=False)
    ]
    objects = {number: line for number, line in found if line is not None}
    return _rows(list(objects.values()), columns, np.array(list(objects), dtype=np.int64)) if objects else None


def _arrow(chunk: bytes, schema: pa.Schema) -> pa.RecordBatch | None:
    """Return the chunk as one batch, or None if Arrow cannot parse it."""
    try:
        table = pyarrow.json.read_json(
            pa.BufferReader(chunk),
            read_options=pyarrow.json.ReadOptions(use_threads=False, block_size=len(chunk) + 1),
            parse_options=pyarrow.json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore"),
        )
    except (pa.ArrowInvalid, UnicodeDecodeError, OverflowError):  # OverflowError: a line of 2 GiB
        return None
    return table.combine_chunks().to_batches()[0] if table.num_rows else None


def _object(line: bytes, number: int) -> dict[str, Any] | None:
    """Return the object on a line, or None for a blank line. Invalid UTF-8 becomes lone surrogates."""
    if not line.strip():
        return None
    try:
        value = json.loads(line.removeprefix(codecs.BOM_UTF8).decode("utf-8", "surrogateescape"))
    except (ValueError, RecursionError) as error:
        if number == 0 and line.lstrip()[:1] == b"[":
            raise SourceFault(ARRAY) from error
        excerpt = line[:60].decode("utf-8", "replace")
        raise SourceFault(f"line {number + 1} is not valid JSON ({error}): {excerpt}") from error
    if isinstance(value, list) and number == 0:
        raise SourceFault(ARRAY)
    if not isinstance(value, dict):
        kind_ = type(value).__name__
        raise SourceFault(f"line {number + 1} must be a JSON object, got {kind_}: {str(value)[:60]}")
    return value


def _rows(objects: list[dict[str, Any]], columns: Columns, numbers: npt.NDArray[np.int64]) -> pa.RecordBatch:
    """Return the same rows as `column_binding.bind_rows`, from parsed objects."""
    texts: list[str | None] = []
    invalid = np.zeros(len(objects), dtype=bool)
    for row, item in enumerate(objects):
        pieces = [_text(_value(item, path), columns.separator) for path in columns.texts]
        found = [piece for piece in pieces if piece is not None]
        text = columns.separator.join(found) if found else None
        invalid[row] = text is not None and replace_surrogates(text) != text
        texts.append(None if invalid[row] else text)
    passed = np.ones(len(objects), dtype=bool)
    for where in columns.where:
        values = [
            _comparable(_value(item, where.path), where, number) for item, number in zip(objects, numbers, strict=True)
        ]
        passed &= matches(pa.array(values, kind(where)), where)
    ids = [_to_string(_value(item, columns.id)) if columns.id else None for item in objects]
    meta = [
        replace_surrogates(to_json({name: _value(item, path) for name, path in columns.keep})) if columns.keep else None
        for item in objects
    ]
    kept = pa.array(ids, pa.string()), pa.array(meta, pa.string())
    exclusions = None
    if columns.exclusions is not None:
        paths = [path for path, _ in columns.exclusions.keys]
        keys = [pa.array([_to_string(_value(item, path)) for item in objects], pa.string()) for path in paths]
        exclusions = columns.exclusions.matches(keys, numbers)
    counts = None
    if columns.tokens:
        values = [_value(item, columns.tokens) for item in objects]
        if any(type(count) is not int for count in values):  # not isinstance, because bool is a subclass of int
            raise SourceFault(f"tokens_field: {'.'.join(columns.tokens)!r} must be a whole number in every line")
        counts = token_counts(pa.array(values, pa.int64()), ".".join(columns.tokens))
    return apply_reasons(
        pa.array(texts, pa.string()), invalid, passed, kept, numbers, exclusions=exclusions, counts=counts
    )


def _value(item: Any, path: Path) -> Any:
    """Return the value at a path. A list yields the list of its members' values."""
    for depth, name in enumerate(path):
        if isinstance(item, list):
            return [_value(member, path[depth:]) for member in item]
        item = item.get(name) if isinstance(item, dict) else None
    return item


def _text(value: Any, separator: str) -> str | None:
    if isinstance(value, list):
        found = [text for text in (_text(member, separator) for member in value) if text is not None]
        return separator.join(found) if found else None
    return value if isinstance(value, str) else None


def _to_string(value: Any) -> str | None:
    return None if value is None else replace_surrogates(value) if isinstance(value, str) else json.dumps(value)


def _comparable(value: Any, where: Where, number: int) -> Any:
    wanted = kind(where)
    if value is None:
        return None
    if pa.types.is_string(wanted) and isinstance(value, str):
        return replace_surrogates(value)
    if pa.types.is_boolean(wanted) and isinstance(value, bool):
        return value
    if pa.types.is_floating(wanted) and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    raise SourceFault(f"line {number + 1}: where {where}: cannot compare {value!r} with {where.value!r}")


def _schema(columns: Columns, sample: list[dict[str, Any]]) -> pa.Schema | None:
    """Return the types of the needed columns, or None if Arrow would change some of the values."""
    wanted: dict[Path, pa.DataType] = dict.fromkeys(columns.texts, pa.string())
    keys = [path for path, _ in columns.exclusions.keys] if columns.exclusions else []
    own = [path for path in (columns.id, columns.tokens) if path]
    for path in [*own, *(path for _, path in columns.keep), *keys]:
        found = _scalar_type([_value(item, path) for item in sample])
        if found is None or wanted.get(path, found) != found:
            return None
        wanted[path] = found
    for where in columns.where:
        compared, found = kind(where), wanted.setdefault(where.path, kind(where))
        if found != compared and not (found == pa.int64() and compared == pa.float64()):
            return None
    return pa.schema([pa.field(name, _nested_type(name, (), wanted, sample)) for name in columns.top])


def _scalar_type(values: list[Any]) -> pa.DataType | None:
    """Return the common type of all values that are not null, or None for mixed types, floats and nested values."""
    kinds = {type(value) for value in values if value is not None} or {str}
    return {str: pa.string(), int: pa.int64(), bool: pa.bool_()}.get(kinds.pop()) if len(kinds) == 1 else None


def _nested_type(name: str, above: Path, wanted: dict[Path, pa.DataType], sample: list[Any]) -> pa.DataType:
    """Return the type of a column or member: a list if the sample has lists, else a struct of the needed members."""
    path = (*above, name)
    values = [item.get(name) for item in sample if isinstance(item, dict)]
    lists = any(isinstance(value, list) for value in values)
    inner = [member for value in values for member in (value if isinstance(value, list) else [value])]
    below = dict.fromkeys(other[len(path)] for other in wanted if other[: len(path)] == path and len(other) > len(path))
    single = wanted.get(path) or pa.struct([(n, _nested_type(n, path, wanted, inner)) for n in below])
    return pa.list_(single) if lists else single
