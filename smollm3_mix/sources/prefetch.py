"""Blocks read by other threads before they are asked for, in bounded memory and in the reader's own order.

Worth it where reading waits for a network. From local files it gains nothing: to decode, and to clean, keeps the one
thread waiting for the interpreter that the other has, and costs a tenth more (`bench/prefetch.py`).
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

PREFETCH = "SMOLLM3_MIX_PREFETCH"
"""Environment variable: about the bytes that a process may read ahead, as `128MiB` or a number; 0: nothing."""

BYTES = 1 << 26
"""What it may without that variable."""

THREADS = 8
"""Threads of a process that read ahead. Each holds a row group while it decodes."""


def allowed_bytes() -> int:
    """Bytes that this process may read ahead.

    Raises:
        ValueError: the environment variable holds no such number.
    """
    given = os.environ.get(PREFETCH, "")
    problems: list[str] = []
    size = read_value(int, int(given) if given.isdecimal() else given or BYTES, FieldPath(keys=PREFETCH), problems)
    if problems:
        raise ValueError(f"{problems[0]}. Set it to bytes, such as 64MiB, or to 0 to read nothing ahead.")
    return int(size)


class ForkGuard:
    """Lets threads in but while the process forks: a child has no threads, and would wait for ever for their locks."""

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._inside = self._forking = 0

    def __enter__(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not self._forking)
            self._inside += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._inside -= 1
            self._changed.notify_all()

    def shut(self) -> None:
        """Returns when nobody is inside; nobody comes in until `open`."""
        with self._changed:
            self._forking += 1
            self._changed.wait_for(lambda: not self._inside)

    def open(self) -> None:
        """Let them in again."""
        with self._changed:
            self._forking -= 1
            self._changed.notify_all()

    def renew(self) -> None:
        """The gate of a process without threads."""
        self.__init__()  # type: ignore[misc]  # as it was made


_gate = ForkGuard()
_lock = threading.RLock()  # locks are taken again where garbage is collected that closes a stream
_budgets: weakref.WeakSet[PrefetchBudget] = weakref.WeakSet()
_pools: weakref.WeakValueDictionary[int, ThreadPoolExecutor] = weakref.WeakValueDictionary()
"""By process, as threads do not live through a fork."""


def _reset_after_fork() -> None:
    """In a forked child: nobody is at work."""
    _gate.renew()
    _budgets.clear()


if hasattr(os, "register_at_fork"):  # else processes are not forked
    os.register_at_fork(before=_gate.shut, after_in_parent=_gate.open, after_in_child=_reset_after_fork)


class PrefetchBudget:
    """What one lane may hold ahead: its part of what the process may, and the threads, which all lanes share.

    Threads end when the last room of the process is closed, or forgotten.
    """

    def __init__(self) -> None:
        self.held = 0
        self._allowed, self._process = allowed_bytes(), os.getpid()
        self._threads: ThreadPoolExecutor | None = None
        self._counting = threading.RLock()
        _budgets.add(self)

    @property
    def size(self) -> int:
        """About the bytes that the lane may hold ahead."""
        return self._allowed // max(len(_budgets), 1)

    @property
    def full(self) -> bool:
        """Whether it holds as much as it may."""
        return self.held >= self.size

    def take(self, size: int) -> bool:
        """Count so many bytes more, unless it is full: whether it was not.

        Asked before a read, or each of the threads that read at once would find room for the same bytes.
        """
        with self._counting:
            if self.full:
                return False
            self.held += size
        return True

    def hold(self, size: int) -> None:
        """Count so many bytes more, or less."""
        with self._counting:
            self.held += size

    def submit(self, work: Callable[[], None]) -> Future[None]:
        """Have a thread do some work."""
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
        """Leave the threads and the bytes to other rooms."""
        _budgets.discard(self)
        self._threads = None


@dataclass(frozen=True)
class _Item:
    """A block, or None at the end, or the error in its place; held in a room or not."""

    block: RawBlock | None
    error: BaseException | None = None
    room: PrefetchBudget | None = None
    bytes: int = 0


class BlockPrefetcher:
    """The blocks of one reader, one after the other, read ahead as far as `more` asks.

    What comes out is what the reader would give: blocks in order, an error at its block's turn, after which reading may
    be tried again. Belongs to one thread, as its reader does; those that read ahead see to themselves.

    Args:
        reader: moved by nobody else, but between `settle` and the next call of anything here.

    Attributes:
        bytes: about those that the block read last held.
    """

    def __init__(self, reader: Reader) -> None:
        self.bytes = 0
        self._reader = reader
        self._next = reader.cursor  # where reading goes on if what is ready is given up
        self._ready: deque[_Item] = deque()
        self._wanted, self._closed = 0, False
        self._room: PrefetchBudget | None = None
        self._job: tuple[int, Future[None]] | None = None  # with the process whose thread does it
        self._changed = threading.Condition()

    def take(self) -> RawBlock | None:
        """The next block, None at the end.

        Raises:
            SourceError: as the reader raises it.
        """
        item = self._first()
        with self._changed:
            self._ready.popleft()
        if item.room is not None:
            item.room.hold(-item.bytes)
        if item.error is not None:
            raise item.error
        if item.block is not None:
            self._next = item.block.next
        return item.block

    def at_end(self) -> bool:
        """Whether no block is left.

        Raises:
            SourceError: as the reader raises it.
        """
        if self._first().error is not None:
            self.take()
        return self._first().block is None

    def more(self, wanted: int, room: PrefetchBudget) -> None:
        """Have blocks read ahead by a thread, as far as the room allows.

        Args:
            wanted: how many, those that are ready already among them.
            room: in which they are held.
        """
        with self._changed:
            self._wanted, self._room = wanted, room
            if not (self._working or self._closed or self._enough):
                self._job = os.getpid(), room.submit(self._work)

    def settle(self) -> None:
        """Returns when no thread reads."""
        with self._changed:
            self._wanted = 0
            while self._working:
                self._wait()

    def seek(self, cursor: Cursor) -> None:
        """Go on at a cursor of the lane; what was read ahead is given up."""
        self.settle()
        self._next = Cursor(*cursor)
        self._clear()

    def passed(self) -> None:
        """Take what the owner has read of the reader itself as taken; nothing is ready then."""
        self._next = self._reader.cursor

    def close(self) -> None:
        """Free what is held, now or when a thread has ended its read; reading goes on behind the block taken last."""
        with self._changed:
            self._wanted, self._closed = 0, True
            if self._working and not self._cancel():
                return
        self._clear()

    @property
    def _working(self) -> bool:
        """Whether a thread of this process reads, or will."""
        return self._job is not None and self._job[0] == os.getpid()

    def _cancel(self) -> bool:
        """Have the thread not read, if it has not begun: whether it had not."""
        if self._job is None or not self._job[1].cancel():
            return False
        self._job = None
        return True

    @property
    def _enough(self) -> bool:
        """Whether nothing more is to be read ahead now."""
        ended = bool(self._ready) and self._ready[-1].block is None
        return ended or len(self._ready) >= self._wanted or self._room is None or self._room.full

    def _wait(self) -> None:
        """Returns when a thread has read a block, or ended."""
        if not self._cancel():
            self._changed.wait()

    def _first(self) -> _Item:
        """The next block, where it is."""
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
        """What a thread does: one block after the other, until there are enough."""
        going = True
        while going:
            with _gate:
                going = self._step()
                if not going:  # Arrow would keep what the thread freed for this thread alone: a row group's
                    pa.default_memory_pool().release_unused()

    def _step(self) -> bool:
        with self._changed:
            room, counted = self._room, self.bytes
            if self._enough or room is None or not room.take(counted):
                if self._closed:
                    self._clear()
                self._job = None
                self._changed.notify_all()
                return False
        item = self._read(room, counted)
        with self._changed:
            self._ready.append(item)
            self._changed.notify_all()
        return True

    def _read(self, room: PrefetchBudget | None, counted: int = 0) -> _Item:
        """The next block, held in a room, which has counted so many bytes for it already."""
        try:
            item = self._item(self._reader.read(), room)
        except BaseException as error:  # noqa: BLE001 - raised where the block is taken
            item = _Item(None, error=error)
        if room is not None:
            room.hold(item.bytes - counted)
        return item

    def _item(self, block: RawBlock | None, room: PrefetchBudget | None) -> _Item:
        if block is None:
            return _Item(None)
        columns = (block.texts, block.ids, block.meta, block.stored)
        self.bytes = sum(column.nbytes for column in columns if column is not None)
        return _Item(block, room=room, bytes=self.bytes)

    def _clear(self) -> None:
        """Give up what is ready, and stand behind what was taken."""
        for item in self._ready:
            if item.room is not None:
                item.room.hold(-item.bytes)
        self._ready.clear()
        self._reader.seek(self._next)
