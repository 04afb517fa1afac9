"""From a file's columns to rows: text, id, kept columns and the reason why a row has no text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from smollm3_mix.messages import listed, meant
from smollm3_mix.sources.formats.arrow_strings import is_string, readable, strings
from smollm3_mix.sources.formats.predicates import Where, matches
from smollm3_mix.sources.software_heritage import contents
from smollm3_mix.sources.source_files import SourceFault
from smollm3_mix.text.exclusion import IDS as LISTED_IDS
from smollm3_mix.text.exclusion import PLACES, ExclusionList, is_key, is_location

if TYPE_CHECKING:
    from smollm3_mix.recipe.model import Source
    from smollm3_mix.sources.source_files import ReadRequest

STORED = pa.struct([("source", pa.string()), ("file", pa.string()), ("row", pa.int64())])
"""What a stored record says of where it is from."""

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
"""What every format's decoder gives. Where `reason` is not null, text, id and meta are null.

tokens: of `tokens_field`, null without one. stored: of `content: records`, null for any other.
"""

IDS = ("id", "blob_id")
"""Columns taken as a row's own id where the recipe names none."""

ALWAYS_KEPT = ("blob_id", "detected_licenses", "license_type")
"""Columns that go into `meta` wherever they exist: a file's origin and license (in The Stack v2 and Stack-Edu)."""

Path = tuple[str, ...]


@dataclass(frozen=True)
class ExclusionMatcher:
    """How the rows of one file are looked up in the recipe's list of what must not come out.

    Attributes:
        excluded: the list.
        file: path of the file.
        keys: paths of the columns that are looked up, each with whether it holds urls or repositories.
    """

    excluded: ExclusionList
    file: str
    keys: tuple[tuple[Path, bool], ...]

    def rows(self, columns: Sequence[pa.StringArray], numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """bool[rows]: which rows are listed, by the values of `keys`."""
        keys = [(column, is_place) for column, (_, is_place) in zip(columns, self.keys, strict=True)]
        return self.excluded.listed(keys, self.file, numbers)


@dataclass(frozen=True)
class Columns:
    """The columns of one file that a source needs, as paths into its top-level columns.

    Attributes:
        texts: paths whose strings are joined to the text.
        separator: between joined strings.
        id: path of the id, None if the file has none.
        where: conditions a row must meet.
        keep: name in `meta` and path.
        barred: what must not come out, None where there is no list.
        tokens: path of the token counts, None if they are not asked for.
        stored: the columns are those of records that were stored.
        addresses: whether the text is a blob's address, made of `texts`, which is fetched later; see `swh`.
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
        """Every path needed, each once."""
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
        """Every top-level column needed, each once."""
        return list(dict.fromkeys(path[0] for path in self.paths))


def bound(span: ReadRequest, names: Sequence[str], *, strict: bool = True) -> Columns:
    """What is needed of the file of a span; see `bind`."""
    return bind(span.source, names, strict=strict, excluded=span.excluded, file=span.file.path)


def bind(
    source: Source, names: Sequence[str], *, strict: bool = True, excluded: ExclusionList | None = None, file: str = ""
) -> Columns:
    """What `source` needs of a file whose top-level columns are `names`.

    Args:
        source: of the recipe.
        names: top-level columns.
        strict: False where rows may lack keys (json): columns not seen so far are taken to exist.
        excluded: what must not come out; the columns it is to be compared with are needed too.
        file: path of the file.

    Raises:
        Fault: a column the recipe names is not there.
    """
    fields = (source.text_field,) if isinstance(source.text_field, str) else tuple(source.text_field)
    stored, counted = source.content == "records", source.tokens_field
    if source.content == "swh":
        fields = contents.COLUMNS
    named = [*fields, *([source.id_field] if source.id_field else []), *(w[0] for w in source.where), *source.keep]
    named += [*([counted] if counted else []), *(["id", "meta", *STORED.names] if stored else [])]
    missing = [field for field in dict.fromkeys(named) if path_of(field, names)[0] not in names]
    if missing and strict:
        raise SourceFault(
            f"no column {', '.join(f'{name!r}{meant(name, names)}' for name in missing)}; its columns: {listed(names)}"
        )
    own = source.id_field or next((name for name in IDS if name in names), None)
    kept = dict.fromkeys([*source.keep, *(name for name in ALWAYS_KEPT if name in names)])
    return Columns(
        texts=tuple(path_of(field, names) for field in fields),
        separator=source.separator,
        id=path_of(own, names) if own else None,
        where=tuple(Where(path_of(column, names), op, value) for column, op, value in source.where),
        keep=tuple((name, path_of(name, names)) for name in kept),
        exclusions=None
        if excluded is None
        else ExclusionMatcher(excluded, file, _keys(source, own, names, strict=strict)),
        tokens=path_of(counted, names) if counted else None,
        stored=stored,
        addresses=source.content == "swh",
    )


def _keys(source: Source, own: str | None, names: Sequence[str], *, strict: bool) -> tuple[tuple[Path, bool], ...]:
    """Columns that are looked up in a list: the id, and all with the name of an id, a url or a repository."""
    unseen = [] if strict else [name for name in (*LISTED_IDS, *PLACES) if name not in names]
    named = [name for name in (*names, *unseen, *source.keep) if is_key(name)]
    return tuple((path_of(name, names), is_location(name)) for name in dict.fromkeys([*([own] if own else []), *named]))


def rows(batch: pa.RecordBatch, columns: Columns, numbers: npt.NDArray[np.int64]) -> pa.RecordBatch:
    """One row of schema ROWS for each row of a batch that holds (at least) the columns needed.

    Reasons, the first that applies: `where` (a condition is not met), `excluded` (the recipe's list names it),
    `invalid_utf8`, `not_text` (null, or no string).

    Args:
        batch: as decoded.
        columns: bound to the batch's file.
        numbers: int64[rows], row numbers in the file.

    Raises:
        Fault: a `where` compares a column with a value of another type.
    """
    texts, damaged = _texts(batch, columns)
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
    counts = tokens(leaf(batch, columns.tokens), ".".join(columns.tokens)) if columns.tokens else None
    exclusions = None
    if columns.exclusions is not None:
        exclusions = columns.exclusions.rows([_key(leaf(batch, path)) for path, _ in columns.exclusions.keys], numbers)
    return finish(texts, damaged, passed, (ids, meta), numbers, exclusions=exclusions, counts=counts, stored=stored)


def tokens(counts: pa.Array, name: str) -> pa.Array:
    """The token counts of a column as int64.

    Raises:
        Fault: it holds something else than whole numbers of 0 or more.
    """
    if not (pa.types.is_integer(counts.type) or pa.types.is_null(counts.type)):
        raise SourceFault(f"tokens_field: column {name!r} holds {counts.type}; expected whole numbers")
    if counts.null_count or (len(counts) and pc.min(counts).as_py() < 0):
        bad = "an empty value" if counts.null_count else str(pc.min(counts).as_py())
        raise SourceFault(f"tokens_field: column {name!r} holds {bad}; expected a number of tokens in every row")
    return counts.cast(pa.int64())


def _texts(batch: pa.RecordBatch, columns: Columns) -> tuple[pa.StringArray, npt.NDArray[np.bool_]]:
    """The texts, or their addresses, and which rows hold bytes that are no UTF-8."""
    if columns.addresses:
        return contents.addresses(leaf(batch, path) for path in columns.texts), np.zeros(len(batch), dtype=bool)
    parts = [strings(leaf(batch, path), columns.separator) for path in columns.texts]
    texts = parts[0][0] if len(parts) == 1 else join([part[0] for part in parts], columns.separator)
    return texts, np.logical_or.reduce([part[1] for part in parts])


def finish(
    texts: pa.StringArray,
    damaged: npt.NDArray[np.bool_],
    passed: npt.NDArray[np.bool_],
    own: tuple[pa.StringArray, pa.StringArray],
    numbers: npt.NDArray[np.int64],
    *,
    exclusions: npt.NDArray[np.bool_] | None = None,
    counts: pa.Array | None = None,
    stored: pa.StructArray | None = None,
) -> pa.RecordBatch:
    """Rows of schema ROWS, with reasons filled in and everything of a row with a reason set to null.

    Args:
        texts: null where there is none.
        damaged: bool[rows], the text holds bytes that are no UTF-8.
        passed: bool[rows], every condition is met.
        own: ids and kept columns.
        numbers: int64[rows].
        barred: bool[rows], must not come out; None: nothing is.
        counts: tokens of each row, where they are asked for.
        stored: where each row is from, of stored records.
    """
    absent = texts.is_null().to_numpy(zero_copy_only=False)
    reasons, (ids, meta) = pa.nulls(len(texts), pa.string()), own
    bad = damaged | ~passed | absent
    if exclusions is not None:
        bad |= exclusions
    if bad.any():
        codes = np.where(damaged, 2, 3).astype(np.int8)
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


def dropped(numbers: npt.NDArray[np.int64]) -> pa.RecordBatch:
    """Rows of schema ROWS that are known to fail a `where` without being read."""
    none = pa.nulls(len(numbers), pa.string())
    reasons = pa.array(["where"]).take(pa.array(np.zeros(len(numbers), dtype=np.int8)))
    others = [pa.nulls(len(numbers), pa.int64()), pa.nulls(len(numbers), STORED)]
    return pa.RecordBatch.from_arrays([none, reasons, none, none, pa.array(numbers), *others], schema=ROWS)


def join(parts: Sequence[pa.StringArray], separator: str) -> pa.StringArray:
    """Row by row the strings that are not null, joined; null where all are."""
    if not any(part.null_count for part in parts):
        return pc.binary_join_element_wise(*parts, separator)
    # Arrow's null_handling="skip" gives an array of length 0 where every row is null (pyarrow 26).
    found = [
        [text for text in row if text is not None] for row in zip(*(part.to_pylist() for part in parts), strict=True)
    ]
    return pa.array([separator.join(row) if row else None for row in found], pa.string())


def tidy(text: str) -> str:
    """The string with every lone surrogate (a byte or an escape that is no character) as U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def dumps(row: dict[str, Any]) -> str:
    """A row's kept columns as one JSON object: characters as they are, NaN as null, anything foreign as its string."""
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
    """A column's name as a path: the name itself where such a column exists, else split at its dots."""
    return (name,) if name in columns else tuple(name.split("."))


def leaf(batch: pa.RecordBatch, path: Path) -> pa.Array:
    """The values at a path, lists of structs becoming lists of their member; nulls where the path leads nowhere."""
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
    """The values to be looked up in a list, as strings; null where they are lists or structs."""
    return pa.nulls(len(array), pa.string()) if pa.types.is_nested(array.type) else readable(array)


def _meta(batch: pa.RecordBatch, columns: Columns) -> pa.StringArray:
    kept = [_values(leaf(batch, path)) for _, path in columns.keep]
    names = [name for name, _ in columns.keep]
    return pa.array([dumps(dict(zip(names, row, strict=True))) for row in zip(*kept, strict=True)], pa.string())


def _values(array: pa.Array) -> list[Any]:
    try:
        return list(array.to_pylist())
    except UnicodeDecodeError:
        return list(array.cast(_bytes(array.type)).to_pylist())


def _bytes(kind: pa.DataType) -> pa.DataType:
    """The type with every string in it as bytes."""
    if pa.types.is_struct(kind):
        return pa.struct([(field.name, _bytes(field.type)) for field in kind])
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return pa.list_(_bytes(kind.value_type))
    return pa.binary() if is_string(kind) else kind
