"""Chunks of records: indices into accepted blocks, until rows or dicts are requested."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from smollm3_mix import schema

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class RecordChunk:
    """Records in the order in which they are emitted.

    Attributes:
        pieces: Slices of accepted blocks, with the columns of RECORD_SCHEMA. In a loader, slices of its own batches.
        index: Position of each record in the concatenated pieces, int64[rows].
    """

    pieces: Sequence[pa.RecordBatch]
    index: Ints

    def __len__(self) -> int:
        return len(self.index)

    def batch(self) -> pa.RecordBatch:
        """Return the records as one batch with the columns of the pieces."""
        if not self.pieces:
            return empty_batch()
        joined = self.pieces[0] if len(self.pieces) == 1 else pa.concat_batches(self.pieces)
        if len(self.index) == len(joined) and bool((self.index == np.arange(len(joined))).all()):
            return joined
        return joined.take(pa.array(self.index))

    def records(self) -> list[dict[str, Any]]:
        """Return the records as dicts. Converts each row to Python objects once, without an Arrow gather."""
        pool: list[dict[str, Any]] = []
        for piece in self.pieces:
            if piece.schema.names[: len(schema.RECORD_SCHEMA)] != schema.RECORD_SCHEMA.names:
                pool += piece.to_pylist()
                continue
            columns = [column.to_pylist() for column in piece.columns[: len(schema.RECORD_SCHEMA)]]
            pool += [
                {"text": text, "id": id_, "source": source, "tokens": tokens, "file": file, "row": row, "meta": meta}
                for text, id_, source, tokens, file, row, meta in zip(*columns, strict=True)
            ]
        return [pool[i] for i in self.index.tolist()]

    def slice(self, start: int, stop: int) -> "RecordChunk":
        """Return the records from `start` up to `stop`."""
        return RecordChunk(self.pieces, self.index[start:stop])


def interleave_chunks(chunks: Sequence[RecordChunk], order: Ints) -> RecordChunk:
    """Return one chunk whose i-th record is the next record of chunk `order[i]`.

    Args:
        chunks: Chunks that have `len(order)` records together.
        order: Number of the chunk of each record, int64[records].
    """
    offsets = np.cumsum([0, *(sum(len(piece) for piece in chunk.pieces) for chunk in chunks)])
    index = np.empty(len(order), np.int64)
    for number, chunk in enumerate(chunks):
        index[order == number] = chunk.index + offsets[number]
    return RecordChunk([piece for chunk in chunks for piece in chunk.pieces], index)


def empty_batch() -> pa.RecordBatch:
    """Return a batch without records, with the columns of RECORD_SCHEMA."""
    return pa.RecordBatch.from_arrays(
        [pa.array([], field.type) for field in schema.RECORD_SCHEMA], schema=schema.RECORD_SCHEMA
    )
