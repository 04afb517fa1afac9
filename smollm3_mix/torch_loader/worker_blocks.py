"""Blocks of records of some lanes, which a worker makes ahead of their use."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from smollm3_mix.mix.state.merge_states import next_lane_position
from smollm3_mix.torch_loader.shared_ring import SharedRing

Ints = npt.NDArray[np.int64]

BLOCK_BYTES = 1 << 21
"""Approximate bytes of a block. Large enough for few messages, and small enough for several blocks in a ring."""

FIRST_ROWS, MAX_ROWS = 16, 2048
"""Number of records in the first block, before their size is known, and maximum number."""

STATE_COST_RATIO = 50
"""A block contains the state of its lanes if making it takes less than a fiftieth of the time since the last one.
Resuming makes the records since then again."""


class LaneReadable(Protocol):
    """A mix that can be read lane by lane: `Mix` or `PackedMix`."""

    @property
    def num_lanes(self) -> int:
        """Number of lanes."""

    def stream(self, lanes: Sequence[int] | None = None) -> Any:
        """Return a stream of some lanes, with the methods of `Stream`."""


@dataclass(frozen=True)
class WorkerBlock:
    """Records of a worker's lanes.

    Attributes:
        records: Record batch, or its range in the worker's ring, or an Arrow stream if it did not fit into the ring.
        positions: Position of each record in the order of all records, round × lanes + lane. int64[records], ascending.
        state: State of each lane before these records, or None.
    """

    records: pa.RecordBatch | tuple[int, int] | bytes
    positions: Ints
    state: list[dict[str, Any]] | None


class WorkerBlocks:
    """Blocks of every n-th lane, interleaved round-robin.

    A round has one record of each active lane, in ascending order. Round and lane therefore decide the position of a
    record among those of all workers. The first round starts with the next lane of the state.

    Args:
        mix: Mix to read.
        lanes: Numbers of the lanes of all workers, ascending.
        share: Pair (w, n). This worker has `lanes[w::n]`.
        state: State of a stream of at least these lanes to resume from. None starts at the beginning.
        ring: Ring for the records. None keeps them in this process.

    Attributes:
        lanes: Numbers of the lanes of this worker.
        ring: Ring for the records, or None.
    """

    def __init__(
        self,
        mix: LaneReadable,
        lanes: Sequence[int],
        share: tuple[int, int],
        state: Mapping[str, Any] | None,
        ring: SharedRing | None,
    ) -> None:
        self.ring = ring
        self._mix, self._all = mix, list(lanes)
        self._numbers = np.array(self._all, np.int64)
        self.lanes = self._all[share[0] :: share[1]]
        self._state = state

    def __iter__(self) -> Iterator[WorkerBlock]:
        if self.ring is not None:
            self.ring.begin()
        stream = self._mix.stream(self.lanes)
        try:
            if self._state is not None:
                stream.load_state_dict(self._state)
            yield from self._read(stream)
        finally:
            stream.close()

    def _read(self, stream: Any) -> Iterator[WorkerBlock]:
        before = next_lane_position(None if self._state is None else self._state["next_lane"], self._all) - 1
        states, rows = _States(stream), FIRST_ROWS
        while True:
            state = states.now()
            batch, lanes = _read(stream, rows)
            if not batch.num_rows:
                return
            positions = self._positions(lanes, before)
            before = int(positions[-1])
            size = -(-batch.num_rows // -(-batch.nbytes // (2 * BLOCK_BYTES)))
            for start in range(0, batch.num_rows, size):
                part = batch.slice(start, size)
                yield WorkerBlock(self._send(part), positions[start : start + size], None if start else state)
            rows = min(max(batch.num_rows * BLOCK_BYTES // batch.nbytes, 1), 2 * rows, MAX_ROWS)

    def _positions(self, lanes: Ints, before: int) -> Ints:
        """Return the positions of records with these lanes, the first ones after position `before`."""
        count = len(self._all)
        indexes = np.searchsorted(self._numbers, lanes)
        rounds = np.cumsum(np.diff(indexes, prepend=before % count) <= 0)
        return (before // count + rounds) * count + indexes

    def _send(self, batch: pa.RecordBatch) -> pa.RecordBatch | tuple[int, int] | bytes:
        if self.ring is None:
            return batch
        if (span := self.ring.write(batch)) is not None:
            return span
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, batch.schema) as writer:
            writer.write_batch(batch)
        return sink.getvalue().to_pybytes()


def _read(stream: Any, rows: int) -> tuple[pa.RecordBatch, Ints]:
    """Return the next records and their lanes. Fewer than `rows` at the end."""
    batches, lanes = zip(*_reads(stream, rows), strict=True)
    return batches[0] if len(batches) == 1 else pa.concat_batches(batches), np.concatenate(lanes)


def _reads(stream: Any, rows: int) -> Iterator[tuple[pa.RecordBatch, Ints]]:
    while rows:
        batch, lanes = stream.read_with_lanes(rows)
        yield batch, lanes
        if not batch.num_rows:
            return
        rows -= batch.num_rows


class _States:
    """States of a stream's lanes, made when that is cheap."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._seconds = self._made_at = 0.0

    def now(self) -> list[dict[str, Any]] | None:
        """Return the lanes' states if that is cheap, and always the first time."""
        start = time.monotonic()
        if self._made_at and start - self._made_at <= STATE_COST_RATIO * self._seconds:
            return None
        lanes: list[dict[str, Any]] = self._stream.state_dict()["lanes"]
        self._made_at = time.monotonic()
        self._seconds = self._made_at - start
        return lanes
