"""Memory that one worker writes records into, and the training process reads them from without a copy."""

import ctypes
from multiprocessing import RawArray
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

SIZE = 16 << 20
"""Bytes of a ring. What finds no room goes through the worker's queue, which costs several copies more."""

ALIGNED = 64
"""Records begin at multiples of so many bytes, as Arrow likes it."""

FRAME = 1 << 12
"""Bytes that an Arrow stream takes beside its batch, its schema's included."""


class SharedRing:
    """Shared memory with one writer and one reader, picklable to a process that is being started.

    Both count the bytes that ever went through it; the reader says up to where it has done with them, and the writer
    never writes over what lies behind that. It is of the standard library's `RawArray`, so of `/dev/shm` where that has
    room, else of a file.

    Args:
        size: bytes of records it holds.
    """

    def __init__(self, size: int = SIZE) -> None:
        self._size = size // ALIGNED * ALIGNED
        self._memory = RawArray(ctypes.c_uint64, self._size // 8 + 1)
        self._written = 0
        self._look()

    def __getstate__(self) -> dict[str, Any]:
        return {"_size": self._size, "_memory": self._memory, "_written": 0}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._look()

    def write(self, batch: pa.RecordBatch) -> tuple[int, int] | None:
        """Where the batch was written, as `read` takes it; None where there is no room for it."""
        most = pa.ipc.get_record_batch_size(batch) + FRAME
        start, free = self._written, int(self._released[0])
        if start % self._size + most > self._size:
            start += self._size - start % self._size  # what is left before the end is too little
        if free == self._written:
            free = start
        if start + most > free + self._size:
            return None
        sink = pa.FixedSizeBufferWriter(pa.py_buffer(self._bytes[start % self._size :][:most]))
        with pa.ipc.new_stream(sink, batch.schema) as writer:
            writer.write_batch(batch)
        self._written = -(-(start + sink.tell()) // ALIGNED) * ALIGNED
        return start, self._written

    def read(self, place: tuple[int, int]) -> pa.RecordBatch:
        """What was written there, valid until `release`."""
        start, stop = place
        return pa.ipc.open_stream(pa.py_buffer(self._bytes[start % self._size :][: stop - start])).read_next_batch()

    def release(self, place: tuple[int, int]) -> None:
        """Say that what was written there, and all before it, is not needed any more."""
        self._released[0] = max(int(self._released[0]), place[1])

    def begin(self) -> None:
        """Have the writer's next batch be the first that counts: what the reader has not taken, it never will."""
        self._released[0] = self._written

    def _look(self) -> None:
        whole: npt.NDArray[np.uint64] = np.frombuffer(memoryview(self._memory), np.uint64)
        self._released, self._bytes = whole[-1:], whole[:-1].view(np.uint8)
