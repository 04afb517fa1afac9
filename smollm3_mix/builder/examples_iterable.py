"""The examples iterable of the streaming dataset: records of some lanes, as dicts or Arrow tables.

`datasets` resumes a stock stream by replaying its shard. This one resumes from the cursor in its state: one opaque
value under one fixed key, because `IterableDataset` copies and loads states without asking the iterable.
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
from datasets.iterable_dataset import _BaseExamplesIterable

from smollm3_mix.errors import StateError
from smollm3_mix.mix.recipe_mix import Mix
from smollm3_mix.mix.state.merge_states import CURSOR
from smollm3_mix.mix.stream import Stream
from smollm3_mix.schema import RECORD_SCHEMA

log = logging.getLogger("smollm3_mix")

FEATURES = Features.from_arrow_schema(RECORD_SCHEMA)
"""The columns of a record, as `datasets` calls them."""

TABLE_ROWS = 256
"""Records in a table of `iter_arrow`. Bounds the memory of one table (256 documents of 1 MB: 256 MB) and what is read
again when a state that lies inside a table is resumed; above it, tables are no faster."""

PATIENCE = 20
"""A copied state may rest on one that is older by at most 20 times what it took to ask the stream for that. So copies
cost at most a twentieth of the time, and to resume is to read again for at most those 20. Where copies are rare, as
checkpoints are, nothing is read again."""


class MixExamples(_BaseExamplesIterable):  # type: ignore[misc]  # datasets carries no types
    """Records of some lanes of a mix, one of each lane in turn.

    The recipe's seed decides the order, so `shuffle_data_sources` (and with it `set_epoch`) changes nothing; shards are
    lanes, dealt to nodes and workers whole. Pickled, it holds the pinned plan: no worker lists a source again.

    Args:
        mix: the opened mix.
        lanes: numbers of the lanes to read.
        table_rows: records in a table of `iter_arrow`, but for the last.
    """

    _sleep_on_threads_shutdown = False  # read by datasets ≥ 5 when it interleaves

    def __init__(self, mix: Mix, lanes: list[int], table_rows: int = TABLE_ROWS) -> None:
        super().__init__()
        self.mix, self.lanes, self.table_rows = mix, lanes, table_rows

    def __iter__(self) -> Iterator[tuple[str, dict[str, Any]]]:
        with self._stream() as (stream, state):
            for record in stream:
                state.emitted += 1
                yield record["id"], record

    def _iter_arrow(self) -> Iterator[tuple[str, pa.Table]]:
        with self._stream() as (stream, state):
            for number, table in enumerate(_tables(stream, self.table_rows)):
                state.emitted += table.num_rows
                yield str(number), table

    @property
    def iter_arrow(self) -> Any:
        """The method that gives (key, table) pairs; `datasets` asks for it, then calls it."""
        return self._iter_arrow

    @property
    def is_typed(self) -> bool:
        """True: records have the types of `features`, so `datasets` need not encode each one again."""
        return True

    @property
    def features(self) -> Features:
        """The columns of a record."""
        return FEATURES

    @property
    def num_shards(self) -> int:
        """Number of lanes."""
        return LaneCount(len(self.lanes))

    def shuffle_data_sources(self, generator: np.random.Generator) -> "MixExamples":  # noqa: ARG002
        """Itself: the recipe's seed decides the order."""
        return self

    def reshard_data_sources(self) -> "MixExamples":
        """Itself: lanes are fixed by the recipe."""
        return self

    def shard_data_sources(self, num_shards: int, index: int, contiguous: bool = True) -> "MixExamples":
        """The same mix with the lanes of one node or worker."""
        mine = self.split_shard_indices_by_worker(num_shards, index, contiguous=contiguous)
        return MixExamples(self.mix, [self.lanes[lane] for lane in mine], self.table_rows)

    def split_shard_indices_by_worker(self, num_shards: int, index: int, contiguous: bool = True) -> list[int]:
        """Places of the lanes of one node or worker; each lane is one's, and nobody has two more than another."""
        lanes = np.arange(len(self.lanes))
        mine = np.array_split(lanes, num_shards)[index] if contiguous else lanes[index::num_shards]
        return [int(lane) for lane in mine]

    def _init_state_dict(self) -> dict[str, Any]:
        self._state_dict = _State()
        return self._state_dict

    @contextmanager
    def _stream(self) -> Iterator[tuple[Stream, "_State"]]:
        """An open stream at the place of the state that was loaded; the state follows it until it is closed."""
        kept = isinstance(self._state_dict, _State)  # else nobody has asked for states
        state = self._state_dict if kept else _State()
        stream = self.mix.stream(self.lanes)
        try:
            state.follow(stream)
            yield stream, state
        finally:
            if not sys.is_finalizing():  # else nobody can ask for the state any more, and imports fail
                if kept:
                    state.settle(stream)
                stream.close()


class LaneCount(int):
    """A number of lanes that is said to divide evenly by any smaller number of nodes.

    Where there is a remainder, `datasets` has each node read everything and keep one record in so many. Lanes are
    better dealt whole, as it does where there is none. Every record still comes once; some nodes get a lane more.
    """

    def __mod__(self, nodes: int) -> int:
        rest = int(self) % nodes
        if rest:
            _warn_of_leftover(int(self), nodes)
        return rest if nodes > self else 0


@functools.cache
def _warn_of_leftover(lanes: int, nodes: int) -> None:
    if nodes > lanes:
        what = f"each of the {nodes} reads and cleans the whole mix and keeps one record in {nodes}"
    else:
        what = f"nodes have {lanes // nodes} or {lanes // nodes + 1} lanes, and those with fewer end sooner"
    log.warning("%d nodes read %d lanes: %s. Set `lanes` to a multiple of %d.", nodes, lanes, what, nodes)


def _tables(stream: Stream, rows: int) -> Iterator[pa.Table]:
    """Tables of `rows` records in one chunk, but for the last.

    Fixed sizes, because `datasets` finds its way back into a table by counting chunks.
    """
    while True:
        batches: list[pa.RecordBatch] = []
        wanted = rows
        while wanted and (batch := stream.read(wanted)).num_rows:
            batches.append(batch)
            wanted -= batch.num_rows
        if not batches:
            return
        # `datasets` has no columns that must not be null: with its own schema it need not cast each table
        yield pa.Table.from_batches(batches).cast(FEATURES.arrow_schema).combine_chunks()


class _State(dict[str, Any]):
    """State of an iterable: the state of its stream, and how many records were given since; None means the start.

    `IterableDataset` keeps this object and copies it for `state_dict()`; the copy is a plain dict. It loads by merging
    the new value into the one that is there, key by key and item by item; so nothing is ever there, and the new value
    is taken whole.

    The stream is asked for its state when a copy is made, but not for every copy: where `datasets` takes one after each
    table or record (Arrow formats, `interleave_datasets`), asking would soon take longer than reading. See PATIENCE.
    """

    def __init__(self, cursor: dict[str, Any] | None = None) -> None:
        super().__init__({CURSOR: None})
        self.cursor = cursor
        self.emitted = 0
        self._live: Stream | None = None
        self._asked: dict[str, Any] | None = None
        self._seconds, self._taken = 0.0, 0.0

    def __setitem__(self, key: str, value: Any) -> None:
        self.cursor = value

    def __missing__(self, key: str) -> Any:
        raise StateError(
            f"this state belongs to another dataset: it has {key!r} where a mix has {CURSOR!r}. "
            "Load a state that this dataset's state_dict() gave, or start without one."
        )

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[str, Any]:
        return {CURSOR: self._now()}

    def __reduce__(self) -> tuple[type["_State"], tuple[dict[str, Any] | None]]:
        return _State, (self._now(),)

    def follow(self, stream: Stream) -> None:
        """Bring a fresh stream to the cursor, and follow it from there."""
        if self.cursor is not None:
            stream.load_state_dict(self.cursor)
        self._live, self.emitted = stream, 0

    def settle(self, stream: Stream) -> None:
        """Keep the cursor of a stream that is about to be closed."""
        if self._live is stream:
            self.cursor, self._live = self._now(), None

    def _now(self) -> dict[str, Any] | None:
        """The cursor, as it is never changed afterwards."""
        if self._live is None or not self.emitted:
            return self.cursor
        asked = time.monotonic()
        if self._asked is None or asked - self._taken > PATIENCE * self._seconds:
            self.cursor = self._asked = self._live.state_dict()
            self._taken = time.monotonic()
            self._seconds = self._taken - asked
        else:
            self.cursor = self._live.snapshot(since=self._asked)
        self.emitted = 0
        return self.cursor
