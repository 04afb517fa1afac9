"""Blocks of records of some lanes in turn, made in a worker process ahead of their use."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import fsspec.asyn
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from torch.utils.data import IterableDataset, get_worker_info

from smollm3_mix.mix.state.merge_states import next_lane_position
from smollm3_mix.torch_loader.shared_ring import SharedRing

Ints = npt.NDArray[np.int64]

BYTES = 1 << 21
"""About the bytes of a block: few messages, and several of them fit into a ring."""

FIRST_ROWS, ROWS = 16, 2048
"""Records in the first block, before their size is known, and at most."""

PATIENCE = 50
"""A block comes with its lanes' state when asking for that took less than a fiftieth of the time since the last one.
To resume is to make again the records since, at most those 50 times."""


class LaneReadable(Protocol):
    """What can be read lane by lane: a `Mix`, or what `packed` gives."""

    @property
    def num_lanes(self) -> int:
        """Number of lanes."""

    def stream(self, lanes: Sequence[int] | None = None) -> Any:
        """Some lanes, with `read_with_lanes`, `state_dict`, `load_state_dict` and `close` as `Stream` has them."""


@dataclass(frozen=True)
class WorkerBlock:
    """Records of a worker's lanes.

    Attributes:
        records: the batch; where it lies in the worker's ring; or an Arrow stream of it, where the ring had no room.
        places: int64[records], rising: the place of each in the order of all records, round × lanes + lane.
        state: of each lane, before these records; None: as before the records that came earlier.
    """

    records: pa.RecordBatch | tuple[int, int] | bytes
    places: Ints
    state: list[dict[str, Any]] | None


class WorkerBlocks(IterableDataset):  # type: ignore[misc, type-arg, unused-ignore]  # torch may be missing
    """Blocks of every n-th lane, one record of each in turn, until all have ended.

    A round is one record of each lane that goes on, in their order, so round and lane say where a record comes among
    those of all workers. The first round begins with the lane whose turn it is.

    Args:
        mix: what is read.
        lanes: numbers of all workers' lanes, rising.
        share: (w, n): `lanes[w::n]` are those of this one.
        state: of a stream of at least these lanes, to go on from; None: the start.
        ring: takes the records; None: they stay in this process.

    Attributes:
        lanes: numbers of its own lanes.
        ring: as given.
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
        if get_worker_info() is not None:
            fsspec.asyn.reset_lock()  # a forked process has the lock and not the thread that would release it
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
            places = self._places(lanes, before)
            before = int(places[-1])
            each = -(-batch.num_rows // -(-batch.nbytes // (2 * BYTES)))
            for start in range(0, batch.num_rows, each):
                part = batch.slice(start, each)
                yield WorkerBlock(self._sent(part), places[start : start + each], None if start else state)
            rows = min(max(batch.num_rows * BYTES // batch.nbytes, 1), 2 * rows, ROWS)

    def _places(self, lanes: Ints, before: int) -> Ints:
        """Places of the records of these lanes, the first that come after the one at `before`."""
        count = len(self._all)
        turns = np.searchsorted(self._numbers, lanes)
        rounds = np.cumsum(np.diff(turns, prepend=before % count) <= 0)
        return (before // count + rounds) * count + turns

    def _sent(self, batch: pa.RecordBatch) -> pa.RecordBatch | tuple[int, int] | bytes:
        if self.ring is None:
            return batch
        if (place := self.ring.write(batch)) is not None:
            return place
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, batch.schema) as writer:
            writer.write_batch(batch)
        return sink.getvalue().to_pybytes()


def _read(stream: Any, rows: int) -> tuple[pa.RecordBatch, Ints]:
    """The next records and the lane of each: so many, or fewer at the end."""
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
    """The states of a stream's lanes, asked for when that costs little."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._seconds = self._asked = 0.0

    def now(self) -> list[dict[str, Any]] | None:
        """The lanes' states if they may cost that much, always the first time."""
        start = time.monotonic()
        if self._asked and start - self._asked <= PATIENCE * self._seconds:
            return None
        lanes: list[dict[str, Any]] = self._stream.state_dict()["lanes"]
        self._asked = time.monotonic()
        self._seconds = self._asked - start
        return lanes
