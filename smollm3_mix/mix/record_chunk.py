"""Records on their way out: pointers into accepted blocks, until somebody asks for rows or dicts."""

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
    """Some records in the order in which they are given out.

    Attributes:
        pieces: slices of accepted blocks, columns of schema.RECORD; or, on the way out of a loader, of what it gives.
        index: int64[rows], place of each record in the concatenated pieces.
    """

    pieces: Sequence[pa.RecordBatch]
    index: Ints

    def __len__(self) -> int:
        return len(self.index)

    def batch(self) -> pa.RecordBatch:
        """The records as one RecordBatch of schema.RECORD."""
        if not self.pieces:
            return empty_batch()
        whole = self.pieces[0] if len(self.pieces) == 1 else pa.concat_batches(self.pieces)
        if len(self.index) == len(whole) and bool((self.index == np.arange(len(whole))).all()):
            return whole
        return whole.take(pa.array(self.index))

    def records(self) -> list[dict[str, Any]]:
        """The records as dicts. Rows become Python objects once; no Arrow gather is made for them."""
        pool: list[dict[str, Any]] = []
        for piece in self.pieces:
            if piece.schema.names[: len(schema.RECORD_SCHEMA)] != schema.RECORD_SCHEMA.names:
                pool += piece.to_pylist()
                continue
            columns = [column.to_pylist() for column in piece.columns[: len(schema.RECORD_SCHEMA)]]
            pool += [
                {"text": text, "id": own, "source": source, "tokens": tokens, "file": file, "row": row, "meta": meta}
                for text, own, source, tokens, file, row, meta in zip(*columns, strict=True)
            ]
        return [pool[i] for i in self.index.tolist()]

    def slice(self, start: int, stop: int) -> "RecordChunk":
        """Records `start` to `stop` of this chunk."""
        return RecordChunk(self.pieces, self.index[start:stop])


def interleave_chunks(chunks: Sequence[RecordChunk], turns: Ints) -> RecordChunk:
    """One chunk that takes its i-th record from chunk `turns[i]`, each in order; together they hold len(turns)."""
    offsets = np.cumsum([0, *(sum(len(piece) for piece in chunk.pieces) for chunk in chunks)])
    index = np.empty(len(turns), np.int64)
    for number, chunk in enumerate(chunks):
        index[turns == number] = chunk.index + offsets[number]
    return RecordChunk([piece for chunk in chunks for piece in chunk.pieces], index)


def empty_batch() -> pa.RecordBatch:
    """No records, with the columns of schema.RECORD."""
    return pa.RecordBatch.from_arrays(
        [pa.array([], field.type) for field in schema.RECORD_SCHEMA], schema=schema.RECORD_SCHEMA
    )
