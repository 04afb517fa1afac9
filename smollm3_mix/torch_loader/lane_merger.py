"""Merge the workers' blocks into one deterministic order, and track the position of each lane."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from smollm3_mix.mix.record_chunk import RecordChunk
from smollm3_mix.mix.state.merge_states import next_lane_position
from smollm3_mix.torch_loader.worker_blocks import WorkerBlock, WorkerBlocks

Ints = npt.NDArray[np.int64]


class WorkerReader:
    """Blocks of one worker, in the training process.

    Args:
        blocks: Blocks of the worker.
        source: Description of the blocks in the worker.
        owner: Process to keep alive with the reader.

    Attributes:
        positions: Positions of the available records in the order of all records, int64[records].
        ended: True after the last record.
        lanes: Numbers of the worker's lanes.
    """

    def __init__(self, blocks: Iterator[WorkerBlock], source: WorkerBlocks, owner: object = None) -> None:
        self.lanes, self.positions, self.ended = source.lanes, np.empty(0, np.int64), False
        self._blocks, self._ring, self._owner = blocks, source.ring, owner
        self._batch: pa.RecordBatch | None = None
        self._current: tuple[int, int] | None = None  # range of the ring with the available records
        self._finished: tuple[int, int] | None = None  # range of the ring that can be released

    def fill(self) -> list[dict[str, Any]] | None:
        """Fetch the next block if no record is available. Return the lanes' states before the block, if it has them."""
        if len(self.positions) or self.ended:
            return None
        self._finished, self._current, self._batch = self._current or self._finished, None, None
        block = next(self._blocks, None)
        if block is None:
            self.ended = True
            return None
        self.positions = block.positions
        if isinstance(block.records, pa.RecordBatch):
            self._batch = block.records
        elif self._ring is None or isinstance(block.records, bytes):
            self._batch = pa.ipc.open_stream(block.records).read_next_batch()
        else:
            self._current = block.records
            self._batch = self._ring.read(block.records)
        return block.state

    def pull(self, rows: int) -> pa.RecordBatch:
        """Return the next available records, valid until `release`."""
        if self._batch is None:
            raise AssertionError("pull() without available records")
        batch, self._batch, self.positions = self._batch.slice(0, rows), self._batch.slice(rows), self.positions[rows:]
        return batch

    def release(self) -> None:
        """Release the memory of records that were pulled before."""
        if self._ring is not None and self._finished is not None:
            self._ring.release(self._finished)
            self._finished = None


@dataclass(frozen=True)
class LanePosition:
    """Position of some lanes between two batches.

    Attributes:
        header: State of a stream of some of the lanes.
        active: Lanes that may have more records.
        next_lane: Lane of the next record.
        lanes: Saved state of each lane.
        records: Number of records of each lane.
    """

    header: Mapping[str, Any]
    active: tuple[int, ...]
    next_lane: int | None
    lanes: Mapping[int, Mapping[str, Any]]
    records: Mapping[int, int]

    def state_dict(self) -> dict[str, Any]:
        """Return the state of a stream of these lanes."""
        return {
            **self.header,
            "active_lanes": list(self.active),
            "next_lane": self.next_lane,
            "lanes": [{**at, "records": self.records[lane]} for lane, at in sorted(self.lanes.items())],
        }


class LaneMerger:
    """Interleaves lanes round-robin, independent of their workers. Exhausted lanes are skipped.

    The order is that of a `Stream` over the same lanes.

    Args:
        header: State of a stream of some of the lanes.
        lanes: Numbers of the lanes, ascending.
        start: State to resume from. None starts at the beginning.

    Attributes:
        lanes: Lanes that are active at the start.
    """

    def __init__(self, header: Mapping[str, Any], lanes: Sequence[int], start: Mapping[str, Any] | None) -> None:
        own, active = set(lanes), set(lanes if start is None else start["active_lanes"])
        self._header = header
        self._saved = {} if start is None else {at["lane"]: at for at in start["lanes"] if at["lane"] in own}
        self.lanes = [lane for lane in lanes if lane in active]
        self._emitted = np.array([self._saved.get(lane, {}).get("records", 0) for lane in self.lanes], np.int64)
        self._next = next_lane_position(None if start is None else start["next_lane"], self.lanes)
        self._readers: list[WorkerReader] = []

    def begin(self, readers: list[WorkerReader]) -> None:
        """Set the readers. Every active lane has one."""
        self._readers = readers

    def take(self, rows: int) -> RecordChunk | None:
        """Return the next `rows` records, fewer at the end, or None if there are none. Valid until the next call."""
        for reader in self._readers:
            reader.release()
        pieces: list[pa.RecordBatch] = []
        positions: list[Ints] = []
        wanted = rows
        while wanted:
            for reader in self._readers:
                self._fill(reader)
            ready = [reader for reader in self._readers if len(reader.positions)]
            if not ready:
                break
            # no later record can precede the smallest of the readers' last available positions
            last = min(int(each.positions[-1]) for each in ready)
            counts = [int(np.searchsorted(reader.positions, last, side="right")) for reader in ready]
            if sum(counts) > wanted:
                merged = np.sort(np.concatenate([r.positions[:n] for r, n in zip(ready, counts, strict=True)]))
                counts = [int(np.searchsorted(reader.positions, merged[wanted])) for reader in ready]
            for reader, count in zip(ready, counts, strict=True):
                if count:
                    positions.append(reader.positions[:count])
                    pieces.append(reader.pull(count))
            wanted -= sum(counts)
        if not pieces:
            return None
        found = np.concatenate(positions)
        order = np.argsort(found, kind="stable")
        self._emitted += np.bincount(found % len(self.lanes), minlength=len(self.lanes))
        self._next = int(found[order[-1]] + 1) % len(self.lanes)
        return RecordChunk(pieces, order)

    def position(self) -> LanePosition:
        """Return the position of these lanes after the last record taken."""
        ended = {lane for reader in self._readers if reader.ended for lane in reader.lanes}
        active = tuple(lane for lane in self.lanes if lane not in ended)
        next_lane = next((lane for lane in self.lanes[self._next :] + self.lanes if lane not in ended), None)
        records = {lane: at["records"] for lane, at in self._saved.items()}
        records |= dict(zip(self.lanes, self._emitted.tolist(), strict=True))
        return LanePosition(self._header, active, next_lane, dict(self._saved), records)

    def _fill(self, reader: WorkerReader) -> None:
        for at in reader.fill() or ():
            if at["lane"] not in self._saved:
                self._emitted[self.lanes.index(at["lane"])] = at["records"]
            self._saved[at["lane"]] = at
