"""Find the local folder in which an index is built, and check its content."""

import os
from dataclasses import dataclass
from pathlib import Path

from smollm3_mix.errors import OutputError
from smollm3_mix.sources.dedup_lookup import DROPS, MANIFEST
from smollm3_mix.storage import atomic_files

KEYS = "keys"
"""Folder with the keys that pass one found. Later builds reuse them. Readers of the index do not need it."""


@dataclass(frozen=True)
class IndexTarget:
    """Location of an index that is built.

    Attributes:
        folder: Local folder in which the index is built.
        flag: Flag of the command line that names the folder.
        url: URL to which the finished index is copied. None if the folder is the output.
    """

    folder: Path
    flag: str
    url: str | None


def index_target(output_dir: str | os.PathLike[str], work_dir: str | os.PathLike[str] | None) -> IndexTarget:
    """Return the target of a build.

    Raises:
        OutputError: If a URL has no `work_dir`, a folder has one, or the folder contains something else.
    """
    location = os.fspath(output_dir)
    url = location.rstrip("/") if "://" in location else None
    if url is None and work_dir is not None:
        raise OutputError(
            f"--output-dir {location} is a folder, in which the index is built. "
            "--work-dir (work_dir=) is only for a URL. Leave it out."
        )
    if url is not None and work_dir is None:
        raise OutputError(
            f"{location}: an index is built in a local folder, then copied to the URL. "
            "Name a folder, which later builds reuse, with --work-dir DIR (work_dir=)."
        )
    flag = "--output-dir" if url is None else "--work-dir"
    folder = Path(location if work_dir is None else work_dir)
    _check_content(folder, flag)
    return IndexTarget(folder, flag, url)


def _check_content(folder: Path, flag: str) -> None:
    """Raise OutputError unless a folder is new, empty, or has a finished or unfinished index."""
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file. Choose a new or empty folder with {flag}.")
    expected = {MANIFEST, DROPS, KEYS, atomic_files.WORK_FOLDER}
    unexpected = sorted(path.name for path in folder.iterdir() if path.name not in expected) if folder.exists() else []
    if unexpected:
        raise OutputError(
            f"{folder} contains {unexpected[0]!r}, which is not part of an index. "
            f"Choose a new or empty folder with {flag}."
        )
