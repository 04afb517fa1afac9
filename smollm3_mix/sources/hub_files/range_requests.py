"""Read byte ranges from the Hub, or from any URL that fsspec supports."""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from smollm3_mix.compat import hf_hub
from smollm3_mix.network.rate_limit import FILE_REQUESTS
from smollm3_mix.network.retry import RETRIED_STATUSES, is_connection_lost, network_errors, with_retries
from smollm3_mix.network.urls import Token
from smollm3_mix.sources.source_files import SourceFile

HUB = re.compile(r"hf://datasets/(?P<repo>[^@]+)@(?P<revision>[^/]+)/(?P<path>.+)")

TIMEOUT = 30
"""Seconds to wait for a connection, or for more of a response."""

MAX_SIGNED_URLS = 4096
"""Number of signed storage URLs that a process remembers."""

_signed_urls: OrderedDict[tuple[str, Token], str] = OrderedDict()


def range_reader(file: SourceFile, token: Token) -> Callable[[int, int], bytes]:
    """Return a function that reads bytes [start, stop) of a remote file."""
    return HubRangeReader(file, token) if HUB.fullmatch(file.url) else _fsspec(file)


class ShortResponseError(EOFError):
    """A response ended before its last byte."""


class HubRangeReader:
    """Reads byte ranges of one pinned file of a dataset repository, if possible with one request each.

    The Hub redirects the first request to signed storage. Later ranges of any reader in this process go to storage
    directly, until storage refuses. `HfFileSystem` does the same with a second round trip per range, and with a request
    for the repository's info in every thread and process.

    `http_backoff` of `huggingface_hub` retries statuses that may be transient. Truncated responses, which not all of
    its
    versions retry, are retried here.

    Args:
        file: File whose `url` is hf://datasets/<repo>@<commit>/<path>.
        token: Hugging Face access token. Defaults to the saved login or `HF_TOKEN`.
    """

    def __init__(self, file: SourceFile, token: Token) -> None:
        from huggingface_hub import hf_hub_url

        found = HUB.fullmatch(file.url)
        if found is None:
            raise ValueError(f"expected hf://datasets/<repo>@<commit>/<path>, got {file.url}")
        self._url = hf_hub_url(found["repo"], found["path"], repo_type="dataset", revision=found["revision"])
        self._headers = hf_hub.build_headers(token)
        self._key = self._url, token

    def __call__(self, start: int, stop: int) -> bytes:
        """Return bytes [start, stop).

        Raises:
            OSError: If the Hub or its storage refuses or is unreachable, or another of `network_errors()`.
        """

        def request() -> bytes:
            data = self._get(start, stop)
            if len(data) != stop - start:
                raise ShortResponseError(f"got {len(data):,} bytes, expected bytes {start} to {stop}")
            return data

        return with_retries(request, is_connection_lost)

    def _get(self, start: int, stop: int) -> bytes:
        byte_range = {"range": f"bytes={start}-{stop - 1}"}
        storage = _signed_urls.get(self._key)
        if storage is not None:
            try:
                response = _send(storage, byte_range)
            except network_errors():
                _signed_urls.pop(self._key, None)
                raise
            if response.status_code < 400:
                return _body(response, start, stop)
            _signed_urls.pop(self._key, None)  # the signature has expired
        FILE_REQUESTS.wait(self._url)
        response = _send(self._url, self._headers | byte_range)
        hf_hub.raise_for_status(response)
        url = str(response.url)
        if urlsplit(url).netloc != urlsplit(self._url).netloc:
            _remember(self._key, url)
        return _body(response, start, stop)


def _remember(key: tuple[str, Token], url: str) -> None:
    _signed_urls[key] = url
    while len(_signed_urls) > MAX_SIGNED_URLS:
        _signed_urls.popitem(last=False)


def _send(url: str, headers: dict[str, str]) -> Any:
    return hf_hub.get_with_backoff(url, headers, statuses=RETRIED_STATUSES, timeout=TIMEOUT)


def _body(response: Any, start: int, stop: int) -> bytes:
    """Return the requested range, also from a server that sent the whole file."""
    data = bytes(response.content)
    return data if response.status_code == 206 else data[start:stop]


def _fsspec(file: SourceFile) -> Callable[[int, int], bytes]:
    import fsspec

    kept = threading.local()

    def fetch(start: int, stop: int) -> bytes:
        if not hasattr(kept, "handle"):  # one per thread, because a handle has a position
            fs, path = fsspec.core.url_to_fs(file.url)
            kept.handle = fs.open(path, "rb", cache_type="none", size=file.size)
        kept.handle.seek(start)
        return bytes(kept.handle.read(stop - start))

    return fetch
