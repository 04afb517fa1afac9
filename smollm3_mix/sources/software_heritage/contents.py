"""Fetch texts of Software Heritage by blob id, many at a time, in order.

A source of blob ids (The Stack v2, Stack-Edu) has no texts. Its rows have the SHA-1 of a content, its encoding and its
length. The contents are gzip files in a public bucket, read over HTTPS without an account. Block sizes use the listed
lengths, so blocks do not depend on what was fetched, and resuming fetches one block again.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
import threading
import zlib
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from smollm3_mix.compat import hf_hub
from smollm3_mix.network.rate_limit import RateLimiter
from smollm3_mix.network.retry import network_errors, with_retries
from smollm3_mix.sources.source_files import SourceFault

BUCKET = "https://softwareheritage.s3.amazonaws.com"
"""The bucket s3://softwareheritage over plain HTTPS. `content/<blob_id>` is a gzip file."""

ENDPOINT = "SMOLLM3_MIX_SWH_ENDPOINT"
"""Environment variable with another URL that serves `content/<blob_id>`, for example a mirror."""

COLUMNS = ("blob_id", "src_encoding", "length_bytes")
"""Columns with id, encoding and length of a text."""

MISSING, UNDECODABLE = "blob_missing", "undecodable"
"""Reasons: the bucket has no such blob, or the blob is no gzip or invalid in its listed encoding."""

CONNECTIONS = 64
"""Number of blobs that a process fetches at once. Below the limit of 100 connections of `huggingface_hub`."""

REQUESTS = RateLimiter("contents", 1000, 200)
"""Requests per second of this machine. S3 serves 5,500 per prefix (Amazon S3 User Guide, Optimizing performance)."""

AHEAD_ROWS, AHEAD_BYTES = 2048, 1 << 22
"""Maximum rows and listed bytes to fetch ahead of their block. The limits double from those of one block."""

TIMEOUT = 30
"""Seconds to wait for a connection, or for more of a response."""

ID = re.compile(r"[0-9a-f]{40}")

_pools: dict[int, ThreadPoolExecutor] = {}  # by process, because threads do not survive a fork
_lock = threading.Lock()


def addresses(columns: Iterable[pa.Array]) -> pa.StringArray:
    """Return `<blob_id> <encoding> <bytes>` for each row, in place of its text. Null without an id.

    Args:
        columns: The columns named in COLUMNS.
    """
    blobs, encodings, lengths = columns
    return pc.binary_join_element_wise(
        blobs.cast(pa.string()),
        pc.fill_null(encodings.cast(pa.string()), "UTF-8"),
        pc.fill_null(lengths.cast(pa.int64()), 0).cast(pa.string()),
        " ",
    )


def lengths(wanted: pa.StringArray) -> npt.NDArray[np.int64]:
    """Return the listed bytes of each address, 0 for null. int64[rows], used for block sizes."""
    return np.array([int(one.rpartition(" ")[2]) if one else 0 for one in wanted.to_pylist()], dtype=np.int64)


class Contents:
    """Texts at addresses, fetched ahead by many threads. Belongs to one reader."""

    def __init__(self) -> None:
        self._requested: dict[str, Future[bytes | str]] = {}

    def ahead(self, batches: Iterator[pa.RecordBatch], rows: int, size: int) -> Iterator[pa.RecordBatch]:
        """Yield the batches unchanged, and start to fetch the contents of those that follow.

        Args:
            batches: Batches with addresses in their first column.
            rows: Number of rows to fetch ahead at first. Doubles.
            size: Listed bytes to fetch ahead at first. Doubles.
        """
        pending: deque[tuple[pa.RecordBatch, int]] = deque()
        count = total = 0
        for batch in batches:
            bytes_ = int(lengths(batch.column(0)).sum())
            self.request(batch.column(0))
            pending.append((batch, bytes_))
            count, total = count + len(batch), total + bytes_
            while len(pending) > 1 and (count - len(pending[0][0]) >= rows or total - pending[0][1] >= size):
                rows, size = min(2 * rows, AHEAD_ROWS), min(2 * size, AHEAD_BYTES)
                first, bytes_ = pending.popleft()
                count, total = count - len(first), total - bytes_
                yield first
        yield from (batch for batch, _ in pending)

    def request(self, wanted: pa.StringArray) -> None:
        """Start to fetch the contents at some addresses.

        Raises:
            SourceFault: If an id is not a SHA-1.
        """
        pool = _threads()
        for one in wanted.drop_null().to_pylist():
            if one not in self._requested:
                blob, encoding, _ = one.split(" ")
                if not ID.fullmatch(blob):
                    raise SourceFault(f"blob_id must be a SHA-1 of 40 hex digits, got {blob!r}")
                self._requested[one] = pool.submit(text, blob, encoding)

    def texts(self, wanted: pa.StringArray, reasons: pa.StringArray) -> tuple[pa.StringArray, pa.StringArray]:
        """Return the texts at the addresses, and the reasons. A missing text is null and gets a reason.

        Raises:
            SourceFault: If a content cannot be fetched, or the cache cannot be written.
        """
        self.request(wanted)
        names = wanted.to_pylist()
        found = {name: _result(name, self._requested[name]) for name in dict.fromkeys(names) if name is not None}
        for name in found:
            del self._requested[name]
        results = [found[name] if name is not None else None for name in names]
        why = [one if isinstance(one, str) else None for one in results]
        texts = pa.array([one if isinstance(one, bytes) else None for one in results], pa.binary()).cast(pa.string())
        return texts, pc.coalesce(reasons, pa.array(why, pa.string()))

    def __del__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Cancel the requests whose results were not used."""
        for future in self._requested.values():
            future.cancel()
        self._requested = {}


def _result(address: str, future: Future[bytes | str]) -> bytes | str:
    try:
        return future.result()
    except network_errors() as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise SourceFault(
            f"blob {address.partition(' ')[0]} cannot be fetched from Software Heritage ({first}). "
            f"Check the network and {ENDPOINT}, then try again: the mix resumes at the same record."
        ) from error


def text(blob: str, encoding: str) -> bytes | str:
    """Return a content in UTF-8 as bytes, or the reason why there is none as str.

    Raises:
        OSError: If the content cannot be fetched or the cache cannot be written, or another of `network_errors()`.
    """
    try:
        data = _content(blob)
        return MISSING if data is None else data.decode(encoding).encode()
    except (BrokenGzipError, UnicodeError, LookupError):  # LookupError: unknown encoding
        return UNDECODABLE


def _content(blob: str) -> bytes | None:
    """Return a blob's content, from the cache or fetched into it, or None if there is none."""
    path = folder() / blob[:2] / blob
    with contextlib.suppress(FileNotFoundError, BrokenGzipError):
        return _decompress(path.read_bytes())
    found = with_retries(lambda: _fetch(blob))
    if found is None:
        return None
    compressed, data = found
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(compressed)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return data


def folder() -> Path:
    """Return the cache folder of the contents: HF_HOME/smollm3_mix/swh."""
    return hf_hub.home() / "smollm3_mix" / "swh"


class BrokenGzipError(EOFError):
    """Gzip data that is damaged or truncated."""


def _fetch(blob: str) -> tuple[bytes, bytes] | None:
    """Return a blob's gzip data and its content, or None if the bucket has no such blob."""
    url = f"{os.environ.get(ENDPOINT, BUCKET).rstrip('/')}/content/{blob}"
    REQUESTS.wait(url)
    response: Any = hf_hub.get(url, TIMEOUT)
    if response.status_code in {404, 410}:
        return None
    response.raise_for_status()
    compressed = bytes(response.content)
    return compressed, _decompress(compressed)


def _decompress(packed: bytes) -> bytes:
    stream = zlib.decompressobj(31)
    try:
        data = stream.decompress(packed)  # gzip includes a checksum
    except zlib.error as error:
        raise BrokenGzipError(str(error)) from error
    if not stream.eof:
        raise BrokenGzipError("the gzip data is truncated")
    return data


def _threads() -> ThreadPoolExecutor:
    """Return the thread pool of this process, shared by all readers."""
    with _lock:
        if os.getpid() not in _pools:
            _pools.clear()
            _pools[os.getpid()] = ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="contents")
        return _pools[os.getpid()]
