"""Small files at URLs, fetched and pinned."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

from smollm3_mix.errors import RecipeError
from smollm3_mix.network.rate_limit import LISTING_REQUESTS
from smollm3_mix.network.retry import is_transient, with_retries
from smollm3_mix.network.urls import HUB_FILE_URL, Token, endpoint, file_system


def local_copy(location: str, token: Token) -> str:
    """Return a local path as it is, or the path of a cached copy of a file on the Hub.

    Raises:
        RecipeError: If `location` is a URL of another kind.
        ConnectionError: If the Hub does not respond and the file is not in its cache.
        OSError: If the Hub refuses, or another of `network_errors()`.
    """
    if "://" not in location:
        return location
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    found = HUB_FILE_URL.fullmatch(location)
    if found is None:
        raise RecipeError(location, ["expected hf://datasets/<owner>/<name>[@<revision>]/<path>, a path, or a name"])
    repository, revision, file = found["repository"], found["revision"], found["file"]
    revision = revision and unquote(revision)
    try:
        return hf_hub_download(repository, file, repo_type="dataset", revision=revision, token=token)
    except LocalEntryNotFoundError as error:  # a FileNotFoundError, which would read as a missing file
        raise ConnectionError(str(error)) from error


def read_bytes(location: str, token: Token) -> bytes:
    """Return the content of a file at a path or URL. Files on the Hub go through its cache.

    Raises:
        FileNotFoundError: If there is no such file.
        OSError: If the file cannot be read, or another of `network_errors()`.
    """
    if "://" not in location:
        return Path(location).read_bytes()
    if HUB_FILE_URL.fullmatch(location):
        from huggingface_hub.errors import EntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError

        try:
            return Path(local_copy(location, token)).read_bytes()
        except (EntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError) as error:
            raise FileNotFoundError(location) from error
    fs, path = file_system(location, token)
    return bytes(with_retries(lambda: fs.cat_file(path), is_transient))


def pin_hub_folder(folder: str, file: str, token: Token) -> str:
    """Return a folder's URL with the current commit if it is on the Hub, any other location as it is.

    Args:
        folder: Path or URL of a folder.
        file: Name of a file in the folder.
        token: Hugging Face access token.

    Raises:
        FileNotFoundError: If there is no such repository or revision.
        OSError: If the Hub cannot be reached, or another of `network_errors()`.
    """
    found = HUB_FILE_URL.fullmatch(f"{folder}/{file}")
    if found is None:
        return folder
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    LISTING_REQUESTS.wait(endpoint())
    try:
        info = HfApi(token=token).dataset_info(found["repository"], revision=found["revision"])
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise FileNotFoundError(folder) from error
    return f"hf://datasets/{found['repository']}@{info.sha}/{found['file']}".removesuffix(f"/{file}")
