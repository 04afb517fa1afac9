"""Lanes interleaved round-robin, resumable after any record."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from smollm3_mix.errors import StateError
from smollm3_mix.mix.mix_stats import MixStats
from smollm3_mix.mix.protocols import LaneProtocol, MixProtocol
from smollm3_mix.mix.record_chunk import RecordChunk, empty_batch, interleave_chunks
from smollm3_mix.mix.state.checkpoint import check_state, open_dedup_state, restore_lane, save_lane
from smollm3_mix.mix.state.merge_states import check_lanes, next_lane_position
from smollm3_mix.mix.state.state_codec import STATE_VERSION
from smollm3_mix.sizes import format_count

Ints = npt.NDArray[np.int64]

CHUNK_RECORDS = 1024
"""Maximum number of records pulled from the lanes at once. The order of records does not depend on it."""

HELD_BYTES = 1 << 27
"""Bytes of records that the lanes of a stream keep in memory. Blocks that were not used for longest are released, and
read again when needed."""


class Stream:
    """Records from one or more lanes, interleaved round-robin. A lane that is exhausted is skipped.

    A context manager that closes the files of its lanes.

    Args:
        mix: Mix to read.
        lanes: Numbers of the lanes, each at most once.

    Attributes:
        lanes: Numbers of the lanes, in round-robin order.

    Raises:
        ValueError: If a lane is repeated or does not exist.
    """

    def __init__(self, mix: MixProtocol, lanes: Sequence[int]) -> None:
        if len(set(lanes)) != len(lanes):
            raise ValueError(f"lanes must be different, got {list(lanes)}.")
        self.lanes = tuple(lanes)
        self._mix = mix
        self._opened: list[LaneProtocol] = [mix.lane(number) for number in lanes]
        self._files = [open_dedup_state(mix, number) for number in lanes]
        self._active = list(range(len(lanes)))  # indices of lanes that are not exhausted, in round-robin order
        self._next = 0  # position in `_active` of the lane of the chunk's first record
        self._chunk = RecordChunk([], np.empty(0, np.int64))
        self._batch: pa.RecordBatch | None = None  # the chunk as Arrow, once requested
        self._emitted = 0  # records of the chunk that were emitted
        self._pulled = np.zeros(len(lanes), np.int64)  # records of each lane, including the chunk

    def __repr__(self) -> str:
        total = self.stats.total
        records = f"emitted={total.emitted:,} record{'s' * (total.emitted != 1)}"
        tokens = f"{format_count(total.emitted_tokens)} tokens"
        return f"Stream({self._mix.recipe.name!r}, lanes={_ranges(self.lanes)}, {records}, {tokens})"

    def _repr_html_(self) -> str:
        """Return the statistics so far as an HTML table."""
        return self.stats._repr_html_()

    def __enter__(self) -> "Stream":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield records as dicts with the columns of RECORD_SCHEMA."""
        while self._fill():
            start = self._emitted
            for record in self._chunk.slice(start, len(self._chunk)).records():
                self._emitted += 1
                yield record

    def read(self, max_records: int) -> pa.RecordBatch:
        """Return up to `max_records` records. An empty batch marks the end.

        Args:
            max_records: Maximum number of records, at least 1. Before the end, the batch has at least one record.

        Returns:
            A batch with the columns of RECORD_SCHEMA.

        Raises:
            ValueError: If `max_records` is below 1.
            SourceExhaustedError: If a source ends and the recipe's `on_exhausted` is `error`.
            SourceError: If a source cannot be read.
        """
        if max_records < 1:
            raise ValueError(f"max_records must be at least 1, got {max_records}.")
        if not self._fill():
            return empty_batch()
        if self._batch is None:
            self._batch = self._chunk.batch()
        batch = self._batch.slice(self._emitted, max_records)
        self._emitted += batch.num_rows
        return batch

    def read_with_lanes(self, max_records: int) -> tuple[pa.RecordBatch, Ints]:
        """Return the batch of `read` and the lane of each record, int64[records]."""
        batch = self.read(max_records)
        numbers = np.array([self.lanes[n] for n in self._active], np.int64)
        positions = self._next + np.arange(self._emitted - batch.num_rows, self._emitted)
        return batch, numbers[positions % len(numbers)] if batch.num_rows else np.empty(0, np.int64)

    @property
    def stats(self) -> MixStats:
        """Statistics of these lanes up to the last record emitted."""
        recipe, unread = self._mix.recipe, self._unread(self._emitted)
        total = sum(
            (lane.stats(int(unread[n])) for n, lane in enumerate(self._opened)),
            MixStats.empty(source.id for source in recipe.active),
        )
        return MixStats(total.sources, dict(recipe.shares) if recipe.weighted else {})

    def state_dict(self) -> dict[str, Any]:
        """Return the position after the last record emitted, for `load_state_dict`. JSON-able.

        Without a `dedup_state_dir`, the state contains the dedup state. It then grows by about 8 bytes per accepted
        document, and by 8 more per band of near dedup.
        """
        return self.snapshot()

    def snapshot(self, since: Mapping[str, Any] | None = None, *, unread: int = 0) -> dict[str, Any]:
        """Return the state for adapters such as the `datasets` builder and the packed windows. Not public.

        Args:
            since: Older state of this stream. The result contains that state and the number of records emitted since.
                It costs next to nothing, and loading it repeats those records.
            unread: Number of records at the end of the last `read` that count as not emitted.
        """
        emitted = self._emitted - unread
        pending = self._unread(emitted)
        records = (self._pulled - pending).tolist()
        if since is None:
            lanes = [
                save_lane(lane, behind, file)
                for lane, behind, file in zip(self._opened, pending.tolist(), self._files, strict=True)
            ]
        else:
            lanes = since["lanes"]
        next_lane = self.lanes[self._active[(self._next + emitted) % len(self._active)]] if self._active else None
        return {
            "recipe": self._mix.recipe.to_dict() if since is None else since["recipe"],
            "fingerprint": self._mix.recipe.fingerprint if since is None else since["fingerprint"],
            "version": STATE_VERSION,
            "split": self._mix.split,
            "limits": self._mix.limits.to_dict(),
            "num_lanes": self._mix.num_lanes,
            "continued": self._mix.start is not None,
            "active_lanes": [self.lanes[n] for n in self._active],
            "next_lane": next_lane,
            "lanes": [{**lane, "records": count} for lane, count in zip(lanes, records, strict=True)],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume after the record at which `state` was saved. Rereads only the current block of each source.

        Args:
            state: Result of `state_dict` or `merge_states`. It may contain more lanes than this stream reads.

        Raises:
            StateError: If the state belongs to another recipe, other files, another split or other limits, or lacks a
                lane.
        """
        check_state(self._mix, state)
        check_lanes(state, self.lanes)
        saved = {lane["lane"]: lane for lane in state["lanes"]}
        missing = sorted(set(self.lanes) - saved.keys())
        if state["continued"] and self._mix.start is None and missing:
            raise StateError(
                f"This state belongs to a mix that continued another one, and lanes {missing} had not begun. "
                "Open the mix with the same continue_from= as before."
            )
        restored: list[LaneProtocol] = []
        self._files = [open_dedup_state(self._mix, number) for number in self.lanes]
        for lane, file in zip(self._opened, self._files, strict=True):
            lane.close()
            at = saved.get(lane.number)
            restored.append(self._mix.lane(lane.number) if at is None else restore_lane(self._mix, at, file))
        self._opened = restored
        self._pulled = np.array([lane.emitted for lane in restored], np.int64)
        active = set(state["active_lanes"])
        self._active = [n for n, number in enumerate(self.lanes) if number in active]
        self._next = next_lane_position(state["next_lane"], [self.lanes[n] for n in self._active])
        self._clear()

    def close(self) -> None:
        """Close all files."""
        for lane in self._opened:
            lane.close()

    def _clear(self) -> None:
        self._chunk, self._batch, self._emitted = RecordChunk([], np.empty(0, np.int64)), None, 0

    def _fill(self) -> bool:
        """Pull a chunk if all records were emitted. Return False at the end.

        A chunk is replaced only when it is empty, so no state refers to an earlier chunk.
        """
        if self._emitted < len(self._chunk):
            return True
        if self._active:
            self._next = (self._next + self._emitted) % len(self._active)
        self._clear()
        while self._active:
            if not self._opened[self._active[self._next]].fill():
                del self._active[self._next]
                self._next = self._next % len(self._active) if self._active else 0
                continue
            self._pull()
            return True
        return False

    def _pull(self) -> None:
        """Pull pending records round-robin, up to the first lane that has none."""
        order = [self._opened[n] for n in self._active[self._next :] + self._active[: self._next]]
        rows = min(
            CHUNK_RECORDS, *(index + lane.pending * len(order) for index, lane in enumerate(order)), CHUNK_RECORDS
        )
        lanes = np.arange(rows) % len(order)
        counts = np.bincount(lanes, minlength=len(order))
        if len(order) == 1:
            self._chunk = order[0].pull(rows)
        else:
            chunks = [lane.pull(int(n)) for lane, n in zip(order, counts, strict=True) if n]
            self._chunk = interleave_chunks(chunks, lanes)
        self._pulled[np.roll(self._active, -self._next)] += counts
        self._release_records()

    def _release_records(self) -> None:
        """Release the records of the least recently used blocks while all blocks exceed HELD_BYTES."""
        blocks = [(stream.last_used, stream.held_bytes, stream) for lane in self._opened for stream in lane.streams]
        excess = sum(size for _, size, _ in blocks) - HELD_BYTES
        for _, size, stream in sorted(blocks, key=lambda block: block[0]) if excess > 0 else ():
            if excess <= 0:
                break
            if size:
                stream.release_records()
                excess -= size

    def _unread(self, emitted: int) -> Ints:
        """Return the number of pulled records of each lane after the first `emitted` of the chunk, int64[lanes]."""
        unread = np.zeros(len(self._opened), np.int64)
        for position in range(emitted, len(self._chunk)):
            unread[self._active[(self._next + position) % len(self._active)]] += 1
        return unread


def _ranges(lanes: Sequence[int]) -> str:
    """Return lane numbers in a short form: 0-15, or 0,2,4-6."""
    parts = []
    for _, group in itertools.groupby(enumerate(lanes), lambda pair: pair[1] - pair[0]):
        run = [lane for _, lane in group]
        parts.append(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}")
    return ",".join(parts) or "none"
