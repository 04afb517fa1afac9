"""One writer for each folder."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from smollm3_mix.errors import OutputError
from smollm3_mix.storage.atomic_files import WORK_FOLDER


@contextmanager
def folder_lock(
    folder: Path, flag: str = "--output-dir", *, name: str = "lock", shared: bool = False, wait: float = 0
) -> Iterator[Path]:
    """The work folder, held by this process alone until the block ends, however it ends.

    `name` is the file below the work folder that is held: of a lane, say. A `shared` hold goes beside others of its
    kind, and beside no other. `wait` is the seconds until another holder is an error.

    SQLite's file lock is the one in the standard library that works on every platform and dies with its process.

    Raises:
        OutputError: another writer holds it, or it cannot be made.
    """
    work = folder / WORK_FOLDER
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
