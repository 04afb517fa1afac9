"""One lane: its own exact mixture over a disjoint part of every source, the same whoever reads it."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from smollm3_mix.mix import interleave
from smollm3_mix.mix.block_pipeline import AcceptedBlock
from smollm3_mix.mix.exhaustion import exhausted_error, no_rows_error, nothing_kept_error
from smollm3_mix.mix.limits import Limits
from smollm3_mix.mix.mix_stats import DiscrepancyTracker, MixStats, SourceStats
from smollm3_mix.mix.prefetch_schedule import PrefetchScheduler
from smollm3_mix.mix.record_chunk import RecordChunk
from smollm3_mix.mix.source_stream import SourceStream
from smollm3_mix.recipe.model import Recipe
from smollm3_mix.text.dedup import dedup_store

Ints = npt.NDArray[np.int64]

OPENERS, LOCAL_OPENERS = 16, 4
"""Threads that open a lane's sources and read their first blocks: many to wait for a network at once; few where only
the processor is waited for, as each holds a row group while it decodes."""


def keep_heap() -> None:
    """Let glibc keep freed memory up to 32 MiB instead of giving it back after every block.

    Freeing one large block raises its thresholds (mallopt(3), M_MMAP_THRESHOLD); a block's temporaries then reuse pages
    that are mapped, where they would fault in thousands of new ones. Without glibc it does nothing and costs nothing.
    """
    np.empty(31 << 20, np.uint8)  # freed at once: nobody holds it


def _run_and_release_memory(work: Callable[[], object]) -> None:
    """Do it, and give back the memory that it freed, which Arrow would keep for this thread alone: a row group's."""
    work()
    pa.default_memory_pool().release_unused()


class Lane:
    """The records of one lane, a stretch at a time, resumable after any record.

    One rule makes everything independent of who reads how much at a time: a block is read only when no record is safe
    to give, and then exactly one, of the source the order wants next.

    Attributes:
        number: the lane's number.
        limits: where it ends.
        ended: nothing more will come.
        lines: its sources, in recipe order.
        seen: what dedup remembers; None without dedup.
        parked: sources of earlier recipes that this one does not read, as `going_on` left them, by id.
    """

    def __init__(  # noqa: PLR0917 - made in one place only
        self,
        recipe: Recipe,
        lines: list[SourceStream],
        number: int,
        limits: Limits,
        seen: dedup_store.DedupStore | None,
        order: interleave.Order,
    ) -> None:
        self.number, self.ended = number, False
        self._recipe, self.lines, self.limits, self.seen = recipe, lines, limits, seen
        self.inactive: dict[str, dict[str, Any]] = {}
        self.inactive_logs: dict[str, bytes] = {}
        self._order = order
        shares = recipe.shares
        self._discrepancies = DiscrepancyTracker(np.array([shares.get(line.source.id, 0.0) for line in lines]))
        self._opened = False
        self._ready, self._pulled = np.empty(0, np.int64), 0
        self._given = np.zeros(len(lines), np.int64)  # of each current block, before the pending stretch
        self._taken = np.zeros(len(lines), np.int64)  # of each current block, after the last record pulled
        self._order_state = order.state()
        self._prefetch_schedule = PrefetchScheduler(lines, order)

    @property
    def stops(self) -> bool:
        """Whether a source that ends for good ends the lane."""
        return self._policy == "stop"

    @property
    def pending(self) -> int:
        """Records that can be pulled without reading anything."""
        return len(self._ready) - self._pulled

    @property
    def emitted(self) -> int:
        """Records pulled since the lane's start, those before a state that was loaded included."""
        return sum(line.counts.emitted for line in self.lines) + self._pulled

    def fill(self) -> bool:
        """Make at least one record pending; False when the lane has ended.

        Raises:
            SourceExhaustedError: a source ran out and the recipe does not say how to go on.
            SourceError: a source cannot be read.
        """
        self._open()
        if self.pending:
            return True
        self._settle()
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
            self._refill(self._order.next_source())
            self._prefetch_schedule.look()
        self._prefetch_schedule.close()
        return False

    def pull(self, rows: int) -> RecordChunk:
        """The next records, at most `rows` and at most `pending`."""
        taken = self._ready[self._pulled : self._pulled + rows]
        pieces = []
        counts = np.bincount(taken, minlength=len(self.lines))
        for number in np.flatnonzero(counts):
            start, count = int(self._taken[number]), int(counts[number])
            pieces.append(self.lines[int(number)].records().slice(start, count))
        self._taken += counts
        self._pulled += len(taken)
        index = np.empty(len(taken), np.int64)
        index[np.argsort(taken, kind="stable")] = np.arange(len(taken))
        return RecordChunk(pieces, index)

    def stats(self, unread: int = 0) -> MixStats:
        """Counts after the last record pulled, less the last `unread` of the pulled ones."""
        counts, discrepancies = [line.counts.copy() for line in self.lines], self._discrepancies.copy()
        self._count(counts, discrepancies, self._pulled - unread)
        for number, mine in enumerate(counts):
            mine.pending = mine.read - sum(mine.dropped.values()) - mine.emitted
            mine.max_discrepancy = float(discrepancies.largest[number])
        return MixStats({line.source.id: mine for line, mine in zip(self.lines, counts, strict=True)})

    def all_stats(self, unread: int = 0) -> list[MixStats]:
        """The same for each stage that has begun: this one."""
        return [self.stats(unread)]

    def state_dict(self, unread: int = 0) -> dict[str, Any]:
        """Where the lane stands after the last record pulled, less `unread`; JSON-able. See `seen_log`, `logs`."""
        counts = {line.source.id: line.counts for line in self.lines}
        return {
            "lane": self.number,
            "order": self._order_state,
            "skip": self._pulled - unread,
            "taken": (self._given + self._rows(self._pulled - unread)).tolist(),
            "ended": self.ended,
            "lines": [line.state_dict(int(self._given[n])) for n, line in enumerate(self.lines)],
            "counts": MixStats(counts).to_dict(),
            "debts": [
                self._discrepancies.total,
                self._discrepancies.emitted.tolist(),
                self._discrepancies.largest.tolist(),
            ],
            "parked": self.inactive,
        }

    def load_state_dict(self, state: dict[str, Any], decisions: dict[str, bytes]) -> None:
        """Stand where `state_dict` was taken, after `restore_seen`. Reads the current block of each source."""
        counts = MixStats.from_dict(state["counts"])
        saved = zip(self.lines, state["lines"], strict=True)
        self._at_once(
            [
                partial(line.load_state_dict, at, counts.sources[line.source.id], decisions.get(line.source.id, b""))
                for line, at in saved
            ]
        )
        self._order.restore(state["order"], [(line.units, line.documents) for line in self.lines])
        total, given, largest = state["debts"]
        for number, line in enumerate(self.lines):
            if line.gone:
                self._leave(number)
            elif line.accepted is not None and len(line.accepted.units):
                self._order.lay(number, line.accepted.units, last=self._last(line))
                self._order.skip(number, state["lines"][number]["emitted"])
        self._discrepancies.total, self._discrepancies.emitted, self._discrepancies.largest = (
            total,
            np.array(given),
            np.array(largest),
        )
        self._opened, self.ended = True, state["ended"]
        self._given = np.array([at["emitted"] for at in state["lines"]], dtype=np.int64)
        self._order_state = state["order"]
        ready = np.empty(0, np.int64) if self._limit_reached() else self._within_limits(self._order.ready())
        self._ready, self._pulled = ready, state["skip"]
        self._taken = self._given + self._rows(self._pulled)
        self.inactive = state["parked"]
        self.inactive_logs = {source: decisions[source] for source in self.inactive if source in decisions}

    def pending_documents(self) -> list[pa.RecordBatch]:
        """Documents of the current blocks that were accepted and not pulled, source by source, in the order laid."""
        blocks = [(n, line.records()) for n, line in enumerate(self.lines) if line.accepted is not None]
        return [block.slice(int(self._taken[n])) for n, block in blocks if int(self._taken[n]) < block.num_rows]

    def logs(self) -> dict[str, bytes]:
        """Verdicts of the first pass of every source, those of `parked` included, by source id."""
        return {line.source.id: line.decisions() for line in self.lines} | self.inactive_logs

    def dedup_log(self, since: int = 0) -> tuple[bytes, int]:
        """What dedup remembers from its document number `since` on, and how many documents it remembers in all."""
        if self.seen is None:
            return b"", 0
        return self.seen.log_since(since).tobytes(), len(self.seen)

    @property
    def dedup_digest(self) -> str | None:
        """Digest of all that `seen_log` gives from the start; None without dedup."""
        return None if self.seen is None else self.seen.digest

    def restore_dedup_state(self, logs: Iterable[bytes]) -> None:
        """Remember again what `seen_log` gave, in order; before `load_state_dict`."""
        if self.seen is not None:
            columns = self._recipe.dedup.exact + (self._recipe.dedup.near.bands if self._recipe.dedup.near else 0)
            self.seen.restore(np.frombuffer(log, np.uint64).reshape(-1, columns) for log in logs)

    def close(self) -> None:
        """Close all files."""
        for line in self.lines:
            line.close()
        self._prefetch_schedule.close()

    def _open(self) -> None:
        """Read the first block of every source at once, so that a slow Hub is waited for once and not once a source."""
        if self._opened:
            return
        keep_heap()
        if not isinstance(self._order, interleave.Concatenation):
            self._at_once([line.at_end for line in self.lines])
        self._opened = True

    def _at_once(self, works: Sequence[Callable[[], object]]) -> None:
        """Have threads do some work of each source."""
        local = min(LOCAL_OPENERS, pa.cpu_count())  # what waits for the processor alone only gets in its own way
        with ThreadPoolExecutor(OPENERS if any(line.remote for line in self.lines) else local) as pool:
            for job in [pool.submit(_run_and_release_memory, work) for work in works]:
                job.result()
        pa.default_memory_pool().release_unused()  # what the threads left, too

    def _accepted(self, number: int) -> AcceptedBlock:
        accepted = self.lines[number].accepted
        if accepted is None:
            raise AssertionError(f"lane {self.number}: source {number} has no block although its documents are pending")
        return accepted

    def _settle(self) -> None:
        """Count all pulled records as given, and start a new stretch."""
        self._count([line.counts for line in self.lines], self._discrepancies, self._pulled)
        self._given = self._taken.copy()
        self._order_state = self._order.state()
        self._ready, self._pulled = np.empty(0, np.int64), 0

    def _count(self, counts: list[SourceStats], discrepancies: DiscrepancyTracker, pulled: int) -> None:
        """Add the first `pulled` records of the current stretch to the counts and debts."""
        done = self._ready[:pulled]
        if not len(done):
            return
        rows = np.bincount(done, minlength=len(self.lines))
        for number in np.flatnonzero(rows).tolist():
            accepted = self._accepted(number)
            span = slice(int(self._given[number]), int(self._given[number] + rows[number]))
            mine = counts[number]
            mine.emitted += int(rows[number])
            mine.emitted_bytes += int(accepted.lengths[span].sum())
            mine.emitted_units += int(accepted.units[span].sum())
            mine.emitted_tokens += int(accepted.tokens[span].sum())
        discrepancies.add(done, self._each(done, "units"))

    def _rows(self, pulled: int) -> Ints:
        """Records of each source among the first `pulled` of the current stretch, int64[sources]."""
        return np.bincount(self._ready[:pulled], minlength=len(self.lines)).astype(np.int64)

    def _limit_reached(self) -> bool:
        return self.limits.reached(*self._totals())

    def _totals(self) -> tuple[int, int, int]:
        """Records, tokens and bytes given before the pending stretch."""
        counts = [line.counts for line in self.lines]
        return (
            sum(c.emitted for c in counts),
            sum(c.emitted_tokens for c in counts),
            sum(c.emitted_bytes for c in counts),
        )

    def _within_limits(self, ready: Ints) -> Ints:
        """The records up to the one that reaches a limit."""
        given, tokens, size = self._totals()
        if self.limits.samples is not None:
            ready = ready[: self.limits.samples - given]
        if self.limits.tokens is not None:
            reached = tokens + np.cumsum(self._each(ready, "tokens"))
            ready = ready[: int(np.searchsorted(reached, self.limits.tokens)) + 1]
        if self.limits.bytes is not None:
            reached = size + np.cumsum(self._each(ready, "lengths"))
            ready = ready[: int(np.searchsorted(reached, self.limits.bytes)) + 1]
        return ready

    def _each(self, ready: Ints, what: str) -> Ints:
        """`units`, `tokens` or `lengths` of each record of a stretch that starts at `_given`, int64[len(ready)]."""
        each = np.empty(len(ready), np.int64)
        for number in np.unique(ready).tolist():
            mine = ready == number
            start = int(self._given[number])
            each[mine] = getattr(self._accepted(number), what)[start : start + int(mine.sum())]
        return each

    def _refill(self, number: int) -> None:
        """Read one block of a source, or settle what its end means."""
        line = self.lines[number]
        accepted = line.advance(self.seen)
        if accepted is not None:
            self._given[number] = self._taken[number] = 0
            self._order.lay(number, accepted.units, last=self._last(line))
            return
        if line.accepted is not None:  # blocks without a document may have come after the last one given from
            self._given[number] = self._taken[number] = len(line.accepted.units)
        policy = self._policy
        if line.empty_pass and policy != "renormalize":
            raise (nothing_kept_error if line.counts.read else no_rows_error)(self._recipe, line, self.number)
        if line.passes + 1 < line.source.max_passes and not line.empty_pass:
            line.restart()
        elif policy == "error":
            raise exhausted_error(self._recipe, line, self.limits, self._totals()[1])
        elif policy == "stop":
            self.ended = True
        elif policy == "renormalize" or line.empty_pass:
            line.gone = True
            self._leave(number)
        else:
            self._repeat(line)

    def _repeat(self, line: SourceStream) -> None:
        """Start the source again; without a limit the lane ends when every source has had all its passes."""
        others = all(other.passes >= other.source.max_passes for other in self.lines if other is not line)
        if self.limits.none and others and line.passes < line.source.max_passes:
            self.ended = True
            return
        line.restart()

    def _leave(self, number: int) -> None:
        self._order.leave(number)
        self._discrepancies.leave(number)

    @property
    def _policy(self) -> str:
        """What the end of a source means; where one stands after the other, simply the next one's turn."""
        return self._recipe.on_exhausted if self._recipe.weighted else "renormalize"

    def _last(self, line: SourceStream) -> bool:
        """Whether the order must know that a pass ends with the current block; only draws need to."""
        if not isinstance(self._order, interleave.Iid):
            return False
        return line.passes + 1 == line.source.max_passes and line.at_end()
