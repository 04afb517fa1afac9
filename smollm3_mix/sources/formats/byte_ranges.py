"""Read bytes of shards by range, local or remote.

No file handle stays open between two reads. Hundreds of idle readers therefore cost no handles, and a forked or
resumed process has nothing to reopen.
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

LOCAL_STEPS = (1 << 18, 1 << 18)
REMOTE_STEPS = (1 << 18, 1 << 21)
"""Bytes of the first read of a sequential file, and of the largest. Reads double in size between the two, so that the
first record comes soon and the latency of later requests matters less."""

MAGIC = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bz2",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x04\x22\x4d\x18": "lz4",
    b"\xfd7zXZ\x00": "xz",
}
"""First bytes of compressed files (RFC 1952, bzip2, RFC 8878, LZ4 frame, xz). File names are not reliable: a `.json`
file
may be gzip."""


class RangedFile(io.RawIOBase):
    """A shard as a seekable binary file that is opened again for each read.

    Args:
        file: Shard. Its listed size is trusted.
        token: Hugging Face access token. Defaults to the saved login or `HF_TOKEN`.

    Raises:
        SourceFault: If the size of a local file has changed.
        OSError: If the file system fails, or another of `read_errors()`.
    """

    def __init__(self, file: SourceFile, token: Token = None) -> None:
        super().__init__()
        self.size = file.size
        self._position = 0
        self._fetch = _local_reader(path, file) if (path := local_path(file)) else range_reader(file, token)

    def readable(self) -> bool:  # noqa: D102
        return True

    def seekable(self) -> bool:  # noqa: D102
        return True

    def tell(self) -> int:  # noqa: D102
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:  # noqa: D102
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        self._position = base + offset
        return self._position

    def read(self, size: int = -1) -> bytes:
        """Return at most `size` bytes from the current position, fewer only at the end of the file."""
        stop = self.size if size < 0 else min(self._position + size, self.size)
        if stop <= self._position:
            return b""
        data = self._fetch(self._position, stop)
        self._position += len(data)
        return data

    def readinto(self, buffer: Any) -> int:  # noqa: D102
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


class ReadAheadFile(io.RawIOBase):
    """A sequential view of a RangedFile that reads ahead, in steps that double from `first` to `max_step` bytes.

    Args:
        ranged: File to read from its beginning.
        first: Bytes of the first step.
        max_step: Bytes of the largest step.
        sha256: Expected SHA-256 of the file. Compared before the last step is returned. None skips the check.
    """

    def __init__(self, ranged: RangedFile, first: int, max_step: int, sha256: str | None = None) -> None:
        super().__init__()
        self._ranged, self._step, self._max_step = ranged, first, max_step
        self._buffer, self._taken = b"", 0  # bytes in memory, and how many of them were returned
        self._sha256, self._digest = sha256, hashlib.sha256()

    def readable(self) -> bool:  # noqa: D102
        return True

    def peek(self, size: int) -> bytes:
        """Return the next `size` bytes, fewer at the end, without consuming them."""
        if len(self._buffer) - self._taken < size:
            self._buffer, self._taken = self._buffer[self._taken :] + self._next(self._step), 0
        return self._buffer[self._taken : self._taken + size]

    def read(self, size: int = -1) -> bytes:
        """Return between 1 and `size` bytes, none only at the end. A negative size returns all remaining bytes."""
        if size < 0:
            return self._buffer[self._taken :] + self._next(-1)
        if self._taken == len(self._buffer):
            self._buffer, self._taken = self._next(self._step), 0
        data = self._buffer[self._taken : self._taken + size]
        self._taken += len(data)
        if 2 * self._taken >= len(self._buffer):  # hundreds of readers can be idle between two steps
            self._buffer, self._taken = self._buffer[self._taken :], 0
        return data

    def readinto(self, buffer: Any) -> int:  # noqa: D102
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def _next(self, size: int) -> bytes:
        data = self._ranged.read(size)
        self._step = min(self._step * 2, self._max_step)
        if self._sha256 is not None:
            self._digest.update(data)
            if self._ranged.tell() == self._ranged.size and self._digest.hexdigest() != self._sha256:
                raise SourceFault(
                    f"the content has SHA-256 {self._digest.hexdigest()}, but the Hub lists {self._sha256}. It was "
                    "damaged in transit. Try again: the mix resumes at the same record."
                )
        return data


def local_path(file: SourceFile) -> Path | None:
    """Return the path of a local file, or None if reading the file needs the network."""
    url = file.url.removeprefix("file://")
    return None if "://" in url else Path(url)


def modification_key(file: SourceFile) -> str:
    """Return a value that changes when a local file is rewritten. Empty for remote files, which are pinned.

    Raises:
        OSError: If the file does not exist.
    """
    path = local_path(file)
    return f"{path.stat().st_mtime_ns}" if path else ""


def stream(file: SourceFile, token: Token = None) -> io.RawIOBase | pa.NativeFile:
    """Return the decompressed bytes of a file from its beginning.

    The first bytes tell gzip, bz2, zstd, lz4, xz and plain files apart. Only `read(n)` is guaranteed: it returns
    between 1
    and n bytes, none at the end.

    Raises:
        SourceFault: During a read, if the SHA-256 differs from the one the Hub lists.
    """
    first, max_step = LOCAL_STEPS if local_path(file) else REMOTE_STEPS
    buffered = ReadAheadFile(RangedFile(file, token), first, max_step, file.sha256)
    head = buffered.peek(6)
    codec = next((codec for magic, codec in MAGIC.items() if head.startswith(magic)), None)
    if codec is None:
        return buffered
    if codec == "xz":
        return lzma.LZMAFile(buffered)  # type: ignore[arg-type]
    return pa.CompressedInputStream(pa.PythonFile(buffered, mode="r"), codec)


def _local_reader(path: Path, file: SourceFile) -> Callable[[int, int], bytes]:
    now = path.stat().st_size
    if now != file.size:
        raise SourceFault(
            f"the file size changed from {file.size:,} to {now:,} bytes after the mix was opened. Open the mix again."
        )

    def fetch(start: int, stop: int) -> bytes:
        with path.open("rb") as handle:
            handle.seek(start)
            return handle.read(stop - start)

    return fetch


def read_errors() -> tuple[type[BaseException], ...]:
    """Return the exceptions of a read from a damaged, missing or unreachable file, for `except`."""
    return (pa.ArrowException, EOFError, lzma.LZMAError, *network_errors())


def failure_reason(error: BaseException, file: SourceFile) -> str:
    """Describe such an exception and its remedy, as a phrase that follows the file's name."""
    first = (str(error).strip() or type(error).__name__).splitlines()[0].partition(" (Request ID")[0]
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, FileNotFoundError) or status == 404:
        return "was removed after the mix was opened. Open the mix again, or restore the file."
    if status in {401, 403}:
        return f"cannot be read: access denied ({first}). Log in with `hf auth login` or set HF_TOKEN, then continue."
    if isinstance(error, PermissionError):
        return f"cannot be read: {first}"
    if not local_path(file):
        return (
            f"cannot be read ({first}). Try again: the mix resumes at the same record. "
            "If the error persists, the file is damaged."
        )
    return f"is damaged or incomplete ({first}). Fetch the file again, or leave it out with data_files."
