"""Evaluate conditions `[[column, op, value], …]` on arrays and on the bounds of Parquet row groups."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from smollm3_mix.sources.source_files import SourceFault

COMPARE: dict[str, Callable[..., Any]] = {
    "==": pc.equal,
    "!=": pc.not_equal,
    "<": pc.less,
    "<=": pc.less_equal,
    ">": pc.greater,
    ">=": pc.greater_equal,
}


class Where(NamedTuple):
    """One condition. Null meets no condition, not even `!=` or `not in`, as in SQL.

    Attributes:
        path: Path of the column.
        op: Operator: one of COMPARE, `in` or `not in`.
        value: Value or list of values to compare with.
    """

    path: tuple[str, ...]
    op: str
    value: Any

    def __str__(self) -> str:
        return f"{'.'.join(self.path)} {self.op} {self.value!r}"


def kind(where: Where) -> pa.DataType:
    """Return the type of a condition's column in text formats: the type of its value, double for numbers."""
    value = next(iter(where.value), "") if isinstance(where.value, list | tuple) else where.value
    return pa.bool_() if isinstance(value, bool) else pa.string() if isinstance(value, str) else pa.float64()


def matches(array: pa.Array, where: Where) -> npt.NDArray[np.bool_]:
    """Return which values of a column meet the condition. bool[rows].

    Raises:
        SourceFault: If the column's type cannot be compared with the value's.
    """
    stored = array.type
    if pa.types.is_dictionary(stored):
        return matches(array.cast(stored.value_type), where)
    if pa.types.is_null(stored):
        return np.zeros(len(array), dtype=bool)
    try:
        if where.op in COMPARE:
            value = pa.scalar(where.value)
            stored_differently = pa.types.is_temporal(stored) or pa.types.is_binary(stored)  # the recipe has a string
            met = COMPARE[where.op](array, value.cast(stored) if stored_differently else value)
        else:
            met = pc.is_in(array, value_set=pa.array(where.value).cast(stored))
            met = pc.and_(met if where.op == "in" else pc.invert(met), array.is_valid())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
        column = ".".join(where.path)
        raise SourceFault(
            f"where {where}: cannot compare column {column!r} of type {stored} with {where.value!r}"
        ) from error
    return np.asarray(met.fill_null(False).to_numpy(zero_copy_only=False))


def may_match(where: Where, low: Any, high: Any) -> bool:
    """Return False if no value in [low, high] can meet the condition, and True if one can or if this is unknown."""
    values = where.value if where.op == "in" else [where.value]
    try:
        if where.op in {"==", "in"}:
            return any(low <= value <= high for value in values)
        if where.op in {"<", "<="}:
            return bool(low < where.value or (where.op == "<=" and low == where.value))
        if where.op in {">", ">="}:
            return bool(high > where.value or (where.op == ">=" and high == where.value))
    except TypeError:  # other types raise a SourceFault when the rows are read
        return True
    return True
