"""`MixLoader`: batches of a mix for training, the same for any number of workers, resumable after every batch."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from numbers import Integral
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, overload

from smollm3_mix.mix.options import MixOptions, check_options
from smollm3_mix.mix.state.merge_states import check_lanes
from smollm3_mix.recipe.curriculum import RecipeLike
from smollm3_mix.torch_loader.batch_formats import BatchFormat, formatter
from smollm3_mix.torch_loader.lane_merger import LaneMerger, WorkerReader
from smollm3_mix.torch_loader.ranks import DeviceMesh, open_for_rank, rank_and_world_size
from smollm3_mix.torch_loader.shared_ring import SharedRing
from smollm3_mix.torch_loader.worker_blocks import LaneReadable, WorkerBlocks
from smollm3_mix.torch_loader.worker_process import Context, WorkerOptions, WorkerProcess

if TYPE_CHECKING:
    import pyarrow as pa
    from typing_extensions import Unpack

log = logging.getLogger("smollm3_mix")

BatchT = TypeVar("BatchT")
Columns = dict[str, Any]

ARGUMENTS = (
    *("num_workers", "rank", "world_size", "device_mesh", "format", "collate_fn", "drop_last", "prefetch_factor"),
    *("persistent_workers", "multiprocessing_context", "timeout", "worker_init_fn", "pin_memory"),
)
"""Keyword arguments of `MixLoader` other than the mix options."""


class MixLoader(Generic[BatchT]):
    """Batches of a mix for one rank of a training run. Batches do not depend on `num_workers`.

    The lanes of the mix are assigned to ranks, and the lanes of a rank to its workers, which read, clean, filter and
    deduplicate. Batches are made in this process, with one record per lane in turn. If the world size divides the
    number of lanes, and `batch_size` × world size is a multiple of it, each global batch has the same records for any
    such world size.

    Every `iter()` starts from the beginning, except the first one after `load_state_dict`. `state_dict()` is the
    position of the newest iterator after its last batch.

    Args:
        mix: Recipe, or its path, URL or shipped name, or an open mix or packed mix.
        batch_size: Number of records per batch.
        num_workers: Number of worker processes. 0 reads in this process.
        rank: Rank of this process. Defaults to torch.distributed, then RANK, then 0.
        world_size: Number of ranks. Defaults to torch.distributed, then WORLD_SIZE, then 1.
        device_mesh: One-dimensional mesh of the data-parallel replicas, in place of `rank` and `world_size`.
        format: `"records"` for lists of dicts, `"arrow"` for record batches, `"numpy"` or `"torch"` for dicts of arrays
            or tensors, in which columns of other types than numbers are lists. Only `"torch"` needs torch.
        collate_fn: Function that makes a batch of the formatted batch.
        drop_last: Whether to drop a last batch with fewer records.
        prefetch_factor: Number of blocks that each worker makes ahead.
        persistent_workers: Whether to keep the workers for the next iteration.
        multiprocessing_context: Context of `multiprocessing`, or the name of a start method.
        timeout: Seconds to wait for a worker. 0 waits forever.
        worker_init_fn: Called in each worker with its number before it reads.
        pin_memory: Whether to put tensors in page-locked memory. Only for `format="torch"`.
        **options: Options of `open_mix`, for a mix that is not open yet.

    Attributes:
        mix: Mix to read.
        lanes: Numbers of the lanes of this rank.
        batch_size: Number of records per batch.
        num_workers: Number of worker processes, at most one per lane.
        rank: Rank of this process.
        world_size: Number of ranks.

    Raises:
        ValueError: If an argument is out of range, or there are more ranks than lanes.
        TypeError: If an argument is unknown, or there are options for a mix that is already open.
        MissingExtraError: If the format is `"torch"` and torch is not installed.
        MixError: If the recipe or its sources cannot be read.
    """

    @overload
    def __init__(
        self: MixLoader[list[Columns]],
        mix: LaneReadable | RecipeLike,
        batch_size: int,
        *,
        num_workers: int = ...,
        rank: int | None = ...,
        world_size: int | None = ...,
        device_mesh: DeviceMesh | None = ...,
        format: Literal["records"] = ...,
        collate_fn: None = ...,
        drop_last: bool = ...,
        prefetch_factor: int = ...,
        persistent_workers: bool = ...,
        multiprocessing_context: Context = ...,
        timeout: float = ...,
        worker_init_fn: Callable[[int], None] | None = ...,
        pin_memory: bool = ...,
        **options: Unpack[MixOptions],
    ) -> None: ...
    @overload
    def __init__(
        self: MixLoader[pa.RecordBatch],
        mix: LaneReadable | RecipeLike,
        batch_size: int,
        *,
        num_workers: int = ...,
        rank: int | None = ...,
        world_size: int | None = ...,
        device_mesh: DeviceMesh | None = ...,
        format: Literal["arrow"],
        collate_fn: None = ...,
        drop_last: bool = ...,
        prefetch_factor: int = ...,
        persistent_workers: bool = ...,
        multiprocessing_context: Context = ...,
        timeout: float = ...,
        worker_init_fn: Callable[[int], None] | None = ...,
        pin_memory: bool = ...,
        **options: Unpack[MixOptions],
    ) -> None: ...
    @overload
    def __init__(
        self: MixLoader[Columns],
        mix: LaneReadable | RecipeLike,
        batch_size: int,
        *,
        num_workers: int = ...,
        rank: int | None = ...,
        world_size: int | None = ...,
        device_mesh: DeviceMesh | None = ...,
        format: Literal["numpy", "torch"],
        collate_fn: None = ...,
        drop_last: bool = ...,
        prefetch_factor: int = ...,
        persistent_workers: bool = ...,
        multiprocessing_context: Context = ...,
        timeout: float = ...,
        worker_init_fn: Callable[[int], None] | None = ...,
        pin_memory: bool = ...,
        **options: Unpack[MixOptions],
    ) -> None: ...
    @overload
    def __init__(
        self,
        mix: LaneReadable | RecipeLike,
        batch_size: int,
        *,
        num_workers: int = ...,
        rank: int | None = ...,
        world_size: int | None = ...,
        device_mesh: DeviceMesh | None = ...,
        format: BatchFormat = ...,
        collate_fn: Callable[[Any], BatchT],
        drop_last: bool = ...,
        prefetch_factor: int = ...,
        persistent_workers: bool = ...,
        multiprocessing_context: Context = ...,
        timeout: float = ...,
        worker_init_fn: Callable[[int], None] | None = ...,
        pin_memory: bool = ...,
        **options: Unpack[MixOptions],
    ) -> None: ...
    def __init__(
        self,
        mix: LaneReadable | RecipeLike,
        batch_size: int,
        *,
        num_workers: int = 0,
        rank: int | None = None,
        world_size: int | None = None,
        device_mesh: DeviceMesh | None = None,
        format: BatchFormat = "records",  # noqa: A002 - the name in `datasets`
        collate_fn: Callable[[Any], Any] | None = None,
        drop_last: bool = False,
        prefetch_factor: int = 5,
        persistent_workers: bool = False,
        multiprocessing_context: Context = None,
        timeout: float = 0,
        worker_init_fn: Callable[[int], None] | None = None,
        pin_memory: bool = False,
        **options: Unpack[MixOptions],
    ) -> None:
        check_options("MixLoader", options, ARGUMENTS)
        _check_numbers(batch_size=(batch_size, 1), num_workers=(num_workers, 0), prefetch_factor=(prefetch_factor, 1))
        self._format = formatter(format, pin_memory=pin_memory)
        self.rank, self.world_size = rank_and_world_size(rank, world_size, device_mesh)
        self.mix = open_for_rank(mix, shared=rank is None and device_mesh is None, options=options)
        self.batch_size = batch_size
        self.lanes = list(range(self.mix.num_lanes))[self.rank :: self.world_size]
        _check_ranks(self.mix.num_lanes, num_workers, self.rank, self.world_size)
        self.num_workers = min(num_workers, len(self.lanes))
        self._collate, self._drop_last = collate_fn, drop_last
        self._worker_options = WorkerOptions(
            prefetch_factor, persistent_workers, multiprocessing_context, timeout, worker_init_fn
        )
        first = self.mix.stream(self.lanes[:1])
        self._header = first.state_dict()
        first.close()
        self._newest = LaneMerger(self._header, self.lanes, None)
        self._position = self._newest.position()
        self._loaded: Mapping[str, Any] | None = None
        self._persistent: list[WorkerProcess] = []

    def __iter__(self) -> Iterator[BatchT]:
        """Yield batches in the requested format, or what `collate_fn` makes of them."""
        loaded, self._loaded = self._loaded, None
        merger = LaneMerger(self._header, self.lanes, loaded)
        self._position = merger.position()
        self._newest = merger
        merger.begin(self._readers(merger.lanes, loaded))
        return self._batches(merger)

    def state_dict(self) -> dict[str, Any]:
        """Return the position of this rank after the last batch, JSON-able, of the same kind as `Stream.state_dict`."""
        return self._position.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume the next `iter()` after the batch at which `state` was saved.

        The state may be that of this rank for any number of workers, or, for any world size, `merge_states` of all
        ranks.

        Raises:
            StateError: If the state belongs to another mix, or lacks a lane of this rank.
        """
        self.mix.stream([]).load_state_dict(state)  # reads nothing, and rejects what workers would reject
        check_lanes(state, self.lanes)
        self._loaded = state
        self._position = LaneMerger(self._header, self.lanes, state).position()

    def _batches(self, merger: LaneMerger) -> Iterator[BatchT]:
        while True:
            if self._persistent and merger is not self._newest:
                raise RuntimeError(
                    "The persistent workers of this iterator are used by a newer iterator. "
                    "Make one MixLoader per simultaneous iteration."
                )
            chunk = merger.take(self.batch_size)
            self._position = merger.position()
            if chunk is None or (len(chunk) < self.batch_size and self._drop_last):
                return
            batch = self._format(chunk)
            yield batch if self._collate is None else self._collate(batch)

    def _readers(self, lanes: list[int], state: Mapping[str, Any] | None) -> list[WorkerReader]:
        """Return one reader per worker. Persistent workers are reused for an iteration from the start."""
        if state is None and self._persistent:
            return [WorkerReader(worker.iterate(), worker.blocks) for worker in self._persistent]
        count = min(self.num_workers, len(lanes))
        if not count:
            blocks = WorkerBlocks(self.mix, lanes, (0, 1), state, None)
            return [WorkerReader(iter(blocks), blocks)]
        workers = [self._worker(lanes, (number, count), state) for number in range(count)]
        if state is None and self._worker_options.persistent:
            self._persistent = workers
        return [WorkerReader(worker.iterate(), worker.blocks, worker) for worker in workers]

    def _worker(self, lanes: list[int], share: tuple[int, int], state: Mapping[str, Any] | None) -> WorkerProcess:
        """Start one worker with the part of the state that it needs."""
        if state is not None:
            own = set(lanes[share[0] :: share[1]])
            state = {**state, "lanes": [at for at in state["lanes"] if at["lane"] in own]}
        blocks = WorkerBlocks(self.mix, lanes, share, state, SharedRing())
        return WorkerProcess(blocks, share[0], self._worker_options)


def _check_numbers(**numbers: tuple[Any, int]) -> None:
    """Raise ValueError unless each value is a whole number of at least its minimum."""
    for name, (value, minimum) in numbers.items():
        if not isinstance(value, Integral) or value < minimum:
            raise ValueError(f"{name} must be a whole number of at least {minimum}, got {value!r}.")


def _check_ranks(lanes: int, num_workers: int, rank: int, world_size: int) -> None:
    """Raise ValueError if a rank has no lane. Log a warning about ranks with fewer lanes and about idle workers."""
    if world_size > lanes:
        raise ValueError(
            f"{world_size} ranks cannot share {lanes} lanes: rank {lanes} and above would have none. "
            f"Set `lanes` to a multiple of {world_size}."
        )
    if lanes % world_size and not rank:
        log.warning(
            "%d ranks read %d lanes: ranks have %d or %d lanes, and those with fewer end earlier. "
            "Set `lanes` to a multiple of %d.",
            *(world_size, lanes, lanes // world_size, lanes // world_size + 1, world_size),
        )
    own = len(range(rank, lanes, world_size))
    if num_workers > own:
        idle = num_workers - own
        log.warning("Rank %d has %d lanes, so %d of its %d workers are not started.", rank, own, idle, num_workers)
