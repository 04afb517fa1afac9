"""Ranges of bytes from the Hub, or from any URL fsspec knows."""

from __future__ import annotations

import re
import sys
import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from smollm3_mix.sources.plan import File, Token

HUB = re.compile(r"hf://datasets/(?P<repo>[^@]+)@(?P<revision>[^/]+)/(?P<path>.+)")

RETRIED = (408, 429, 500, 502, 503, 504)
"""Statuses after which `http_backoff` tries again, with growing pauses."""

TRIES = 4
"""Times a body that was cut short is asked for."""

PAUSE = 0.5
"""Seconds before the second try; doubles."""


def fetcher(file: File, token: Token) -> Callable[[int, int], bytes]:
    """What fetches bytes [start, stop) of a remote file."""
    return HubFetch(file, token) if HUB.fullmatch(file.url) else _fsspec(file)


def failures() -> tuple[type[Exception], ...]:
    """What network reads raise: OSError, and the errors of the HTTP client that `huggingface_hub` happens to use."""
    clients = (sys.modules.get(name) for name in ("httpx", "httpx2"))
    return (OSError, *(client.HTTPError for client in clients if client is not None))


class HubFetch:
    """Fetches ranges of one pinned file of a dataset repository, with one request each where the Hub allows it.

    The Hub answers the first request with a redirect to signed storage. Later ranges go there at once, until it
    refuses. This is what `HfFileSystem` does, without its request for the repository's info in every thread and
    process, and its second round trip for every range.

    Args:
        file: whose `url` is hf://datasets/<repo>@<commit>/<path>.
        token: None uses the saved login or `HF_TOKEN`.
    """

    def __init__(self, file: File, token: Token) -> None:
        from huggingface_hub import hf_hub_url
        from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]  # public, but not in __all__

        found = HUB.fullmatch(file.url)
        if found is None:
            raise ValueError(f"{file.url} is no hf://datasets/<repo>@<commit>/<path>")
        self._url = hf_hub_url(found["repo"], found["path"], repo_type="dataset", revision=found["revision"])
        self._headers = build_hf_headers(token=token)
        self._storage: str | None = None
        self._refused = False  # trying again would not help

    def __call__(self, start: int, stop: int) -> bytes:
        """Bytes [start, stop).

        Raises:
            One of `failures()`: the Hub or its storage refuses, or cannot be reached.
        """
        for again in range(TRIES):
            try:
                data = self._get(start, stop)
            except failures():
                if again == TRIES - 1 or self._refused:
                    raise
            else:
                if len(data) == stop - start:
                    return data
            time.sleep(PAUSE * 2**again)
        raise OSError(f"bytes {start} to {stop} came short {TRIES} times")

    def _get(self, start: int, stop: int) -> bytes:
        from huggingface_hub.utils import hf_raise_for_status, http_backoff  # type: ignore[attr-defined]

        self._refused = False
        wanted = {"range": f"bytes={start}-{stop - 1}"}
        if self._storage is not None:
            answer: Any = http_backoff("GET", self._storage, headers=wanted, retry_on_status_codes=RETRIED, timeout=30)
            if answer.status_code < 400:
                return _body(answer, start, stop)
            self._storage = None  # the signature has run out
        answer = http_backoff(
            "GET", self._url, headers=self._headers | wanted, retry_on_status_codes=RETRIED, timeout=30
        )
        self._refused = 400 <= answer.status_code < 500
        hf_raise_for_status(answer)
        where = str(answer.url)
        if urlsplit(where).netloc != urlsplit(self._url).netloc:
            self._storage = where
        return _body(answer, start, stop)


def _body(answer: Any, start: int, stop: int) -> bytes:
    """The range asked for, also from a server that sent the whole file."""
    data = bytes(answer.content)
    return data if answer.status_code == 206 else data[start:stop]


def _fsspec(file: File) -> Callable[[int, int], bytes]:
    import fsspec

    kept = threading.local()

    def fetch(start: int, stop: int) -> bytes:
        if not hasattr(kept, "handle"):  # one for each thread: they hold a place
            fs, path = fsspec.core.url_to_fs(file.url)
            kept.handle = fs.open(path, "rb", cache_type="none", size=file.size)
        kept.handle.seek(start)
        return bytes(kept.handle.read(stop - start))

    return fetch
