"""Shared memory into which a worker writes records, and from which the training process reads them without a copy."""

import ctypes
from multiprocessing import RawArray
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

SIZE = 16 << 20
"""Bytes of a ring. Batches that do not fit go through the worker's pipe, which needs several more copies."""

ALIGNMENT = 64
"""Alignment of batches in bytes, as Arrow recommends."""

HEADER_BYTES = 1 << 12
"""Bytes of an Arrow stream other than its batch, including its schema."""


class SharedRing:
    """Ring buffer in shared memory with one writer and one reader. Picklable to a process that is being started.

    Both sides count all bytes that were ever written. The reader publishes how many it has released, and the writer
    never overwrites bytes after that. The memory is a `RawArray` of the standard library, in `/dev/shm` if that has
    space, otherwise in a file.

    Args:
        size: Capacity in bytes.
    """

    def __init__(self, size: int = SIZE) -> None:
        self._size = size // ALIGNMENT * ALIGNMENT
        self._memory = RawArray(ctypes.c_uint64, self._size // 8 + 1)
        self._written = 0
        self._map()

    def __getstate__(self) -> dict[str, Any]:
        return {"_size": self._size, "_memory": self._memory, "_written": 0}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._map()

    def write(self, batch: pa.RecordBatch) -> tuple[int, int] | None:
        """Write a batch. Return its range for `read`, or None if it does not fit."""
        needed = pa.ipc.get_record_batch_size(batch) + HEADER_BYTES
        start, free = self._written, int(self._released[0])
        if start % self._size + needed > self._size:
            start += self._size - start % self._size  # the rest before the end is too small
        if free == self._written:
            free = start
        if start + needed > free + self._size:
            return None
        sink = pa.FixedSizeBufferWriter(pa.py_buffer(self._bytes[start % self._size :][:needed]))
        with pa.ipc.new_stream(sink, batch.schema) as writer:
            writer.write_batch(batch)
        self._written = -(-(start + sink.tell()) // ALIGNMENT) * ALIGNMENT
        return start, self._written

    def read(self, span: tuple[int, int]) -> pa.RecordBatch:
        """Return the batch of a range, valid until `release`."""
        start, stop = span
        return pa.ipc.open_stream(pa.py_buffer(self._bytes[start % self._size :][: stop - start])).read_next_batch()

    def release(self, span: tuple[int, int]) -> None:
        """Release a range and everything before it."""
        self._released[0] = max(int(self._released[0]), span[1])

    def begin(self) -> None:
        """Discard all batches that the reader has not read. Called by the writer."""
        self._released[0] = self._written

    def _map(self) -> None:
        words: npt.NDArray[np.uint64] = np.frombuffer(memoryview(self._memory), np.uint64)
        self._released, self._bytes = words[-1:], words[:-1].view(np.uint8)
