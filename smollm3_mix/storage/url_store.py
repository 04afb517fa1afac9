"""Where a mix goes that is no folder of this machine: a URL of fsspec, such as s3://bucket/mix.

What is needed of a store: a file is there whole or not at all, and is read by its name once it was written. Nothing
rests on listings, which object stores may give late.
"""

import json
import os
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
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
"""Who writes there."""

MAX_CONNECTIONS = 16
"""Files that are copied, read or removed at once."""

FLAT = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss"}
"""Protocols of stores that have no folders, and need none made."""

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class UrlStore:
    """A URL, for writing. Picklable.

    Attributes:
        url: of the mix, with no slash at its end.
        token: for the Hub.
        claim: of the writer that holds it; empty: nobody's.
    """

    url: str
    token: Token = None
    claim: str = ""

    @property
    def of_this_process(self) -> bool:
        """Whether no other process sees what is there."""
        return self.url.startswith("memory://")

    def read(self, name: str) -> bytes | None:
        """Content of a file; None where there is none of that name."""

        def asked(fs: Any, root: str) -> bytes:
            fs.invalidate_cache()  # of listings, where some look first
            return bytes(fs.cat_file(f"{root}/{name}"))

        try:
            return self._ask("read", name, asked)
        except FileNotFoundError:
            return None

    def must_read(self, name: str) -> bytes:
        """Content of a file that was written.

        Raises:
            OutputError: it is gone.
        """
        content = self.read(name)
        if content is None:
            raise OutputError(f"{self.url}/{name} is gone, which a state counts. Put it back, or {self.anew}.")
        return content

    @property
    def anew(self) -> str:
        """How to begin anew, for messages."""
        return f"remove {self.url}/{WORK_FOLDER} to begin anew"

    def read_all(self, names: Iterable[str]) -> list[bytes | None]:
        """Content of several small files."""
        with ThreadPoolExecutor(MAX_CONNECTIONS) as pool:
            return list(pool.map(self.read, names))

    def get(self, name: str, path: Path) -> None:
        """Nothing; the file is at the path."""
        self._ask("read", name, lambda fs, root: fs.get_file(f"{root}/{name}", str(path)))

    def size(self, name: str) -> int | None:
        """Bytes of a file; None where there is none of that name."""

        def asked(fs: Any, root: str) -> int:
            fs.invalidate_cache()
            return int(fs.info(f"{root}/{name}")["size"])

        try:
            return self._ask("look at", name, asked)
        except FileNotFoundError:
            return None

    def names(self) -> list[str]:
        """What lies there, as the store lists it."""

        def asked(fs: Any, root: str) -> list[str]:
            fs.invalidate_cache()
            return sorted(str(path).rstrip("/").rsplit("/", 1)[-1] for path in fs.ls(root, detail=False))

        try:
            return [name for name in self._ask("list", "", asked) if name != self.url.rsplit("/", 1)[-1]]
        except FileNotFoundError:
            return []

    def send(self, files: Mapping[str, Path | bytes]) -> None:
        """Nothing; the files are there, each once those before it are.

        Raises:
            OutputError: they cannot be written, or another writer has claimed the place.
        """
        self.check()
        self._put(files)

    def move(self, names: Mapping[str, str], sizes: Mapping[str, int]) -> None:
        """Nothing; each file has its new name. What has it already is left; the old names are for `clear`.

        Args:
            names: new name by old one.
            sizes: bytes by old name.
        """
        with ThreadPoolExecutor(MAX_CONNECTIONS) as pool:
            list(pool.map(lambda old: self._copy(old, names[old], sizes[old]), names))

    def _copy(self, old: str, new: str, size: int) -> None:
        if self.size(new) == size:
            return

        def asked(fs: Any, root: str) -> None:
            _in_folder(fs, f"{root}/{new}", lambda: fs.cp_file(f"{root}/{old}", f"{root}/{new}"))

        if self.size(old) is None:
            raise OutputError(f"{self.url}/{old} is gone, which a state counts. Put it back, or {self.anew}.")
        self._ask("write", new, asked)

    def clear(self, names: Iterable[str]) -> None:
        """Nothing; the files are gone, and what else the store lists in the work folder."""
        with ThreadPoolExecutor(MAX_CONNECTIONS) as pool:
            list(pool.map(self._remove, names))

        def asked(fs: Any, root: str) -> None:
            fs.invalidate_cache()
            if fs.exists(f"{root}/{WORK_FOLDER}"):
                fs.rm(f"{root}/{WORK_FOLDER}", recursive=True)

        try:
            self._ask("clear", WORK_FOLDER, asked)
        except FileNotFoundError:
            return

    def _remove(self, name: str) -> None:
        try:
            self._ask("remove", name, lambda fs, root: fs.rm_file(f"{root}/{name}"))
        except FileNotFoundError:
            return

    def _put(self, files: Mapping[str, Path | bytes]) -> None:
        for name, content in files.items():
            self._ask("write", name, partial(_put, name=name, content=content))

    def _create(self, content: bytes) -> bool:
        """Whether there was no claim, and is this one now; the store decides where two ask at once, if it can."""
        return self._ask("write", LOCK_FILE, partial(_create, name=LOCK_FILE, content=content))

    def ready(self) -> None:
        """Nothing; the place can be written."""

    def check(self) -> None:
        """Nothing, while the place is this writer's.

        Raises:
            OutputError: another one has claimed it.
        """
        claim = self.read(LOCK_FILE)
        if claim is None or json.loads(claim)["id"] != self.claim:
            raise OutputError(
                f"{self.url} is another writer's now: {_who(claim)} has claimed it. What this one wrote is kept. "
                "Let only one write there."
            )

    @contextmanager
    def claimed(self, *, take_over: bool) -> Iterator["UrlStore"]:
        """The store, held by this process until the block ends; a process that is killed leaves its claim.

        A claim is taken from a process of this machine that has ended, or where `take_over` says that it is gone.

        Raises:
            OutputError: somebody else holds it.
        """
        self.ready()
        mine = replace(self, claim=uuid4().hex)
        since = datetime.now(timezone.utc).isoformat(timespec="seconds")
        claim = json.dumps({"id": mine.claim, "host": socket.gethostname(), "process": os.getpid(), "since": since})
        if not self._create(claim.encode()):
            there = self.read(LOCK_FILE)
            if there is not None and not (take_over or _ended(there)):
                raise OutputError(
                    f"{self.url} is being written by {_who(there)}. Wait for it; if it is gone, which nobody but you "
                    "can know, give the same command with --take-over."
                )
            self._put({LOCK_FILE: claim.encode()})
        mine.check()
        try:
            yield mine
        finally:
            there = self.read(LOCK_FILE)
            if there is not None and json.loads(there)["id"] == mine.claim:
                self._remove(LOCK_FILE)

    def _ask(self, what: str, name: str, request: Callable[[Any, str], Answer]) -> Answer:
        """The answer to a request, asked again while a fault may pass."""

        def asked() -> Answer:
            fs, root = file_system(self.url, self.token)
            return with_retries(lambda: request(fs, root.rstrip("/")))

        return self._said(what, name, asked)

    def _said(self, what: str, name: str, request: Callable[[], Answer]) -> Answer:
        """The answer to a request; what goes wrong is said in our words, but for a file that is not there."""
        try:
            return request()
        except (FileNotFoundError, MixError):
            raise
        except ImportError as error:
            raise MissingExtraError(
                f"{self.url}: {error}. Install what fsspec needs for it, such as s3fs or gcsfs."
            ) from error
        except Exception as error:  # each file system raises what its client does
            first = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise OutputError(
                f"{self.url}: cannot {what} {name or 'it'}: {first}. What is there stays: mend this and give the same "
                "command again, which goes on from there."
            ) from error


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
    """Do what writes the file, and make its folder first where the store has folders and this one is not there."""
    try:
        request()
    except FileNotFoundError as error:
        protocols = {fs.protocol} if isinstance(fs.protocol, str) else set(fs.protocol)
        if protocols & FLAT:  # making the folder would make a bucket
            raise OutputError(
                f"cannot write {path}: {error}. Make the bucket, or name another --output-dir."
            ) from error
        fs.makedirs(path.rpartition("/")[0], exist_ok=True)
        request()


def _who(claim: bytes | None) -> str:
    if claim is None:
        return "nobody (the claim was removed)"
    said = json.loads(claim)
    return f"process {said['process']} of {said['host']}, since {said['since']}"


def _ended(claim: bytes) -> bool:
    """Whether a claim is of a process of this machine that is there no more."""
    said = json.loads(claim)
    if said["host"] != socket.gethostname() or os.name != "posix":  # elsewhere, signal 0 ends a process
        return False
    try:
        os.kill(said["process"], 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
