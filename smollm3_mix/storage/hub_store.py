"""A dataset repository of the Hub as a store: hf://datasets/owner/name[@branch][/folder].

Files that belong together are one commit. The repository must be private, because only `push` checks whether the texts
of each source may be public. A new repository is made private.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from smollm3_mix.errors import HubError, MixError, OutputError
from smollm3_mix.network.retry import http_statuses, is_transient, with_retries
from smollm3_mix.network.urls import HUB_FILE_URL
from smollm3_mix.storage.atomic_files import WORK_FOLDER
from smollm3_mix.storage.url_store import LOCK_FILE, Response, UrlStore

COMMIT_FILES = 100
"""Maximum number of files per commit that the Hub recommends (hub/repositories-recommendations)."""

CONFLICT = 412
"""HTTP status if another commit came first."""


@dataclass(frozen=True)
class HubStore(UrlStore):
    """Files in a dataset repository of the Hub. Picklable."""

    def __post_init__(self) -> None:
        _ = self.location  # raises if the URL is invalid

    @property
    def location(self) -> dict[str, str]:
        """Repository, branch and folder. The folder is empty or has a trailing slash.

        Raises:
            OutputError: If the URL has no repository.
        """
        found = HUB_FILE_URL.fullmatch(f"{self.url}/.")
        if found is None:
            raise OutputError(
                f"--output-dir must be hf://datasets/<owner>/<name>[@<branch>][/<folder>], got {self.url}.",
                path=self.url,
            )
        branch, folder = found["revision"] or "main", found["file"].removesuffix(".")
        return {"repository": found["repository"], "branch": branch, "folder": folder}

    def prepare(self) -> None:
        """Create the repository if it is missing, as a private one.

        Raises:
            OutputError: If the repository is public.
        """
        name = self.location["repository"]

        def request(api: Any) -> bool:
            if not api.repo_exists(name, repo_type="dataset"):
                api.create_repo(name, repo_type="dataset", private=True, exist_ok=True)
            return bool(api.repo_info(name, repo_type="dataset").private)

        if not self._on_hub("prepare", "", request):
            raise OutputError(
                f"{self.url} is public, but only `smollm3-mix push` checks whether the texts may be public. "
                "Write to a private repository, or write to a folder and push it.",
                path=self.url,
            )

    def names(self) -> list[str]:
        """Return the names below the URL."""
        return [name for name in super().names() if name != ".gitattributes"]

    def send(self, files: Mapping[str, Path | bytes]) -> None:
        """Upload files in one commit."""
        self.check()
        self._put(files)

    def move(self, names: Mapping[str, str], sizes: Mapping[str, int]) -> None:
        """Copy files to new names. Files that were copied before are skipped."""
        from huggingface_hub import CommitOperationCopy

        missing = [old for old in names if self.size(names[old]) != sizes[old]]
        folder = self.location["folder"]
        for begin in range(0, len(missing), COMMIT_FILES):
            group = [(folder + old, folder + names[old]) for old in missing[begin : begin + COMMIT_FILES]]
            self.check()
            self._commit(f"Move {len(group)} files", partial(_each, CommitOperationCopy, group))

    def clear(self, names: Sequence[str]) -> None:  # noqa: ARG002 - removes the whole folder
        """Remove the work folder."""
        from huggingface_hub import CommitOperationDelete

        if self.read(LOCK_FILE) is not None or super().names().count(WORK_FOLDER):
            removed = f"{self.location['folder']}{WORK_FOLDER}/"
            self._commit("Finish writing", lambda: [CommitOperationDelete(removed, is_folder=True)])

    def _remove(self, name: str) -> None:
        from huggingface_hub import CommitOperationDelete

        path = self.location["folder"] + name
        self._commit(f"Remove {name}", lambda: [CommitOperationDelete(path)])

    def _put(self, files: Mapping[str, Path | bytes]) -> None:
        from huggingface_hub import CommitOperationAdd

        folder = self.location["folder"]
        content = {name: each if isinstance(each, bytes) else str(each) for name, each in files.items()}
        self._commit(
            f"Add {', '.join(list(files)[:3])}",
            lambda: [CommitOperationAdd(folder + name, each) for name, each in content.items()],
        )

    def _create(self, content: bytes) -> bool:
        from huggingface_hub import CommitOperationAdd

        location = self.location

        def head_commit(api: Any) -> str:
            return str(api.repo_info(location["repository"], repo_type="dataset", revision=location["branch"]).sha)

        while self.read(LOCK_FILE) is None:
            head = self._on_hub("inspect", "", head_commit)
            if self._commit("Lock", lambda: [CommitOperationAdd(location["folder"] + LOCK_FILE, content)], after=head):
                return True
        return False

    def _commit(self, message: str, operations: Callable[[], list[Any]], after: str | None = None) -> bool:
        """Make a commit. Return False if another commit followed `after`."""
        location = self.location

        def request(api: Any) -> bool:
            try:
                api.create_commit(
                    location["repository"],
                    operations(),
                    commit_message=message,
                    repo_type="dataset",
                    revision=location["branch"],
                    parent_commit=after,
                )
            except Exception as error:
                if after is not None and CONFLICT in http_statuses(error):
                    return False
                raise
            return True

        return self._on_hub("write", message, request)

    def _request(self, action: str, name: str, request: Callable[[Any, str], Response]) -> Response:
        """Raise FileNotFoundError also for files of missing folders. `huggingface_hub` had its own error for them."""
        from huggingface_hub.errors import EntryNotFoundError

        def run(fs: Any, root: str) -> Response:
            try:
                return request(fs, root)
            except EntryNotFoundError as error:
                raise FileNotFoundError(f"{root}/{name}") from error

        return super()._request(action, name, run)

    def _failure(self, message: str) -> MixError:
        return HubError(message, repo_id=self.location["repository"])

    def _on_hub(self, action: str, name: str, request: Callable[[Any], Response]) -> Response:
        """Run a request on the API of the Hub. Retry transient errors and conflicts with other commits."""
        from huggingface_hub import HfApi

        api = HfApi(token=self.token)

        def may_retry(error: BaseException) -> bool:
            return CONFLICT in http_statuses(error) or is_transient(error)

        return self._with_messages(action, name, lambda: with_retries(lambda: request(api), may_retry))


def _each(operation: Any, arguments: Iterable[tuple[Any, ...]]) -> list[Any]:
    """Return new operations of a commit. They record what was sent, so a retry needs new ones."""
    return [operation(*each) for each in arguments]
