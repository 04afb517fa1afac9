"""Trying again where a fault may pass, and the budget of requests that all workers of a machine share."""

from __future__ import annotations

import logging
import random
import sys
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

T = TypeVar("T")

RETRIED_STATUSES = (408, 429, 500, 502, 503, 504)
"""Statuses that may pass."""

MAX_TRIES = 6
"""Times that something is asked for before a fault counts as lasting."""

FIRST_PAUSE, MAX_PAUSE = 0.5, 8.0
"""Seconds before the second try at most, which double, and the longest; a time is drawn from 0 to that (full jitter,
Exponential Backoff And Jitter, AWS Architecture Blog, 2015)."""

MAX_RETRY_AFTER = 120.0
"""Longest Retry-After that is waited for, in seconds."""

log = logging.getLogger("smollm3_mix")


def network_errors() -> tuple[type[Exception], ...]:
    """What network reads raise: OSError, and the errors of the HTTP client that `huggingface_hub` happens to use."""
    clients = (sys.modules.get(name) for name in ("httpx", "httpx2"))
    return (OSError, *(client.HTTPError for client in clients if client is not None))


def with_retries(
    ask: Callable[[], T], passes: Callable[[BaseException], bool] | None = None, tries: int = MAX_TRIES
) -> T:
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
            if not (passes or is_transient)(error):
                raise
            time.sleep(_pause(error, again))
    return ask()


def is_transient(error: BaseException) -> bool:
    """Whether an error, or one it came of, is a fault of the network or of a server that may pass."""
    found = http_statuses(error)
    return any(status in RETRIED_STATUSES for status in found) if found else is_connection_lost(error)


def http_statuses(error: BaseException) -> list[int]:
    """HTTP statuses of the answers behind an error, its own first; none where no answer came."""
    return [status for one in _chain(error) if (status := _status(one)) is not None]


def is_connection_lost(error: BaseException) -> bool:
    """Whether an error, or one it came of, means that no whole answer came."""
    kinds = _lost()
    if http_statuses(error) or is_offline_mode(error):
        return False
    return any(isinstance(one, kinds) for one in _chain(error))


def is_offline_mode(error: BaseException) -> bool:
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
    drawn = random.uniform(0, min(FIRST_PAUSE * 2 ** (again - 1), MAX_PAUSE))  # noqa: S311 - no secret
    for one in _chain(error):
        asked = getattr(getattr(one, "response", None), "headers", {}).get("retry-after", "")
        if asked.isdigit():
            return min(float(asked), MAX_RETRY_AFTER) + drawn
    return drawn
