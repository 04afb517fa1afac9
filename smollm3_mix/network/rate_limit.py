"""Request budgets that all processes of a machine share."""

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
    """Requests a second to a host that all processes of this user on this machine spend together, with jitter.

    A small SQLite file in the machine's temporary folder holds the time of the next free slot. Every worker finds it,
    however it was started and on every platform, and a worker that died does not block the others. If no file can be
    written there, each process has a budget of its own and the log says so.

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
        log.warning("%s cannot be used (%s): requests are spaced in each process by itself", folder, error)
        return _prepared(":memory:")


def _prepared(place: str) -> sqlite3.Connection:
    database = sqlite3.connect(place, timeout=60, isolation_level=None, check_same_thread=False)
    atexit.register(database.close)
    database.execute("PRAGMA synchronous = OFF")  # nothing is lost with it
    database.execute("CREATE TABLE IF NOT EXISTS budget (name TEXT PRIMARY KEY, free REAL)")
    return database


LISTING_REQUESTS = RateLimiter("hub listings", 500 / 600, 250)


FILE_REQUESTS = RateLimiter("hub files", 3000 / 600, 1500)
"""Requests to the Hub for listings and for files: in 5 minutes never more than it grants those without an account, 500
and 3,000 (https://huggingface.co/docs/hub/rate-limits); half of that at once, half spread out. Storage, where the Hub
sends readers, is not counted."""
