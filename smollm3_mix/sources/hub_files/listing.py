"""Find commit, config, split and files of a repository or folder with `datasets`, and explain what is missing."""

from __future__ import annotations

import ast
import posixpath
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from smollm3_mix.compat import hf_datasets
from smollm3_mix.messages import did_you_mean, listed, nearest
from smollm3_mix.network.rate_limit import FILE_REQUESTS, LISTING_REQUESTS
from smollm3_mix.network.retry import is_transient, network_errors, with_retries
from smollm3_mix.network.urls import Token, endpoint, unreachable_message
from smollm3_mix.recipe.model import Source
from smollm3_mix.sources.hub_files.range_requests import HUB
from smollm3_mix.sources.source_files import SourceFault, SourceFile

FORMATS = ("parquet", "json", "csv", "arrow")

PATHS_PER_REQUEST = 500
"""Number of files per request, if a listing did not include their sizes."""

NO_REPOSITORY = (
    "no local file or folder {name!r}, and no such dataset on the Hub, or it is private. "
    "Fix the name, or log in with `hf auth login` (or set HF_TOKEN) if it is yours."
)

UNKNOWN_CONFIG = "not found. Available"
"""Message of `datasets` about an unknown config. A list of the known ones follows."""

NAMES_LIST = re.compile(r"\[.*?\]", re.DOTALL)

CARDS = ("README.md", ".huggingface.yaml", "dataset_infos.json")
"""Files in which `datasets` looks for a repository's configs.

`datasets` treats an unreachable file as missing. The files are therefore fetched into the cache first."""

CONFIG_REQUESTS = 2
"""Requests to the Hub's API per config: the repository's info and one page of files. Large repositories need more."""

BUILDER_TRIES = 12
"""Number of times to call `datasets`. It sends up to seven requests without retries, and starts over if one fails.

An unreachable Hub is noticed before."""


class NoAnswerFault(SourceFault):
    """The Hub is unreachable, or refuses this token."""


class MisnamedFault(SourceFault):
    """An unknown config whose name is similar to a known one."""

    def __init__(self, message: str, near: str) -> None:
        super().__init__(message)
        self.near = near


class HubListing:
    """A dataset repository or local folder at one commit, as `datasets` reads it.

    Sources that differ only in their config share the fetched files: the card of a repository with two thousand configs
    is read once. Belongs to one thread, as the file systems of `huggingface_hub` do.

    Args:
        name: Name for `datasets.load_dataset`: `<org>/<name>`, the absolute path of a folder, or json, csv, ….
        revision: Branch, tag or commit. Defaults to the newest commit.
        token: Hugging Face access token. Defaults to the saved login or `HF_TOKEN`.
        hub: True for a repository on the Hub.

    Raises:
        SourceFault: If there is no such repository or revision, or the Hub is unreachable.
    """

    def __init__(self, name: str, revision: str | None, token: Token, *, hub: bool) -> None:
        self._name, self._token = name, token
        self._builder: Any = None
        self._gated = False
        self.commit: str | None = None
        if hub:
            self.commit, self._gated = repository_info(name, revision, token)
            self._warm()

    def files(self, source: Source) -> tuple[str, list[str], str]:
        """Return format, paths or URLs of a source's files in listing order, and the delimiter of CSV files.

        Raises:
            MisnamedFault: If the config is similar to the name of another.
            SourceFault: If config, split or files do not exist, or cannot be read.
        """
        builder = self._build(source)
        format_ = hf_datasets.packaged_module(builder) or type(builder).__module__
        if format_ not in FORMATS:
            raise SourceFault(f"its files have format {format_!r}, expected one of {', '.join(FORMATS)}")
        if getattr(builder.config, "field", None):
            raise SourceFault(
                f"its rows are under key {builder.config.field!r} of a JSON object. Convert it to one object per line."
            )
        splits = {str(split): list(files) for split, files in (builder.config.data_files or {}).items()}
        if source.split not in splits:
            raise SourceFault(
                f"no split {source.split!r}{did_you_mean(source.split, list(splits))}. Splits: {listed(list(splits))}"
            )
        return format_, splits[source.split], getattr(builder.config, "sep", None) or ","

    def _build(self, source: Source) -> Any:
        """Return the builder of a source's config. Any exception of `datasets` becomes a problem of the source."""
        try:
            return self._with_retries(lambda: self._make(source)) if self.commit else self._make(source)
        except Exception as error:
            message, text = self._explain(error, source), str(error)
            near = nearest(source.config, _names(text)) if source.config and UNKNOWN_CONFIG in text else None
            raise (MisnamedFault(message, near) if near else SourceFault(message)) from error

    def _make(self, source: Source) -> Any:
        if source.data_dir or source.data_files:
            return self._load(source)
        if self._builder is None:
            self._builder = self._load(source)
            return self._builder
        known = self._builder
        return type(known)(
            config_name=source.config,
            base_path=known.base_path,
            hash=known.hash,
            repo_id=known.repo_id,
            dataset_name=known.dataset_name,
            token=self._token,
        )

    def _load(self, source: Source) -> Any:
        import datasets

        builder = datasets.load_dataset_builder(
            self._name,
            source.config,
            data_dir=source.data_dir,
            data_files=list(source.data_files) if source.data_files else None,
            revision=self.commit,
            token=self._token,
        )
        if self.commit and hf_datasets.packaged_module(builder) == "cache":
            raise ConnectionError(f"only the cache of `datasets` has {self._name}")
        return builder

    def _with_retries(self, make: Callable[[], Any]) -> Any:
        """Return the builder that `make` creates, and retry transient network errors."""
        missing: list[BaseException] = []

        def request() -> Any:
            LISTING_REQUESTS.wait(endpoint(), CONFIG_REQUESTS)
            return make()

        def can_retry(error: BaseException) -> bool:
            # `HfFileSystem` reports an unreachable file as missing, so a missing file is requested once more
            if isinstance(error, FileNotFoundError) and not missing:
                missing.append(error)
                return True
            return is_transient(error)

        return with_retries(request, can_retry, BUILDER_TRIES)

    def _warm(self) -> None:
        """Fetch what `datasets` will look for into its caches: the cards, and the listing of the first folder."""
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError, GatedRepoError, LocalEntryNotFoundError

        def fetch(name: str) -> None:
            FILE_REQUESTS.wait(endpoint())
            try:
                hf_hub_download(self._name, name, repo_type="dataset", revision=self.commit, token=self._token)
            except LocalEntryNotFoundError:
                raise
            except EntryNotFoundError:
                pass  # the repository does not have this file

        try:
            for name in CARDS:
                with_retries(partial(fetch, name))
            with_retries(partial(_file_system(self._token).ls, f"datasets/{self._name}@{self.commit}", detail=False))
        except GatedRepoError as error:
            raise SourceFault(gated(self._name)) from error
        except LocalEntryNotFoundError as error:
            raise SourceFault(unreachable_message(error.__cause__ or error)) from error
        except network_errors() as error:
            raise SourceFault(unreachable_message(error)) from error

    def _explain(self, error: Exception, source: Source) -> str:
        """Explain an error of `datasets` and its remedy. The texts of these errors are the same from 3.6 to 5.2."""
        text, kind = str(error), type(error).__name__
        if self._gated and any(word in text for word in ("gated", "cannot be accessed", "401", "403")):
            return gated(self._name)
        if "Config name is missing" in text or UNKNOWN_CONFIG in text:
            return _config(source.config, _names(text))
        if isinstance(error, FileNotFoundError):
            pattern = source.data_files or source.data_dir
            matching = f" that match {pattern!r}" if pattern else ""
            return f"no data files{matching} in {self._name}, expected {', '.join(FORMATS)}"
        if isinstance(error, network_errors()):
            return unreachable_message(error)
        return f"`datasets` cannot open the source: {kind}: {text.splitlines()[0] if text else ''}"


_gated_commits: dict[tuple[str, str, str | None, Token], bool] = {}
"""True for gated repositories, by endpoint, name, commit and token. Each commit is looked up once."""


def repository_info(name: str, revision: str | None, token: Token) -> tuple[str, bool]:
    """Return the commit of a repository on the Hub, and True if the repository is gated.

    A commit that this process has looked up before needs no request.

    Args:
        name: Name of the repository.
        revision: Branch, tag or commit. None for the newest commit.
        token: Hugging Face access token.

    Raises:
        NoAnswerFault: If the Hub is unreachable.
        SourceFault: If there is no such repository or revision.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError, RevisionNotFoundError

    hub = endpoint()
    if revision is not None and (hub, name, revision, token) in _gated_commits:
        return revision, _gated_commits[hub, name, revision, token]

    def request() -> Any:
        LISTING_REQUESTS.wait(hub)
        return HfApi(token=token).dataset_info(name, revision=revision, expand=["sha", "gated"])

    try:
        found = with_retries(request)
    except RevisionNotFoundError as error:
        raise SourceFault(f"{name} has no revision {revision!r} on the Hub") from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise SourceFault(NO_REPOSITORY.format(name=name)) from error
    except network_errors() as error:
        raise NoAnswerFault(unreachable_message(error)) from error
    if found.sha is not None:
        _gated_commits[hub, name, found.sha, token] = bool(found.gated)
    return found.sha or "main", bool(found.gated)


def _config(config: str | None, names: list[str]) -> str:
    """Explain how to fix a missing or unknown config."""
    if config is None:
        example = f", for example `config: {names[0]}`" if names else ""
        return f"it has several configs, but the recipe names none. Add `config`{example}. Configs: {listed(names)}"
    if names in (["default"], []):
        return f"no config {config!r}: it has no configs. Remove `config`, or name a folder with `data_dir`."
    return f"no config {config!r}{did_you_mean(config, names)}. Configs: {listed(names)}"


def _file_system(token: Token) -> Any:
    """Return the file system that `datasets` uses in this thread, with everything it has listed."""
    from huggingface_hub import HfFileSystem

    return HfFileSystem(endpoint=hf_datasets.endpoint(), token=token)


def gated(name: str) -> str:
    """Explain how to get access to a gated repository."""
    page = f"{endpoint()}/datasets/{name}"
    return f"it is gated. Request access at {page}, then log in with `hf auth login` or set HF_TOKEN."


def list_hub_files(urls: Sequence[str], token: Token) -> tuple[SourceFile, ...]:
    """Return the files at hf:// URLs of one pinned repository.

    Sizes come from the listing of this thread if it has them, else from the Hub.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

    cache = _file_system(token).dircache
    found: dict[str, tuple[int, str | None]] = {}
    folders = {posixpath.dirname(url.removeprefix("hf://")) for url in urls}
    for entry in (entry for folder in folders for entry in cache.get(folder, ())):
        found[f"hf://{entry['name']}"] = entry["size"], (entry.get("lfs") or {}).get("sha256")
    missing = [url for url in urls if url not in found]
    for start in range(0, len(missing), PATHS_PER_REQUEST):
        batch = {_split(url)[2]: url for url in missing[start : start + PATHS_PER_REQUEST]}
        repo, revision, _ = _split(missing[start])

        def request(repo: str = repo, revision: str = revision, paths: Sequence[str] = tuple(batch)) -> list[Any]:
            LISTING_REQUESTS.wait(endpoint())
            return HfApi(token=token).get_paths_info(repo, list(paths), revision=revision, repo_type="dataset")

        for info in with_retries(request):
            if isinstance(info, RepoFile):
                found[batch[info.path]] = info.size, info.lfs.sha256 if info.lfs else None
    return tuple(SourceFile(url.removeprefix("hf://datasets/"), url, *found[url]) for url in urls)


def _split(url: str) -> tuple[str, str, str]:
    """Return repository, commit and path of a Hub URL."""
    found = HUB.fullmatch(url)
    if found is None:
        raise SourceFault(f"expected hf://datasets/<repo>@<commit>/<path>, got {url}")
    return found["repo"], found["revision"], found["path"]


def _names(text: str) -> list[str]:
    """Return the first list of names in the text of an error."""
    found = NAMES_LIST.search(text)
    try:
        return [str(name) for name in ast.literal_eval(found[0])] if found else []
    except (ValueError, SyntaxError):
        return []
