"""Texts of Software Heritage: from the ids that a source holds to the files' contents, many at a time, in order.

A source of blob ids (The Stack v2, Stack-Edu) has in place of texts the SHA-1 of contents, their encoding and length.
The contents lie, gzipped, in a public bucket, read by HTTPS without an account. Blocks are counted by the listed
lengths, so they are the same whatever was fetched, and to resume asks for one block again.
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

from smollm3_mix.network.rate_limit import Budget
from smollm3_mix.network.retry import failures, patiently
from smollm3_mix.sources.source_files import Fault

BUCKET = "https://softwareheritage.s3.amazonaws.com"
"""The bucket s3://softwareheritage, as plain HTTPS serves it; `content/<blob_id>` is a gzipped file."""

ENDPOINT = "SMOLLM3_MIX_SWH_ENDPOINT"
"""Environment variable that names another place that serves `content/<blob_id>`, such as a mirror."""

COLUMNS = ("blob_id", "src_encoding", "length_bytes")
"""Columns that say where a text is, how it is encoded, and how long it is."""

MISSING, UNDECODABLE = "blob_missing", "undecodable"
"""Reasons: the bucket has no such blob; or it is no gzip, or not what its listed encoding can spell."""

CONNECTIONS = 64
"""Blobs of a process that are fetched at once; below the 100 that clients of `huggingface_hub` allow."""

REQUESTS = Budget("contents", 1000, 200)
"""Requests a second of this machine; S3 serves 5,500 to a prefix (Amazon S3 User Guide, Optimizing performance)."""

AHEAD_ROWS, AHEAD_BYTES = 2048, 1 << 22
"""Most rows, and bytes as listed, that are fetched before their block is asked for. They double from one block's."""

TIMEOUT = 30
"""Seconds to wait for a connection, or for more of an answer."""

ID = re.compile(r"[0-9a-f]{40}")

_pools: dict[int, ThreadPoolExecutor] = {}  # by process, as threads do not live through a fork
_lock = threading.Lock()


def addresses(columns: Iterable[pa.Array]) -> pa.StringArray:
    """`<blob_id> <encoding> <bytes>` of each row, which stands for its text until it is fetched; null without an id.

    Args:
        columns: those named in COLUMNS.
    """
    blobs, encodings, lengths = columns
    return pc.binary_join_element_wise(
        blobs.cast(pa.string()),
        pc.fill_null(encodings.cast(pa.string()), "UTF-8"),
        pc.fill_null(lengths.cast(pa.int64()), 0).cast(pa.string()),
        " ",
    )


def lengths(wanted: pa.StringArray) -> npt.NDArray[np.int64]:
    """int64[rows]: listed bytes of each address, 0 for null; what a block counts."""
    return np.array([int(one.rpartition(" ")[2]) if one else 0 for one in wanted.to_pylist()], dtype=np.int64)


class Contents:
    """The texts at addresses, fetched ahead by many threads. Belongs to one reader."""

    def __init__(self) -> None:
        self._asked: dict[str, Future[bytes | str]] = {}

    def ahead(self, batches: Iterator[pa.RecordBatch], rows: int, size: int) -> Iterator[pa.RecordBatch]:
        """The batches as they are, after the contents of those that follow have been asked for.

        Args:
            batches: addresses in their first column.
            rows: fetched ahead at first; doubles.
            size: bytes as listed that are fetched ahead at first; doubles.
        """
        held: deque[tuple[pa.RecordBatch, int]] = deque()
        count = total = 0
        for batch in batches:
            bytes_ = int(lengths(batch.column(0)).sum())
            self.ask(batch.column(0))
            held.append((batch, bytes_))
            count, total = count + len(batch), total + bytes_
            while len(held) > 1 and (count - len(held[0][0]) >= rows or total - held[0][1] >= size):
                rows, size = min(2 * rows, AHEAD_ROWS), min(2 * size, AHEAD_BYTES)
                given, bytes_ = held.popleft()
                count, total = count - len(given), total - bytes_
                yield given
        yield from (batch for batch, _ in held)

    def ask(self, wanted: pa.StringArray) -> None:
        """Begins to fetch what is at the addresses.

        Raises:
            Fault: an id is no SHA-1.
        """
        pool = _threads()
        for one in wanted.drop_null().to_pylist():
            if one not in self._asked:
                blob, encoding, _ = one.split(" ")
                if not ID.fullmatch(blob):
                    raise Fault(f"blob_id {blob!r} is no SHA-1 of 40 hex digits")
                self._asked[one] = pool.submit(text, blob, encoding)

    def texts(self, wanted: pa.StringArray, reasons: pa.StringArray) -> tuple[pa.StringArray, pa.StringArray]:
        """The texts at the addresses, in their order, null where there is none; and the reasons with those why.

        Raises:
            Fault: a content cannot be fetched, or the cache cannot be written.
        """
        self.ask(wanted)
        names = wanted.to_pylist()
        found = {name: _result(name, self._asked[name]) for name in dict.fromkeys(names) if name is not None}
        for name in found:
            del self._asked[name]
        given = [found[name] if name is not None else None for name in names]
        why = [one if isinstance(one, str) else None for one in given]
        texts = pa.array([one if isinstance(one, bytes) else None for one in given], pa.binary()).cast(pa.string())
        return texts, pc.coalesce(reasons, pa.array(why, pa.string()))

    def __del__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Gives up what was asked for and not taken."""
        for future in self._asked.values():
            future.cancel()
        self._asked = {}


def _result(address: str, future: Future[bytes | str]) -> bytes | str:
    try:
        return future.result()
    except failures() as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise Fault(
            f"blob {address.partition(' ')[0]} cannot be had of Software Heritage ({first}); "
            f"check the network and {ENDPOINT}, then try again: the mix goes on where it was"
        ) from error


def text(blob: str, encoding: str) -> bytes | str:
    """A content in UTF-8, or, as str, the reason why there is none.

    Raises:
        OSError and others of `network.retry.failures()`: it cannot be fetched, or the cache cannot be written.
    """
    try:
        data = _content(blob)
        return MISSING if data is None else data.decode(encoding).encode()
    except (Broken, UnicodeError, LookupError):  # the last: no such encoding
        return UNDECODABLE


def _content(blob: str) -> bytes | None:
    """A blob's content, from the cache or fetched into it; None if there is none."""
    place = folder() / blob[:2] / blob
    with contextlib.suppress(FileNotFoundError, Broken):
        return _unpacked(place.read_bytes())
    found = patiently(lambda: _fetch(blob))
    if found is None:
        return None
    packed, data = found
    place.parent.mkdir(parents=True, exist_ok=True)
    handle, aside = tempfile.mkstemp(dir=place.parent, prefix=".")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(packed)
        Path(aside).replace(place)
    except BaseException:
        Path(aside).unlink(missing_ok=True)
        raise
    return data


def folder() -> Path:
    """Where contents are kept: HF_HOME/smollm3_mix/swh."""
    from huggingface_hub import constants

    return Path(constants.HF_HOME) / "smollm3_mix" / "swh"


class Broken(EOFError):  # noqa: N818 - says what happened
    """A gzip that is damaged, or has not come whole."""


def _fetch(blob: str) -> tuple[bytes, bytes] | None:
    """A blob as the bucket has it, gzipped, and its content; None if there is none."""
    from huggingface_hub.utils import get_session  # type: ignore[attr-defined]  # public, but not in __all__

    url = f"{os.environ.get(ENDPOINT, BUCKET).rstrip('/')}/content/{blob}"
    REQUESTS.wait(url)
    answer: Any = get_session().get(url, timeout=TIMEOUT)
    if answer.status_code in {404, 410}:
        return None
    answer.raise_for_status()
    packed = bytes(answer.content)
    return packed, _unpacked(packed)


def _unpacked(packed: bytes) -> bytes:
    stream = zlib.decompressobj(31)
    try:
        data = stream.decompress(packed)  # gzip has a checksum of its own
    except zlib.error as error:
        raise Broken(str(error)) from error
    if not stream.eof:
        raise Broken("the gzip has no end")
    return data


def _threads() -> ThreadPoolExecutor:
    """The threads of this process, which all readers share."""
    with _lock:
        if os.getpid() not in _pools:
            _pools.clear()
            _pools[os.getpid()] = ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="contents")
        return _pools[os.getpid()]
