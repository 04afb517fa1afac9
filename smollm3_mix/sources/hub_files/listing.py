"""What `datasets` finds in a repository or folder: commit, config, split, files; in plain words what it does not."""

from __future__ import annotations

import ast
import posixpath
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from smollm3_mix.messages import listed, meant, nearest
from smollm3_mix.network.rate_limit import FILE_REQUESTS, LISTING_REQUESTS
from smollm3_mix.network.retry import is_transient, network_errors, with_retries
from smollm3_mix.network.urls import Token, endpoint, unreachable_message
from smollm3_mix.sources.hub_files.range_requests import HUB
from smollm3_mix.sources.source_files import SourceFault, SourceFile

if TYPE_CHECKING:
    from smollm3_mix.recipe.model import Source

FORMATS = ("parquet", "json", "csv", "arrow")

PATHS = 500
"""Files asked for at once where a listing has not told their size."""

NO_REPOSITORY = (
    "no file or folder {name!r} is here, and no such dataset is on the Hub, or it is private; "
    "mend the name, or log in with `hf auth login` (or set HF_TOKEN) if it is yours"
)

UNKNOWN = "not found. Available"
"""What `datasets` says of a config that is not there, before a list of those that are."""

LISTING = re.compile(r"\[.*?\]", re.DOTALL)


CARDS = ("README.md", ".huggingface.yaml", "dataset_infos.json")
"""Where `datasets` looks for a repository's configs. It takes one that it cannot reach for one that is not there, so
they are fetched into the cache of `huggingface_hub` before it looks."""

REQUESTS = 2
"""Requests of the Hub's API for a config: the repository's info and a page of files; more where it has more pages."""


BUILDER_TRIES = 12
"""Times that `datasets` is asked: it sends up to seven requests that it does not send again by itself, and starts anew
when one of them fails. A Hub that does not answer at all is noticed before."""


class NoAnswerFault(SourceFault):
    """The Hub does not answer, or not to this token."""


class MisnamedFault(SourceFault):
    """A config that is not there, while one with nearly its name is."""

    def __init__(self, said: str, near: str) -> None:
        super().__init__(said)
        self.near = near


class HubListing:
    """A dataset repository, or a local folder, as `datasets` reads it, at one commit.

    Sources that differ in their config alone share what was fetched: the card of a repository with two thousand
    configs is read once. Belongs to one thread, like the file systems of `huggingface_hub`, whose listings it uses.

    Args:
        name: what `datasets.load_dataset` takes: `<org>/<name>`, the absolute path of a folder, or json, csv, ….
        revision: branch, tag or commit; None for the newest commit.
        token: None uses the saved login or `HF_TOKEN`.
        hub: whether it is a repository of the Hub.

    Raises:
        Fault: there is no such repository or revision, or the Hub cannot be reached.
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
        """Format, paths or URLs of a source's files in listing order, and the delimiter of csv.

        Raises:
            Misnamed: the config is nearly the name of another.
        Fault: config, split or files are not there, or cannot be read.
        """
        builder = self._build(source)
        module = type(builder).__module__
        found = re.search(r"packaged_modules\.(\w+)", module)
        form = found[1] if found else module
        if form not in FORMATS:
            raise SourceFault(f"its files are of the kind {form!r}, which is not read; {', '.join(FORMATS)} are")
        if getattr(builder.config, "field", None):
            raise SourceFault(
                f"its rows stand under key {builder.config.field!r} of one JSON object; convert it to one object a line"
            )
        splits = {str(split): list(files) for split, files in (builder.config.data_files or {}).items()}
        if source.split not in splits:
            raise SourceFault(
                f"no split {source.split!r}{meant(source.split, list(splits))}; its splits: {listed(list(splits))}"
            )
        return form, splits[source.split], getattr(builder.config, "sep", None) or ","

    def _build(self, source: Source) -> Any:
        """The builder for a source's config. Anything may go wrong in here, and whatever does is the source's fault."""
        try:
            return self._patiently(lambda: self._made(source)) if self.commit else self._made(source)
        except Exception as error:
            said, text = self._plainly(error, source), str(error)
            near = nearest(source.config, _names(text)) if source.config and UNKNOWN in text else None
            raise (MisnamedFault(said, near) if near else SourceFault(said)) from error

    def _made(self, source: Source) -> Any:
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
        if self.commit and "packaged_modules.cache" in type(builder).__module__:
            raise ConnectionError(f"of {self._name} only the cache of `datasets` is here")
        return builder

    def _patiently(self, make: Callable[[], Any]) -> Any:
        """What `datasets` makes of a repository; it is asked again where a fault of the network stood in its way."""
        doubted: list[BaseException] = []

        def ask() -> Any:
            LISTING_REQUESTS.wait(endpoint(), REQUESTS)
            return make()

        def passes(error: BaseException) -> bool:
            # `HfFileSystem` takes a file that it cannot ask for, for one that is not there: it is asked once more
            if isinstance(error, FileNotFoundError) and not doubted:
                doubted.append(error)
                return True
            return is_transient(error)

        return with_retries(ask, passes, BUILDER_TRIES)

    def _warm(self) -> None:
        """Puts into caches what `datasets` will look for: the cards' files, and the listing of the first folder."""
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError, GatedRepoError, LocalEntryNotFoundError

        def fetch(name: str) -> None:
            FILE_REQUESTS.wait(endpoint())
            try:
                hf_hub_download(self._name, name, repo_type="dataset", revision=self.commit, token=self._token)
            except LocalEntryNotFoundError:
                raise
            except EntryNotFoundError:
                pass  # there is none

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

    def _plainly(self, error: Exception, source: Source) -> str:
        """What an error of `datasets` says, and what to do. Their texts are the same from 3.6 to 5.2."""
        text, kind = str(error), type(error).__name__
        if self._gated and any(word in text for word in ("gated", "cannot be accessed", "401", "403")):
            return gated(self._name)
        if "Config name is missing" in text or UNKNOWN in text:
            return _config(source.config, _names(text))
        if isinstance(error, FileNotFoundError):
            asked = source.data_files or source.data_dir
            below = f" that match {asked!r}" if asked else ""
            return f"no data files{below} in {self._name}; {', '.join(FORMATS)} are read"
        if isinstance(error, network_errors()):
            return unreachable_message(error)
        return f"`datasets` cannot open it: {kind}: {text.splitlines()[0] if text else ''}"


_looked_up: dict[tuple[str, str, str | None, Token], bool] = {}
"""Whether a repository is gated, by endpoint, name, commit and token: no commit is looked up twice."""


def repository_info(name: str, revision: str | None, token: Token) -> tuple[str, bool]:
    """The commit of a repository on the Hub at a revision, None being the newest; and whether it is gated.

    Of a commit that this process had as an answer before, nothing is asked again.

    Raises:
        NoAnswer: the Hub cannot be reached.
        Fault: there is no such repository or revision.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError, RevisionNotFoundError

    hub = endpoint()
    if revision is not None and (hub, name, revision, token) in _looked_up:
        return revision, _looked_up[hub, name, revision, token]

    def ask() -> Any:
        LISTING_REQUESTS.wait(hub)
        return HfApi(token=token).dataset_info(name, revision=revision, expand=["sha", "gated"])

    try:
        found = with_retries(ask)
    except RevisionNotFoundError as error:
        raise SourceFault(f"{name} has no revision {revision!r} on the Hub") from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise SourceFault(NO_REPOSITORY.format(name=name)) from error
    except network_errors() as error:
        raise NoAnswerFault(unreachable_message(error)) from error
    if found.sha is not None:
        _looked_up[hub, name, found.sha, token] = bool(found.gated)
    return found.sha or "main", bool(found.gated)


def _config(config: str | None, names: list[str]) -> str:
    """What to do about a config that is missing or unknown."""
    if config is None:
        add = f"add one, such as `config: {names[0]}`" if names else "add `config`"
        return f"it has several configs and none is named; {add}; its configs: {listed(names)}"
    if names in (["default"], []):
        return f"it has no configs, so no {config!r}; leave `config` out, or name a folder of it with `data_dir`"
    return f"no config {config!r}{meant(config, names)}; its configs: {listed(names)}"


def _file_system(token: Token) -> Any:
    """The file system that `datasets` uses in this thread, with all it has listed."""
    import datasets
    from huggingface_hub import HfFileSystem

    return HfFileSystem(endpoint=datasets.config.HF_ENDPOINT, token=token)


def gated(name: str) -> str:
    """What to do about a gated repository."""
    page = f"{endpoint()}/datasets/{name}"
    return f"it is gated: ask for access at {page}, then log in with `hf auth login` or set HF_TOKEN"


def list_hub_files(urls: Sequence[str], token: Token) -> tuple[SourceFile, ...]:
    """The files at hf:// URLs of one pinned repository, from the listing this thread has made, else asked for."""
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

    cache = _file_system(token).dircache
    found: dict[str, tuple[int, str | None]] = {}
    folders = {posixpath.dirname(url.removeprefix("hf://")) for url in urls}
    for entry in (entry for folder in folders for entry in cache.get(folder, ())):
        found[f"hf://{entry['name']}"] = entry["size"], (entry.get("lfs") or {}).get("sha256")
    missing = [url for url in urls if url not in found]
    for start in range(0, len(missing), PATHS):
        some = {_split(url)[2]: url for url in missing[start : start + PATHS]}
        repo, revision, _ = _split(missing[start])

        def ask(repo: str = repo, revision: str = revision, paths: Sequence[str] = tuple(some)) -> list[Any]:
            LISTING_REQUESTS.wait(endpoint())
            return HfApi(token=token).get_paths_info(repo, list(paths), revision=revision, repo_type="dataset")

        for info in with_retries(ask):
            if isinstance(info, RepoFile):
                found[some[info.path]] = info.size, info.lfs.sha256 if info.lfs else None
    return tuple(SourceFile(url.removeprefix("hf://datasets/"), url, *found[url]) for url in urls)


def _split(url: str) -> tuple[str, str, str]:
    """Repository, commit and path of a Hub URL."""
    found = HUB.fullmatch(url)
    if found is None:
        raise SourceFault(f"{url} is no hf://datasets/<repo>@<commit>/<path>")
    return found["repo"], found["revision"], found["path"]


def _names(text: str) -> list[str]:
    """The first list of names in an error's text."""
    found = LISTING.search(text)
    try:
        return [str(name) for name in ast.literal_eval(found[0])] if found else []
    except (ValueError, SyntaxError):
        return []
