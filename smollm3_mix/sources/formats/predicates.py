"""Conditions on a row's columns, `[[column, op, value], …]`: on arrays, and on the bounds of a Parquet row group."""

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
    """One condition. A null meets none, not even `!=` or `not in`, as in SQL."""

    path: tuple[str, ...]
    op: str
    value: Any

    def __str__(self) -> str:
        return f"{'.'.join(self.path)} {self.op} {self.value!r}"


def kind(where: Where) -> pa.DataType:
    """The type a condition's column is parsed as in text formats: that of its value, every number being a double."""
    value = next(iter(where.value), "") if isinstance(where.value, list | tuple) else where.value
    return pa.bool_() if isinstance(value, bool) else pa.string() if isinstance(value, str) else pa.float64()


def matches(array: pa.Array, where: Where) -> npt.NDArray[np.bool_]:
    """Which values of a column meet the condition.

    Raises:
        Fault: the column's type cannot be compared with the value's.
    """
    stored = array.type
    if pa.types.is_dictionary(stored):
        return matches(array.cast(stored.value_type), where)
    if pa.types.is_null(stored):
        return np.zeros(len(array), dtype=bool)
    try:
        if where.op in COMPARE:
            value = pa.scalar(where.value)
            written = pa.types.is_temporal(stored) or pa.types.is_binary(stored)  # and the recipe has a string
            met = COMPARE[where.op](array, value.cast(stored) if written else value)
        else:
            met = pc.is_in(array, value_set=pa.array(where.value).cast(stored))
            met = pc.and_(met if where.op == "in" else pc.invert(met), array.is_valid())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
        column = ".".join(where.path)
        raise SourceFault(
            f"where {where}: column {column!r} is {stored}, which cannot be compared with that"
        ) from error
    return np.asarray(met.fill_null(False).to_numpy(zero_copy_only=False))


def possible(where: Where, low: Any, high: Any) -> bool:
    """Whether a value between `low` and `high`, both included, might meet the condition; True when in doubt."""
    values = where.value if where.op == "in" else [where.value]
    try:
        if where.op in {"==", "in"}:
            return any(low <= value <= high for value in values)
        if where.op in {"<", "<="}:
            return bool(low < where.value or (where.op == "<=" and low == where.value))
        if where.op in {">", ">="}:
            return bool(high > where.value or (where.op == ">=" and high == where.value))
    except TypeError:  # of other types: reading the rows gives the message
        return True
    return True
