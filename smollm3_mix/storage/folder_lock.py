"""Lock a folder for one writer."""

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
    """Lock the work folder for this process during the block, and yield the work folder.

    The lock is a SQLite transaction: the lock of the standard library that works on every platform and ends with its
    process.

    Args:
        folder: Folder to lock.
        flag: Flag that messages name.
        name: File of the lock below the work folder, for example of a lane.
        shared: Whether to allow other shared locks at the same time.
        wait: Seconds to wait for another process.

    Raises:
        OutputError: If another process has the lock, or it cannot be made.
    """
    work = folder / WORK_FOLDER
    try:
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        lock = sqlite3.connect(work / name, timeout=wait, isolation_level=None)
    except (OSError, sqlite3.Error) as error:
        raise OutputError(f"cannot write in {folder}: {error}. Choose another {flag}.", path=str(folder)) from error
    try:
        try:
            lock.execute("BEGIN" if shared else "BEGIN EXCLUSIVE")
            if shared:  # a deferred transaction takes its lock at the first read
                lock.execute("SELECT * FROM sqlite_master").fetchall()
        except sqlite3.OperationalError as error:
            locked = folder if name == "lock" else f"{Path(name).name} of {folder}"
            raise OutputError(
                f"{locked} is locked by another process ({error}). Wait for it to finish, or choose another {flag}.",
                path=str(folder),
            ) from error
        yield work
    finally:
        lock.close()
