"""Retries of network requests with exponential backoff, and the classification of their errors."""

from __future__ import annotations

import logging
import random
import sys
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

T = TypeVar("T")

RETRIED_STATUSES = (408, 429, 500, 502, 503, 504)
"""HTTP statuses of transient errors."""

MAX_TRIES = 6
"""Number of attempts before an error counts as permanent."""

FIRST_PAUSE, MAX_PAUSE = 0.5, 8.0
"""Maximum pause before the second attempt in seconds, which doubles with each attempt, and the maximum of all pauses.

The pause is drawn between 0 and that maximum (full jitter: Exponential Backoff And Jitter, AWS Architecture Blog,
2015).
"""

MAX_RETRY_AFTER = 120.0
"""Maximum Retry-After that is respected, in seconds."""

log = logging.getLogger("smollm3_mix")


def network_errors() -> tuple[type[Exception], ...]:
    """Return the errors of network reads: OSError, and those of the HTTP client that `huggingface_hub` uses."""
    clients = (sys.modules.get(name) for name in ("httpx", "httpx2"))
    return (OSError, *(client.HTTPError for client in clients if client is not None))


def with_retries(
    request: Callable[[], T], may_retry: Callable[[BaseException], bool] | None = None, attempts: int = MAX_TRIES
) -> T:
    """Call `request` and retry transient errors with exponential backoff and jitter.

    Args:
        request: Function to call.
        may_retry: Returns True for an error that is retried. Defaults to `is_transient`.
        attempts: Maximum number of calls.

    Raises:
        Exception: The last error of `request`, or the first that is not retried.
    """
    for attempt in range(1, attempts):
        try:
            return request()
        except Exception as error:  # noqa: PERF203 - the request takes much longer
            if not (may_retry or is_transient)(error):
                raise
            time.sleep(_pause(error, attempt))
    return request()


def is_transient(error: BaseException) -> bool:
    """Return True if an error or one of its causes is a transient error of the network or a server."""
    found = http_statuses(error)
    return any(status in RETRIED_STATUSES for status in found) if found else is_connection_lost(error)


def http_statuses(error: BaseException) -> list[int]:
    """Return the HTTP statuses of an error and its causes, its own first. Empty without a response."""
    return [status for one in _chain(error) if (status := _status(one)) is not None]


def is_connection_lost(error: BaseException) -> bool:
    """Return True if an error or one of its causes means that no complete response arrived."""
    kinds = _lost()
    if http_statuses(error) or is_offline_mode(error):
        return False
    return any(isinstance(one, kinds) for one in _chain(error))


def is_offline_mode(error: BaseException) -> bool:
    """Return True if an error or one of its causes says that HF_HUB_OFFLINE is set."""
    from huggingface_hub.errors import OfflineModeIsEnabled

    return any(isinstance(one, OfflineModeIsEnabled) for one in _chain(error))


def _lost() -> tuple[type[BaseException], ...]:
    """Return the errors without a complete response. Those of `requests` are OSErrors, those of httpx are not."""
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


def _pause(error: BaseException, attempt: int) -> float:
    """Return the seconds to wait before the next attempt: Retry-After of the response, if any, plus jitter."""
    drawn = random.uniform(0, min(FIRST_PAUSE * 2 ** (attempt - 1), MAX_PAUSE))  # noqa: S311 - no secret
    for one in _chain(error):
        requested = getattr(getattr(one, "response", None), "headers", {}).get("retry-after", "")
        if requested.isdigit():
            return min(float(requested), MAX_RETRY_AFTER) + drawn
    return drawn
