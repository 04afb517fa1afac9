"""Read one source in one lane, block by block, from any position."""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from smollm3_mix.errors import SourceError
from smollm3_mix.network.urls import Token
from smollm3_mix.recipe.model import Block, Source
from smollm3_mix.sources.dedup_lookup import DedupIndex
from smollm3_mix.sources.formats import csv_and_arrow, json_lines, parquet
from smollm3_mix.sources.formats.byte_ranges import failure_reason, local_path, read_errors
from smollm3_mix.sources.software_heritage import contents
from smollm3_mix.sources.source_files import Cursor, ReadRequest, ResolvedSource, ShardSlice, SourceFault, SourceFile
from smollm3_mix.text.dedup.duplicate_rows import DuplicateRows
from smollm3_mix.text.exclusion import ExclusionList
from smollm3_mix.text.lengths import byte_lengths

Decoder = Callable[[ReadRequest], Iterator[pa.RecordBatch]]

DECODERS: dict[str, Decoder] = {
    "parquet": parquet.read,
    "json": json_lines.read,
    "csv": csv_and_arrow.read_csv,
    "arrow": csv_and_arrow.read_arrow,
}

DUPLICATES = (None, "duplicate", "near_duplicate")
"""Reasons by the codes of `DuplicateRows.codes`."""

IDLE_BYTES = 1 << 26
"""Bytes of row groups that all idle Parquet readers may keep together. A reader over the limit rereads from its
cursor."""


@dataclass(frozen=True)
class RawBlock:
    """Consecutive rows of one file in one lane, as stored in the source. A block has n rows, n ≥ 1.

    Attributes:
        texts: pa.StringArray[n]. Null exactly where `reasons` is not null.
        reasons: pa.StringArray[n]: `where`, `excluded`, `invalid_utf8`, `not_text`, `blob_missing`, `undecodable`, and
            with a dedup index also `duplicate` and `near_duplicate`. Null where a row has a text.
        ids: pa.StringArray[n], ids of the source. None if the source has none.
        meta: pa.StringArray[n], kept columns as JSON objects. None if no column is kept.
        tokens: pa.Int64Array[n], counts of `tokens_field`. None if the source names no such field.
        stored: pa.StructArray[n] of column_binding.STORED for `content: records`, else None.
        file: Path of the shard, for the record.
        rows: int64[n], ascending row numbers in the shard.
        start: Position of the block.
        next: Position after the block.
        bytes: UTF-8 bytes of all texts, those of duplicates included.
    """

    texts: pa.StringArray
    reasons: pa.StringArray
    ids: pa.StringArray | None
    meta: pa.StringArray | None
    tokens: pa.Int64Array | None
    stored: pa.StructArray | None
    file: str
    rows: npt.NDArray[np.int64]
    start: Cursor
    next: Cursor
    bytes: int


class Reader:
    """Blocks of one source in one lane. Keeps no file open between reads. Not thread-safe.

    A block ends with the row that fills `block.rows` rows or `block.bytes` bytes of text, or with its slice. For
    `content: swh` the bytes are those listed. Blocks therefore depend on the rows of the source and on the position at
    which reading began. They do not depend on row groups, compression or buffer sizes.

    Args:
        source: Source in the recipe.
        resolved: Files of the source.
        slices: Shard slices of the lane, from `partition_source`.
        block: Block size of the recipe.
        token: Hugging Face access token. Defaults to the saved login or `HF_TOKEN`.
        excluded: Documents that must not be emitted.
        dedup_index: Dedup index. Its duplicates are dropped before cleaning and filtering, which happened when the
            index
            was built.
    """

    def __init__(  # noqa: PLR0917 - in the order of a resolved recipe
        self,
        source: Source,
        resolved: ResolvedSource,
        slices: tuple[ShardSlice, ...],
        block: Block,
        token: Token = None,
        excluded: ExclusionList | None = None,
        dedup_index: DedupIndex | None = None,
    ) -> None:
        self.source, self.resolved, self.slices, self.block = source, resolved, tuple(slices), block
        self.cursor = Cursor()
        self._token, self._excluded, self._dedup_index = token, excluded, dedup_index
        self._decoding: Iterator[pa.RecordBatch] | None = None
        self._pending: list[pa.RecordBatch] = []
        self._contents = contents.Contents() if source.content == "swh" else None
        self._busy = threading.Lock()
        self.held_bytes = 0  # approximate bytes kept until the next read

    def read(self) -> RawBlock | None:
        """Return the next block, or None at the end of the lane.

        Raises:
            SourceError: If a file cannot be read. The message names source, file and remedy.
        """
        try:
            with self._busy:
                return self._next()
        finally:
            _touch(self)  # after the read, because a busy reader cannot be released

    @property
    def remote(self) -> bool:
        """True if reads go over the network."""
        return self._contents is not None or any(local_path(file) is None for file in self.resolved.files[:1])

    @property
    def seekable(self) -> bool:
        """True if seeking back costs at most a row group. Sequential files are read again from their beginning."""
        return self.resolved.format == "parquet"

    def seek(self, cursor: Cursor) -> None:
        """Continue at a cursor of this lane: `Cursor()`, a block's `start` or `next`, or any row in between."""
        with self._busy:
            self._drop()
            self.cursor = Cursor(*cursor)

    def close(self) -> None:
        """Free all buffers. Reading can continue at the cursor."""
        with self._busy:
            self._drop()

    def release(self) -> bool:
        """Free all buffers and return True. Do nothing during a read, and for files that are costly to reopen."""
        if not self.seekable or not self._busy.acquire(blocking=False):
            return False
        try:
            self._drop()
        finally:
            self._busy.release()
        return True

    def _next(self) -> RawBlock | None:
        while self.cursor.slice_number < len(self.slices):
            taken = self._take()
            if taken:
                return self._block(taken)
            self._drop()
            self.cursor = Cursor(self.cursor.slice_number + 1, 0)
        return None

    def _drop(self) -> None:
        self._decoding, self._pending, self.held_bytes = None, [], 0
        if self._contents is not None:
            self._contents.forget()

    def _take(self) -> list[pa.RecordBatch]:
        """Return the rows of the next block, an empty list at the end of the slice."""
        taken: list[pa.RecordBatch] = []
        rows, size = self.block.rows, self.block.bytes
        while rows > 0 and size > 0:
            batch = self._pending.pop() if self._pending else self._decode()
            if batch is None:
                break
            lengths = byte_lengths if self._contents is None else contents.lengths
            count, bytes_ = _fill(lengths(batch.column(0)), rows, size)
            if count < len(batch):
                self._pending.append(batch.slice(count))
            taken.append(batch.slice(0, count))
            rows, size = rows - count, size - bytes_
        return taken

    def _decode(self) -> pa.RecordBatch | None:
        """Return the next nonempty batch of rows of the slice, None at its end."""
        shard_slice = self.slices[self.cursor.slice_number]
        file = self.resolved.files[shard_slice.file]
        with self._add_context(file):
            if self._decoding is None:
                decoder = DECODERS[self.resolved.format]
                self._decoding = decoder(
                    ReadRequest(
                        self.source,
                        self.resolved,
                        shard_slice,
                        self.cursor.row,
                        self.block.rows,
                        self.block.bytes,
                        self._token,
                        self._excluded,
                    )
                )
                if self.seekable:
                    self.held_bytes = parquet.held_bytes(self.source, file, self._token)
                if self._contents is not None:
                    self._decoding = self._contents.ahead(self._decoding, self.block.rows, self.block.bytes)
                    self.held_bytes += contents.AHEAD_BYTES
            return next(self._decoding, None)

    @contextlib.contextmanager
    def _add_context(self, file: SourceFile) -> Iterator[None]:
        """Add source and file to errors of the body, and drop what was begun, which would otherwise look exhausted."""
        try:
            yield
        except SourceFault as problem:
            self._drop()
            raise SourceError(f"source {self.source.id!r}: {file.path}: {problem}") from problem
        except read_errors() as error:
            self._drop()
            raise SourceError(f"source {self.source.id!r}: {file.path} {failure_reason(error, file)}") from error

    def _block(self, taken: list[pa.RecordBatch]) -> RawBlock:
        start, file = self.cursor, self.resolved.files[self.slices[self.cursor.slice_number].file]
        # The empty batch forces a copy of a single batch, so that a block keeps no memory of its neighbors alive.
        batch = pa.Table.from_batches([*taken, taken[0].slice(0, 0)]).combine_chunks().to_batches()[0]
        texts, reasons, ids, meta, rows, tokens, stored = batch.columns
        if self._contents is not None:
            with self._add_context(file):
                texts, reasons = self._contents.texts(texts, reasons)
        numbers = rows.to_numpy()
        size = int(byte_lengths(texts).sum())
        if self._dedup_index is not None:
            texts, reasons = _mark_duplicates(self._dedup_index.of(self.source.id, file.path), texts, reasons, numbers)
        self.cursor = Cursor(start.slice_number, int(numbers[-1]) + 1)
        return RawBlock(
            texts=texts,
            reasons=reasons,
            ids=ids if ids.null_count < len(ids) else None,
            meta=meta if meta.null_count < len(meta) else None,
            tokens=tokens if self.source.tokens_field else None,
            stored=stored if self.source.content == "records" else None,
            file=file.path,
            rows=numbers,
            start=start,
            next=self.cursor,
            bytes=size,
        )


def _mark_duplicates(
    drops: DuplicateRows | None, texts: pa.StringArray, reasons: pa.StringArray, rows: npt.NDArray[np.int64]
) -> tuple[pa.StringArray, pa.StringArray]:
    """Remove the texts of duplicates and set their reasons. Existing reasons stay."""
    codes = None if drops is None else drops.codes(rows)
    if codes is None or not codes.any():
        return texts, reasons
    reasons = pc.coalesce(reasons, pa.array(DUPLICATES, pa.string()).take(pa.array(codes)))
    return pc.if_else(pa.array(codes == 0), texts, pa.scalar(None, pa.string())), reasons


_idle_readers: OrderedDict[int, weakref.ref[Reader]] = OrderedDict()
_lock = threading.Lock()


def _touch(reader: Reader) -> None:
    """Mark a reader as the last used. Release the longest idle ones while all together exceed IDLE_BYTES."""
    if not reader.seekable:
        return
    with _lock:
        _idle_readers.pop(id(reader), None)
        _idle_readers[id(reader)] = weakref.ref(reader)
        known = [(key, ref()) for key, ref in _idle_readers.items()]
        total = sum(idle.held_bytes for _, idle in known if idle is not None)
        old = []
        for key, idle in known:
            if idle is not None and (idle is reader or (idle.held_bytes and total <= IDLE_BYTES)):
                continue
            del _idle_readers[key]
            if idle is not None:
                total -= idle.held_bytes
                old.append(idle)
    for idle in old:
        idle.release()


def _fill(lengths: npt.NDArray[np.int64], rows: int, size: int) -> tuple[int, int]:
    """Return how many rows of the given lengths fit a budget of `rows` and `size` bytes, and their bytes of text."""
    filled = np.cumsum(lengths[:rows])
    count = min(int(np.searchsorted(filled, size)) + 1, len(filled))
    return count, int(filled[count - 1])
