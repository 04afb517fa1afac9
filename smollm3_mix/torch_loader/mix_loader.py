"""`loader`: batches of a mix for training, the same for any number of workers, resumed after any of them."""

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from numbers import Integral
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch.utils.data import DataLoader

from smollm3_mix.mix.record_chunk import RecordChunk
from smollm3_mix.mix.state.merge_states import check_lanes
from smollm3_mix.recipe.recipe import Recipe
from smollm3_mix.torch_loader.lane_turns import LaneMerger, Reader
from smollm3_mix.torch_loader.ranks import open_for_rank, rank_and_world_size
from smollm3_mix.torch_loader.shared_ring import SharedRing
from smollm3_mix.torch_loader.worker_blocks import LaneReadable, WorkerBlocks

Worker = tuple[WorkerBlocks, DataLoader[Any]]

log = logging.getLogger("smollm3_mix")

FORMATS = ("records", "arrow", "torch")

WORKERS = ("persistent_workers", "multiprocessing_context", "timeout", "prefetch_factor", "worker_init_fn")
"""What `workers` takes."""

AHEAD = 5
"""Blocks that a worker makes ahead of their use, so that others need not wait while it reads a block of a source."""


class MixLoader:
    """Batches of the lanes of one rank, used like a torch `DataLoader`: see `loader`, which makes one.

    Each `iter()` begins at the start, the first after `load_state_dict` where the state was saved. `state_dict()`
    is of the newest iterator, after the last batch it gave.

    Attributes:
        mix: what is read.
        lanes: numbers of this rank's lanes.
        batch_size: records in a batch.
        num_workers: worker processes; 0: none.
        rank: of this process.
        world_size: number of ranks.
    """

    def __init__(
        self,
        mix: LaneReadable,
        batch_size: int,
        num_workers: int,
        rank: int,
        world_size: int,
        *,
        format: str,  # noqa: A002 - the word `datasets` uses
        collate_fn: Callable[[Any], Any] | None,
        drop_last: bool,
        workers: Mapping[str, Any] | None,
    ) -> None:
        self.mix, self.batch_size, self.rank, self.world_size = mix, batch_size, rank, world_size
        self.lanes = list(range(mix.num_lanes))[rank::world_size]
        _check(batch_size, num_workers, format)
        _check_ranks(mix.num_lanes, num_workers, rank, world_size)
        self.num_workers = min(num_workers, len(self.lanes))
        self._format, self._collate, self._drop_last, self._workers = format, collate_fn, drop_last, dict(workers or {})
        first = mix.stream(self.lanes[:1])
        self._header = first.state_dict()
        first.close()
        self._newest = LaneMerger(self._header, self.lanes, None)
        self._place = self._newest.place()
        self._loaded: Mapping[str, Any] | None = None
        self._kept: list[Worker] = []

    def __iter__(self) -> Iterator[Any]:
        """Batches: lists of records, or Arrow batches, or what `collate_fn` makes of them."""
        loaded, self._loaded = self._loaded, None
        turns = LaneMerger(self._header, self.lanes, loaded)
        self._place = turns.place()
        self._newest = turns
        turns.begin(self._readers(turns.lanes, loaded))
        return self._batches(turns)

    def state_dict(self) -> dict[str, Any]:
        """Where this rank stands after the last batch, JSON-able; of the kind that `Stream.state_dict` gives."""
        return self._place.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Have the next `iter()` go on behind the batch after which `state` was saved.

        It may be this rank's own, at any number of workers, or, at any world size, `merge_states` of all ranks'.

        Raises:
            StateError: it is of another mix, or lacks a lane of this rank.
        """
        self.mix.stream([]).load_state_dict(state)  # reads nothing, and refuses what workers would
        check_lanes(state, self.lanes)
        self._loaded = state
        self._place = LaneMerger(self._header, self.lanes, state).place()

    def _batches(self, turns: LaneMerger) -> Iterator[Any]:
        while True:
            if self._kept and turns is not self._newest:
                raise RuntimeError(
                    "the workers of this iterator are persistent, and another iteration has begun with them. "
                    "Make a loader for each of two iterations at once."
                )
            chunk = turns.take(self.batch_size)
            self._place = turns.place()
            if chunk is None or (len(chunk) < self.batch_size and self._drop_last):
                return
            given = _formatted(chunk, self._format)
            yield given if self._collate is None else self._collate(given)

    def _readers(self, lanes: list[int], state: Mapping[str, Any] | None) -> list[Reader]:
        """One for each worker: of fresh ones, or of those kept for an iteration from the start."""
        if state is None and self._kept:
            return [Reader(iter(data), blocks) for blocks, data in self._kept]
        workers = min(self.num_workers, len(lanes))
        made = [self._worker(lanes, (worker, workers), state) for worker in range(workers)]
        if state is None and self._workers.get("persistent_workers"):
            self._kept = made
        if not workers:
            here = WorkerBlocks(self.mix, lanes, (0, 1), state, None)
            return [Reader(iter(here), here)]
        return [Reader(iter(data), blocks) for blocks, data in made]

    def _worker(self, lanes: list[int], share: tuple[int, int], state: Mapping[str, Any] | None) -> Worker:
        """One worker and what reads it: a DataLoader of its own, so that one that is ahead of the others waits."""
        if state is not None:  # it needs no more of it
            mine = set(lanes[share[0] :: share[1]])
            state = {**state, "lanes": [at for at in state["lanes"] if at["lane"] in mine]}
        options = {"prefetch_factor": AHEAD, "generator": torch.Generator(), **self._workers}
        begin = options.pop("worker_init_fn", None)
        if begin is not None:
            options["worker_init_fn"] = partial(_numbered, begin, share[0])
        blocks = WorkerBlocks(self.mix, lanes, share, state, SharedRing())
        return blocks, DataLoader(blocks, batch_size=None, num_workers=1, **options)


def _numbered(begin: Callable[[int], None], number: int, _zero: int) -> None:
    begin(number)


def loader(
    recipe: Recipe | str | os.PathLike[str] | LaneReadable,
    batch_size: int,
    *,
    num_workers: int = 0,
    rank: int | None = None,
    world_size: int | None = None,
    format: str = "records",  # noqa: A002 - the word `datasets` uses
    collate_fn: Callable[[Any], Any] | None = None,
    drop_last: bool = False,
    workers: Mapping[str, Any] | None = None,
    **fields: Any,
) -> MixLoader:
    """Batches of a mix, for one rank of a training run.

    Lanes are dealt to the ranks, and a rank's lanes to its workers, which read, clean and deduplicate. The batches are
    made in this process, of one record of each lane in turn, so the number of workers changes nothing in them. Where
    the world size divides the lanes, and batch_size × world_size is a multiple of the lanes, each global batch holds
    the same records at any such world size.

    A worker that dies, as by a signal, is an error of torch (RuntimeError) at the next batch; `state_dict()` is then
    still that of the last batch.

    Args:
        recipe: a `Recipe`, a path, the name of a shipped stage, an opened `Mix`, or what `packed` gives. With
            torch.distributed, rank 0 finds and pins the sources of a recipe for all.
        batch_size: records in a batch of this rank.
        num_workers: worker processes of this rank; not more are started than it has lanes.
        rank: of this process; default: that of torch.distributed, else of RANK, else 0.
        world_size: number of ranks; default: likewise, of WORLD_SIZE, or 1.
        format: `records` for lists of dicts with the columns of schema.RECORD, `arrow` for RecordBatches, `torch` for
            dicts of columns: numbers as tensors, windows of tokens as int32[batch_size, sequence_length + 1], the rest
            as lists.
        collate_fn: makes a batch of what `format` says, in this process.
        drop_last: leave out a last batch that is not full.
        workers: how workers run, as `DataLoader` takes it: persistent_workers, multiprocessing_context, timeout,
            prefetch_factor (of blocks of about two megabytes), worker_init_fn.
        **fields: of `open_mix`, for a recipe: split, seed, lanes, max_tokens, dedup_state_dir, and so on.

    Raises:
        ValueError: an argument cannot be meant, or there are more ranks than lanes.
        TypeError: fields are given for a mix that is open, or are none of `open_mix`.
        MixError: as `open_mix` raises it.
    """
    if stray := [name for name in fields if name in WORKERS]:
        raise TypeError(f"{', '.join(stray)}: how workers run goes into `workers`, as in workers={{{stray[0]!r}: …}}")
    mine, ranks = rank_and_world_size(rank, world_size)
    mix = open_for_rank(recipe, shared=rank is None, **fields)
    dealt = (num_workers, mine, ranks)
    return MixLoader(
        mix, batch_size, *dealt, format=format, collate_fn=collate_fn, drop_last=drop_last, workers=workers
    )


def _formatted(chunk: RecordChunk, form: str) -> Any:
    """A batch that shares no memory with the chunk, whose own may be written over."""
    if form == "records":
        return chunk.records()
    whole = chunk.pieces[0] if len(chunk.pieces) == 1 else pa.concat_batches(chunk.pieces)
    batch = whole.take(pa.array(chunk.index))
    return batch if form == "arrow" else {name: _tensor(batch[name]) for name in batch.schema.names}


def _tensor(column: pa.Array) -> Any:
    """A tensor of numbers, or of lists of one length of them; a list of anything else, or where any is null."""
    wide = pa.types.is_fixed_size_list(column.type)
    kind = column.type.value_type if wide else column.type
    if column.null_count or not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        return column.to_pylist()
    numbers = np.array(column.flatten() if wide else column)
    return torch.from_numpy(numbers.reshape(len(column), -1) if wide else numbers)


def _check(batch_size: int, num_workers: int, form: str) -> None:
    """Nothing, where these can be meant."""
    given: tuple[tuple[str, Any, int], ...] = (("batch_size", batch_size, 1), ("num_workers", num_workers, 0))
    for name, value, least in given:
        if not isinstance(value, Integral) or value < least:
            raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}")
    if form not in FORMATS:
        raise ValueError(f"format must be {', '.join(FORMATS)}, got {form!r}")


def _check_ranks(lanes: int, num_workers: int, rank: int, world_size: int) -> None:
    """Nothing, where every rank has a lane; warns of ranks with unequal parts and of idle workers."""
    if world_size > lanes:
        raise ValueError(
            f"{world_size} ranks cannot share {lanes} lanes: rank {lanes} and above would have none. "
            f"Set `lanes` to a multiple of {world_size}."
        )
    if lanes % world_size and not rank:
        log.warning(
            "%d ranks read %d lanes: ranks have %d or %d lanes, and those with fewer end sooner. "
            "Set `lanes` to a multiple of %d.",
            *(world_size, lanes, lanes // world_size, lanes // world_size + 1, world_size),
        )
    mine = len(range(rank, lanes, world_size))
    if num_workers > mine:
        idle = num_workers - mine
        log.warning("rank %d has %d lanes, so %d of its %d workers are not started.", rank, mine, idle, num_workers)
