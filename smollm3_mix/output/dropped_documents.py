"""The dropped documents of a mix, kept to be looked at: Parquet parts beside those of the mix, one for one.

A part is written while its lane's part is, a row group at a time, and is whole before the state that counts both is
saved. So a resumed write drops the same rows into the same files. All parts lie in the work folder of the mix until it
is finished; then they are moved to the folder that was asked for.
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
"""Where parts are in the work folder."""

GROUP_BYTES = 16 << 20
GROUP_ROWS = 16_384
"""A row group ends with the block of rows that reaches either."""

_PART = re.compile(r"(train|validation)-\d{5}-\d{5}\.parquet(\.tmp)?")


class DroppedShards:
    """The dropped rows of one lane on their way to disk; holds at most a row group and a block of them."""

    def __init__(self) -> None:
        self._path: Path | None = None
        self._table: Table | None = None
        self._held: list[pa.RecordBatch] = []
        self._rows = self._size = 0

    def begin(self, path: Path) -> None:
        """What comes from now on goes into this part, unless nothing comes."""
        self._path = path

    def add(self, batch: pa.RecordBatch) -> None:
        """Take some dropped rows, columns of schema.DROPPED."""
        if not batch.num_rows:  # all of a block's drops may be the other split's
            return
        self._held.append(batch)
        self._rows += batch.num_rows
        self._size += pc.sum(pc.binary_length(batch["text"])).as_py() or 0
        if self._size >= GROUP_BYTES or self._rows >= GROUP_ROWS:
            self._flush()

    def end(self) -> None:
        """The part is whole and on disk under its own name, if anything came."""
        self._flush()
        if self._table is not None:
            self._table.close()
            self._table = None

    def close(self) -> None:
        """Give up a part that was begun and not ended; it is written again by whoever goes on."""
        if self._table is not None:
            self._table.abandon()
            self._table = None

    def _flush(self) -> None:
        if not self._held or self._path is None:
            return
        if self._table is None:
            self._table = Table(self._path, DROPPED_SCHEMA)
        self._table.add(pa.Table.from_batches(self._held).combine_chunks())
        self._held, self._rows, self._size = [], 0, 0


def check(dropped: Path, folder: Path, *, begun: bool) -> None:
    """Nothing, where the dropped documents of the mix in `folder` may go to `dropped`.

    Args:
        dropped: where they are to go.
        folder: where the mix goes.
        begun: the same mix was begun before, so parts of it may be there.

    Raises:
        OutputError: they may not.
    """
    one, other = dropped.resolve(), folder.resolve()
    if one == other or one in other.parents or other in one.parents:
        raise OutputError(
            f"the dropped documents cannot go to {dropped}: it and {folder}, where the mix goes, lie in each other. "
            "Choose a folder beside it with --keep-dropped."
        )
    if dropped.exists() and not dropped.is_dir():
        raise OutputError(f"{dropped} is no folder. Choose a new or empty one with --keep-dropped.")
    for path in sorted(dropped.iterdir()) if dropped.exists() else ():
        if not (begun and _PART.fullmatch(path.name)):
            raise OutputError(f"{dropped} holds {path.name!r}. Choose a new or empty folder with --keep-dropped.")


def publish(work: Path, dropped: Path) -> None:
    """Move all parts out of the work folder. Repeated after a kill, it goes on."""
    dropped.mkdir(parents=True, exist_ok=True)
    for path in sorted((work / FOLDER).glob("*.parquet")):
        _move(path, dropped / path.name)


def _move(path: Path, to: Path) -> None:
    """The file at its new place, never seen half-copied."""
    try:
        path.replace(to)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        aside = AtomicFile(to)  # on another disk
        with path.open("rb") as source, aside.file:
            shutil.copyfileobj(source, aside.file)
            aside.keep()
        path.unlink()
