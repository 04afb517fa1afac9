"""Rows of a file of JSON lines, plain or compressed, from any line on.

A chunk of lines goes through Arrow's parser, about three times as fast as `json`. A chunk Arrow refuses (values of
mixed types, bytes that are no UTF-8, lone surrogates) goes through `json` line by line, and gives the same rows.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.json

from smollm3_mix.sources.formats.byte_ranges import stream
from smollm3_mix.sources.formats.column_binding import Columns, Path, bind, dumps, finish, rows, tidy, tokens
from smollm3_mix.sources.formats.predicates import Where, kind, matches
from smollm3_mix.sources.partition import row_stripe
from smollm3_mix.sources.source_files import ReadRequest, SourceFault

if TYPE_CHECKING:
    from smollm3_mix.recipe.model import Source
    from smollm3_mix.text.exclusion import ExclusionList

CHUNK = 1 << 18
"""Bytes of lines parsed at once."""

SAMPLE = 64
"""Lines looked at to learn a file's columns and their types."""

ARRAY = "it is one JSON array, not one object a line; convert it, for example with: jq -c '.[]' FILE > FILE.jsonl"

NEWLINE, BRACE = ord("\n"), ord("{")


def read(span: ReadRequest) -> Iterator[pa.RecordBatch]:
    """Rows of schema ROWS, those of the part from line `row` on (from 0; blank lines are no rows).

    Raises:
        Fault: a line is no JSON object.
        pa.ArrowException, OSError, EOFError: the file cannot be read or decompressed.
    """
    number, known = 0, None
    for chunk in chunks(stream(span.file, span.token), min(CHUNK, span.bytes)):
        known = known or _known(span.source, chunk, span.excluded, span.file.path)
        ends = np.flatnonzero(np.frombuffer(chunk, np.uint8) == NEWLINE) + 1
        numbers = np.arange(number, number + len(ends), dtype=np.int64)
        number += len(ends)
        if number <= span.row:
            continue
        mine = (numbers >= span.row) & row_stripe(span.part, span.file.size, numbers)
        if not mine.any():
            continue
        batch = _parse(chunk if mine.all() else _some(chunk, ends, mine), numbers[mine], *known)
        del chunk  # an idle reader holds no bytes that are parsed
        if batch is not None:
            yield batch


def _some(chunk: bytes, ends: npt.NDArray[np.int64], mine: npt.NDArray[np.bool_]) -> bytes:
    """The lines of a chunk that are marked, where line i ends before byte ends[i]."""
    starts = np.concatenate([[0], ends[:-1]])
    return b"".join([chunk[a:b] for a, b in zip(starts[mine].tolist(), ends[mine].tolist(), strict=True)])


def chunks(source: Any, size: int) -> Iterator[bytes]:
    """Whole lines, each ending with a newline, in chunks of about `size` bytes; a line of any length is one piece."""
    held: list[bytes] = []
    while data := source.read(size):
        cut = data.rfind(b"\n") + 1
        if not cut:
            held.append(data)
            continue
        whole = [b"".join([*held, data[:cut]])]
        held = [data[cut:]] if cut < len(data) else []
        del data
        yield whole.pop()  # nothing here holds what was given out
    if held:
        yield b"".join([*held, b"\n"])


def names(chunk: bytes) -> list[str]:
    """The keys seen in the first lines of a chunk, in the order seen.

    Raises:
        Fault: a line is no JSON object.
    """
    return list(dict.fromkeys(name for line in _sample(chunk) for name in line))


def _sample(chunk: bytes) -> list[dict[str, Any]]:
    found = chunk.split(b"\n", SAMPLE)[:SAMPLE]
    return [line for line in (_object(line, number) for number, line in enumerate(found)) if line is not None]


def _known(
    source: Source, chunk: bytes, excluded: ExclusionList | None = None, file: str = ""
) -> tuple[Columns, pa.Schema | None]:
    """The columns needed, and their types if Arrow can parse them all exactly."""
    sample = _sample(chunk)
    seen = list(dict.fromkeys(name for line in sample for name in line))
    columns = bind(source, seen, strict=False, excluded=excluded, file=file)
    return columns, _schema(columns, sample)


def _parse(
    chunk: bytes, numbers: npt.NDArray[np.int64], columns: Columns, schema: pa.Schema | None
) -> pa.RecordBatch | None:
    """Rows of the lines of a chunk, None if all are blank; `numbers` has one number a line, blank ones included."""
    data = np.frombuffer(chunk, np.uint8)
    ends = np.flatnonzero(data == NEWLINE) + 1
    # Arrow crashes on a line that holds only `null`, and skips blank ones: it gets chunks of objects alone.
    if schema is not None and data[0] == BRACE and (data[ends[:-1]] == BRACE).all():
        table = _arrow(chunk, schema)
        if table is not None and table.num_rows == len(numbers):
            return rows(table, columns, numbers)
    found = [
        (number, _object(line, number)) for number, line in zip(numbers.tolist(), chunk.split(b"\n"), strict=False)
    ]
    objects = {number: line for number, line in found if line is not None}
    return _rows(list(objects.values()), columns, np.array(list(objects), dtype=np.int64)) if objects else None


def _arrow(chunk: bytes, schema: pa.Schema) -> pa.RecordBatch | None:
    """The chunk as one batch, None if Arrow cannot parse it."""
    try:
        table = pyarrow.json.read_json(
            pa.BufferReader(chunk),
            read_options=pyarrow.json.ReadOptions(use_threads=False, block_size=len(chunk) + 1),
            parse_options=pyarrow.json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore"),
        )
    except (pa.ArrowInvalid, UnicodeDecodeError, OverflowError):  # the last: a line of 2 GiB
        return None
    return table.combine_chunks().to_batches()[0] if table.num_rows else None


def _object(line: bytes, number: int) -> dict[str, Any] | None:
    """The object on a line, None if it is blank; bytes that are no UTF-8 become lone surrogates."""
    if not line.strip():
        return None
    try:
        value = json.loads(line.removeprefix(codecs.BOM_UTF8).decode("utf-8", "surrogateescape"))
    except (ValueError, RecursionError) as error:
        if number == 0 and line.lstrip()[:1] == b"[":
            raise SourceFault(ARRAY) from error
        shown = line[:60].decode("utf-8", "replace")
        raise SourceFault(f"line {number + 1} is no JSON ({error}): {shown}") from error
    if isinstance(value, list) and number == 0:
        raise SourceFault(ARRAY)
    if not isinstance(value, dict):
        raise SourceFault(f"line {number + 1} is no JSON object but a {type(value).__name__}: {str(value)[:60]}")
    return value


def _rows(objects: list[dict[str, Any]], columns: Columns, numbers: npt.NDArray[np.int64]) -> pa.RecordBatch:
    """What `columns.rows` gives, from parsed objects."""
    texts: list[str | None] = []
    damaged = np.zeros(len(objects), dtype=bool)
    for row, item in enumerate(objects):
        parts = [_text(_value(item, path), columns.separator) for path in columns.texts]
        found = [part for part in parts if part is not None]
        text = columns.separator.join(found) if found else None
        damaged[row] = text is not None and tidy(text) != text
        texts.append(None if damaged[row] else text)
    passed = np.ones(len(objects), dtype=bool)
    for where in columns.where:
        values = [_fit(_value(item, where.path), where, number) for item, number in zip(objects, numbers, strict=True)]
        passed &= matches(pa.array(values, kind(where)), where)
    ids = [_scalar(_value(item, columns.id)) if columns.id else None for item in objects]
    meta = [
        tidy(dumps({name: _value(item, path) for name, path in columns.keep})) if columns.keep else None
        for item in objects
    ]
    own = pa.array(ids, pa.string()), pa.array(meta, pa.string())
    exclusions = None
    if columns.exclusions is not None:
        paths = [path for path, _ in columns.exclusions.keys]
        keys = [pa.array([_scalar(_value(item, path)) for item in objects], pa.string()) for path in paths]
        exclusions = columns.exclusions.rows(keys, numbers)
    counts = None
    if columns.tokens:
        given = [_value(item, columns.tokens) for item in objects]
        if any(type(count) is not int for count in given):  # true is no number
            raise SourceFault(f"tokens_field: {'.'.join(columns.tokens)!r} is no whole number in every line")
        counts = tokens(pa.array(given, pa.int64()), ".".join(columns.tokens))
    return finish(pa.array(texts, pa.string()), damaged, passed, own, numbers, exclusions=exclusions, counts=counts)


def _value(item: Any, path: Path) -> Any:
    """The value at a path; in lists, the list of its members' values."""
    for place, name in enumerate(path):
        if isinstance(item, list):
            return [_value(member, path[place:]) for member in item]
        item = item.get(name) if isinstance(item, dict) else None
    return item


def _text(value: Any, separator: str) -> str | None:
    if isinstance(value, list):
        found = [text for text in (_text(member, separator) for member in value) if text is not None]
        return separator.join(found) if found else None
    return value if isinstance(value, str) else None


def _scalar(value: Any) -> str | None:
    return None if value is None else tidy(value) if isinstance(value, str) else json.dumps(value)


def _fit(value: Any, where: Where, number: int) -> Any:
    wanted = kind(where)
    if value is None:
        return None
    if pa.types.is_string(wanted) and isinstance(value, str):
        return tidy(value)
    if pa.types.is_boolean(wanted) and isinstance(value, bool):
        return value
    if pa.types.is_floating(wanted) and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    raise SourceFault(f"line {number + 1}: where {where}: the value is {value!r}, which cannot be compared with that")


def _schema(columns: Columns, sample: list[dict[str, Any]]) -> pa.Schema | None:
    """Types of the needed columns, None if some have values that Arrow would not give back exactly."""
    wanted: dict[Path, pa.DataType] = dict.fromkeys(columns.texts, pa.string())
    keys = [path for path, _ in columns.exclusions.keys] if columns.exclusions else []
    own = [path for path in (columns.id, columns.tokens) if path]
    for path in [*own, *(path for _, path in columns.keep), *keys]:
        given = _plain([_value(item, path) for item in sample])
        if given is None or wanted.get(path, given) != given:
            return None
        wanted[path] = given
    for where in columns.where:
        asked, given = kind(where), wanted.setdefault(where.path, kind(where))
        if given != asked and not (given == pa.int64() and asked == pa.float64()):
            return None
    return pa.schema([pa.field(name, _nested(name, (), wanted, sample)) for name in columns.top])


def _plain(values: list[Any]) -> pa.DataType | None:
    """The one type of all values but nulls, string if there are none; None for several types, floats, nested ones."""
    kinds = {type(value) for value in values if value is not None} or {str}
    return {str: pa.string(), int: pa.int64(), bool: pa.bool_()}.get(kinds.pop()) if len(kinds) == 1 else None


def _nested(name: str, above: Path, wanted: dict[Path, pa.DataType], sample: list[Any]) -> pa.DataType:
    """The type of a column or member: lists where the sample has lists, else a struct of what is wanted below it."""
    path = (*above, name)
    values = [item.get(name) for item in sample if isinstance(item, dict)]
    lists = any(isinstance(value, list) for value in values)
    inner = [member for value in values for member in (value if isinstance(value, list) else [value])]
    below = dict.fromkeys(found[len(path)] for found in wanted if found[: len(path)] == path and len(found) > len(path))
    single = wanted.get(path) or pa.struct([(n, _nested(n, path, wanted, inner)) for n in below])
    return pa.list_(single) if lists else single
