"""Upload a finished index to the Hub or to an fsspec URL."""

from pathlib import Path
from typing import Any

from smollm3_mix.errors import MixError, OutputError
from smollm3_mix.network.retry import network_errors
from smollm3_mix.network.urls import HUB_FILE_URL, Token, file_system, unreachable_message
from smollm3_mix.sources.dedup_lookup import DROPS, MANIFEST, DedupIndex


def upload(index: DedupIndex, url: str, token: Token = None) -> None:
    """Upload an index from its folder to a URL. It replaces an index at that URL.

    On the Hub, the upload is one commit. A missing repository is created as a private one. Other stores cannot replace
    many files at once, so the old manifest is removed first and the new one is written last. A reader in between finds
    no index, or duplicate rows with another digest, and raises an error.

    Raises:
        OutputError: If the URL cannot be written. The index is complete in its folder.
    """
    entries = [entry.path for files in index.files.values() for entry in files.values()]
    try:
        if url.startswith("hf://"):
            _commit(index, url, token)
        else:
            _copy(index, entries, url)
    except MixError:
        raise
    except network_errors() as error:
        raise OutputError(
            f"{url}: cannot write the index ({unreachable_message(error)}). It is complete in {index.location}. "
            "Fix the problem, then repeat the same command, which reuses it."
        ) from error


def _commit(index: DedupIndex, url: str, token: Token) -> None:
    from huggingface_hub import HfApi

    found = HUB_FILE_URL.fullmatch(f"{url}/{MANIFEST}")
    if found is None:
        raise OutputError(f"--output-dir must be hf://datasets/<owner>/<name>[@<branch>][/<folder>], got {url}.")
    api, repository = HfApi(token=token), found["repository"]
    if not api.repo_exists(repository, repo_type="dataset"):
        api.create_repo(repository, repo_type="dataset", private=True)
    api.upload_folder(
        repo_id=repository,
        repo_type="dataset",
        revision=found["revision"],
        folder_path=index.location,
        path_in_repo=found["file"].removesuffix(MANIFEST).rstrip("/"),
        allow_patterns=[MANIFEST, f"{DROPS}/**"],
        delete_patterns=[f"{DROPS}/**"],
        commit_message=f"Dedup index {index.digest[:12]}",
    )


def _copy(index: DedupIndex, entries: list[str], url: str) -> None:
    fs, root = file_system(url, None)
    _remove(fs, f"{root}/{MANIFEST}")
    for path in fs.find(f"{root}/{DROPS}") if fs.exists(f"{root}/{DROPS}") else ():
        if f"{DROPS}/{str(path).rpartition(f'/{DROPS}/')[2]}" not in entries:
            fs.rm_file(path)
    for name in [*entries, MANIFEST]:
        fs.makedirs(f"{root}/{name}".rpartition("/")[0], exist_ok=True)
        fs.pipe_file(f"{root}/{name}", (Path(index.location) / name).read_bytes())


def _remove(fs: Any, path: str) -> None:
    try:
        fs.rm_file(path)
    except FileNotFoundError:
        return
