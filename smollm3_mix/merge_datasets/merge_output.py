"""Save a merge as a `DatasetDict` with `train` and `test`, on disk or on the Hub.

dataset_dict.json, train/, test/    for `datasets.load_from_disk`
recipe.yaml                         the recipe, with every source pinned to the revision that was read
stats.json                          rows processed, kept and dropped by reason, per source
"""

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from smollm3_mix.compat import hf_hub
from smollm3_mix.errors import OutputError
from smollm3_mix.network.retry import network_errors
from smollm3_mix.output import output_layout
from smollm3_mix.storage import atomic_files, folder_lock
from smollm3_mix.version import __version__

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

TEXTS = pa.schema([pa.field("text", pa.string())])
RECIPE, STATS, SPLITS, INDEX = "recipe.yaml", "stats.json", ("train", "test"), "dataset_dict.json"
RESULT = (*SPLITS, RECIPE, STATS, INDEX)
"""Content in the order in which it is moved into place. `load_from_disk` needs the last file."""

LOGIN = "Log in with `hf auth login`, or set HF_TOKEN to a token with write access."


def split(texts: "list[str] | Dataset", train: float) -> "DatasetDict":
    """Split texts into `train`, the given fraction rounded down, and `test`, in one column `text`."""
    from datasets import Dataset, DatasetDict

    if isinstance(texts, list):
        texts = Dataset(pa.table({"text": texts}, schema=TEXTS))
    first = int(len(texts) * train)
    return DatasetDict({"train": texts.select(range(first)), "test": texts.select(range(first, len(texts)))})


def spill(blocks: Iterable[pa.StringArray], path: Path) -> "Dataset":
    """Write texts to a file in the Arrow stream format, and return them as a memory-mapped dataset."""
    from datasets import Dataset

    with path.open("wb") as file, pa.ipc.new_stream(file, TEXTS) as writer:
        for texts in blocks:
            if len(texts):
                writer.write_batch(pa.RecordBatch.from_arrays([texts], schema=TEXTS))
    return Dataset.from_file(str(path))


@contextmanager
def work_folder(output_dir: str | os.PathLike[str]) -> Iterator[Path]:
    """Lock the output folder and yield a work folder in it, which is removed after the block.

    Raises:
        OutputError: If the output folder contains something else, is in use, or cannot be written.
    """
    folder = Path(output_dir)
    _check_content(folder)
    entered = False
    try:
        with folder_lock.folder_lock(folder) as work:
            entered = True
            yield work
    finally:
        if entered:
            output_layout.clear_folder(folder)


def save(
    dataset: "DatasetDict",
    output_dir: str | os.PathLike[str],
    work: os.PathLike[str],
    recipe: str,
    stats: dict[str, Any],
) -> None:
    """Save the result in `work`, then move it to the output folder, where it replaces an earlier one.

    Raises:
        OutputError: If it cannot be written, for example because the disk is full.
    """
    folder, saved = Path(output_dir), Path(work) / "saved"
    try:
        if saved.exists():  # from an interrupted merge
            shutil.rmtree(saved)
        dataset.save_to_disk(str(saved))
        atomic_files.replace_file(saved / RECIPE, recipe.encode())
        atomic_files.replace_json(saved / STATS, {"smollm3_mix": __version__, "command": "merge", **stats})
        (folder / INDEX).unlink(missing_ok=True)
        for name in RESULT:
            if (folder / name).is_dir():
                shutil.rmtree(folder / name)
            (saved / name).replace(folder / name)
    except OSError as error:
        raise OutputError(
            f"cannot save in {folder}: {error}. Free some space, or choose another --output-dir."
        ) from error


def check_hub(repo: str, token: str | bool | None = None) -> None:
    """Raise OutputError unless the token can write to the repository. Creates nothing on the Hub."""
    from huggingface_hub import HfApi

    try:
        hf_hub.validate_repo_id(repo)
        user = HfApi().whoami(token)
    except _hub_errors() as error:
        raise _push_error(repo, error) from error
    if user.get("auth", {}).get("accessToken", {}).get("role") == "read":
        raise OutputError(f"cannot push to {repo}: the token of {user['name']!r} is read-only. {LOGIN}")
    owners = [user["name"], *(group["name"] for group in user.get("orgs", []))]
    owner, slash, _ = repo.partition("/")
    if slash and owner not in owners:
        raise OutputError(
            f"cannot push to {repo}: the logged-in user {user['name']!r} can write to repositories of "
            f"{', '.join(owners)}. {LOGIN}"
        )


def push(dataset: "DatasetDict", repo: str, private: bool, token: str | bool | None = None) -> None:
    """Push both splits to the Hub.

    Raises:
        OutputError: If the Hub refuses or is unreachable.
    """
    try:
        dataset.push_to_hub(repo, private=private, token=token)
    except _hub_errors() as error:
        raise _push_error(repo, error) from error


def _hub_errors() -> tuple[type[Exception], ...]:
    """Return the errors of calls that the Hub refuses, that cannot reach it, or that are invalid."""
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    return (HfHubHTTPError, HFValidationError, OSError, *network_errors())


def _push_error(repo: str, error: Exception) -> OutputError:
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError

    if isinstance(error, LocalTokenNotFoundError):
        return OutputError(f"cannot push to {repo}: no user is logged in. {LOGIN}")
    if isinstance(error, HFValidationError):
        return OutputError(f"cannot push to {repo}: it is not the name of a repository. Pass --hub-repo OWNER/NAME.")
    lines = str(error).splitlines() or [type(error).__name__]
    reason = (getattr(error, "server_message", None) or lines[0]).rstrip(".")
    advice = LOGIN if isinstance(error, HfHubHTTPError) else "Check the network, then push again."
    return OutputError(f"cannot push to {repo}: {reason}. {advice}")


def _check_content(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file. Choose another --output-dir.")
    names = {entry.name for entry in folder.iterdir()} if folder.exists() else set()
    unfinished = folder / atomic_files.WORK_FOLDER / output_layout.REQUEST
    if unfinished.exists():
        raise OutputError(
            f"{folder} contains an unfinished run of `smollm3-mix write`. Choose another --output-dir, or delete it."
        )
    # An interrupted `save` leaves the work folder and a part of the result.
    expected = set(RESULT) if atomic_files.WORK_FOLDER in names or names >= set(RESULT) else set()
    unexpected = sorted(names - expected - {atomic_files.WORK_FOLDER})
    if unexpected:
        raise OutputError(
            f"{folder} contains {unexpected[0]!r}, which is not part of a merge. Choose another --output-dir."
        )
