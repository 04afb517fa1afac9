"""Write the dropped documents of a mix for inspection, one Parquet shard per shard of the mix.

A shard of dropped documents is complete before the state that counts it is saved, so a resumed write has the same rows
in the same files. All shards are in the work folder until the mix is finished. They are then moved to their folder.
"""

import errno
import re
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from smollm3_mix.errors import OutputError
from smollm3_mix.output.output_formats import Table
from smollm3_mix.schema import DROPPED_SCHEMA
from smollm3_mix.storage.atomic_files import AtomicFile

FOLDER = "dropped"
"""Subfolder of the work folder."""

GROUP_BYTES = 16 << 20
GROUP_ROWS = 16_384
"""A row group ends with the block that reaches either."""

_SHARD = re.compile(r"(train|validation)-\d{5}-\d{5}\.parquet(\.tmp)?")


class DroppedShards:
    """Writer of the dropped rows of one lane. Holds at most a row group and a block in memory."""

    def __init__(self) -> None:
        self._path: Path | None = None
        self._table: Table | None = None
        self._batches: list[pa.RecordBatch] = []
        self._rows = self._size = 0

    def begin(self, path: Path) -> None:
        """Set the path of the next shard. No file is made if no row is added."""
        self._path = path

    def add(self, batch: pa.RecordBatch) -> None:
        """Add dropped rows with the columns of DROPPED_SCHEMA."""
        if not batch.num_rows:  # all dropped rows of a block may belong to the other split
            return
        self._batches.append(batch)
        self._rows += batch.num_rows
        self._size += pc.sum(pc.binary_length(batch["text"])).as_py() or 0
        if self._size >= GROUP_BYTES or self._rows >= GROUP_ROWS:
            self._flush()

    def end(self) -> None:
        """Finish the shard under its final name, if a row was added."""
        self._flush()
        if self._table is not None:
            self._table.close()
            self._table = None

    def close(self) -> None:
        """Abandon an unfinished shard. A resumed write writes it again."""
        if self._table is not None:
            self._table.abandon()
            self._table = None

    def _flush(self) -> None:
        if not self._batches or self._path is None:
            return
        if self._table is None:
            self._table = Table(self._path, DROPPED_SCHEMA)
        self._table.add(pa.Table.from_batches(self._batches).combine_chunks())
        self._batches, self._rows, self._size = [], 0, 0


def check(dropped: Path, folder: Path, *, resumed: bool) -> None:
    """Raise OutputError unless the dropped documents of the mix in `folder` can be written to `dropped`.

    Args:
        dropped: Folder for the dropped documents.
        folder: Folder of the mix.
        resumed: Whether the write is resumed, so that shards of it may exist.
    """
    one, other = dropped.resolve(), folder.resolve()
    if one == other or one in other.parents or other in one.parents:
        raise OutputError(
            f"--keep-dropped {dropped} and --output-dir {folder} are the same folder, or one contains the other. "
            "Choose a separate folder with --keep-dropped.",
            path=str(dropped),
        )
    if dropped.exists() and not dropped.is_dir():
        raise OutputError(
            f"{dropped} is not a folder. Choose a new or empty folder with --keep-dropped.", path=str(dropped)
        )
    for path in sorted(dropped.iterdir()) if dropped.exists() else ():
        if not (resumed and _SHARD.fullmatch(path.name)):
            raise OutputError(
                f"{dropped} contains {path.name!r}. Choose a new or empty folder with --keep-dropped.",
                path=str(dropped),
            )


def publish(work: Path, dropped: Path) -> None:
    """Move all shards out of the work folder. A repeated call continues after a crash."""
    dropped.mkdir(parents=True, exist_ok=True)
    for path in sorted((work / FOLDER).glob("*.parquet")):
        _move(path, dropped / path.name)


def _move(path: Path, to: Path) -> None:
    """Move a file, also to another disk. The new file is never incomplete."""
    try:
        path.replace(to)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        copy = AtomicFile(to)  # on another disk
        with path.open("rb") as source, copy.file:
            shutil.copyfileobj(source, copy.file)
            copy.keep()
        path.unlink()
