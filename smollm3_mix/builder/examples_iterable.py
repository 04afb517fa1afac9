"""Examples iterable of the streaming dataset: records of some lanes, as dicts or Arrow tables.

`datasets` resumes its own streams by replaying a shard. This iterable resumes from the cursor in its state. The state
is one opaque value under one fixed key, because `IterableDataset` copies and loads states without asking the iterable.
"""

import functools
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Features

from smollm3_mix.compat.hf_builder import ExamplesBase
from smollm3_mix.errors import StateError
from smollm3_mix.mix.mix import Mix
from smollm3_mix.mix.state.merge_states import CURSOR
from smollm3_mix.mix.stream import Stream
from smollm3_mix.schema import RECORD_SCHEMA

log = logging.getLogger("smollm3_mix")

FEATURES = Features.from_arrow_schema(RECORD_SCHEMA)
"""Columns of a record, as features of `datasets`."""

TABLE_ROWS = 256
"""Number of records in a table of `iter_arrow`. It bounds the memory of a table (256 documents of 1 MB need 256 MB) and
the records to reread when a state within a table is resumed. Larger tables are not faster."""

STATE_COST_RATIO = 20
"""A copied state may refer to an earlier full state whose age is at most 20 times the time it took to make. Copies cost
at most a twentieth of the time, and resuming rereads at most that much. Rare copies, such as checkpoints, reread
nothing."""


class MixExamples(ExamplesBase):
    """Records of some lanes of a mix, interleaved round-robin.

    The recipe's seed decides the order, so `shuffle_data_sources` and `set_epoch` have no effect. Lanes are the shards,
    and nodes and workers get complete lanes. The pickled object contains the resolved sources, so no worker resolves
    them again.

    Args:
        mix: Mix to read.
        lanes: Numbers of the lanes to read.
        table_rows: Number of records per table of `iter_arrow`. The last table may have fewer.
    """

    def __init__(self, mix: Mix, lanes: list[int], table_rows: int = TABLE_ROWS) -> None:
        super().__init__()
        self.mix, self.lanes, self.table_rows = mix, lanes, table_rows

    def __iter__(self) -> Iterator[tuple[str, dict[str, Any]]]:
        with self._stream() as (stream, state):
            for record in stream:
                state.emitted += 1
                yield record["id"], record

    def arrow_tables(self) -> Iterator[tuple[str, pa.Table]]:
        """Yield keys and tables."""
        with self._stream() as (stream, state):
            for number, table in enumerate(_tables(stream, self.table_rows)):
                state.emitted += table.num_rows
                yield str(number), table

    @property
    def is_typed(self) -> bool:
        """True, because records have the types of `features`. `datasets` does not encode them again."""
        return True

    @property
    def features(self) -> Features:
        """Columns of a record."""
        return FEATURES

    @property
    def num_shards(self) -> int:
        """Number of lanes."""
        return LaneCount(len(self.lanes))

    def shuffle_data_sources(self, generator: np.random.Generator) -> "MixExamples":  # noqa: ARG002
        """Return the iterable itself, because the recipe's seed decides the order."""
        return self

    def reshard_data_sources(self) -> "MixExamples":
        """Return the iterable itself, because the recipe fixes the lanes."""
        return self

    def shard_data_sources(self, num_shards: int, index: int, contiguous: bool = True) -> "MixExamples":
        """Return the iterable of the lanes of one node or worker."""
        own = self.split_shard_indices_by_worker(num_shards, index, contiguous=contiguous)
        return MixExamples(self.mix, [self.lanes[lane] for lane in own], self.table_rows)

    def split_shard_indices_by_worker(self, num_shards: int, index: int, contiguous: bool = True) -> list[int]:
        """Return the indexes of the lanes of one node or worker. Numbers of lanes differ by at most one."""
        lanes = np.arange(len(self.lanes))
        own = np.array_split(lanes, num_shards)[index] if contiguous else lanes[index::num_shards]
        return [int(lane) for lane in own]

    def new_state(self) -> "_State":
        """Return the state at the start."""
        return _State()

    @contextmanager
    def _stream(self) -> Iterator[tuple[Stream, "_State"]]:
        """Open a stream at the loaded state. The state follows the stream until it is closed."""
        has_state = isinstance(self.current_state, _State)  # False if no state was requested
        state = self.current_state if has_state else _State()
        stream = self.mix.stream(self.lanes)
        try:
            state.follow(stream)
            yield stream, state
        finally:
            if not sys.is_finalizing():  # at exit, imports fail and the state is not needed
                if has_state:
                    state.settle(stream)
                stream.close()


class LaneCount(int):
    """A number of lanes that claims to be divisible by any smaller number of nodes.

    With a remainder, `datasets` lets each node read everything and keep one record in n. Without a remainder, it
    assigns complete lanes, which is better here. Every record is still read once, and some nodes have one more lane.
    """

    def __mod__(self, nodes: int) -> int:
        remainder = int(self) % nodes
        if remainder:
            _warn_about_remainder(int(self), nodes)
        return remainder if nodes > self else 0


@functools.cache
def _warn_about_remainder(lanes: int, nodes: int) -> None:
    if nodes > lanes:
        effect = f"each node reads and cleans the whole mix and keeps one record in {nodes}"
    else:
        effect = f"nodes have {lanes // nodes} or {lanes // nodes + 1} lanes, and those with fewer end earlier"
    log.warning("%d nodes read %d lanes: %s. Set `lanes` to a multiple of %d.", nodes, lanes, effect, nodes)


def _tables(stream: Stream, rows: int) -> Iterator[pa.Table]:
    """Yield tables of `rows` records in one chunk. The last table may have fewer.

    Sizes are fixed, because `datasets` finds a position within a table by counting chunks.
    """
    while True:
        batches: list[pa.RecordBatch] = []
        wanted = rows
        while wanted and (batch := stream.read(wanted)).num_rows:
            batches.append(batch)
            wanted -= batch.num_rows
        if not batches:
            return
        # with the nullable schema of `datasets`, it does not cast each table
        yield pa.Table.from_batches(batches).cast(FEATURES.arrow_schema).combine_chunks()


class _State(dict[str, Any]):
    """State of an iterable: the state of its stream and the number of records since. None means the start.

    `IterableDataset` keeps this object and copies it for `state_dict()`. The copy is a plain dict. A state is loaded by
    merging it into the existing one, key by key and item by item. The existing value is therefore always empty, so that
    the new value replaces it.

    Not every copy asks the stream for its state. Where `datasets` copies the state after each table or record (Arrow
    formats, `interleave_datasets`), that would take longer than reading. See STATE_COST_RATIO.
    """

    def __init__(self, cursor: dict[str, Any] | None = None) -> None:
        super().__init__({CURSOR: None})
        self.cursor = cursor
        self.emitted = 0
        self._live: Stream | None = None
        self._full: dict[str, Any] | None = None
        self._seconds, self._made_at = 0.0, 0.0

    def __setitem__(self, key: str, value: Any) -> None:
        self.cursor = value

    def __missing__(self, key: str) -> Any:
        raise StateError(
            f"This state belongs to another dataset: it has {key!r}, expected {CURSOR!r}. "
            "Load the result of state_dict() of this dataset, or start without a state."
        )

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[str, Any]:
        return {CURSOR: self._now()}

    def __reduce__(self) -> tuple[type["_State"], tuple[dict[str, Any] | None]]:
        return _State, (self._now(),)

    def follow(self, stream: Stream) -> None:
        """Load the cursor into a new stream, and follow the stream."""
        if self.cursor is not None:
            stream.load_state_dict(self.cursor)
        self._live, self.emitted = stream, 0

    def settle(self, stream: Stream) -> None:
        """Keep the cursor of a stream before it is closed."""
        if self._live is stream:
            self.cursor, self._live = self._now(), None

    def _now(self) -> dict[str, Any] | None:
        """Return the current cursor. It is never changed afterwards."""
        if self._live is None or not self.emitted:
            return self.cursor
        now = time.monotonic()
        if self._full is None or now - self._made_at > STATE_COST_RATIO * self._seconds:
            self.cursor = self._full = self._live.state_dict()
            self._made_at = time.monotonic()
            self._seconds = self._made_at - now
        else:
            self.cursor = self._live.snapshot(since=self._full)
        self.emitted = 0
        return self.cursor
