"""Trying again where a fault may pass, and the budget of requests that all workers of a machine share."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import random
import sqlite3
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

T = TypeVar("T")

RETRIED = (408, 429, 500, 502, 503, 504)
"""Statuses that may pass."""

TRIES = 6
"""Times that something is asked for before a fault counts as lasting."""

PAUSE, LONGEST = 0.5, 8.0
"""Seconds before the second try at most, which double, and the longest; a time is drawn from 0 to that (full jitter,
Exponential Backoff And Jitter, AWS Architecture Blog, 2015)."""

WAITED = 120.0
"""Longest Retry-After that is waited for, in seconds."""

log = logging.getLogger("smollm3_mix")


def failures() -> tuple[type[Exception], ...]:
    """What network reads raise: OSError, and the errors of the HTTP client that `huggingface_hub` happens to use."""
    clients = (sys.modules.get(name) for name in ("httpx", "httpx2"))
    return (OSError, *(client.HTTPError for client in clients if client is not None))


def patiently(ask: Callable[[], T], passes: Callable[[BaseException], bool] | None = None, tries: int = TRIES) -> T:
    """What `ask` gives, asked again, after growing pauses with jitter, while a fault may pass.

    Args:
        ask: what is called.
        passes: which faults may; default: `passing`.
        tries: calls in all.

    Raises:
        The last error of `ask`; at once where it cannot pass.
    """
    for again in range(1, tries):
        try:
            return ask()
        except Exception as error:  # noqa: PERF203 - it is asked over a network
            if not (passes or passing)(error):
                raise
            time.sleep(_pause(error, again))
    return ask()


def passing(error: BaseException) -> bool:
    """Whether an error, or one it came of, is a fault of the network or of a server that may pass."""
    found = statuses(error)
    return any(status in RETRIED for status in found) if found else lost(error)


def statuses(error: BaseException) -> list[int]:
    """HTTP statuses of the answers behind an error, its own first; none where no answer came."""
    return [status for one in _chain(error) if (status := _status(one)) is not None]


def lost(error: BaseException) -> bool:
    """Whether an error, or one it came of, means that no whole answer came."""
    kinds = _lost()
    if statuses(error) or offline(error):
        return False
    return any(isinstance(one, kinds) for one in _chain(error))


def offline(error: BaseException) -> bool:
    """Whether an error, or one it came of, says that HF_HUB_OFFLINE is set."""
    from huggingface_hub.errors import OfflineModeIsEnabled

    return any(isinstance(one, OfflineModeIsEnabled) for one in _chain(error))


def _lost() -> tuple[type[BaseException], ...]:
    """What is raised where no whole answer came; in `requests` it is under OSError, in httpx beside it."""
    from huggingface_hub.errors import LocalEntryNotFoundError

    found = [sys.modules[name].TransportError for name in ("httpx", "httpx2") if name in sys.modules]
    if "requests" in sys.modules:
        kinds = sys.modules["requests"].exceptions
        found += [kinds.ConnectionError, kinds.Timeout, kinds.ChunkedEncodingError]
    return (ConnectionError, TimeoutError, EOFError, LocalEntryNotFoundError, *found)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _status(error: BaseException) -> int | None:
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) else None


def _pause(error: BaseException, again: int) -> float:
    """Seconds to wait before the next try: what the server asks for, else drawn."""
    drawn = random.uniform(0, min(PAUSE * 2 ** (again - 1), LONGEST))  # noqa: S311 - no secret
    for one in _chain(error):
        asked = getattr(getattr(one, "response", None), "headers", {}).get("retry-after", "")
        if asked.isdigit():
            return min(float(asked), WAITED) + drawn
    return drawn


class Budget:
    """Requests a second to a host that all processes of this user on this machine spend together, with jitter.

    The place of the next free slot stands in a small SQLite file in the machine's temporary folder: known to every
    worker however it was started, on every platform, and free of workers that died. Where no file can be written there,
    each process has a budget of its own, and the log says so.

    Args:
        name: of what is asked for.
        rate: slots a second.
        burst: slots that may be used at once after a rest.
    """

    def __init__(self, name: str, rate: float, burst: int) -> None:
        self.name, self.rate, self.burst = name, rate, burst
        self._slots: dict[str, deque[float]] = {}
        self._lock = threading.Lock()
        self._database: sqlite3.Connection | None = None
        self._process = 0

    def wait(self, url: str, requests: int = 1) -> None:
        """Returns when so many requests may be sent to the host of a URL."""
        host = urlsplit(url).netloc
        for _ in range(requests):
            with self._lock:
                if self._process != os.getpid():  # SQLite's connections do not live through a fork
                    self._process, self._database, self._slots = os.getpid(), _open(), {}
                if not self._slots.get(host):
                    self._slots[host] = deque(self._reserve(host, max(1, int(self.rate / 50))))  # 20 ms' worth
                slot = self._slots[host].popleft()
            late = slot - time.time()
            if late > 0:
                time.sleep(late + random.uniform(0, min(1 / self.rate, 1.0)))  # noqa: S311 - no secret

    def _reserve(self, host: str, slots: int) -> list[float]:
        """The times of the next free slots, which are free no more."""
        if self._database is None:
            raise AssertionError("a budget was asked before it was opened")
        with _transaction(self._database) as database:
            now, key = time.time(), f"{self.name} {host}"
            database.execute("DELETE FROM budget WHERE free < ?", (now - 3600,))
            row = database.execute("SELECT free FROM budget WHERE name = ?", (key,)).fetchone()
            full = now - self.burst / self.rate
            free = max(row[0], full) if row else full
            if free > now + 3600:  # somebody has set the clock back
                free = now
            database.execute("INSERT OR REPLACE INTO budget VALUES (?, ?)", (key, free + slots / self.rate))
        return [free + slot / self.rate for slot in range(slots)]


@contextlib.contextmanager
def _transaction(database: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    database.execute("BEGIN IMMEDIATE")
    try:
        yield database
    finally:
        database.execute("COMMIT")


def _open() -> sqlite3.Connection:
    user = getattr(os, "getuid", lambda: "me")()
    folder = Path(tempfile.gettempdir()) / f"smollm3_mix-{user}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        return _prepared(str(folder / "budget.sqlite"))
    except (OSError, sqlite3.Error) as error:
        log.warning("%s cannot be used (%s): requests are spaced in each process by itself", folder, error)
        return _prepared(":memory:")


def _prepared(place: str) -> sqlite3.Connection:
    database = sqlite3.connect(place, timeout=60, isolation_level=None, check_same_thread=False)
    atexit.register(database.close)
    database.execute("PRAGMA synchronous = OFF")  # nothing is lost with it
    database.execute("CREATE TABLE IF NOT EXISTS budget (name TEXT PRIMARY KEY, free REAL)")
    return database


LISTINGS = Budget("hub listings", 500 / 600, 250)
RESOLVED = Budget("hub files", 3000 / 600, 1500)
"""Requests to the Hub for listings and for files: in 5 minutes never more than it grants those without an account, 500
and 3,000 (https://huggingface.co/docs/hub/rate-limits); half of that at once, half spread out. Storage, where the Hub
sends readers, is not counted."""
