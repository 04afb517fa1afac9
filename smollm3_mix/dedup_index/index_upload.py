"""A finished index put where every machine can read it: on the Hub, in an object store, at any URL of fsspec."""

from pathlib import Path
from typing import Any

from smollm3_mix.errors import MixError, OutputError
from smollm3_mix.network.retry import network_errors
from smollm3_mix.network.urls import HUB_FILE_URL, Token, file_system, unreachable_message
from smollm3_mix.sources.dedup_lookup import DROPS, MANIFEST, DedupIndex


def upload(index: DedupIndex, url: str, token: Token = None) -> None:
    """Have an index that lies in a folder of this machine lie at a URL too, in place of what index was there.

    On the Hub that is one commit, to a private dataset repository which is made if there is none. Elsewhere, where
    nothing replaces many files at once, the manifest goes first and comes last: whoever opens the index meanwhile
    finds none, or finds that its drop sets are others, and is told so.

    Raises:
        OutputError: it cannot be written there; the index is whole in its folder.
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
            f"{url}: the index cannot be written there ({unreachable_message(error)}). It lies whole in "
            f"{index.location}: mend this and give the same command again, which reads nothing twice."
        ) from error


def _commit(index: DedupIndex, url: str, token: Token) -> None:
    from huggingface_hub import HfApi

    found = HUB_FILE_URL.fullmatch(f"{url}/{MANIFEST}")
    if found is None:
        raise OutputError(f"{url}: expected hf://datasets/<owner>/<name>[@<branch>][/<folder>] after --out")
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
    for at in [*entries, MANIFEST]:
        fs.makedirs(f"{root}/{at}".rpartition("/")[0], exist_ok=True)
        fs.pipe_file(f"{root}/{at}", (Path(index.location) / at).read_bytes())


def _remove(fs: Any, path: str) -> None:
    try:
        fs.rm_file(path)
    except FileNotFoundError:
        return
