"""Bytes of shards, local or remote, read by range.

Nothing here keeps a file handle open between two reads: hundreds of idle readers cost none, and a forked or resumed
process has nothing to reopen.
"""

from __future__ import annotations

import hashlib
import io
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

from smollm3_mix.network.retry import network_errors
from smollm3_mix.network.urls import Token
from smollm3_mix.sources.hub_files.range_requests import range_reader
from smollm3_mix.sources.source_files import SourceFault, SourceFile

LOCAL_AHEAD = (1 << 18, 1 << 18)
REMOTE_AHEAD = (1 << 18, 1 << 21)
"""Bytes of the first read of a sequential file, and of the largest. They double in between, so that the first record
comes soon and later requests pay for their latency."""

MAGIC = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bz2",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x04\x22\x4d\x18": "lz4",
    b"\xfd7zXZ\x00": "xz",
}
"""First bytes of compressed files (RFC 1952, bzip2, RFC 8878, LZ4 frame, xz). Names can lie: `.json` may well be
gzip."""


class RangedFile(io.RawIOBase):
    """A shard as a seekable binary file that opens it anew for each read.

    Args:
        file: the shard; its listed size is taken as true.
        token: for the Hub; None uses the saved login or `HF_TOKEN`.

    Raises:
        Fault: the local file has changed its size.
        OSError and others of `broken()`: as the file system gives them.
    """

    def __init__(self, file: SourceFile, token: Token = None) -> None:
        super().__init__()
        self.size = file.size
        self._place = 0
        self._fetch = _local(path, file) if (path := local(file)) else range_reader(file, token)

    def readable(self) -> bool:  # noqa: D102
        return True

    def seekable(self) -> bool:  # noqa: D102
        return True

    def tell(self) -> int:  # noqa: D102
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:  # noqa: D102
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self.size}[whence]
        self._place = base + offset
        return self._place

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes from where it stands, fewer only at the end of the file."""
        stop = self.size if size < 0 else min(self._place + size, self.size)
        if stop <= self._place:
            return b""
        data = self._fetch(self._place, stop)
        self._place += len(data)
        return data

    def readinto(self, buffer: Any) -> int:  # noqa: D102
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


class ReadAheadFile(io.RawIOBase):
    """A sequential view of a `Ranged` that reads ahead, in steps that double from `first` to `most` bytes.

    Args:
        ranged: read from its beginning.
        first: bytes of the first step.
        most: bytes of the largest.
        sha256: what the whole must have, or None; compared before its last step is given out.
    """

    def __init__(self, ranged: RangedFile, first: int, most: int, sha256: str | None = None) -> None:
        super().__init__()
        self._ranged, self._step, self._most = ranged, first, most
        self._held, self._given = b"", 0  # bytes, of which so many were given
        self._sha256, self._digest = sha256, hashlib.sha256()

    def readable(self) -> bool:  # noqa: D102
        return True

    def peek(self, size: int) -> bytes:
        """The next `size` bytes, fewer at the end, without taking them."""
        if len(self._held) - self._given < size:
            self._held, self._given = self._held[self._given :] + self._next(self._step), 0
        return self._held[self._given : self._given + size]

    def read(self, size: int = -1) -> bytes:
        """Between 1 and `size` bytes, none only at the end; everything left for a negative size."""
        if size < 0:
            return self._held[self._given :] + self._next(-1)
        if self._given == len(self._held):
            self._held, self._given = self._next(self._step), 0
        given = self._held[self._given : self._given + size]
        self._given += len(given)
        if 2 * self._given >= len(self._held):  # hundreds of readers lie idle between two steps
            self._held, self._given = self._held[self._given :], 0
        return given

    def readinto(self, buffer: Any) -> int:  # noqa: D102
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def _next(self, size: int) -> bytes:
        data = self._ranged.read(size)
        self._step = min(self._step * 2, self._most)
        if self._sha256 is not None:
            self._digest.update(data)
            if self._ranged.tell() == self._ranged.size and self._digest.hexdigest() != self._sha256:
                raise SourceFault(
                    f"its content has SHA-256 {self._digest.hexdigest()}, where the Hub lists {self._sha256}: it was "
                    "damaged on its way. Try again, the mix goes on where it was"
                )
        return data


def local(file: SourceFile) -> Path | None:
    """The path of a local file, None if each read of the file is a request over the network."""
    url = file.url.removeprefix("file://")
    return None if "://" in url else Path(url)


def state(file: SourceFile) -> str:
    """What changes when a local file is written anew; nothing for remote ones, which are pinned.

    Raises:
        OSError: the file is gone.
    """
    path = local(file)
    return f"{path.stat().st_mtime_ns}" if path else ""


def stream(file: SourceFile, token: Token = None) -> io.RawIOBase | pa.NativeFile:
    """The file's bytes from its beginning, decompressed; gzip, bz2, zstd, lz4 and xz are told by their first bytes.

    Only `read(n)` is promised: between 1 and n bytes, none at the end.

    Raises:
        Fault: while it is read, where the Hub has listed another SHA-256.
    """
    first, most = LOCAL_AHEAD if local(file) else REMOTE_AHEAD
    ahead = ReadAheadFile(RangedFile(file, token), first, most, file.sha256)
    head = ahead.peek(6)
    codec = next((codec for magic, codec in MAGIC.items() if head.startswith(magic)), None)
    if codec is None:
        return ahead
    if codec == "xz":
        return lzma.LZMAFile(ahead)  # type: ignore[arg-type]
    return pa.CompressedInputStream(pa.PythonFile(ahead, mode="r"), codec)


def _local(path: Path, file: SourceFile) -> Callable[[int, int], bytes]:
    now = path.stat().st_size
    if now != file.size:
        raise SourceFault(f"it had {file.size} bytes when the mix was opened and has {now} now; open the mix again")

    def fetch(start: int, stop: int) -> bytes:
        with path.open("rb") as handle:
            handle.seek(start)
            return handle.read(stop - start)

    return fetch


def broken() -> tuple[type[BaseException], ...]:
    """What a read raises when a file is damaged, gone or out of reach; for `except`."""
    return (pa.ArrowException, EOFError, lzma.LZMAError, *network_errors())


def failure_reason(error: BaseException, file: SourceFile) -> str:
    """What such an error says in plain words, and what to do; follows the file's name."""
    first = (str(error).strip() or type(error).__name__).splitlines()[0].partition(" (Request ID")[0]
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, FileNotFoundError) or status == 404:
        return "is gone since the mix was opened; open the mix again, or put the file back"
    if status in {401, 403}:
        return f"may not be read ({first}); log in with `hf auth login` or set HF_TOKEN, then go on"
    if isinstance(error, PermissionError):
        return f"may not be read: {first}"
    if not local(file):
        return f"cannot be read ({first}); try again, the mix goes on where it was; if it stays so, the file is damaged"
    return f"is damaged or not whole ({first}); fetch it again, or leave it out with data_files"
