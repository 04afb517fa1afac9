"""The blocks of all workers put in one order, and where each lane stands."""

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


class Reader:
    """One worker, as the training process sees it.

    Args:
        blocks: what it gives.
        made_by: what gives it there.

    Attributes:
        places: of the records at hand, in the order of all records.
        ended: no more will come, and none are at hand.
        lanes: numbers of its lanes.
    """

    def __init__(self, blocks: Iterator[WorkerBlock], made_by: WorkerBlocks) -> None:
        self.lanes, self.places, self.ended = made_by.lanes, np.empty(0, np.int64), False
        self._blocks, self._ring = blocks, made_by.ring
        self._batch: pa.RecordBatch | None = None
        self._lying: tuple[int, int] | None = None  # where in the ring the records at hand lie
        self._done: tuple[int, int] | None = None  # where those lie that are wanted no more

    def fill(self) -> list[dict[str, Any]] | None:
        """Have records at hand, unless it has ended; gives the lanes' states before them, where they came along."""
        if len(self.places) or self.ended:
            return None
        self._done, self._lying, self._batch = self._lying or self._done, None, None
        block = next(self._blocks, None)
        if block is None:
            self.ended = True
            return None
        self.places = block.places
        if isinstance(block.records, pa.RecordBatch):
            self._batch = block.records
        elif self._ring is None or isinstance(block.records, bytes):
            self._batch = pa.ipc.open_stream(block.records).read_next_batch()
        else:
            self._lying = block.records
            self._batch = self._ring.read(block.records)
        return block.state

    def pull(self, rows: int) -> pa.RecordBatch:
        """The next of the records at hand, valid until `release`."""
        if self._batch is None:
            raise AssertionError("a worker was asked for records although none are at hand")
        given, self._batch, self.places = self._batch.slice(0, rows), self._batch.slice(rows), self.places[rows:]
        return given

    def release(self) -> None:
        """Say that nothing pulled before is needed any more."""
        if self._ring is not None and self._done is not None:
            self._ring.release(self._done)
            self._done = None


@dataclass(frozen=True)
class LanePosition:
    """Where some lanes stand between two batches.

    Attributes:
        header: state of a stream of some of the lanes.
        going: lanes that may have more.
        turn: the lane that gives next.
        lanes: what was saved of each lane.
        records: how many each of `lanes` has given.
    """

    header: Mapping[str, Any]
    going: tuple[int, ...]
    turn: int | None
    lanes: Mapping[int, Mapping[str, Any]]
    records: Mapping[int, int]

    def state_dict(self) -> dict[str, Any]:
        """State of a stream of these lanes."""
        return {
            **self.header,
            "active_lanes": list(self.going),
            "next_lane": self.turn,
            "lanes": [{**at, "records": self.records[lane]} for lane, at in sorted(self.lanes.items())],
        }


class LaneMerger:
    """One record of each lane in turn, whichever worker made it; ended lanes leave the round.

    The order is that of a `Stream` over the same lanes.

    Args:
        header: state of a stream of some of the lanes.
        lanes: numbers of the lanes, rising.
        start: state to go on from; None: the start.

    Attributes:
        lanes: those that go on from there.
    """

    def __init__(self, header: Mapping[str, Any], lanes: Sequence[int], start: Mapping[str, Any] | None) -> None:
        mine, going = set(lanes), set(lanes if start is None else start["active_lanes"])
        self._header = header
        self._saved = {} if start is None else {at["lane"]: at for at in start["lanes"] if at["lane"] in mine}
        self.lanes = [lane for lane in lanes if lane in going]
        self._given = np.array([self._saved.get(lane, {}).get("records", 0) for lane in self.lanes], np.int64)
        self._turn = next_lane_position(None if start is None else start["next_lane"], self.lanes)
        self._readers: list[Reader] = []

    def begin(self, readers: list[Reader]) -> None:
        """Take from these, of which each lane that goes on has one."""
        self._readers = readers

    def take(self, rows: int) -> RecordChunk | None:
        """The next records, `rows` of them or fewer at the end; None when there are none. Valid until the next call."""
        for reader in self._readers:
            reader.release()
        pieces: list[pa.RecordBatch] = []
        places: list[Ints] = []
        wanted = rows
        while wanted:
            for reader in self._readers:
                self._fill(reader)
            ready = [reader for reader in self._readers if len(reader.places)]
            if not ready:
                break
            # no record can still come before the last one at hand of each reader
            last = min(int(each.places[-1]) for each in ready)
            counts = [int(np.searchsorted(reader.places, last, side="right")) for reader in ready]
            if sum(counts) > wanted:
                merged = np.sort(np.concatenate([r.places[:n] for r, n in zip(ready, counts, strict=True)]))
                counts = [int(np.searchsorted(reader.places, merged[wanted])) for reader in ready]
            for reader, count in zip(ready, counts, strict=True):
                if count:
                    places.append(reader.places[:count])
                    pieces.append(reader.pull(count))
            wanted -= sum(counts)
        if not pieces:
            return None
        found = np.concatenate(places)
        order = np.argsort(found, kind="stable")
        self._given += np.bincount(found % len(self.lanes), minlength=len(self.lanes))
        self._turn = int(found[order[-1]] + 1) % len(self.lanes)
        return RecordChunk(pieces, order)

    def place(self) -> LanePosition:
        """Where these lanes stand after the last record taken."""
        ended = {lane for reader in self._readers if reader.ended for lane in reader.lanes}
        going = tuple(lane for lane in self.lanes if lane not in ended)
        turn = next((lane for lane in self.lanes[self._turn :] + self.lanes if lane not in ended), None)
        records = {lane: at["records"] for lane, at in self._saved.items()}
        records |= dict(zip(self.lanes, self._given.tolist(), strict=True))
        return LanePosition(self._header, going, turn, dict(self._saved), records)

    def _fill(self, reader: Reader) -> None:
        for at in reader.fill() or ():
            if at["lane"] not in self._saved:
                self._given[self.lanes.index(at["lane"])] = at["records"]
            self._saved[at["lane"]] = at
