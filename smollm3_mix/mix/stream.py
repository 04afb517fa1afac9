"""Several lanes read as one: one record of each in turn, resumable after any record."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from smollm3_mix.errors import StateError
from smollm3_mix.mix.mix_stats import MixStats
from smollm3_mix.mix.protocols import MixProtocol
from smollm3_mix.mix.record_chunk import RecordChunk, empty_batch, interleave_chunks
from smollm3_mix.mix.state.checkpoint import check_state, open_dedup_state, restore_lanes, save_lanes
from smollm3_mix.mix.state.merge_states import check_lanes, next_lane_position
from smollm3_mix.mix.state.state_codec import STATE_VERSION

Ints = npt.NDArray[np.int64]

CHUNK_RECORDS = 1024
"""Most records taken from the lanes at once. What comes out does not depend on it."""

HELD_BYTES = 1 << 27
"""Bytes of records that the lanes of a stream hold together; blocks given from longest ago are read again when due."""


class Stream:
    """The records of some lanes of a mix, one of each lane in turn; a lane that ends leaves the round.

    Args:
        mix: what is read.
        lanes: numbers of the lanes, each at most once.

    Raises:
        ValueError: a lane that the mix does not have, or the same one twice.
    """

    def __init__(self, mix: MixProtocol, lanes: Sequence[int]) -> None:
        if len(set(lanes)) != len(lanes):
            raise ValueError(f"lanes must differ, got {list(lanes)}")
        self._mix = mix
        self._lanes = [mix.lane(number) for number in lanes]
        self._files = [open_dedup_state(mix, number) for number in lanes]
        self._round = list(range(len(self._lanes)))  # lanes that go on, in turn order
        self._turn = 0  # place in the round of the lane that gives the record at the buffer's start
        self._chunk = RecordChunk([], np.empty(0, np.int64))
        self._batch: pa.RecordBatch | None = None  # the chunk as Arrow, once somebody has asked for it
        self._read = 0  # records of the chunk that were given out
        self._pulled = np.zeros(len(self._lanes), np.int64)  # records of each lane so far, those of the chunk included

    def read(self, rows: int) -> pa.RecordBatch:
        """The next records as one batch of schema.RECORD: at least one and at most `rows`, or none at the end.

        Raises:
            ValueError: rows is below 1.
            SourceExhaustedError: a source ran out and the recipe does not say how to go on.
            SourceError: a source cannot be read.
        """
        if rows < 1:
            raise ValueError(f"rows must be at least 1, got {rows}")
        if not self._fill():
            return empty_batch()
        if self._batch is None:
            self._batch = self._chunk.batch()
        given = self._batch.slice(self._read, rows)
        self._read += given.num_rows
        return given

    def read_with_lanes(self, rows: int) -> tuple[pa.RecordBatch, Ints]:
        """What `read` gives, and the number of each record's lane, int64[records]."""
        batch = self.read(rows)
        numbers = np.array([self._lanes[n].number for n in self._round], np.int64)
        places = self._turn + np.arange(self._read - batch.num_rows, self._read)
        return batch, numbers[places % len(numbers)] if batch.num_rows else np.empty(0, np.int64)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The records as dicts with the columns of schema.RECORD."""
        while self._fill():
            start = self._read
            for record in self._chunk.slice(start, len(self._chunk)).records():
                self._read += 1
                yield record

    def stats(self) -> MixStats:
        """Counts of these lanes after the last record given out."""
        unread = self._unread(self._read)
        return sum(
            (lane.stats(int(unread[n])) for n, lane in enumerate(self._lanes)),
            MixStats.empty(source.id for source in self._mix.recipe.active),
        )

    def state_dict(self, since: Mapping[str, Any] | None = None, *, unread: int = 0) -> dict[str, Any]:
        """Where the stream stands after the last record given out, JSON-able; `load_state_dict` goes on from there.

        Without a `dedup_state_dir` it holds what dedup remembers as well, and grows by about 8 bytes for each document
        accepted, 8 more for each band of near dedup.

        Args:
            since: an older state of this stream, to rest on: what comes out then holds it, and how many records each
                lane has given since. That costs next to nothing, and loading it makes those records again.
            unread: records at the end of the last `read` that count as not given out, at most as many as it gave.
        """
        read = self._read - unread
        pending = self._unread(read)
        records = (self._pulled - pending).tolist()
        if since is None:
            parts = zip(self._lanes, pending.tolist(), self._files, strict=True)
            lanes = [save_lanes(lane, behind, file) for lane, behind, file in parts]
        else:
            lanes = since["lanes"]
        turn = self._lanes[self._round[(self._turn + read) % len(self._round)]].number if self._round else None
        return {
            "recipe": self._mix.recipe.to_dict() if since is None else since["recipe"],
            "fingerprint": self._mix.recipe.fingerprint if since is None else since["fingerprint"],
            "form": STATE_VERSION,
            "split": self._mix.split,
            "limits": self._mix.asked,
            "num_lanes": self._mix.num_lanes,
            "went_on": self._mix.start is not None,
            "going": [self._lanes[n].number for n in self._round],
            "turn": turn,
            "lanes": [{**lane, "records": given} for lane, given in zip(lanes, records, strict=True)],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on after the record at which `state` was saved. Reads only the current block of each source.

        The state may hold more lanes than the stream reads, as those that `merge_states` gives do.

        Raises:
            StateError: the state is of another recipe, other files, another split or other limits, or lacks a lane.
        """
        mine = [lane.number for lane in self._lanes]
        check_state(self._mix, state)
        check_lanes(state, mine)
        places = {at["lane"]: at for at in state["lanes"]}
        if state["went_on"] and self._mix.start is None and not set(mine) <= places.keys():
            raise StateError(
                f"this state is of a mix that went on from another one, and lanes {sorted(set(mine) - places.keys())} "
                "had not begun. Open the mix with the same continue_from= as before."
            )
        fresh = []
        self._files = [open_dedup_state(self._mix, number) for number in mine]
        for lane, file in zip(self._lanes, self._files, strict=True):
            lane.close()
            at = places.get(lane.number)
            fresh.append(self._mix.lane(lane.number) if at is None else restore_lanes(self._mix, at, file))
        self._lanes = fresh
        self._pulled = np.array([lane.emitted for lane in fresh], np.int64)
        going = set(state["going"])
        self._round = [n for n, number in enumerate(mine) if number in going]
        self._turn = next_lane_position(state["turn"], [mine[n] for n in self._round])
        self._clear()

    def close(self) -> None:
        """Close all files."""
        for lane in self._lanes:
            lane.close()

    def _clear(self) -> None:
        self._chunk, self._batch, self._read = RecordChunk([], np.empty(0, np.int64)), None, 0

    def _fill(self) -> bool:
        """Have unread records at hand; False at the end. Filled only when empty, so no state lies behind it."""
        if self._read < len(self._chunk):
            return True
        if self._round:
            self._turn = (self._turn + self._read) % len(self._round)
        self._clear()
        while self._round:
            if not self._lanes[self._round[self._turn]].fill():
                del self._round[self._turn]
                self._turn = self._turn % len(self._round) if self._round else 0
                continue
            self._take()
            return True
        return False

    def _take(self) -> None:
        """Pull as many records, in turn, as the lanes have pending."""
        order = [self._lanes[n] for n in self._round[self._turn :] + self._round[: self._turn]]
        rows = min(
            CHUNK_RECORDS, *(place + lane.pending * len(order) for place, lane in enumerate(order)), CHUNK_RECORDS
        )
        turns = np.arange(rows) % len(order)
        counts = np.bincount(turns, minlength=len(order))
        if len(order) == 1:
            self._chunk = order[0].pull(rows)
        else:
            self._chunk = interleave_chunks(
                [lane.pull(int(n)) for lane, n in zip(order, counts, strict=True) if n], turns
            )
        self._pulled[np.roll(self._round, -self._turn)] += counts
        self._rest()

    def _rest(self) -> None:
        """Let blocks rest while all hold more than HELD."""
        held = [(line.used, line.held, line) for lane in self._lanes for line in lane.lines]
        over = sum(size for _, size, _ in held) - HELD_BYTES
        for _, size, line in sorted(held, key=lambda each: each[0]) if over > 0 else ():
            if over <= 0:
                break
            if size:
                line.rest()
                over -= size

    def _unread(self, read: int) -> Ints:
        """Records of each lane that were pulled and are not among the first `read` of the chunk."""
        unread = np.zeros(len(self._lanes), np.int64)
        for place in range(read, len(self._chunk)):
            unread[self._round[(self._turn + place) % len(self._round)]] += 1
        return unread
