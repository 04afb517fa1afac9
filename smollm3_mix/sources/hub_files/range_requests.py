"""Ranges of bytes from the Hub, or from any URL fsspec knows."""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from smollm3_mix.network.rate_limit import RESOLVED
from smollm3_mix.network.retry import RETRIED, failures, lost, patiently
from smollm3_mix.network.urls import Token
from smollm3_mix.sources.source_files import File

HUB = re.compile(r"hf://datasets/(?P<repo>[^@]+)@(?P<revision>[^/]+)/(?P<path>.+)")

TIMEOUT = 30
"""Seconds to wait for a connection, or for more of an answer."""

SIGNED = 4096
"""Addresses in storage that a process remembers."""

_signed: OrderedDict[tuple[str, Token], str] = OrderedDict()


def fetcher(file: File, token: Token) -> Callable[[int, int], bytes]:
    """What fetches bytes [start, stop) of a remote file."""
    return HubFetch(file, token) if HUB.fullmatch(file.url) else _fsspec(file)


class Short(EOFError):  # noqa: N818 - says what happened
    """A body that ended before its end."""


class HubFetch:
    """Fetches ranges of one pinned file of a dataset repository, with one request each where the Hub allows it.

    The Hub answers the first request with a redirect to signed storage. Later ranges go there at once, whoever asks for
    them in this process, until it refuses. This is what `HfFileSystem` does, without its request for the repository's
    info in every thread and process, and its second round trip for every range.

    Statuses that may pass are left to `http_backoff` of `huggingface_hub`. Answers that break off, which not all of its
    versions ask for again, are asked for again here.

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
        self._key = self._url, token

    def __call__(self, start: int, stop: int) -> bytes:
        """Bytes [start, stop).

        Raises:
            One of `network.retry.failures()`: the Hub or its storage refuses, or cannot be reached.
        """

        def ask() -> bytes:
            data = self._get(start, stop)
            if len(data) != stop - start:
                raise Short(f"bytes {start} to {stop} came short")
            return data

        return patiently(ask, lost)

    def _get(self, start: int, stop: int) -> bytes:
        from huggingface_hub.utils import hf_raise_for_status  # type: ignore[attr-defined]  # public, but not in __all__

        wanted = {"range": f"bytes={start}-{stop - 1}"}
        storage = _signed.get(self._key)
        if storage is not None:
            try:
                answer = _ask(storage, wanted)
            except failures():
                _signed.pop(self._key, None)
                raise
            if answer.status_code < 400:
                return _body(answer, start, stop)
            _signed.pop(self._key, None)  # the signature has run out
        RESOLVED.wait(self._url)
        answer = _ask(self._url, self._headers | wanted)
        hf_raise_for_status(answer)
        where = str(answer.url)
        if urlsplit(where).netloc != urlsplit(self._url).netloc:
            _remember(self._key, where)
        return _body(answer, start, stop)


def _remember(key: tuple[str, Token], where: str) -> None:
    _signed[key] = where
    while len(_signed) > SIGNED:
        _signed.popitem(last=False)


def _ask(url: str, headers: dict[str, str]) -> Any:
    from huggingface_hub.utils import http_backoff  # type: ignore[attr-defined]  # public, but not in __all__

    return http_backoff(
        "GET", url, headers=headers, retry_on_status_codes=RETRIED, retry_on_exceptions=(), timeout=TIMEOUT
    )


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
