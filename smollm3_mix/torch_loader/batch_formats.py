"""Formats of batches: records, Arrow, NumPy and torch."""

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import numpy as np
import pyarrow as pa

from smollm3_mix.mix.record_chunk import RecordChunk

BatchFormat: TypeAlias = Literal["records", "arrow", "numpy", "torch"]
FORMATS = ("records", "arrow", "numpy", "torch")


def formatter(format_name: str, *, pin_memory: bool) -> Callable[[RecordChunk], Any]:
    """Return the function that makes a batch of a chunk. The batch shares no memory with the chunk.

    Raises:
        MissingExtraError: If the format is `"torch"` and torch is not installed.
        ValueError: If the format is unknown, or `pin_memory` is set for a format other than `"torch"`.
    """
    if format_name not in FORMATS:
        raise ValueError(f"format must be one of {', '.join(FORMATS)}, got {format_name!r}.")
    if pin_memory and format_name != "torch":
        raise ValueError(f'pin_memory=True needs format="torch", got format={format_name!r}.')
    if format_name == "records":
        return RecordChunk.records
    if format_name == "arrow":
        return _arrow
    if format_name == "numpy":
        return _numpy
    from smollm3_mix.torch_loader.torch_format import to_tensors

    return lambda chunk: to_tensors(_numpy(chunk), pin_memory=pin_memory)


def _arrow(chunk: RecordChunk) -> pa.RecordBatch:
    joined = chunk.pieces[0] if len(chunk.pieces) == 1 else pa.concat_batches(chunk.pieces)
    return joined.take(pa.array(chunk.index))


def _numpy(chunk: RecordChunk) -> dict[str, Any]:
    batch = _arrow(chunk)
    return {name: _to_numpy(batch[name]) for name in batch.schema.names}


def _to_numpy(column: pa.Array) -> Any:
    """Return an array of numbers, or of lists of numbers of one length. Return a list for other types and for nulls."""
    nested = pa.types.is_fixed_size_list(column.type)
    kind = column.type.value_type if nested else column.type
    if column.null_count or not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        return column.to_pylist()
    numbers = np.array(column.flatten() if nested else column)
    return numbers.reshape(len(column), -1) if nested else numbers
