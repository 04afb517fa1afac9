"""A merge saved as the old tool saves it: a `DatasetDict` of `train` and `test` on disk, or on the Hub.

dataset_dict.json, train/, test/    for `datasets.load_from_disk`
recipe.yaml                         the recipe, every source pinned to the revision that was read
stats.json                          rows processed, kept and dropped by reason, by source
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
"""In the order in which it is moved into place; without the last, `load_from_disk` takes the folder for none."""

LOGIN = "Log in with `hf auth login`, or set HF_TOKEN to a token that may write."


def split(texts: "list[str] | Dataset", train: float) -> "DatasetDict":
    """The first `train` of the texts and the rest, rounded down, in one column `text`."""
    from datasets import Dataset, DatasetDict

    if isinstance(texts, list):
        texts = Dataset(pa.table({"text": texts}, schema=TEXTS))
    first = int(len(texts) * train)
    return DatasetDict({"train": texts.select(range(first)), "test": texts.select(range(first, len(texts)))})


def spill(blocks: Iterable[pa.StringArray], path: Path) -> "Dataset":
    """The texts in a file of Arrow's stream format, mapped into memory and not held in it."""
    from datasets import Dataset

    with path.open("wb") as file, pa.ipc.new_stream(file, TEXTS) as writer:
        for texts in blocks:
            if len(texts):
                writer.write_batch(pa.RecordBatch.from_arrays([texts], schema=TEXTS))
    return Dataset.from_file(str(path))


@contextmanager
def workplace(output_dir: str | os.PathLike[str]) -> Iterator[Path]:
    """A work folder in the output folder, where this process alone may write until the block ends; then it is gone.

    Raises:
        OutputError: the output folder holds something else, is in use, or cannot be written.
    """
    folder = Path(output_dir)
    _refuse_others(folder)
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
    """The result in the output folder, in place of an earlier one; made in `work` and moved when it is whole.

    Raises:
        OutputError: it cannot be written, as when the disk is full.
    """
    folder, made = Path(output_dir), Path(work) / "saved"
    try:
        if made.exists():  # left by a merge that was killed
            shutil.rmtree(made)
        dataset.save_to_disk(str(made))
        atomic_files.replace_file(made / RECIPE, recipe.encode())
        atomic_files.replace_json(made / STATS, {"smollm3_mix": __version__, "verb": "merge", **stats})
        (folder / INDEX).unlink(missing_ok=True)
        for name in RESULT:
            if (folder / name).is_dir():
                shutil.rmtree(folder / name)
            (made / name).replace(folder / name)
    except OSError as error:
        raise OutputError(f"cannot save in {folder}: {error}. Make room, or choose another --output-dir.") from error


def check_hub(repo: str, token: str | bool | None = None) -> None:
    """Nothing, where the Hub knows who we are and we may write there; nothing is made on the Hub.

    Raises:
        OutputError: it does not; the message says what to do.
    """
    from huggingface_hub import HfApi

    try:
        hf_hub.validate_repo_id(repo)
        who = HfApi().whoami(token)
    except _hub_failures() as error:
        raise _not_pushed(repo, error) from error
    if who.get("auth", {}).get("accessToken", {}).get("role") == "read":
        raise OutputError(f"cannot push to {repo}: the token of {who['name']!r} may only read. {LOGIN}")
    owners = [who["name"], *(group["name"] for group in who.get("orgs", []))]
    owner, slash, _ = repo.partition("/")
    if slash and owner not in owners:
        raise OutputError(
            f"cannot push to {repo}: {who['name']!r} is logged in, who may write under {', '.join(owners)}. {LOGIN}"
        )


def push(dataset: "DatasetDict", repo: str, private: bool, token: str | bool | None = None) -> None:
    """Both splits on the Hub.

    Raises:
        OutputError: the Hub refuses.
    """
    try:
        dataset.push_to_hub(repo, private=private, token=token)
    except _hub_failures() as error:
        raise _not_pushed(repo, error) from error


def _hub_failures() -> tuple[type[Exception], ...]:
    """What calls of the Hub raise when it refuses, is out of reach, or cannot be meant."""
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    return (HfHubHTTPError, HFValidationError, OSError, *network_errors())


def _not_pushed(repo: str, error: Exception) -> OutputError:
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError

    if isinstance(error, LocalTokenNotFoundError):
        return OutputError(f"cannot push to {repo}: nobody is logged in. {LOGIN}")
    if isinstance(error, HFValidationError):
        return OutputError(f"cannot push to {repo}: that is no name of a repository. Give --hub-repo as OWNER/NAME.")
    lines = str(error).splitlines() or [type(error).__name__]
    what = (getattr(error, "server_message", None) or lines[0]).rstrip(".")
    advice = LOGIN if isinstance(error, HfHubHTTPError) else "See to the network, then push again."
    return OutputError(f"cannot push to {repo}: {what}. {advice}")


def _refuse_others(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file. Choose another --output-dir.")
    names = {entry.name for entry in folder.iterdir()} if folder.exists() else set()
    unfinished = folder / atomic_files.WORK_FOLDER / output_layout.REQUEST
    if unfinished.exists():
        raise OutputError(
            f"{folder} holds the unfinished work of `smollm3-mix write`. Choose another --output-dir, or remove it."
        )
    # A stop in the middle of `save` leaves the work folder, and part of what is ours.
    ours = set(RESULT) if atomic_files.WORK_FOLDER in names or names >= set(RESULT) else set()
    others = sorted(names - ours - {atomic_files.WORK_FOLDER})
    if others:
        raise OutputError(f"{folder} holds {others[0]!r}, which no merge has saved there. Choose another --output-dir.")
