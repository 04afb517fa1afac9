"""A dataset repository of the Hub as a store: hf://datasets/owner/name[@branch][/folder].

What belongs together is one commit, so it is there at once. The repository is made private, and must be: whether texts
may be public is asked for each source by `push`.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from smollm3_mix.errors import OutputError
from smollm3_mix.network.retry import http_statuses, is_transient, with_retries
from smollm3_mix.network.urls import HUB_FILE_URL
from smollm3_mix.storage.atomic_files import WORK_FOLDER
from smollm3_mix.storage.url_store import LOCK_FILE, Answer, UrlStore

COMMIT_FILES = 100
"""Most files in a commit: what the Hub's documentation recommends (hub/repositories-recommendations)."""

CONFLICT = 412
"""Status where another commit came first."""


@dataclass(frozen=True)
class HubStore(UrlStore):
    """See `Store`."""

    def __post_init__(self) -> None:
        _ = self.place  # or raise at once

    @property
    def place(self) -> dict[str, str]:
        """Repository, branch and folder, the last with a slash behind it or empty.

        Raises:
            OutputError: the URL names none.
        """
        found = HUB_FILE_URL.fullmatch(f"{self.url}/.")
        if found is None:
            raise OutputError(
                f"{self.url}: expected hf://datasets/<owner>/<name>[@<branch>][/<folder>] as --output-dir"
            )
        branch, folder = found["revision"] or "main", found["file"].removesuffix(".")
        return {"repository": found["repository"], "branch": branch, "folder": folder}

    def ready(self) -> None:
        """Nothing; the repository is there, and private.

        Raises:
            OutputError: it is public.
        """
        name = self.place["repository"]

        def asked(api: Any) -> bool:
            if not api.repo_exists(name, repo_type="dataset"):
                api.create_repo(name, repo_type="dataset", private=True, exist_ok=True)
            return bool(api.repo_info(name, repo_type="dataset").private)

        if not self._on_hub("make ready", "", asked):
            raise OutputError(
                f"{self.url} is public, and only `smollm3-mix push` asks whether all texts may be. "
                "Write to a folder and push it, or to a private repository."
            )

    def names(self) -> list[str]:
        """See `Store`."""
        return [name for name in super().names() if name != ".gitattributes"]

    def send(self, files: Mapping[str, Path | bytes]) -> None:
        """See `Store`; all in one commit."""
        self.check()
        self._put(files)

    def move(self, names: Mapping[str, str], sizes: Mapping[str, int]) -> None:
        """See `Store`."""
        from huggingface_hub import CommitOperationCopy

        lacking = [old for old in names if self.size(names[old]) != sizes[old]]
        folder = self.place["folder"]
        for begin in range(0, len(lacking), COMMIT_FILES):
            group = [(folder + old, folder + names[old]) for old in lacking[begin : begin + COMMIT_FILES]]
            self.check()
            self._commit(f"{len(group)} files", partial(_each, CommitOperationCopy, group))

    def clear(self, names: Iterable[str]) -> None:  # noqa: ARG002 - the folder goes as a whole
        """See `Store`."""
        from huggingface_hub import CommitOperationDelete

        if self.read(LOCK_FILE) is not None or super().names().count(WORK_FOLDER):
            gone = f"{self.place['folder']}{WORK_FOLDER}/"
            self._commit("written", lambda: [CommitOperationDelete(gone, is_folder=True)])

    def _remove(self, name: str) -> None:
        from huggingface_hub import CommitOperationDelete

        path = self.place["folder"] + name
        self._commit(f"{name} removed", lambda: [CommitOperationDelete(path)])

    def _put(self, files: Mapping[str, Path | bytes]) -> None:
        from huggingface_hub import CommitOperationAdd

        folder = self.place["folder"]
        content = {name: each if isinstance(each, bytes) else str(each) for name, each in files.items()}
        self._commit(
            ", ".join(list(files)[:3]),
            lambda: [CommitOperationAdd(folder + name, each) for name, each in content.items()],
        )

    def _create(self, content: bytes) -> bool:
        from huggingface_hub import CommitOperationAdd

        place = self.place

        def asked(api: Any) -> str:
            return str(api.repo_info(place["repository"], repo_type="dataset", revision=place["branch"]).sha)

        while self.read(LOCK_FILE) is None:
            head = self._on_hub("look at", "", asked)
            if self._commit("claimed", lambda: [CommitOperationAdd(place["folder"] + LOCK_FILE, content)], after=head):
                return True
        return False

    def _commit(self, message: str, operations: Callable[[], list[Any]], after: str | None = None) -> bool:
        """Whether it was made: no other commit followed `after`."""
        place = self.place

        def asked(api: Any) -> bool:
            try:
                api.create_commit(
                    place["repository"],
                    operations(),
                    commit_message=message,
                    repo_type="dataset",
                    revision=place["branch"],
                    parent_commit=after,
                )
            except Exception as error:
                if after is not None and CONFLICT in http_statuses(error):
                    return False
                raise
            return True

        return self._on_hub("write", message, asked)

    def _ask(self, what: str, name: str, request: Callable[[Any, str], Answer]) -> Answer:
        """Raise FileNotFoundError also for files of missing folders. `huggingface_hub` had its own error for them."""
        from huggingface_hub.errors import EntryNotFoundError

        def asked(fs: Any, root: str) -> Answer:
            try:
                return request(fs, root)
            except EntryNotFoundError as error:
                raise FileNotFoundError(f"{root}/{name}") from error

        return super()._ask(what, name, asked)

    def _on_hub(self, what: str, name: str, request: Callable[[Any], Answer]) -> Answer:
        """The answer of the Hub's API, asked again while a fault may pass, or another commit came between."""
        from huggingface_hub import HfApi

        api = HfApi(token=self.token)

        def passes(error: BaseException) -> bool:
            return CONFLICT in http_statuses(error) or is_transient(error)

        return self._said(what, name, lambda: with_retries(lambda: request(api), passes))


def _each(operation: Any, arguments: Iterable[tuple[Any, ...]]) -> list[Any]:
    """New operations of a commit: they remember what was sent, so another try makes others."""
    return [operation(*each) for each in arguments]
