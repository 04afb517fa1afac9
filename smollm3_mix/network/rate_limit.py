"""Rate limits of requests, shared by all processes of a machine."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import random
import sqlite3
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

log = logging.getLogger("smollm3_mix")


class RateLimiter:
    """Limit of requests per second to a host, shared by all processes of one user on one machine, with jitter.

    A SQLite file in the machine's temporary folder contains the time of the next free slot. Every process finds it on
    every platform, and a process that exits does not block the others. If the file cannot be written, each process has
    a limit of its own and logs a warning.

    Args:
        name: Name of the requests.
        rate: Slots per second.
        burst: Number of slots that can be used at once after a pause.
    """

    def __init__(self, name: str, rate: float, burst: int) -> None:
        self.name, self.rate, self.burst = name, rate, burst
        self._slots: dict[str, deque[float]] = {}
        self._lock = threading.Lock()
        self._database: sqlite3.Connection | None = None
        self._process = 0

    def wait(self, url: str, requests: int = 1) -> None:
        """Wait until the requests may be sent to the host of a URL."""
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
        """Reserve the next free slots and return their times, in seconds since the epoch."""
        if self._database is None:
            raise AssertionError("The rate limiter has no database. Call wait() first.")
        with _transaction(self._database) as database:
            now, key = time.time(), f"{self.name} {host}"
            database.execute("DELETE FROM budget WHERE free < ?", (now - 3600,))
            row = database.execute("SELECT free FROM budget WHERE name = ?", (key,)).fetchone()
            full = now - self.burst / self.rate
            free = max(row[0], full) if row else full
            if free > now + 3600:  # the clock was set back
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
        log.warning("%s cannot be used (%s): each process limits its requests on its own", folder, error)
        return _prepared(":memory:")


def _prepared(location: str) -> sqlite3.Connection:
    database = sqlite3.connect(location, timeout=60, isolation_level=None, check_same_thread=False)
    atexit.register(database.close)
    database.execute("PRAGMA synchronous = OFF")  # losing the last slots in a crash is harmless
    database.execute("CREATE TABLE IF NOT EXISTS budget (name TEXT PRIMARY KEY, free REAL)")
    return database


LISTING_REQUESTS = RateLimiter("hub listings", 500 / 600, 250)


FILE_REQUESTS = RateLimiter("hub files", 3000 / 600, 1500)
"""Rate limits of the Hub for listings and files. In 5 minutes they stay below the limits without an account, 500 and
3,000 (https://huggingface.co/docs/hub/rate-limits). Half of them can be used at once, and half are spread out. Requests
to storage, to which the Hub redirects readers, do not count."""
