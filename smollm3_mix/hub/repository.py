"""A dataset repository on the Hub: access, content and commits.

All requests are made by `huggingface_hub`, which retries parts of uploads. Commits and listings, which it sends once,
are retried here with backoff.
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
from huggingface_hub.errors import EntryNotFoundError, RepositoryNotFoundError
from huggingface_hub.hf_api import RepoFile

from smollm3_mix.compat import hf_hub
from smollm3_mix.errors import HubError, OutputError
from smollm3_mix.network.retry import http_statuses, is_transient, with_retries

log = logging.getLogger("smollm3_mix")

COMMIT_FILES = 100
"""Maximum number of files per commit that the Hub recommends (hub/repositories-recommendations)."""

ATTEMPTS = 8
"""Number of attempts for a commit or listing: at most half a minute of pauses, plus Retry-After."""

CONFLICT = 412
"""HTTP status if another commit came first."""

HUB_ERRORS: tuple[type[Exception], ...] = (OSError, RuntimeError, ValueError, *hf_hub.client_errors())
"""Errors of `huggingface_hub` and of its HTTP client (requests or httpx, by version)."""

Response = TypeVar("Response")


@dataclass(frozen=True)
class RemoteFile:
    """A file in a repository.

    Attributes:
        size: Size in bytes.
        digest: SHA-256 of a large file, or the git blob id of a small one.
        large: Whether it is stored as a large file.
    """

    size: int
    digest: str
    large: bool

    def has_content(self, content: Path | bytes) -> bool:
        """Return True if the file has this content."""
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
    """A dataset repository to write to.

    Args:
        name: Repository as `owner/name`.
        revision: Branch to write to. Created if it does not exist. Defaults to `main`.
        api: Client of the Hub.

    Raises:
        OutputError: If the name is invalid.
    """

    def __init__(self, name: str, revision: str | None = None, api: HfApi | None = None) -> None:
        if not re.fullmatch(r"[\w.-]{1,96}/[\w.-]{1,96}", name):
            raise OutputError(f"{name!r} is not a valid repository. Use OWNER/NAME, such as my-org/my-mix.")
        self.name, self.revision = name, revision or "main"
        self._api = api or HfApi()
        self._pull_request = 0

    @property
    def url(self) -> str:
        """URL of the repository, or of the pull request."""
        page = f"{self._api.endpoint}/datasets/{self.name}"
        return f"{page}/discussions/{self._pull_request}" if self._pull_request else page

    def user(self) -> str:
        """Return the name of the logged-in user.

        Raises:
            HubError: If there is no valid token.
        """
        try:
            return str(self._api.whoami()["name"])
        except HUB_ERRORS as error:
            raise HubError(
                f"cannot push to {self.name} without a valid login: {_short(error)} "
                "Run `hf auth login`, or set HF_TOKEN to a token with write access.",
                repo_id=self.name,
            ) from error

    def private(self) -> bool | None:
        """Return whether the repository is private, or None if it does not exist."""
        try:
            return bool(self._request("inspect", lambda: self._api.repo_info(self.name, repo_type="dataset")).private)
        except RepositoryNotFoundError:
            return None

    def create(self, *, private: bool) -> None:
        """Create the repository.

        Raises:
            HubError: If the token cannot create it.
        """
        self._request(
            "create", lambda: self._api.create_repo(self.name, repo_type="dataset", private=private, exist_ok=True)
        )

    def create_branch(self) -> None:
        """Create the branch if it does not exist."""
        if self.revision != "main":
            self._request(
                "create a branch of",
                lambda: self._api.create_branch(self.name, branch=self.revision, repo_type="dataset", exist_ok=True),
            )

    def check_write_access(self) -> None:
        """Raise HubError if the token cannot write to the repository. Uploads nothing."""
        probe = [CommitOperationAdd(path_in_repo="README.md", path_or_fileobj=b" ")]
        self._request(
            "write to",
            lambda: self._api.preupload_lfs_files(self.name, probe, repo_type="dataset", revision=self.revision),
        )

    def open_pull_request(self, title: str) -> None:
        """Write to a pull request in place of the branch. Reuses an open pull request with the same title.

        Raises:
            HubError: If the Hub refuses or is unreachable.
        """
        existing = self._request(
            "list the pull requests of", lambda: list(self._api.get_repo_discussions(self.name, repo_type="dataset"))
        )
        numbers = [
            each.num
            for each in existing
            if each.is_pull_request and each.status in ("draft", "open") and each.title == title
        ]
        self._pull_request = (
            numbers[0]
            if numbers
            else self._request(
                "open a pull request for",
                lambda: self._api.create_pull_request(self.name, title, repo_type="dataset"),
            ).num
        )
        self.revision = f"refs/pr/{self._pull_request}"

    def files(self, folder: str = "") -> dict[str, RemoteFile]:
        """Return the files below a folder by path in the repository. Empty if there is no such folder."""
        try:
            tree = self._request("list", lambda: self._tree(folder))
        except EntryNotFoundError:
            return {}
        return {
            entry.path: RemoteFile(entry.size, entry.lfs.sha256 if entry.lfs else entry.blob_id, entry.lfs is not None)
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
        """Return the last commit of the branch."""
        info = self._request(
            "inspect", lambda: self._api.repo_info(self.name, repo_type="dataset", revision=self.revision)
        )
        return str(info.sha)

    def read(self, path: str, commit: str) -> bytes | None:
        """Return the content of a small file at a commit, or None if it does not exist."""
        with tempfile.TemporaryDirectory() as cache:
            try:
                found = self._request(
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
        """Commit files. Large files that the Hub already has are not uploaded again.

        Args:
            message: Title of the commit.
            files: Contents or local files by path in the repository, at most COMMIT_FILES.
            remove: Paths to remove. Folders end with a slash.
            parent: Commit that this one must follow.

        Raises:
            ConflictError: If another commit followed `parent`.
            HubError: If the Hub refuses, or is unreachable after all ATTEMPTS.
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

        self._request("write to", once, final={CONFLICT} if parent else ())

    def _request(self, action: str, request: Callable[[], Response], final: Container[int] = ()) -> Response:
        """Run a request and retry transient errors and conflicts."""

        def may_retry(error: BaseException) -> bool:
            found = http_statuses(error)
            moved = CONFLICT in found and CONFLICT not in final
            if moved or is_transient(error):
                log.warning("Cannot %s %s (%s). Retrying.", action, self.name, _short(error))
                return True
            return False

        try:
            return with_retries(request, may_retry, ATTEMPTS)
        except HUB_ERRORS as error:
            if isinstance(error, (EntryNotFoundError, RepositoryNotFoundError)) and not is_transient(error):
                raise
            if any(status in final for status in http_statuses(error)):
                raise ConflictError(f"{self.name} was changed by another commit", repo_id=self.name) from error
            raise self._error(action, error) from error

    def _error(self, action: str, error: BaseException) -> HubError:
        if set(http_statuses(error)) & {401, 403, 404}:
            remedy = "Log in with a token that can write to it (`hf auth login`), or choose another repository."
        else:
            remedy = "Uploaded files are kept. Repeat the same command to resume."
        return HubError(f"cannot {action} {self.name}: {_short(error)} {remedy}", repo_id=self.name)


class ConflictError(HubError):
    """Another commit came first. Read the repository again and repeat."""


def batches(files: Sequence[str]) -> Iterator[Sequence[str]]:
    """Return the files in groups for one commit each."""
    return (files[start : start + COMMIT_FILES] for start in range(0, len(files), COMMIT_FILES))


def _short(error: BaseException) -> str:
    """Return an error in one line, without request ids."""
    text = " ".join(part.strip() for part in str(error).splitlines() if part.strip()) or type(error).__name__
    text = re.sub(r"\s*\((Request ID|Amz|Root)[^)]*\)\.?", "", text)
    text = text if text.endswith((".", "!", "?")) else f"{text}."
    return f"{text} {_short(error.__cause__)}" if isinstance(error, RuntimeError) and error.__cause__ else text
