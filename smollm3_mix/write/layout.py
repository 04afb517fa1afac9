"""What lies where in a written mix.

While it is written, everything is in `.writing`, which `load_dataset` passes over; a finished mix has no such folder:

    README.md     the card, with `configs:`
    recipe.yaml   the recipe, every source pinned to the revision that was read
    exclude.txt   what the recipe excludes, where it does
    tally.json    counts by source and split, and the files
    data/         {split}-{lane}-{part}.parquet, or the files of another form (`write.forms`); of a large mix the later
                  ones in folders, data/00001/ and on (`folder_of`)
"""

import json
import os
import shutil
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from smollm3_mix.errors import OutputError

WORK = ".writing"
REQUEST = "request.json"
"""In the work folder: what was asked for, and the pinned recipe."""

CARD, RECIPE, TALLY, DATA = "README.md", "recipe.yaml", "tally.json", "data"
LIST = "exclude.txt"
"""The recipe's list of what must not come out, where it has one; verifying a mix does not need it."""

RESULT = (DATA, RECIPE, TALLY, CARD)
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
    folders = dict.fromkeys("/" in name for name in sorted(names) if base(name).startswith(f"{split}-"))
    return [f"*/{split}-*.parquet" if deep else f"{split}-*.parquet" for deep in sorted(folders)]


def base(name: str) -> str:
    """`train-00003-00012.parquet`: a data file's name without its folder."""
    return name.rsplit("/", 1)[-1]


def label(split: str, lane: int) -> str:
    """`train-00003`: how the files of a lane begin."""
    return f"{split}-{lane:05d}"


class Aside:
    """A file written beside its name, which it gets when it is whole and on disk."""

    def __init__(self, path: Path) -> None:
        self._path, self._aside = path, path.with_name(path.name + ".tmp")
        self.file = self._aside.open("wb")

    def keep(self) -> None:
        """Flush the file to disk and name it."""
        self.file.flush()
        os.fsync(self.file.fileno())
        self.file.close()
        self._aside.replace(self._path)


def replace(path: Path, content: bytes) -> None:
    """The file with this content, never seen half-written."""
    aside = Aside(path)
    with aside.file:
        aside.file.write(content)
        aside.keep()


def replace_json(path: Path, value: Any) -> None:
    """The file with this value as JSON, never seen half-written."""
    replace(path, as_json(value))


def as_json(value: Any) -> bytes:
    """The content of a JSON file."""
    return json.dumps(value, ensure_ascii=False, indent=1).encode()


def beside(folder: Path) -> list[Path]:
    """What lies beside data and recipe of a mix: its list of exclusions, where it has one, tally and card."""
    return [folder / name for name in (LIST, TALLY, CARD) if (folder / name).exists()]


def form(summary: Mapping[str, Any]) -> str:
    """The format of a mix, by what its tally.json holds."""
    return str(summary["request"].get("format", "parquet"))


def occupant(folder: Path) -> str | None:
    """What a folder holds that is not ours: the first such name, or None."""
    if not folder.exists():
        return None
    if not folder.is_dir():
        return folder.name
    ours = (WORK, LIST, *RESULT) if (folder / WORK).exists() or complete(folder) else ()
    return next((entry.name for entry in sorted(folder.iterdir()) if entry.name not in ours), None)


def complete(folder: Path) -> bool:
    """Whether a folder holds a whole mix; the card is moved into place last."""
    return all((folder / name).exists() for name in RESULT)


def unfinished(folder: Path) -> str | None:
    """Why a folder is no whole mix, and what to do; None where it is one."""
    missing = [name for name in RESULT if not (folder / name).exists()]
    if not missing:
        return None
    if not folder.is_dir():
        found = "is a file" if folder.exists() else "is not there"
        return f"{folder} {found}; expected the folder of a written mix. Give the one that `smollm3-mix write` made."
    if len(missing) == len(RESULT) and not (folder / WORK).exists():
        return f"{folder} is no written mix: it has no {missing[0]}. Give a folder that `smollm3-mix write` made."
    return f"{folder} is no finished mix: it has no {missing[0]}. Run `smollm3-mix write` again to finish it."


@contextmanager
def locked(
    folder: Path, flag: str = "--output-dir", *, name: str = "lock", shared: bool = False, wait: float = 0
) -> Iterator[Path]:
    """The work folder, held by this process alone until the block ends, however it ends.

    `name` is the file below the work folder that is held: of a lane, say. A `shared` hold goes beside others of its
    kind, and beside no other. `wait` is the seconds until another holder is an error.

    SQLite's file lock is the one in the standard library that works on every platform and dies with its process.

    Raises:
        OutputError: another writer holds it, or it cannot be made.
    """
    work = folder / WORK
    try:
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        lock = sqlite3.connect(work / name, timeout=wait, isolation_level=None)
    except (OSError, sqlite3.Error) as error:
        raise OutputError(f"cannot write in {folder}: {error}. Choose another {flag}.") from error
    try:
        try:
            lock.execute("BEGIN" if shared else "BEGIN EXCLUSIVE")
            if shared:  # a deferred transaction holds nothing before it has read
                lock.execute("SELECT * FROM sqlite_master").fetchall()
        except sqlite3.OperationalError as error:
            whose = folder if name == "lock" else f"{Path(name).name} of {folder}"
            raise OutputError(
                f"{whose} is being written by another process ({error}). Wait for it, or choose another {flag}."
            ) from error
        yield work
    finally:
        lock.close()


def publish(folder: Path) -> None:
    """Move a finished result out of the work folder. Repeated after a kill, it goes on."""
    work = folder / WORK
    for name in (LIST, *RESULT):
        if (work / name).exists():
            os.replace(work / name, folder / name)  # noqa: PTH105 - one call for files and folders


def clear(folder: Path) -> None:
    """Remove the work folder, and the folder itself if nothing else is in it."""
    shutil.rmtree(folder / WORK)
    if not any(folder.iterdir()):
        folder.rmdir()
