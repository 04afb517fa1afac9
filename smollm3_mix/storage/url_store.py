"""A mix or index at an fsspec URL, such as s3://bucket/mix.

Requirements for a store: a file exists completely or not at all, and can be read by its name after it was written.
Listings, which object stores may update late, are not relied on.
"""

import json
import os
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from smollm3_mix.errors import MissingExtraError, MixError, OutputError
from smollm3_mix.network.retry import with_retries
from smollm3_mix.network.urls import Token, file_system
from smollm3_mix.storage.atomic_files import WORK_FOLDER

LOCK_FILE = f"{WORK_FOLDER}/writer.json"
"""File with the process that has the lock."""

MAX_CONNECTIONS = 16
"""Number of files to copy, read or remove at the same time."""

FLAT = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss"}
"""Protocols of stores without folders."""

Response = TypeVar("Response")


@dataclass(frozen=True)
class UrlStore:
    """Files below a URL. Picklable.

    Attributes:
        url: URL without a trailing slash.
        token: Hugging Face access token.
        lock_id: Id of this writer's lock. Empty without a lock.
    """

    url: str
    token: Token = None
    lock_id: str = ""

    @property
    def in_process_memory(self) -> bool:
        """True if the files are in the memory of this process, invisible to others."""
        return self.url.startswith("memory://")

    def read(self, name: str) -> bytes | None:
        """Return the content of a file, or None if it does not exist."""

        def request(fs: Any, root: str) -> bytes:
            fs.invalidate_cache()  # some file systems look at cached listings first
            return bytes(fs.cat_file(f"{root}/{name}"))

        try:
            return self._request("read", name, request)
        except FileNotFoundError:
            return None

    def must_read(self, name: str) -> bytes:
        """Return the content of a file that was written.

        Raises:
            OutputError: If it is missing.
        """
        content = self.read(name)
        if content is None:
            raise OutputError(
                f"{self.url}/{name} is missing, but a state counts it. Restore it, or {self.restart_hint}.",
                path=f"{self.url}/{name}",
            )
        return content

    @property
    def restart_hint(self) -> str:
        """How to start again, for messages."""
        return f"delete {self.url}/{WORK_FOLDER} to start again"

    def read_all(self, names: Iterable[str]) -> list[bytes | None]:
        """Return the contents of several small files, None for missing files."""
        with ThreadPoolExecutor(MAX_CONNECTIONS) as pool:
            return list(pool.map(self.read, names))

    def get(self, name: str, path: Path) -> None:
        """Download a file to a path."""
        self._request("read", name, lambda fs, root: fs.get_file(f"{root}/{name}", str(path)))

    def size(self, name: str) -> int | None:
        """Return the bytes of a file, or None if it does not exist."""

        def request(fs: Any, root: str) -> int:
            fs.invalidate_cache()
            return int(fs.info(f"{root}/{name}")["size"])

        try:
            return self._request("inspect", name, request)
        except FileNotFoundError:
            return None

    def names(self) -> list[str]:
        """Return the names below the URL, as the store lists them."""

        def request(fs: Any, root: str) -> list[str]:
            fs.invalidate_cache()
            return sorted(str(path).rstrip("/").rsplit("/", 1)[-1] for path in fs.ls(root, detail=False))

        try:
            return [name for name in self._request("list", "", request) if name != self.url.rsplit("/", 1)[-1]]
        except FileNotFoundError:
            return []

    def send(self, files: Mapping[str, Path | bytes]) -> None:
        """Upload files in order.

        Raises:
            OutputError: If a file cannot be written, or another writer has the lock.
        """
        self.check()
        self._put(files)

    def move(self, names: Mapping[str, str], sizes: Mapping[str, int]) -> None:
        """Copy files to new names. Files that were copied before are skipped. `clear` removes the old names.

        Args:
            names: New name by old name.
            sizes: Bytes by old name.
        """
        with ThreadPoolExecutor(MAX_CONNECTIONS) as pool:
            list(pool.map(lambda old: self._copy(old, names[old], sizes[old]), names))

    def _copy(self, old: str, new: str, size: int) -> None:
        if self.size(new) == size:
            return

        def request(fs: Any, root: str) -> None:
            _in_folder(fs, f"{root}/{new}", lambda: fs.cp_file(f"{root}/{old}", f"{root}/{new}"))

        if self.size(old) is None:
            raise OutputError(
                f"{self.url}/{old} is missing, but a state counts it. Restore it, or {self.restart_hint}.",
                path=f"{self.url}/{old}",
            )
        self._request("write", new, request)

    def clear(self, names: Sequence[str]) -> None:
        """Remove files, and everything that the store lists in the work folder.

        The last file is removed after the others. As long as it exists, an interrupted removal can be repeated.
        """
        with ThreadPoolExecutor(MAX_CONNECTIONS) as pool:
            list(pool.map(self._remove, names[:-1]))
        self._remove_work_folder()
        self._remove(names[-1])

    def _remove_work_folder(self) -> None:

        def request(fs: Any, root: str) -> None:
            fs.invalidate_cache()
            if fs.exists(f"{root}/{WORK_FOLDER}"):
                fs.rm(f"{root}/{WORK_FOLDER}", recursive=True)

        try:
            self._request("clear", WORK_FOLDER, request)
        except FileNotFoundError:
            return

    def _remove(self, name: str) -> None:
        try:
            self._request("remove", name, lambda fs, root: fs.rm_file(f"{root}/{name}"))
        except FileNotFoundError:
            return

    def _put(self, files: Mapping[str, Path | bytes]) -> None:
        for name, content in files.items():
            self._request("write", name, partial(_put, name=name, content=content))

    def _create(self, content: bytes) -> bool:
        """Create the lock file. Return False if it exists. The store decides between two writers, if it can."""
        return self._request("write", LOCK_FILE, partial(_create, name=LOCK_FILE, content=content))

    def prepare(self) -> None:
        """Make the URL writable."""

    def check(self) -> None:
        """Raise OutputError if another writer has taken the lock."""
        lock = self.read(LOCK_FILE)
        if lock is None or json.loads(lock)["id"] != self.lock_id:
            raise OutputError(
                f"{self.url} was taken over by another writer: {_lock_owner(lock)}. The files of this writer are kept. "
                "Run only one writer per URL.",
                path=self.url,
            )

    @contextmanager
    def locked(self, *, take_over: bool) -> Iterator["UrlStore"]:
        """Lock the URL for this process during the block. A killed process leaves its lock.

        A lock of a process of this machine that has ended is replaced.

        Args:
            take_over: Whether to replace the lock of any other process.

        Raises:
            OutputError: If another process has the lock.
        """
        self.prepare()
        own = replace(self, lock_id=uuid4().hex)
        since = datetime.now(timezone.utc).isoformat(timespec="seconds")
        lock = json.dumps({"id": own.lock_id, "host": socket.gethostname(), "process": os.getpid(), "since": since})
        if not self._create(lock.encode()):
            existing = self.read(LOCK_FILE)
            if existing is not None and not (take_over or _has_ended(existing)):
                raise OutputError(
                    f"{self.url} is locked by {_lock_owner(existing)}. Wait for it to finish. If that process is no "
                    "longer running, repeat the command with --take-over.",
                    path=self.url,
                )
            self._put({LOCK_FILE: lock.encode()})
        own.check()
        try:
            yield own
        finally:
            existing = self.read(LOCK_FILE)
            if existing is not None and json.loads(existing)["id"] == own.lock_id:
                self._remove(LOCK_FILE)

    def _request(self, action: str, name: str, request: Callable[[Any, str], Response]) -> Response:
        """Run a request on the file system and retry transient errors."""

        def run() -> Response:
            fs, root = file_system(self.url, self.token)
            return with_retries(lambda: request(fs, root.rstrip("/")))

        return self._with_messages(action, name, run)

    def _with_messages(self, action: str, name: str, request: Callable[[], Response]) -> Response:
        """Run a request and convert errors other than FileNotFoundError into errors of the package."""
        try:
            return request()
        except (FileNotFoundError, MixError):
            raise
        except ImportError as error:
            raise MissingExtraError(
                f"{self.url}: {error}. Install the package that fsspec needs for this URL, such as s3fs or gcsfs.",
                package=error.name or "",
            ) from error
        except Exception as error:  # the errors depend on the client of each file system
            first = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise self._failure(
                f"{self.url}: cannot {action} {name or 'it'}: {first}. Finished files are kept. Fix the problem, then "
                "repeat the same command to resume."
            ) from error

    def _failure(self, message: str) -> MixError:
        """Return the error of a failed request."""
        return OutputError(message, path=self.url)


def _put(fs: Any, root: str, *, name: str, content: Path | bytes) -> None:
    path = f"{root}/{name}"
    if isinstance(content, bytes):
        _in_folder(fs, path, lambda: fs.pipe_file(path, content))
    else:
        _in_folder(fs, path, lambda: fs.put_file(str(content), path))


def _create(fs: Any, root: str, *, name: str, content: bytes) -> bool:
    path = f"{root}/{name}"
    try:
        _in_folder(fs, path, lambda: fs.pipe_file(path, content, mode="create"))
    except FileExistsError:
        return False
    return True


def _in_folder(fs: Any, path: str, request: Callable[[], Any]) -> None:
    """Run a request that writes a file. Make its folder first if the store has folders and the folder is missing."""
    try:
        request()
    except FileNotFoundError as error:
        protocols = {fs.protocol} if isinstance(fs.protocol, str) else set(fs.protocol)
        if protocols & FLAT:  # making the folder would create a bucket
            raise OutputError(
                f"cannot write {path}: {error}. Create the bucket, or choose another --output-dir.", path=path
            ) from error
        fs.makedirs(path.rpartition("/")[0], exist_ok=True)
        request()


def _lock_owner(lock: bytes | None) -> str:
    if lock is None:
        return "the lock file was removed"
    owner = json.loads(lock)
    return f"process {owner['process']} on {owner['host']} since {owner['since']}"


def _has_ended(lock: bytes) -> bool:
    """Return True if a lock belongs to a process of this machine that has ended."""
    owner = json.loads(lock)
    if owner["host"] != socket.gethostname() or os.name != "posix":  # on Windows, signal 0 terminates a process
        return False
    try:
        os.kill(owner["process"], 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
