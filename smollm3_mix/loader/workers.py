"""Blocks of records of single lanes, made in worker processes ahead of their use."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import fsspec.asyn
import pyarrow as pa
from torch.utils.data import IterableDataset, get_worker_info

ROWS = 64
"""Records in a block, but for a lane's last; as many for every lane, so that none runs ahead of the others."""

PATIENCE = 20
"""A block comes with its lane's state when asking for that took less than a twentieth of the time since the last one.
To resume is to make again the records since, at most those 20 times."""


class Laned(Protocol):
    """What can be read lane by lane: a `Mix`, or what `packed` gives."""

    @property
    def num_lanes(self) -> int:
        """Number of lanes."""

    def stream(self, lanes: Sequence[int] | None = None) -> Any:
        """Some lanes, with `read`, `state_dict`, `load_state_dict` and `close` as `Stream` has them."""


@dataclass(frozen=True)
class Block:
    """Records of one lane.

    Attributes:
        lane: the lane's number.
        records: serialised Arrow stream of one batch; a slice would be pickled with all that it is a slice of.
        rows: number of records.
        last: whether the lane has ended with them.
        state: of the lane, before these records; None: as before the records that came earlier.
    """

    lane: int
    records: bytes
    rows: int
    last: bool
    state: dict[str, Any] | None

    def batch(self) -> pa.RecordBatch:
        """The records."""
        return pa.ipc.open_stream(self.records).read_next_batch()


class Blocks(IterableDataset):  # type: ignore[misc]  # torch may be missing where types are checked
    """Blocks of some lanes in turn until all have ended, each worker those of its own lanes.

    Args:
        mix: what is read.
        lanes: numbers of the lanes; worker w of n has `lanes[w::n]`.
        state: of a stream of at least these lanes, to go on from; None: the start.
    """

    def __init__(self, mix: Laned, lanes: Sequence[int], state: Mapping[str, Any] | None) -> None:
        self._mix, self._lanes, self._state = mix, list(lanes), state

    def __iter__(self) -> Iterator[Block]:
        worker = get_worker_info()
        mine = self._lanes if worker is None else self._lanes[worker.id :: worker.num_workers]
        if worker is not None:
            fsspec.asyn.reset_lock()  # a forked process has the lock and not the thread that would release it
        going = [_Lane(self._mix, lane, self._state) for lane in mine]
        try:
            while going:
                for lane in going:
                    yield lane.block()
                going = [lane for lane in going if not lane.ended]
        finally:
            for lane in going:
                lane.close()


class _Lane:
    """One lane on its way into blocks."""

    def __init__(self, mix: Laned, lane: int, state: Mapping[str, Any] | None) -> None:
        self.ended = False
        self._lane = lane
        self._stream = mix.stream([lane])
        self._state, self._opened = state, False
        self._seconds, self._asked = 0.0, 0.0
        self._ahead: pa.RecordBatch | None = None

    def block(self) -> Block:
        """The next records."""
        if not self._opened:
            if self._state is not None:
                self._stream.load_state_dict(self._state)
            self._state, self._opened = None, True
        state = self._state_now()
        table = self._read()
        self.ended = table.num_rows < ROWS
        if self.ended:
            self.close()
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        return Block(self._lane, sink.getvalue().to_pybytes(), table.num_rows, self.ended, state)

    def close(self) -> None:
        """Close all files."""
        self._stream.close()

    def _read(self) -> pa.Table:
        """The next ROWS records in one chunk, fewer at the end."""
        batches = [self._stream.read(ROWS)]
        rows = batches[0].num_rows
        while 0 < rows < ROWS and (batch := self._stream.read(ROWS - rows)).num_rows:
            batches.append(batch)
            rows += batch.num_rows
        return pa.Table.from_batches(batches).combine_chunks()

    def _state_now(self) -> dict[str, Any] | None:
        """The lane's state if it may cost that much, always before the first block."""
        start = time.monotonic()
        if self._asked and start - self._asked <= PATIENCE * self._seconds:
            return None
        state = self._stream.state_dict()
        self._asked = time.monotonic()
        self._seconds = self._asked - start
        return state
