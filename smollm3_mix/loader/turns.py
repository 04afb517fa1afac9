"""Blocks of single lanes put in lane turn, and where each lane stands."""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from smollm3_mix.loader.workers import Block
from smollm3_mix.mix.states import place_of_turn

Ints = npt.NDArray[np.int64]


class Turns:
    """One record of each lane in turn, whoever made them and in whatever order they come; ended lanes leave the round.

    The order is that of a `Stream` over the same lanes.

    Args:
        header: state of a stream of some of the lanes.
        lanes: numbers of the lanes, rising.
        start: state to go on from; None: the start.

    Attributes:
        going: lanes that go on.
    """

    def __init__(self, header: Mapping[str, Any], lanes: Sequence[int], start: Mapping[str, Any] | None) -> None:
        self._header = header
        mine, going = set(lanes), set(lanes if start is None else start["going"])
        self._saved = {} if start is None else {at["lane"]: at for at in start["lanes"] if at["lane"] in mine}
        self.going = [lane for lane in lanes if lane in going]
        self._turn = place_of_turn(None if start is None else start["turn"], self.going)
        self._records = {lane: at["records"] for lane, at in self._saved.items()}
        self._waiting: dict[int, deque[Block]] = {lane: deque() for lane in lanes}
        self._current: dict[int, pa.RecordBatch] = {}
        self._ended: set[int] = set()

    def take(self, rows: int, blocks: Iterator[Block]) -> pa.RecordBatch | None:
        """The next records, `rows` of them or fewer at the end; None when there are none.

        Args:
            rows: how many.
            blocks: where more come from; of each lane in order.
        """
        pieces: list[pa.RecordBatch] = []
        index: list[Ints] = []
        wanted, offset = rows, 0
        while wanted and self._fill(blocks):
            order = self.going[self._turn :] + self.going[: self._turn]
            ready = [self._current[lane].num_rows if lane in self._current else 0 for lane in order]
            count = min(wanted, *(place + rows * len(order) for place, rows in enumerate(ready)), wanted)
            turns = np.arange(count) % len(order)
            places = np.empty(count, np.int64)
            for place, taken in enumerate(np.bincount(turns, minlength=len(order)).tolist()):
                if taken:
                    pieces.append(self._pull(order[place], taken))
                    places[turns == place] = np.arange(offset, offset + taken)
                    offset += taken
            index.append(places)
            self._turn = (self._turn + count) % len(order)
            wanted -= count
        if not pieces:
            return None
        return pa.concat_batches(pieces).take(pa.array(np.concatenate(index)))

    def state_dict(self) -> dict[str, Any]:
        """State of a stream of these lanes after the last record taken."""
        return {
            **self._header,
            "going": list(self.going),
            "turn": self.going[self._turn] if self.going else None,
            "lanes": [{**self._saved[lane], "records": self._records[lane]} for lane in sorted(self._saved)],
        }

    def _fill(self, blocks: Iterator[Block]) -> bool:
        """Have a record of the lane whose turn it is; False at the end."""
        while self.going:
            lane = self.going[self._turn]
            for other in self.going:
                self._begin(other)
            if lane in self._current:
                return True
            if lane in self._ended:
                del self.going[self._turn]
                self._turn = self._turn % len(self.going) if self.going else 0
                continue
            block = next(blocks)
            self._waiting[block.lane].append(block)
        return False

    def _begin(self, lane: int) -> None:
        """Make the lane's next block its current one, if it has none."""
        while lane not in self._current and self._waiting[lane]:
            block = self._waiting[lane].popleft()
            if block.state is not None:
                (self._saved[lane],) = block.state["lanes"]
                self._records.setdefault(lane, self._saved[lane]["records"])
            if block.rows:
                self._current[lane] = block.batch()
            if block.last:
                self._ended.add(lane)

    def _pull(self, lane: int, rows: int) -> pa.RecordBatch:
        batch = self._current.pop(lane)
        if rows < batch.num_rows:
            self._current[lane] = batch.slice(rows)
        self._records[lane] += rows
        return batch.slice(0, rows)
