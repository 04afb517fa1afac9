"""What lies where in a written mix.

While it is written, everything is in `.writing`, which `load_dataset` passes over; a finished mix has no such folder:

    README.md     the card, with `configs:`
    recipe.yaml   the recipe, every source pinned to the revision that was read
    exclude.txt   what the recipe excludes, where it does
    stats.json    counts by source and split, and the files
    data/         {split}-{lane}-{part}.parquet, or the files of another form (`write.forms`); of a large mix the later
                  ones in folders, data/00001/ and on (`folder_of`)
"""

import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from smollm3_mix.storage.atomic_files import WORK_FOLDER

REQUEST = "request.json"
"""In the work folder: what was asked for, and the pinned recipe."""

CARD, RECIPE, STATS, DATA = "README.md", "recipe.yaml", "stats.json", "data"
LIST = "exclude.txt"
"""The recipe's list of what must not come out, where it has one; verifying a mix does not need it."""

RESULT = (DATA, RECIPE, STATS, CARD)
"""What a finished mix consists of, in the order in which it is moved into place."""


FOLDER_FILES = 4_500
"""Most files of a split in one folder: with two splits and the folders beside them below the 10,000 entries that a
folder of the Hub should have (hub/repositories-recommendations)."""


def folder_of(lane: int, part: int, lanes: int) -> str:
    """Folder below `data` of a lane's part, with a slash behind it; empty for the first FOLDER_FILES files of a split.

    The files of a split are numbered part by part, lane by lane within: so where one lies depends on nothing that is
    known only when a mix is whole, and whoever writes a lane writes it to the same place.

    >>> folder_of(7, 0, 16), folder_of(7, 281, 16)
    ('', '00001/')
    """
    number = (part * lanes + lane) // FOLDER_FILES
    return f"{number:05d}/" if number else ""


def data_files(data: Path) -> list[str]:
    """Paths below `data` of all its files, in order of folders, then names."""
    return sorted(path.relative_to(data).as_posix() for path in data.rglob("*") if path.is_file())


def patterns(split: str, names: Iterable[str]) -> list[str]:
    """Globs below `data` that find the files of a split among these, and no others; none where it has no files."""
    folders = dict.fromkeys("/" in name for name in sorted(names) if shard_base(name).startswith(f"{split}-"))
    return [f"*/{split}-*.parquet" if deep else f"{split}-*.parquet" for deep in sorted(folders)]


def shard_base(name: str) -> str:
    """`train-00003-00012.parquet`: a data file's name without its folder."""
    return name.rsplit("/", 1)[-1]


def lane_label(split: str, lane: int) -> str:
    """`train-00003`: how the files of a lane begin."""
    return f"{split}-{lane:05d}"


def file_beside(folder: Path) -> list[Path]:
    """What lies beside data and recipe of a mix: its list of exclusions, where it has one, tally and card."""
    return [folder / name for name in (LIST, STATS, CARD) if (folder / name).exists()]


def written_format(summary: Mapping[str, Any]) -> str:
    """The format of a mix, by what its stats.json holds."""
    return str(summary["request"].get("format", "parquet"))


def unexpected_file(folder: Path) -> str | None:
    """What a folder holds that is not ours: the first such name, or None."""
    if not folder.exists():
        return None
    if not folder.is_dir():
        return folder.name
    ours = (WORK_FOLDER, LIST, *RESULT) if (folder / WORK_FOLDER).exists() or is_complete(folder) else ()
    return next((entry.name for entry in sorted(folder.iterdir()) if entry.name not in ours), None)


def is_complete(folder: Path) -> bool:
    """Whether a folder holds a whole mix; the card is moved into place last."""
    return all((folder / name).exists() for name in RESULT)


def is_unfinished(folder: Path) -> str | None:
    """Why a folder is no whole mix, and what to do; None where it is one."""
    missing = [name for name in RESULT if not (folder / name).exists()]
    if not missing:
        return None
    if not folder.is_dir():
        found = "is a file" if folder.exists() else "is not there"
        return f"{folder} {found}; expected the folder of a written mix. Give the one that `smollm3-mix write` made."
    if len(missing) == len(RESULT) and not (folder / WORK_FOLDER).exists():
        return f"{folder} is no written mix: it has no {missing[0]}. Give a folder that `smollm3-mix write` made."
    return f"{folder} is no finished mix: it has no {missing[0]}. Run `smollm3-mix write` again to finish it."


def publish_files(folder: Path) -> None:
    """Move a finished result out of the work folder. Repeated after a kill, it goes on."""
    work = folder / WORK_FOLDER
    for name in (LIST, *RESULT):
        if (work / name).exists():
            os.replace(work / name, folder / name)  # noqa: PTH105 - one call for files and folders


def clear_folder(folder: Path) -> None:
    """Remove the work folder, and the folder itself if nothing else is in it."""
    shutil.rmtree(folder / WORK_FOLDER)
    if not any(folder.iterdir()):
        folder.rmdir()
