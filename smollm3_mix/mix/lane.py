"""One lane: an exact mix over a disjoint slice of every source."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from smollm3_mix.mix import interleave
from smollm3_mix.mix.block_pipeline import AcceptedBlock
from smollm3_mix.mix.exhaustion import empty_pass_error, exhausted_error, no_rows_error
from smollm3_mix.mix.limits import Limits
from smollm3_mix.mix.mix_stats import DiscrepancyTracker, MixStats, SourceStats
from smollm3_mix.mix.prefetch_schedule import PrefetchScheduler
from smollm3_mix.mix.record_chunk import RecordChunk
from smollm3_mix.mix.source_stream import SourceStream
from smollm3_mix.recipe.recipe import Recipe
from smollm3_mix.text.dedup.dedup_store import DedupStore

Ints = npt.NDArray[np.int64]

REMOTE_OPENERS, LOCAL_OPENERS = 16, 4
"""Maximum number of threads that open a lane's sources and read their first blocks.

Threads of remote sources mostly wait for the network. Threads of local sources decode row groups, which each take
memory.
"""


def keep_heap() -> None:
    """Let glibc keep up to 32 MiB of freed memory instead of returning it after every block.

    Freeing one large block raises the thresholds of glibc (mallopt(3), M_MMAP_THRESHOLD). The temporary arrays of a
    block then reuse mapped pages, instead of faulting in thousands of new ones. Without glibc it has no effect.
    """
    np.empty(31 << 20, np.uint8)  # freed at once, because it has no reference


def _run_and_release_memory(task: Callable[[], object]) -> None:
    """Run `task`, then return the memory it freed. Arrow would otherwise cache a row group per thread."""
    task()
    pa.default_memory_pool().release_unused()


class Lane:
    """The records of one lane, chunk by chunk, resumable after any record.

    A block is read only when no record can be emitted. Then exactly one block is read, of the source that the order
    needs next. The order of records therefore does not depend on the size of reads.

    Attributes:
        number: Number of the lane.
        limits: Limits of the lane.
        ended: True at the end of the lane.
        streams: Source streams, in recipe order.
        dedup_store: Dedup state. None without dedup.
        inactive: Position of each source of an earlier recipe that this recipe does not read, by source id.
        inactive_logs: Row decisions of these sources, by source id.
    """

    def __init__(  # noqa: PLR0917 - called in one place
        self,
        recipe: Recipe,
        streams: list[SourceStream],
        number: int,
        limits: Limits,
        dedup_store: DedupStore | None,
        order: interleave.Order,
    ) -> None:
        self.number, self.ended = number, False
        self._recipe, self.streams, self.limits, self.dedup_store = recipe, streams, limits, dedup_store
        self.inactive: dict[str, dict[str, Any]] = {}
        self.inactive_logs: dict[str, bytes] = {}
        self._order = order
        shares = recipe.shares
        self._discrepancies = DiscrepancyTracker(np.array([shares.get(stream.source.id, 0.0) for stream in streams]))
        self._opened = False
        # `_ready` has the sources of the current chunk, of which `_pulled` records were pulled. The two arrays count
        # records of each source's current block: those before the chunk, and those up to the last record pulled.
        self._ready, self._pulled = np.empty(0, np.int64), 0
        self._before_chunk = np.zeros(len(streams), np.int64)
        self._block_pulled = np.zeros(len(streams), np.int64)
        self._order_state = order.state()
        self._prefetch_schedule = PrefetchScheduler(streams, order)

    @property
    def stops(self) -> bool:
        """True if the lane ends with the first source that ends."""
        return self._policy == "stop"

    @property
    def pending(self) -> int:
        """Number of records that can be pulled without reading."""
        return len(self._ready) - self._pulled

    @property
    def emitted(self) -> int:
        """Number of records pulled since the start of the lane, including those before a loaded state."""
        return sum(stream.stats.emitted for stream in self.streams) + self._pulled

    def fill(self) -> bool:
        """Make at least one record pending. Return False at the end of the lane.

        Raises:
            SourceExhaustedError: If a source ends and the recipe's `on_exhausted` is `error`.
            SourceError: If a source cannot be read.
        """
        self._open()
        if self.pending:
            return True
        self._finish_chunk()
        while not self.ended:
            if self._limit_reached():
                self.ended = True
                break
            ready = self._order.ready()
            if len(ready):
                self._ready, self._pulled = self._within_limits(ready), 0
                return True
            if self._order.ended:
                self.ended = True
                break
            self._read_block(self._order.next_source())
            self._prefetch_schedule.update()
        self._prefetch_schedule.close()
        return False

    def pull(self, rows: int) -> RecordChunk:
        """Return the next records: at most `rows`, and at most `pending`."""
        sources = self._ready[self._pulled : self._pulled + rows]
        pieces = []
        counts = np.bincount(sources, minlength=len(self.streams))
        for number in np.flatnonzero(counts):
            start, count = int(self._block_pulled[number]), int(counts[number])
            pieces.append(self.streams[int(number)].records().slice(start, count))
        self._block_pulled += counts
        self._pulled += len(sources)
        index = np.empty(len(sources), np.int64)
        index[np.argsort(sources, kind="stable")] = np.arange(len(sources))
        return RecordChunk(pieces, index)

    def stats(self, unread: int = 0) -> MixStats:
        """Return the statistics up to the last record pulled, without the last `unread` records."""
        all_stats, discrepancies = [stream.stats.copy() for stream in self.streams], self._discrepancies.copy()
        self._count(all_stats, discrepancies, self._pulled - unread)
        for number, stats in enumerate(all_stats):
            stats.pending = stats.read - sum(stats.dropped.values()) - stats.emitted
            stats.max_discrepancy = float(discrepancies.largest[number])
        return MixStats({stream.source.id: stats for stream, stats in zip(self.streams, all_stats, strict=True)})

    def stage_stats(self, unread: int = 0) -> list[MixStats]:
        """Return the statistics of each stage that has begun. A recipe has one stage."""
        return [self.stats(unread)]

    def state_dict(self, unread: int = 0) -> dict[str, Any]:
        """Return the position after the last record pulled, without the last `unread` records. JSON-able.

        The dedup state and the row decisions are separate: see `dedup_log` and `decision_logs`.
        """
        stats = {stream.source.id: stream.stats for stream in self.streams}
        discrepancies = self._discrepancies
        return {
            "lane": self.number,
            "order": self._order_state,
            "skip": self._pulled - unread,
            "pulled": (self._before_chunk + self._rows(self._pulled - unread)).tolist(),
            "ended": self.ended,
            "streams": [stream.state_dict(int(self._before_chunk[n])) for n, stream in enumerate(self.streams)],
            "stats": MixStats(stats).to_dict(),
            "discrepancies": [discrepancies.total, discrepancies.emitted.tolist(), discrepancies.largest.tolist()],
            "inactive": self.inactive,
        }

    def load_state_dict(self, state: dict[str, Any], decisions: dict[str, bytes]) -> None:
        """Resume at the position of `state`. Call `restore_dedup_state` first. Reads the current block of each source.

        Args:
            state: Result of `state_dict`.
            decisions: Row decisions by source id, from `decision_logs`.
        """
        stats = MixStats.from_dict(state["stats"])
        saved = zip(self.streams, state["streams"], strict=True)
        self._run_in_threads(
            [
                partial(
                    stream.load_state_dict, at, stats.sources[stream.source.id], decisions.get(stream.source.id, b"")
                )
                for stream, at in saved
            ]
        )
        self._order.restore(state["order"], [(stream.units, stream.documents) for stream in self.streams])
        total, emitted, largest = state["discrepancies"]
        for number, stream in enumerate(self.streams):
            if stream.exhausted:
                self._leave(number)
            elif stream.accepted is not None and len(stream.accepted.units):
                self._order.place(number, stream.accepted.units, last=self._is_last_block(stream))
                self._order.skip(number, state["streams"][number]["emitted"])
        self._discrepancies.total = total
        self._discrepancies.emitted, self._discrepancies.largest = np.array(emitted), np.array(largest)
        self._opened, self.ended = True, state["ended"]
        self._before_chunk = np.array([at["emitted"] for at in state["streams"]], dtype=np.int64)
        self._order_state = state["order"]
        ready = np.empty(0, np.int64) if self._limit_reached() else self._within_limits(self._order.ready())
        self._ready, self._pulled = ready, state["skip"]
        self._block_pulled = self._before_chunk + self._rows(self._pulled)
        self.inactive = state["inactive"]
        self.inactive_logs = {source: decisions[source] for source in self.inactive if source in decisions}

    def pending_documents(self) -> list[pa.RecordBatch]:
        """Return the accepted documents of the current blocks that were not pulled, by source, in placement order."""
        blocks = [(n, stream.records()) for n, stream in enumerate(self.streams) if stream.accepted is not None]
        pulled = self._block_pulled
        return [block.slice(int(pulled[n])) for n, block in blocks if int(pulled[n]) < block.num_rows]

    def decision_logs(self) -> dict[str, bytes]:
        """Return the row decisions of the first pass of every source, including inactive ones, by source id."""
        return {stream.source.id: stream.decision_log() for stream in self.streams} | self.inactive_logs

    def dedup_log(self, since: int = 0) -> tuple[bytes, int]:
        """Return the dedup state from document number `since` on, and the total number of documents."""
        if self.dedup_store is None:
            return b"", 0
        return self.dedup_store.keys_since(since).tobytes(), len(self.dedup_store)

    @property
    def dedup_digest(self) -> str | None:
        """Digest of the complete `dedup_log`. None without dedup."""
        return None if self.dedup_store is None else self.dedup_store.digest

    def restore_dedup_state(self, logs: Iterable[bytes]) -> None:
        """Restore the dedup state from the results of `dedup_log`, in order. Call `load_state_dict` afterwards."""
        if self.dedup_store is not None:
            columns = self._recipe.dedup.exact + (self._recipe.dedup.near.bands if self._recipe.dedup.near else 0)
            self.dedup_store.restore(np.frombuffer(log, np.uint64).reshape(-1, columns) for log in logs)

    def close(self) -> None:
        """Close all files."""
        for stream in self.streams:
            stream.close()
        self._prefetch_schedule.close()

    def _open(self) -> None:
        """Read the first block of every source in parallel, to wait for a slow Hub once and not once per source."""
        if self._opened:
            return
        keep_heap()
        if not isinstance(self._order, interleave.Concatenation):
            self._run_in_threads([stream.at_end for stream in self.streams])
        self._opened = True

    def _run_in_threads(self, tasks: Sequence[Callable[[], object]]) -> None:
        """Run one task per source in threads."""
        # Opening local files is CPU-bound, so more threads than cores would slow it down.
        local = min(LOCAL_OPENERS, pa.cpu_count())
        remote = any(stream.remote for stream in self.streams)
        with ThreadPoolExecutor(REMOTE_OPENERS if remote else local) as pool:
            for job in [pool.submit(_run_and_release_memory, task) for task in tasks]:
                job.result()
        pa.default_memory_pool().release_unused()  # memory that the threads left

    def _accepted(self, number: int) -> AcceptedBlock:
        """Return the current block of a source."""
        accepted = self.streams[number].accepted
        if accepted is None:
            raise AssertionError(f"lane {self.number}: source {number} has no block although its documents are pending")
        return accepted

    def _finish_chunk(self) -> None:
        """Count all pulled records as emitted, and start a new chunk."""
        self._count([stream.stats for stream in self.streams], self._discrepancies, self._pulled)
        self._before_chunk = self._block_pulled.copy()
        self._order_state = self._order.state()
        self._ready, self._pulled = np.empty(0, np.int64), 0

    def _count(self, all_stats: list[SourceStats], discrepancies: DiscrepancyTracker, pulled: int) -> None:
        """Add the first `pulled` records of the current chunk to the statistics and discrepancies."""
        sources = self._ready[:pulled]
        if not len(sources):
            return
        rows = np.bincount(sources, minlength=len(self.streams))
        for number in np.flatnonzero(rows).tolist():
            accepted = self._accepted(number)
            span = slice(int(self._before_chunk[number]), int(self._before_chunk[number] + rows[number]))
            stats = all_stats[number]
            stats.emitted += int(rows[number])
            stats.emitted_bytes += int(accepted.lengths[span].sum())
            stats.emitted_units += int(accepted.units[span].sum())
            stats.emitted_tokens += int(accepted.tokens[span].sum())
        discrepancies.add(sources, self._sizes(sources, "units"))

    def _rows(self, pulled: int) -> Ints:
        """Return the number of records of each source among the first `pulled` of the current chunk, int64[sources]."""
        return np.bincount(self._ready[:pulled], minlength=len(self.streams)).astype(np.int64)

    def _limit_reached(self) -> bool:
        return self.limits.reached(*self._totals())

    def _totals(self) -> tuple[int, int, int]:
        """Return the records, tokens and bytes emitted before the current chunk."""
        all_stats = [stream.stats for stream in self.streams]
        return (
            sum(stats.emitted for stats in all_stats),
            sum(stats.emitted_tokens for stats in all_stats),
            sum(stats.emitted_bytes for stats in all_stats),
        )

    def _within_limits(self, ready: Ints) -> Ints:
        """Return the records up to the one that reaches a limit."""
        limits, (emitted, tokens, size) = self.limits, self._totals()
        if limits.max_samples is not None:
            ready = ready[: limits.max_samples - emitted]
        if limits.max_tokens is not None:
            reached = tokens + np.cumsum(self._sizes(ready, "tokens"))
            ready = ready[: int(np.searchsorted(reached, limits.max_tokens)) + 1]
        if limits.max_bytes is not None:
            reached = size + np.cumsum(self._sizes(ready, "lengths"))
            ready = ready[: int(np.searchsorted(reached, limits.max_bytes)) + 1]
        return ready

    def _sizes(self, sources: Ints, measure: Literal["units", "tokens", "lengths"]) -> Ints:
        """Return the units, tokens or bytes of each record, given the sources of records from the chunk's start on.

        Returns:
            int64 array, one value per record.
        """
        sizes = np.empty(len(sources), np.int64)
        for number in np.unique(sources).tolist():
            mask = sources == number
            start = int(self._before_chunk[number])
            sizes[mask] = getattr(self._accepted(number), measure)[start : start + int(mask.sum())]
        return sizes

    def _read_block(self, number: int) -> None:
        """Read one block of a source, or apply the policy for its end."""
        stream = self.streams[number]
        accepted = stream.advance(self.dedup_store)
        if accepted is not None:
            self._before_chunk[number] = self._block_pulled[number] = 0
            self._order.place(number, accepted.units, last=self._is_last_block(stream))
            return
        if stream.accepted is not None:  # blocks without an accepted document may follow the current one
            self._before_chunk[number] = self._block_pulled[number] = len(stream.accepted.units)
        policy = self._policy
        if stream.empty_pass and policy != "renormalize":
            raise (empty_pass_error if stream.stats.read else no_rows_error)(self._recipe, stream, self.number)
        if stream.passes + 1 < stream.source.max_passes and not stream.empty_pass:
            stream.restart()
        elif policy == "error":
            raise exhausted_error(self._recipe, stream, self.limits, self._totals()[1])
        elif policy == "stop":
            self.ended = True
        elif policy == "renormalize" or stream.empty_pass:
            stream.exhausted = True
            self._leave(number)
        else:
            self._repeat(stream)

    def _repeat(self, stream: SourceStream) -> None:
        """Restart the source. Without a limit, the lane ends when every source had all its passes."""
        others = all(other.passes >= other.source.max_passes for other in self.streams if other is not stream)
        if self.limits.unlimited and others and stream.passes < stream.source.max_passes:
            self.ended = True
            return
        stream.restart()

    def _leave(self, number: int) -> None:
        self._order.leave(number)
        self._discrepancies.leave(number)

    @property
    def _policy(self) -> str:
        """The recipe's `on_exhausted`. A concatenation continues with the next source."""
        return self._recipe.on_exhausted if self._recipe.weighted else "renormalize"

    def _is_last_block(self, stream: SourceStream) -> bool:
        """Return True if the last pass ends with the current block. Only `Iid` needs to know it."""
        if not isinstance(self._order, interleave.Iid):
            return False
        return stream.passes + 1 == stream.source.max_passes and stream.at_end()
