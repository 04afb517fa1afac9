"""One dataset repository on the Hub: may it be written, what is there, and commits to it.

Everything that goes over the network is done by `huggingface_hub`; it repeats parts of uploads that fail. Here commits
and listings, which it asks for once, are asked for again, with pauses.
"""

import hashlib
import logging
import re
import tempfile
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    RepositoryNotFoundError,
)
from huggingface_hub.hf_api import RepoFile

from smollm3_mix.errors import OutputError
from smollm3_mix.network.retry import http_statuses, is_transient, with_retries

log = logging.getLogger("smollm3_mix")

COMMIT_FILES = 100
"""Most files in a commit: what the Hub's documentation recommends (hub/repositories-recommendations)."""

TRIES = 8
"""Times that a commit or listing is asked for: half a minute of pauses at most, and what Retry-After says."""

CONFLICT = 412
"""Status where somebody else's commit came first."""

FAULTS: tuple[type[Exception], ...] = (OSError, RuntimeError, ValueError, *HfHubHTTPError.__bases__)
"""What `huggingface_hub` raises: errors of its HTTP client (requests or httpx, by version), and its own."""

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Remote:
    """A file in a repository.

    Attributes:
        size: bytes.
        digest: SHA-256 of the content where it is stored as a large file, else git's blob id.
        large: which of the two.
    """

    size: int
    digest: str
    large: bool

    def holds(self, content: Path | bytes) -> bool:
        """Whether this is the file's content."""
        size = len(content) if isinstance(content, bytes) else content.stat().st_size
        return size == self.size and _digest(content, size, self.large) == self.digest


def _digest(content: Path | bytes, size: int, large: bool) -> str:
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest() if large else _blob_id(content)
    if not large:
        return _blob_id(content.read_bytes())
    digest = hashlib.sha256()
    with content.open("rb") as file:
        while piece := file.read(min(size, 1 << 20)):
            digest.update(piece)
    return digest.hexdigest()


def _blob_id(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


class Repository:
    """A dataset repository, for writing.

    Args:
        name: `owner/name`.
        revision: branch that is written; made if it is not there. None: main.
        api: client of the Hub.

    Raises:
        OutputError: the name is none of a repository.
    """

    def __init__(self, name: str, revision: str | None = None, api: HfApi | None = None) -> None:
        if not re.fullmatch(r"[\w.-]{1,96}/[\w.-]{1,96}", name):
            raise OutputError(f"{name!r} is no repository of the Hub; expected owner/name, such as my-org/my-mix.")
        self.name, self.revision = name, revision or "main"
        self._api = api or HfApi()

    @property
    def url(self) -> str:
        """Its page."""
        return f"{self._api.endpoint}/datasets/{self.name}"

    def user(self) -> str:
        """Name of the user whose token is used.

        Raises:
            OutputError: there is no token, or the Hub does not know it.
        """
        try:
            return str(self._api.whoami()["name"])
        except FAULTS as error:
            raise OutputError(
                f"the Hub does not know who pushes to {self.name}: {_short(error)} "
                "Run `hf auth login`, or set HF_TOKEN to a token with write access."
            ) from error

    def private(self) -> bool | None:
        """Whether it is private; None where there is no such repository."""
        try:
            return bool(self._ask("look at", lambda: self._api.repo_info(self.name, repo_type="dataset")).private)
        except RepositoryNotFoundError:
            return None

    def create(self, *, private: bool) -> None:
        """Nothing; a new repository.

        Raises:
            OutputError: the token may not make it.
        """
        self._ask(
            "create", lambda: self._api.create_repo(self.name, repo_type="dataset", private=private, exist_ok=True)
        )

    def branch(self) -> None:
        """Nothing; the branch is there."""
        if self.revision != "main":
            self._ask(
                "make a branch of",
                lambda: self._api.create_branch(self.name, branch=self.revision, repo_type="dataset", exist_ok=True),
            )

    def check_write_access(self) -> None:
        """Nothing, where the token may write; asks how a small file would be sent, and sends nothing.

        Raises:
            OutputError: it may not.
        """
        probe = [CommitOperationAdd(path_in_repo="README.md", path_or_fileobj=b" ")]
        self._ask(
            "write to",
            lambda: self._api.preupload_lfs_files(self.name, probe, repo_type="dataset", revision=self.revision),
        )

    def files(self, folder: str = "") -> dict[str, Remote]:
        """The files below a folder by path in the repository; none where there is no such folder."""
        try:
            tree = self._ask("list", lambda: self._tree(folder))
        except EntryNotFoundError:
            return {}
        return {
            entry.path: Remote(entry.size, entry.lfs.sha256 if entry.lfs else entry.blob_id, entry.lfs is not None)
            for entry in tree
            if isinstance(entry, RepoFile)
        }

    def _tree(self, folder: str) -> list[Any]:
        return list(
            self._api.list_repo_tree(
                self.name, folder or None, recursive=True, repo_type="dataset", revision=self.revision
            )
        )

    def head(self) -> str:
        """The commit at the end of the branch."""
        info = self._ask("look at", lambda: self._api.repo_info(self.name, repo_type="dataset", revision=self.revision))
        return str(info.sha)

    def read(self, path: str, commit: str) -> bytes | None:
        """Content of a file at a commit; None where there is no such file. For small files."""
        with tempfile.TemporaryDirectory() as cache:
            try:
                found = self._ask(
                    "read",
                    lambda: self._api.hf_hub_download(
                        self.name, path, repo_type="dataset", revision=commit, cache_dir=cache
                    ),
                )
            except EntryNotFoundError:
                return None
            return Path(found).read_bytes()

    def commit(
        self,
        message: str,
        files: Mapping[str, Path | bytes],
        *,
        remove: Iterable[str] = (),
        parent: str | None = None,
    ) -> None:
        """Nothing; the files are in the repository. Large files that it has already are not sent again.

        Args:
            message: title of the commit.
            files: content or local file by path in the repository; at most COMMIT_FILES.
            remove: paths to remove; a folder ends in a slash.
            parent: the commit this must follow, else it is refused.

        Raises:
            Conflict: somebody else's commit followed `parent`.
            OutputError: the Hub refuses, or cannot be reached after all TRIES.
        """
        removals = [CommitOperationDelete(path_in_repo=path, is_folder=path.endswith("/")) for path in remove]

        def once() -> None:
            additions = [CommitOperationAdd(path, content) for path, content in files.items()]
            self._api.create_commit(
                self.name,
                [*additions, *removals],
                commit_message=message,
                repo_type="dataset",
                revision=self.revision,
                parent_commit=parent,
            )

        self._ask("write to", once, final={CONFLICT} if parent else ())

    def _ask(self, what: str, request: Callable[[], Answer], final: Container[int] = ()) -> Answer:
        """The answer to a request, asked again where the Hub or the way to it may be better in a moment."""

        def passes(error: BaseException) -> bool:
            found = http_statuses(error)
            moved = CONFLICT in found and CONFLICT not in final
            if moved or is_transient(error):
                log.warning("Cannot %s %s (%s); trying again", what, self.name, _short(error))
                return True
            return False

        try:
            return with_retries(request, passes, TRIES)
        except FAULTS as error:
            if isinstance(error, (EntryNotFoundError, RepositoryNotFoundError)) and not is_transient(error):
                raise
            if any(status in final for status in http_statuses(error)):
                raise Conflict(f"{self.name} was changed by somebody else just now") from error
            raise self._refused(what, error) from error

    def _refused(self, what: str, error: BaseException) -> OutputError:
        if set(http_statuses(error)) & {401, 403, 404}:
            remedy = "Log in with a token that may write there (`hf auth login`), or name a repository of your own."
        else:
            remedy = "What is there stays; run the same command again to go on."
        return OutputError(f"cannot {what} {self.name}: {_short(error)} {remedy}")


class Conflict(OutputError):  # noqa: N818 - says what happened
    """Somebody else's commit came between; look again and repeat."""


def batches(files: Sequence[str]) -> Iterator[Sequence[str]]:
    """The files in groups that fit a commit."""
    return (files[start : start + COMMIT_FILES] for start in range(0, len(files), COMMIT_FILES))


def _short(error: BaseException) -> str:
    """The error in one line, without the client's request ids."""
    text = " ".join(part.strip() for part in str(error).splitlines() if part.strip()) or type(error).__name__
    text = re.sub(r"\s*\((Request ID|Amz|Root)[^)]*\)\.?", "", text)
    text = text if text.endswith((".", "!", "?")) else f"{text}."
    return f"{text} {_short(error.__cause__)}" if isinstance(error, RuntimeError) and error.__cause__ else text
