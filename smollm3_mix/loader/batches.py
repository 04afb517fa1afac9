"""`loader`: batches of a mix for training, the same for any number of workers, resumed after any of them."""

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch.utils.data import DataLoader

from smollm3_mix.loader.place import opened, place
from smollm3_mix.loader.turns import Turns
from smollm3_mix.loader.workers import Block, Blocks
from smollm3_mix.mix import Mix
from smollm3_mix.mix.stream import check_state
from smollm3_mix.recipe import Recipe

log = logging.getLogger("smollm3_mix")

FORMATS = ("records", "arrow")


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
        mix: Mix,
        batch_size: int,
        *,
        num_workers: int,
        rank: int,
        world_size: int,
        format: str,  # noqa: A002 - the word `datasets` uses
        collate_fn: Callable[[Any], Any] | None,
        drop_last: bool,
        **workers: Any,
    ) -> None:
        self.mix, self.batch_size, self.rank, self.world_size = mix, batch_size, rank, world_size
        self.lanes = list(range(mix.num_lanes))[rank::world_size]
        _check(batch_size, num_workers, format)
        _check_ranks(mix.num_lanes, num_workers, rank, world_size)
        self.num_workers = min(num_workers, len(self.lanes))
        self._format, self._collate, self._drop_last, self._workers = format, collate_fn, drop_last, workers
        with_none = mix.stream([])
        self._header = with_none.state_dict()
        with_none.close()
        self._place = self._start()
        self._loaded: Mapping[str, Any] | None = None
        self._kept: DataLoader[Any] | None = None

    def __iter__(self) -> Iterator[Any]:
        """Batches: lists of records, or Arrow batches, or what `collate_fn` makes of them."""
        loaded, self._loaded = self._loaded, None
        turns = Turns(self._header, self.lanes, loaded)
        self._place = turns.state_dict()
        return self._batches(turns, self._blocks(turns.going, loaded))

    def state_dict(self) -> dict[str, Any]:
        """Where this rank stands after the last batch, JSON-able; of the kind that `Stream.state_dict` gives."""
        return self._place

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Have the next `iter()` go on behind the batch after which `state` was saved.

        It may be this rank's own, at any number of workers, or, at any world size, `merge_states` of all ranks'.

        Raises:
            StateError: it is of another mix, or lacks a lane of this rank.
        """
        check_state(self.mix, state, self.lanes)
        self._loaded = state
        self._place = Turns(self._header, self.lanes, state).state_dict()

    def _start(self) -> dict[str, Any]:
        return Turns(self._header, self.lanes, None).state_dict()

    def _batches(self, turns: Turns, blocks: Iterator[Block]) -> Iterator[Any]:
        while (batch := turns.take(self.batch_size, blocks)) is not None:
            self._place = turns.state_dict()
            if batch.num_rows < self.batch_size and self._drop_last:
                return
            given = batch.to_pylist() if self._format == "records" else batch
            yield given if self._collate is None else self._collate(given)
        self._place = turns.state_dict()

    def _blocks(self, lanes: list[int], state: Mapping[str, Any] | None) -> Iterator[Block]:
        """Blocks from fresh workers, or from those kept for an iteration from the start."""
        if state is None and self._kept is not None:
            return iter(self._kept)
        if state is not None:  # workers need no more of it
            state = {**state, "lanes": [at for at in state["lanes"] if at["lane"] in lanes]}
        data: DataLoader[Any] = DataLoader(
            Blocks(self.mix, lanes, state),
            batch_size=None,
            num_workers=self.num_workers,
            **self._workers,
        )
        if state is None and self._workers.get("persistent_workers"):
            self._kept = data
        return iter(data)


def loader(
    recipe: Recipe | str | os.PathLike[str] | Mix,
    batch_size: int,
    *,
    num_workers: int = 0,
    rank: int | None = None,
    world_size: int | None = None,
    format: str = "records",  # noqa: A002 - the word `datasets` uses
    collate_fn: Callable[[Any], Any] | None = None,
    drop_last: bool = False,
    prefetch_factor: int | None = None,
    persistent_workers: bool = False,
    multiprocessing_context: Any = None,
    timeout: float = 0,
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
        recipe: a `Recipe`, a path, the name of a shipped stage, or an opened `Mix`. With torch.distributed, rank 0
            finds and pins the sources for all.
        batch_size: records in a batch of this rank.
        num_workers: worker processes of this rank; not more are started than it has lanes.
        rank: of this process; default: that of torch.distributed, else of RANK, else 0.
        world_size: number of ranks; default: likewise, of WORLD_SIZE, or 1.
        format: `records` for lists of dicts with the columns of schema.RECORD, `arrow` for RecordBatches.
        collate_fn: makes a batch of such a list or RecordBatch, in this process.
        drop_last: leave out a last batch that is not full.
        prefetch_factor: blocks of 64 records that each worker makes ahead; torch's default is 2.
        persistent_workers: keep the workers for the next iteration from the start.
        multiprocessing_context: how workers start: `fork`, `spawn`, `forkserver`, or a context; default: Python's.
        timeout: seconds to wait for a worker before an error; 0: no end.
        **fields: of `open_mix`: split, seed, lanes, max_samples, max_tokens, max_bytes, seen_dir, skip_unreadable,
            token.

    Raises:
        ValueError: batch_size, num_workers, format, rank or world_size cannot be meant, or there are more ranks than
            lanes.
        TypeError: fields are given for a mix that is open.
        MixError: as `open_mix` raises it.
    """
    own_rank, ranks = place(rank, world_size)
    if isinstance(recipe, Recipe | str | os.PathLike):
        mix = opened(recipe, shared=rank is None, **fields)
    elif fields:
        raise TypeError(f"the mix is open already; give {', '.join(fields)} to open_mix() instead")
    else:
        mix = recipe
    workers: dict[str, Any] = {"timeout": timeout, "multiprocessing_context": multiprocessing_context}
    if num_workers:
        workers |= {"prefetch_factor": prefetch_factor, "persistent_workers": persistent_workers}
    else:
        workers = {}
    return MixLoader(
        mix,
        batch_size,
        num_workers=num_workers,
        rank=own_rank,
        world_size=ranks,
        format=format,
        collate_fn=collate_fn,
        drop_last=drop_last,
        **workers,
    )


def _check(batch_size: int, num_workers: int, form: str) -> None:
    """Nothing, where these can be meant."""
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    if num_workers < 0:
        raise ValueError(f"num_workers must be at least 0, got {num_workers}")
    if form not in FORMATS:
        raise ValueError(f"format must be {' or '.join(FORMATS)}, got {form!r}")


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
