"""Convert Arrow values of any type to strings."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc


def strings(array: pa.Array, separator: str) -> tuple[pa.StringArray, npt.NDArray[np.bool_]]:
    """Return the values as strings, and which rows contain invalid UTF-8. Values without a string are null.

    Args:
        array: Values of any type.
        separator: Separator between the strings of a list.

    Returns:
        pa.StringArray[rows] and bool[rows].
    """
    kind = array.type
    if pa.types.is_dictionary(kind):
        return strings(array.cast(kind.value_type), separator)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _joined_lists(array, separator)
    if not (is_string(kind) or _is_binary(kind)):
        return pa.nulls(len(array), pa.string()), np.zeros(len(array), dtype=bool)
    raw = array.cast(pa.binary())
    try:
        return raw.cast(pa.string()), np.zeros(len(array), dtype=bool)
    except pa.ArrowInvalid:
        invalid = np.array([value is not None and not _is_utf8(value) for value in raw.to_pylist()], dtype=bool)
        return pc.if_else(pa.array(invalid), pa.scalar(None, pa.binary()), raw).cast(pa.string()), invalid


def _joined_lists(array: pa.Array, separator: str) -> tuple[pa.StringArray, npt.NDArray[np.bool_]]:
    """Join the strings of each list, without nulls. A list without strings is null."""
    texts, invalid = strings(array.flatten(), separator)
    lengths = pc.list_value_length(array).fill_null(0).to_numpy()
    ends = np.cumsum(lengths)
    values = texts.to_pylist()
    joined, broken = [], np.zeros(len(array), dtype=bool)
    for row, (start, end) in enumerate(zip(ends - lengths, ends, strict=True)):
        found = [value for value in values[start:end] if value is not None]
        joined.append(separator.join(found) if found else None)
        broken[row] = invalid[start:end].any()
    return pa.array(joined, pa.string()), broken


def readable(array: pa.Array) -> pa.StringArray:
    """Return scalar values of any type as strings, with invalid bytes as U+FFFD."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        return readable(array.cast(kind.value_type))
    if not (is_string(kind) or _is_binary(kind)):
        return array.cast(pa.string())
    texts, invalid = strings(array, "")
    if not invalid.any():
        return texts
    return pa.array([None if v is None else v.decode("utf-8", "replace") for v in array.cast(pa.binary()).to_pylist()])


def is_text(kind: pa.DataType) -> bool:
    """Return True if values of the type can be texts: strings, bytes, or lists of them."""
    if pa.types.is_dictionary(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return is_text(kind.value_type)
    return is_string(kind) or _is_binary(kind)


def is_string(kind: pa.DataType) -> bool:
    """Return True if the type is one of Arrow's three string types."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind))


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True
