"""Names of the files and folders of a written mix.

While a mix is written, everything is in `.writing`, which `load_dataset` ignores. A finished mix has no such folder:

    README.md     the card, with `configs:`
    recipe.yaml   the recipe, with every source pinned to the revision that was read
    exclude.txt   the exclusion list, if the recipe has one
    stats.json    statistics by source and split, and the files
    data/         {split}-{lane}-{shard}.parquet, or the files of another format (`output_formats`). A large mix has
                  later shards in folders, data/00001/ and so on (`shard_folder`)
"""

import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from smollm3_mix.storage.atomic_files import WORK_FOLDER

REQUEST = "request.json"
"""File of the work folder with the request and the pinned recipe."""

CARD, RECIPE, STATS, DATA = "README.md", "recipe.yaml", "stats.json", "data"
LIST = "exclude.txt"
"""Exclusion list of the recipe. `verify` does not need it."""

RESULT = (DATA, RECIPE, STATS, CARD)
"""Content of a finished mix, in the order in which it is moved into place."""

FOLDER_FILES = 4_500
"""Maximum number of files of a split in one folder. Two splits and the subfolders stay below the 10,000 entries per
folder that the Hub recommends (hub/repositories-recommendations)."""


def shard_folder(lane: int, shard: int, lanes: int) -> str:
    """Return the subfolder of a shard with a trailing slash. Empty for the first FOLDER_FILES files of a split.

    Files are numbered by shard, then by lane. The folder of a shard is therefore known before the mix is complete, and
    is the same for every writer.

    >>> shard_folder(7, 0, 16), shard_folder(7, 281, 16)
    ('', '00001/')
    """
    number = (shard * lanes + lane) // FOLDER_FILES
    return f"{number:05d}/" if number else ""


def data_files(data: Path) -> list[str]:
    """Return the paths of all files below `data`, sorted."""
    return sorted(path.relative_to(data).as_posix() for path in data.rglob("*") if path.is_file())


def patterns(split: str, names: Iterable[str]) -> list[str]:
    """Return glob patterns that match the files of a split among these names, and no others. Empty without files."""
    folders = dict.fromkeys("/" in name for name in sorted(names) if shard_base(name).startswith(f"{split}-"))
    return [f"*/{split}-*.parquet" if deep else f"{split}-*.parquet" for deep in sorted(folders)]


def shard_base(name: str) -> str:
    """Return the name of a data file without its folder, such as `train-00003-00012.parquet`."""
    return name.rsplit("/", 1)[-1]


def lane_label(split: str, lane: int) -> str:
    """Return the prefix of a lane's files, such as `train-00003`."""
    return f"{split}-{lane:05d}"


def other_files(folder: Path) -> list[Path]:
    """Return the files of a mix other than data and recipe: exclusion list (if any), statistics and card."""
    return [folder / name for name in (LIST, STATS, CARD) if (folder / name).exists()]


def written_format(summary: Mapping[str, Any]) -> str:
    """Return the format of a mix, from the content of its stats.json."""
    return str(summary["request"].get("format", "parquet"))


def unexpected_file(folder: Path) -> str | None:
    """Return the first name in a folder that is not part of a written mix, or None."""
    if not folder.exists():
        return None
    if not folder.is_dir():
        return folder.name
    expected = (WORK_FOLDER, LIST, *RESULT) if (folder / WORK_FOLDER).exists() or is_complete(folder) else ()
    return next((entry.name for entry in sorted(folder.iterdir()) if entry.name not in expected), None)


def is_complete(folder: Path) -> bool:
    """Return True if a folder has a complete mix. The card is moved into place last."""
    return all((folder / name).exists() for name in RESULT)


def unfinished_reason(folder: Path) -> str | None:
    """Return why a folder is not a complete mix and what to do, or None if it is one."""
    missing = [name for name in RESULT if not (folder / name).exists()]
    if not missing:
        return None
    if not folder.is_dir():
        found = "is a file" if folder.exists() else "does not exist"
        return f"{folder} {found}. Name the folder of a mix that `smollm3-mix write` has finished."
    if len(missing) == len(RESULT) and not (folder / WORK_FOLDER).exists():
        return f"{folder} is not a written mix (it has no {missing[0]}). Name the folder of a finished `write` command."
    return f"{folder} is not finished: it has no {missing[0]}. Repeat the `smollm3-mix write` command to finish it."


def publish_files(folder: Path) -> None:
    """Move a finished mix out of the work folder. A repeated call continues after a crash."""
    work = folder / WORK_FOLDER
    for name in (LIST, *RESULT):
        if (work / name).exists():
            os.replace(work / name, folder / name)  # noqa: PTH105 - works for files and folders


def clear_folder(folder: Path) -> None:
    """Remove the work folder, and the folder itself if nothing else is in it."""
    shutil.rmtree(folder / WORK_FOLDER)
    if not any(folder.iterdir()):
        folder.rmdir()
