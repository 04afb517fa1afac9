"""Bind a file's columns to rows: text, id, kept columns, and the reason why a row has no text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from smollm3_mix.messages import did_you_mean, listed
from smollm3_mix.recipe.model import Source
from smollm3_mix.sources.formats.arrow_strings import is_string, readable, strings
from smollm3_mix.sources.formats.predicates import Where, matches
from smollm3_mix.sources.software_heritage import contents
from smollm3_mix.sources.source_files import ReadRequest, SourceFault
from smollm3_mix.text.exclusion import IDENTIFIER_COLUMNS, LOCATION_COLUMNS, ExclusionList, is_key, is_location

STORED = pa.struct([("source", pa.string()), ("file", pa.string()), ("row", pa.int64())])
"""Origin of a stored record."""

ROWS = pa.schema(
    [
        ("text", pa.string()),
        ("reason", pa.string()),
        ("id", pa.string()),
        ("meta", pa.string()),
        ("row", pa.int64()),
        ("tokens", pa.int64()),
        ("stored", STORED),
    ]
)
"""Schema of the rows of every decoder. If `reason` is not null, text, id and meta are null.

tokens: Values of `tokens_field`, null without one. stored: Origin for `content: records`, else null."""

ID_COLUMNS = ("id", "blob_id")
"""Columns used as a row's id if the recipe names none."""

ALWAYS_KEPT = ("blob_id", "detected_licenses", "license_type")
"""Columns that are copied to `meta` wherever they exist: origin and license of a file in The Stack v2 and Stack-Edu."""

Path = tuple[str, ...]


@dataclass(frozen=True)
class ExclusionMatcher:
    """Looks up the rows of one file in the exclusion list.

    Attributes:
        excluded: Exclusion list.
        file: Path of the file.
        keys: Paths of the columns to look up, each with True if it contains URLs or repositories.
    """

    excluded: ExclusionList
    file: str
    keys: tuple[tuple[Path, bool], ...]

    def matches(self, columns: Sequence[pa.StringArray], numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Return which rows are excluded, by the values of `keys`. bool[rows]."""
        keys = [(column, is_url) for column, (_, is_url) in zip(columns, self.keys, strict=True)]
        return self.excluded.matches(keys, self.file, numbers)


@dataclass(frozen=True)
class Columns:
    """The columns of one file that a source needs, as paths into its top-level columns.

    Attributes:
        texts: Paths whose strings are joined to the text.
        separator: Separator between joined strings.
        id: Path of the id. None if the file has none.
        where: Conditions that a row must meet.
        keep: Names in `meta` with their paths.
        exclusions: Lookup in the exclusion list. None without a list.
        tokens: Path of the token counts. None if they are not needed.
        stored: True if the rows are stored records.
        addresses: True if `texts` form the address of a blob that is fetched later, see `software_heritage`.
    """

    texts: tuple[Path, ...]
    separator: str
    id: Path | None
    where: tuple[Where, ...]
    keep: tuple[tuple[str, Path], ...]
    exclusions: ExclusionMatcher | None = None
    tokens: Path | None = None
    stored: bool = False
    addresses: bool = False

    @property
    def paths(self) -> list[Path]:
        """Every needed path, once."""
        found = [
            *self.texts,
            *([self.id] if self.id else []),
            *(w.path for w in self.where),
            *(p for _, p in self.keep),
            *([p for p, _ in self.exclusions.keys] if self.exclusions else []),
            *([self.tokens] if self.tokens else []),
            *([(name,) for name in ("meta", *STORED.names)] if self.stored else []),
        ]
        return list(dict.fromkeys(found))

    @property
    def top(self) -> list[str]:
        """Every needed top-level column, once."""
        return list(dict.fromkeys(path[0] for path in self.paths))


def bound(request: ReadRequest, names: Sequence[str], *, strict: bool = True) -> Columns:
    """Return the needed columns of a request's file. See `bind`."""
    return bind(request.source, names, strict=strict, excluded=request.excluded, file=request.file.path)


def bind(
    source: Source, names: Sequence[str], *, strict: bool = True, excluded: ExclusionList | None = None, file: str = ""
) -> Columns:
    """Return the columns that `source` needs of a file.

    Args:
        source: Source in the recipe.
        names: Top-level columns of the file.
        strict: False if rows may lack keys (JSON). Columns that were not seen are then assumed to exist.
        excluded: Documents that must not be emitted. The columns to compare with this list are needed too.
        file: Path of the file.

    Raises:
        SourceFault: If a column that the recipe names is missing.
    """
    fields = (source.text_field,) if isinstance(source.text_field, str) else tuple(source.text_field)
    stored, tokens_field = source.content == "records", source.tokens_field
    if source.content == "swh":
        fields = contents.COLUMNS
    required = [*fields, *([source.id_field] if source.id_field else []), *(w[0] for w in source.where), *source.keep]
    required += [*([tokens_field] if tokens_field else []), *(["id", "meta", *STORED.names] if stored else [])]
    missing = [field for field in dict.fromkeys(required) if path_of(field, names)[0] not in names]
    if missing and strict:
        raise SourceFault(
            f"no column {', '.join(f'{name!r}{did_you_mean(name, names)}' for name in missing)}. "
            f"Columns: {listed(names)}"
        )
    own_id = source.id_field or next((name for name in ID_COLUMNS if name in names), None)
    kept = dict.fromkeys([*source.keep, *(name for name in ALWAYS_KEPT if name in names)])
    return Columns(
        texts=tuple(path_of(field, names) for field in fields),
        separator=source.separator,
        id=path_of(own_id, names) if own_id else None,
        where=tuple(Where(path_of(column, names), op, value) for column, op, value in source.where),
        keep=tuple((name, path_of(name, names)) for name in kept),
        exclusions=None
        if excluded is None
        else ExclusionMatcher(excluded, file, _keys(source, own_id, names, strict=strict)),
        tokens=path_of(tokens_field, names) if tokens_field else None,
        stored=stored,
        addresses=source.content == "swh",
    )


def _keys(source: Source, own_id: str | None, names: Sequence[str], *, strict: bool) -> tuple[tuple[Path, bool], ...]:
    """Return the columns to look up in an exclusion list: the id, and all named like an id, URL or repository."""
    unseen = [] if strict else [name for name in (*IDENTIFIER_COLUMNS, *LOCATION_COLUMNS) if name not in names]
    required = [name for name in (*names, *unseen, *source.keep) if is_key(name)]
    return tuple(
        (path_of(name, names), is_location(name)) for name in dict.fromkeys([*([own_id] if own_id else []), *required])
    )


def bind_rows(batch: pa.RecordBatch, columns: Columns, numbers: npt.NDArray[np.int64]) -> pa.RecordBatch:
    """Return one row of schema ROWS for each row of a batch.

    The reason is the first that applies: `where` (a condition is not met), `excluded` (on the recipe's exclusion list),
    `invalid_utf8`, `not_text` (null or not a string).

    Args:
        batch: Decoded rows with at least the needed columns.
        columns: Columns bound to the batch's file.
        numbers: int64[rows], row numbers in the file.

    Raises:
        SourceFault: If a `where` compares a column with a value of another type.
    """
    texts, invalid = _texts(batch, columns)
    passed = np.ones(len(batch), dtype=bool)
    for where in columns.where:
        passed &= matches(leaf(batch, where.path), where)
    ids = readable(leaf(batch, columns.id)) if columns.id else pa.nulls(len(batch), pa.string())
    meta = _meta(batch, columns) if columns.keep else pa.nulls(len(batch), pa.string())
    stored = pa.nulls(len(batch), STORED)
    if columns.stored:
        meta = batch.column("meta")
        found = [batch.column(field.name).cast(field.type) for field in STORED]
        stored = pa.StructArray.from_arrays(found, fields=list(STORED))
    counts = token_counts(leaf(batch, columns.tokens), ".".join(columns.tokens)) if columns.tokens else None
    exclusions = None
    if columns.exclusions is not None:
        exclusions = columns.exclusions.matches(
            [_key(leaf(batch, path)) for path, _ in columns.exclusions.keys], numbers
        )
    return apply_reasons(
        texts, invalid, passed, (ids, meta), numbers, exclusions=exclusions, counts=counts, stored=stored
    )


def token_counts(counts: pa.Array, name: str) -> pa.Array:
    """Return the token counts of a column as int64.

    Raises:
        SourceFault: If the column contains anything but whole numbers of 0 or more.
    """
    if not (pa.types.is_integer(counts.type) or pa.types.is_null(counts.type)):
        raise SourceFault(f"tokens_field: column {name!r} has type {counts.type}, expected whole numbers")
    if counts.null_count or (len(counts) and pc.min(counts).as_py() < 0):
        bad = "an empty value" if counts.null_count else str(pc.min(counts).as_py())
        raise SourceFault(f"tokens_field: column {name!r} contains {bad}, expected a number of tokens in every row")
    return counts.cast(pa.int64())


def _texts(batch: pa.RecordBatch, columns: Columns) -> tuple[pa.StringArray, npt.NDArray[np.bool_]]:
    """Return the texts or addresses of a batch, and which rows contain invalid UTF-8."""
    if columns.addresses:
        return contents.addresses(leaf(batch, path) for path in columns.texts), np.zeros(len(batch), dtype=bool)
    pieces = [strings(leaf(batch, path), columns.separator) for path in columns.texts]
    texts = pieces[0][0] if len(pieces) == 1 else join([piece[0] for piece in pieces], columns.separator)
    return texts, np.logical_or.reduce([piece[1] for piece in pieces])


def apply_reasons(
    texts: pa.StringArray,
    invalid: npt.NDArray[np.bool_],
    passed: npt.NDArray[np.bool_],
    columns: tuple[pa.StringArray, pa.StringArray],
    numbers: npt.NDArray[np.int64],
    *,
    exclusions: npt.NDArray[np.bool_] | None = None,
    counts: pa.Array | None = None,
    stored: pa.StructArray | None = None,
) -> pa.RecordBatch:
    """Return rows of schema ROWS with their reasons. All values of a row with a reason become null.

    Args:
        texts: Texts, null if a row has none.
        invalid: bool[rows], True if the text contains invalid UTF-8.
        passed: bool[rows], True if every condition is met.
        columns: Ids and kept columns.
        numbers: int64[rows], row numbers in the file.
        exclusions: bool[rows], True for rows to exclude. None excludes no row.
        counts: Tokens of each row, if they are needed.
        stored: Origin of each row, for stored records.
    """
    absent = texts.is_null().to_numpy(zero_copy_only=False)
    reasons, (ids, meta) = pa.nulls(len(texts), pa.string()), columns
    bad = invalid | ~passed | absent
    if exclusions is not None:
        bad |= exclusions
    if bad.any():
        codes = np.where(invalid, 2, 3).astype(np.int8)
        if exclusions is not None:
            codes[exclusions] = 1
        codes[~passed] = 0
        names = pa.array(["where", "excluded", "invalid_utf8", "not_text"])
        reasons = names.take(pa.array(codes, mask=~bad))
        mask, none = pa.array(bad), pa.scalar(None, pa.string())
        texts, ids, meta = (pc.if_else(mask, none, column) for column in (texts, ids, meta))
    counts = pa.nulls(len(texts), pa.int64()) if counts is None else counts
    stored = pa.nulls(len(texts), STORED) if stored is None else stored
    return pa.RecordBatch.from_arrays([texts, reasons, ids, meta, pa.array(numbers), counts, stored], schema=ROWS)


def rejected_rows(numbers: npt.NDArray[np.int64]) -> pa.RecordBatch:
    """Return rows of schema ROWS that are known to fail a `where` without being read."""
    none = pa.nulls(len(numbers), pa.string())
    reasons = pa.array(["where"]).take(pa.array(np.zeros(len(numbers), dtype=np.int8)))
    others = [pa.nulls(len(numbers), pa.int64()), pa.nulls(len(numbers), STORED)]
    return pa.RecordBatch.from_arrays([none, reasons, none, none, pa.array(numbers), *others], schema=ROWS)


def join(pieces: Sequence[pa.StringArray], separator: str) -> pa.StringArray:
    """Join the strings of each row that are not null. A row of nulls is null."""
    if not any(piece.null_count for piece in pieces):
        return pc.binary_join_element_wise(*pieces, separator)
    # null_handling="skip" of Arrow returns an array of length 0 if every row is null (pyarrow 26).
    found = [
        [text for text in row if text is not None] for row in zip(*(piece.to_pylist() for piece in pieces), strict=True)
    ]
    return pa.array([separator.join(row) if row else None for row in found], pa.string())


def replace_surrogates(text: str) -> str:
    """Replace every lone surrogate (an invalid byte or escape) by U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def to_json(row: dict[str, Any]) -> str:
    """Return a row's kept columns as one JSON object, with NaN as null and unknown types as strings."""
    try:
        return json.dumps(row, ensure_ascii=False, allow_nan=False, default=_plain)
    except ValueError:
        return json.dumps(_finite(row), ensure_ascii=False, allow_nan=False, default=_plain)


def _plain(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def path_of(name: str, columns: Sequence[str]) -> Path:
    """Return a column's name as a path: unchanged if such a column exists, else split at its dots."""
    return (name,) if name in columns else tuple(name.split("."))


def leaf(batch: pa.RecordBatch, path: Path) -> pa.Array:
    """Return the values at a path. Lists of structs become lists of their member, and a missing path gives nulls."""
    array = batch.column(path[0])
    for name in path[1:]:
        array = _member(array, name)
    return array


def _member(array: pa.Array, name: str) -> pa.Array:
    kind = array.type
    if pa.types.is_struct(kind) and kind.get_field_index(name) >= 0:
        return pc.struct_field(array, name)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        values = _member(array.flatten(), name)
        offsets = np.concatenate([[0], np.cumsum(pc.list_value_length(array).fill_null(0).to_numpy())])
        mask = array.is_null() if array.null_count else None
        return pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), values, mask=mask)
    return pa.nulls(len(array))


def _key(array: pa.Array) -> pa.StringArray:
    """Return values as strings for a lookup, null for lists and structs."""
    return pa.nulls(len(array), pa.string()) if pa.types.is_nested(array.type) else readable(array)


def _meta(batch: pa.RecordBatch, columns: Columns) -> pa.StringArray:
    kept = [_values(leaf(batch, path)) for _, path in columns.keep]
    names = [name for name, _ in columns.keep]
    return pa.array([to_json(dict(zip(names, row, strict=True))) for row in zip(*kept, strict=True)], pa.string())


def _values(array: pa.Array) -> list[Any]:
    try:
        return list(array.to_pylist())
    except UnicodeDecodeError:
        return list(array.cast(_bytes(array.type)).to_pylist())


def _bytes(kind: pa.DataType) -> pa.DataType:
    """Return the type with bytes in place of every string."""
    if pa.types.is_struct(kind):
        return pa.struct([(field.name, _bytes(field.type)) for field in kind])
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return pa.list_(_bytes(kind.value_type))
    return pa.binary() if is_string(kind) else kind
