"""Read blocks ahead in other threads, within a byte budget and in the reader's order.

Prefetching pays off if reading waits for a network. It does not help with local files: decoding and cleaning compete
for the interpreter lock, and the additional thread costs a tenth more time (`bench/prefetch.py`).
"""

from __future__ import annotations

import os
import threading
import weakref
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType

import pyarrow as pa

from smollm3_mix.recipe.parsing import FieldPath, read_value
from smollm3_mix.sources.block_reader import RawBlock, Reader
from smollm3_mix.sources.source_files import Cursor

PREFETCH_VARIABLE = "SMOLLM3_MIX_PREFETCH"
"""Environment variable with the approximate bytes that a process may read ahead, as `128MiB` or a number. 0 disables
it."""

DEFAULT_BYTES = 1 << 26
"""Bytes that a process may read ahead without that variable."""

THREADS = 8
"""Number of prefetching threads of a process. Each keeps a row group in memory while it decodes."""


def allowed_bytes() -> int:
    """Return the bytes that this process may read ahead.

    Raises:
        ValueError: If the environment variable is not a valid size.
    """
    value = os.environ.get(PREFETCH_VARIABLE, "")
    problems: list[str] = []
    size = read_value(
        int, int(value) if value.isdecimal() else value or DEFAULT_BYTES, FieldPath(keys=PREFETCH_VARIABLE), problems
    )
    if problems:
        raise ValueError(f"{problems[0]}. Set the variable to a size such as 64MiB, or to 0 to disable prefetching.")
    return int(size)


class ForkGuard:
    """Excludes threads from a section while the process forks. A child has no threads to release their locks."""

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._active = self._forking = 0

    def __enter__(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not self._forking)
            self._active += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._active -= 1
            self._changed.notify_all()

    def begin_fork(self) -> None:
        """Block until no thread is in the section. None enters until `end_fork`."""
        with self._changed:
            self._forking += 1
            self._changed.wait_for(lambda: not self._active)

    def end_fork(self) -> None:
        """Let threads enter the section again."""
        with self._changed:
            self._forking -= 1
            self._changed.notify_all()

    def reset(self) -> None:
        """Reset the guard in a process without threads."""
        self.__init__()  # type: ignore[misc]  # resets all attributes


_fork_guard = ForkGuard()
_lock = threading.RLock()  # reentrant, because garbage collection can close a stream while the lock is held
_budgets: weakref.WeakSet[PrefetchBudget] = weakref.WeakSet()
_pools: weakref.WeakValueDictionary[int, ThreadPoolExecutor] = weakref.WeakValueDictionary()
"""Thread pools by process id, because threads do not survive a fork."""


def _reset_after_fork() -> None:
    """Reset the state of a forked child, which has no threads."""
    _fork_guard.reset()
    _budgets.clear()


if hasattr(os, "register_at_fork"):  # other platforms do not fork
    os.register_at_fork(
        before=_fork_guard.begin_fork, after_in_parent=_fork_guard.end_fork, after_in_child=_reset_after_fork
    )


class PrefetchBudget:
    """Prefetch budget of one lane: its part of the process-wide byte limit, and access to the shared thread pool.

    The threads end when the last budget of the process is closed or collected.

    Attributes:
        used: Bytes counted at present.
    """

    def __init__(self) -> None:
        self.used = 0
        self._allowed, self._process = allowed_bytes(), os.getpid()
        self._threads: ThreadPoolExecutor | None = None
        self._counting = threading.RLock()
        _budgets.add(self)

    @property
    def size(self) -> int:
        """Approximate number of bytes that the lane may read ahead."""
        return self._allowed // max(len(_budgets), 1)

    @property
    def full(self) -> bool:
        """True if the lane has used its budget."""
        return self.used >= self.size

    def take(self, size: int) -> bool:
        """Count `size` more bytes and return True, unless the budget is full.

        Called before a read. Otherwise threads that read at the same time would all use the same free bytes.
        """
        with self._counting:
            if self.full:
                return False
            self.used += size
        return True

    def adjust(self, size: int) -> None:
        """Count `size` more bytes, or fewer if it is negative."""
        with self._counting:
            self.used += size

    def submit(self, work: Callable[[], None]) -> Future[None]:
        """Run `work` in a thread of the shared pool."""
        process = os.getpid()
        if self._threads is None or self._process != process:
            with _lock:
                threads = _pools.get(process)
                if threads is None:
                    threads = _pools[process] = ThreadPoolExecutor(THREADS, thread_name_prefix="read-ahead")
            self._threads, self._process = threads, process
            _budgets.add(self)
        return self._threads.submit(work)

    def close(self) -> None:
        """Leave threads and bytes to other budgets."""
        _budgets.discard(self)
        self._threads = None


@dataclass(frozen=True)
class _Entry:
    """A block, None at the end, or an error in its place. Blocks read ahead count against a budget."""

    block: RawBlock | None
    error: BaseException | None = None
    budget: PrefetchBudget | None = None
    bytes: int = 0


class BlockPrefetcher:
    """The blocks of one reader in order, read ahead as far as `prefetch` requests.

    Yields the same blocks as the reader. An error is raised in place of its block, and reading may then be tried again.
    Belongs to one thread, as its reader does. Prefetching threads are synchronized internally.

    Args:
        reader: Reader of the blocks. The caller may move it only between `wait_idle` and the next call of this object.

    Attributes:
        bytes: Approximate memory of the block that was read last.
    """

    def __init__(self, reader: Reader) -> None:
        self.bytes = 0
        self._reader = reader
        self._next = reader.cursor  # position to continue at if the blocks that are ready are discarded
        self._ready: deque[_Entry] = deque()
        self._wanted, self._closed = 0, False
        self._budget: PrefetchBudget | None = None
        self._job: tuple[int, Future[None]] | None = None  # and the process that runs it
        self._changed = threading.Condition()

    def take(self) -> RawBlock | None:
        """Return the next block, or None at the end.

        Raises:
            SourceError: As in `Reader.read`.
        """
        entry = self._first()
        with self._changed:
            self._ready.popleft()
        if entry.budget is not None:
            entry.budget.adjust(-entry.bytes)
        if entry.error is not None:
            raise entry.error
        if entry.block is not None:
            self._next = entry.block.next
        return entry.block

    def at_end(self) -> bool:
        """Return True if no block is left.

        Raises:
            SourceError: As in `Reader.read`.
        """
        if self._first().error is not None:
            self.take()
        return self._first().block is None

    def prefetch(self, wanted: int, budget: PrefetchBudget) -> None:
        """Read blocks ahead in a thread, as far as the budget allows.

        Args:
            wanted: Number of blocks, those that are ready included.
            budget: Budget to count their bytes against.
        """
        with self._changed:
            self._wanted, self._budget = wanted, budget
            if not (self._working or self._closed or self._enough):
                self._job = os.getpid(), budget.submit(self._work)

    def wait_idle(self) -> None:
        """Block until no thread reads."""
        with self._changed:
            self._wanted = 0
            while self._working:
                self._wait()

    def seek(self, cursor: Cursor) -> None:
        """Continue at a cursor of the lane. Discards the blocks that were read ahead."""
        self.wait_idle()
        self._next = Cursor(*cursor)
        self._clear()

    def skip_read(self) -> None:
        """Continue after the blocks that the caller read from the reader itself. No block may be ready."""
        self._next = self._reader.cursor

    def close(self) -> None:
        """Free all blocks, now or when the current read ends. Reading can continue after the last block taken."""
        with self._changed:
            self._wanted, self._closed = 0, True
            if self._working and not self._cancel():
                return
        self._clear()

    @property
    def _working(self) -> bool:
        """True if a thread of this process reads or is about to."""
        return self._job is not None and self._job[0] == os.getpid()

    def _cancel(self) -> bool:
        """Cancel the read of a thread and return True, unless it has started."""
        if self._job is None or not self._job[1].cancel():
            return False
        self._job = None
        return True

    @property
    def _enough(self) -> bool:
        """True if no block is to be read ahead now."""
        ended = bool(self._ready) and self._ready[-1].block is None
        return ended or len(self._ready) >= self._wanted or self._budget is None or self._budget.full

    def _wait(self) -> None:
        """Block until a thread has read a block or ended."""
        if not self._cancel():
            self._changed.wait()

    def _first(self) -> _Entry:
        """Return the next entry without taking it."""
        with self._changed:
            while self._working and (self._closed or not self._ready):
                self._wait()
            closed, self._closed = self._closed, False
        if closed:
            self._clear()
        if not self._ready:
            self._ready.append(self._read(None))
        return self._ready[0]

    def _work(self) -> None:
        """Read block after block in a thread until there are enough."""
        more = True
        while more:
            with _fork_guard:
                more = self._step()
                if not more:  # Arrow would otherwise cache a row group for this thread
                    pa.default_memory_pool().release_unused()

    def _step(self) -> bool:
        with self._changed:
            budget, counted = self._budget, self.bytes
            if self._enough or budget is None or not budget.take(counted):
                if self._closed:
                    self._clear()
                self._job = None
                self._changed.notify_all()
                return False
        entry = self._read(budget, counted)
        with self._changed:
            self._ready.append(entry)
            self._changed.notify_all()
        return True

    def _read(self, budget: PrefetchBudget | None, counted: int = 0) -> _Entry:
        """Return the next entry. The budget has already counted `counted` bytes for it."""
        try:
            entry = self._entry(self._reader.read(), budget)
        except BaseException as error:  # noqa: BLE001 - raised where the block is taken
            entry = _Entry(None, error=error)
        if budget is not None:
            budget.adjust(entry.bytes - counted)
        return entry

    def _entry(self, block: RawBlock | None, budget: PrefetchBudget | None) -> _Entry:
        if block is None:
            return _Entry(None)
        columns = (block.texts, block.ids, block.meta, block.stored)
        self.bytes = sum(column.nbytes for column in columns if column is not None)
        return _Entry(block, budget=budget, bytes=self.bytes)

    def _clear(self) -> None:
        """Discard all entries and move the reader after the last block taken."""
        for entry in self._ready:
            if entry.budget is not None:
                entry.budget.adjust(-entry.bytes)
        self._ready.clear()
        self._reader.seek(self._next)
