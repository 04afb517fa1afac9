"""Reads one source in one lane, block by block, from any place."""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from smollm3_mix.errors import SourceError
from smollm3_mix.network.urls import Token
from smollm3_mix.sources.formats import csv_and_arrow, json_lines, parquet
from smollm3_mix.sources.formats.byte_ranges import broken, failure_reason, local
from smollm3_mix.sources.software_heritage import contents
from smollm3_mix.sources.source_files import Cursor, ReadRequest, ResolvedSource, ShardSlice, SourceFault, SourceFile
from smollm3_mix.text.dedup.duplicate_rows import DuplicateRows
from smollm3_mix.text.lengths import byte_lengths

if TYPE_CHECKING:
    from smollm3_mix.recipe.model import Block, Source
    from smollm3_mix.sources.dedup_lookup import DedupIndex
    from smollm3_mix.text.exclusion import ExclusionList

Decoder = Callable[[ReadRequest], Iterator[pa.RecordBatch]]

DECODERS: dict[str, Decoder] = {
    "parquet": parquet.read,
    "json": json_lines.read,
    "csv": csv_and_arrow.read_csv,
    "arrow": csv_and_arrow.read_arrow,
}

DUPLICATES = (None, "duplicate", "near_duplicate")
"""Reasons by the codes of `dedup.DropSet.codes` and `dedup.Seen.first`."""

HELD = 1 << 26
"""Bytes that idle Parquet readers keep of their row groups, all together; the rest begin at their cursor again."""


@dataclass(frozen=True)
class RawBlock:
    """Consecutive rows of one file in one lane, as they are in the source. n rows, n ≥ 1.

    Attributes:
        texts: pa.StringArray[n]; null exactly where `reasons` is not.
        reasons: pa.StringArray[n]: `where`, `excluded`, `invalid_utf8`, `not_text`, `blob_missing`, `undecodable`, and
            of a dedup index `duplicate`, `near_duplicate`; null where a row has a text.
        ids: pa.StringArray[n], the source's own ids; None if it has none.
        meta: pa.StringArray[n], the kept columns as JSON objects; None if nothing is kept.
        tokens: pa.Int64Array[n], counts of `tokens_field`; None if the source names none.
        stored: pa.StructArray[n] of columns.STORED for `content: records`; None for any other.
        file: path of the shard, for the record.
        rows: int64[n], ascending row numbers in that shard.
        start: where the block begins.
        next: where to go on after it.
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
    """Blocks of one source in one lane. Holds no file open between reads; not for two threads at once.

    A block ends with the row that fills `block.rows` rows or `block.bytes` of text (as listed, for `content: swh`), or
    with its part. So blocks
    depend on the source's rows and the place where reading began alone: not on row groups, compression or how much is
    read at once.

    Args:
        source: of the recipe.
        resolved: its files.
        parts: the lane's share of them, from `deal`.
        block: the recipe's block rule.
        token: for the Hub; None uses the saved login or `HF_TOKEN`.
        excluded: what must not come out.
        dropped: the dedup index; its rows are not cleaned and judged first, as that was done when it was built.
    """

    def __init__(  # noqa: PLR0917 - as a plan has them
        self,
        source: Source,
        resolved: ResolvedSource,
        parts: tuple[ShardSlice, ...],
        block: Block,
        token: Token = None,
        excluded: ExclusionList | None = None,
        dropped: DedupIndex | None = None,
    ) -> None:
        self.source, self.resolved, self.parts, self.block = source, resolved, tuple(parts), block
        self.cursor = Cursor()
        self._token, self._excluded, self._dropped = token, excluded, dropped
        self._decoding: Iterator[pa.RecordBatch] | None = None
        self._held: list[pa.RecordBatch] = []
        self._contents = contents.Contents() if source.content == "swh" else None
        self._busy = threading.Lock()
        self.holds = 0  # about the bytes kept until the next read

    def read(self) -> RawBlock | None:
        """The next block, None at the end of the lane's parts.

        Raises:
            SourceError: a file cannot be read; the message names source, file and what to do.
        """
        try:
            with self._busy:
                return self._next()
        finally:
            _touch(self)  # last: a reader at work cannot rest, and must not be forgotten

    @property
    def remote(self) -> bool:
        """Whether each read is a request over the network."""
        return self._contents is not None or any(local(file) is None for file in self.resolved.files[:1])

    @property
    def seekable(self) -> bool:
        """Whether going back costs no more than a row group; sequential files are read from their beginning."""
        return self.resolved.format == "parquet"

    def seek(self, cursor: Cursor) -> None:
        """Goes on at a cursor of this lane: `Cursor()`, or a block's `start` or `next`, or any row in between."""
        with self._busy:
            self._drop()
            self.cursor = Cursor(*cursor)

    def close(self) -> None:
        """Frees what is held; reading goes on at the cursor all the same."""
        with self._busy:
            self._drop()

    def rest(self) -> bool:
        """Frees what is held, unless a read is under way or to come back would be dear: whether it did."""
        if not self.seekable or not self._busy.acquire(blocking=False):
            return False
        try:
            self._drop()
        finally:
            self._busy.release()
        return True

    def _next(self) -> RawBlock | None:
        while self.cursor.part < len(self.parts):
            taken = self._take()
            if taken:
                return self._block(taken)
            self._drop()
            self.cursor = Cursor(self.cursor.part + 1, 0)
        return None

    def _drop(self) -> None:
        self._decoding, self._held, self.holds = None, [], 0
        if self._contents is not None:
            self._contents.forget()

    def _take(self) -> list[pa.RecordBatch]:
        """The rows of the next block, none at the end of the part."""
        taken: list[pa.RecordBatch] = []
        rows, size = self.block.rows, self.block.bytes
        while rows > 0 and size > 0:
            batch = self._held.pop() if self._held else self._decode()
            if batch is None:
                break
            lengths = byte_lengths if self._contents is None else contents.lengths
            count, bytes_ = _fill(lengths(batch.column(0)), rows, size)
            if count < len(batch):
                self._held.append(batch.slice(count))
            taken.append(batch.slice(0, count))
            rows, size = rows - count, size - bytes_
        return taken

    def _decode(self) -> pa.RecordBatch | None:
        """The next batch (never empty) of the part's rows, None at its end."""
        part = self.parts[self.cursor.part]
        file = self.resolved.files[part.file]
        with self._naming(file):
            if self._decoding is None:
                decoder = DECODERS[self.resolved.format]
                self._decoding = decoder(
                    ReadRequest(
                        self.source,
                        self.resolved,
                        part,
                        self.cursor.row,
                        self.block.rows,
                        self.block.bytes,
                        self._token,
                        self._excluded,
                    )
                )
                if self.seekable:
                    self.holds = parquet.held(self.source, file, self._token)
                if self._contents is not None:
                    self._decoding = self._contents.ahead(self._decoding, self.block.rows, self.block.bytes)
                    self.holds += contents.AHEAD_BYTES
            return next(self._decoding, None)

    @contextlib.contextmanager
    def _naming(self, file: SourceFile) -> Iterator[None]:
        """Errors of what is done in here name source and file; what was begun is dropped, or it would look as ended."""
        try:
            yield
        except SourceFault as fault:
            self._drop()
            raise SourceError(f"source {self.source.id!r}: {file.path}: {fault}") from fault
        except broken() as error:
            self._drop()
            raise SourceError(f"source {self.source.id!r}: {file.path} {failure_reason(error, file)}") from error

    def _block(self, taken: list[pa.RecordBatch]) -> RawBlock:
        start, file = self.cursor, self.resolved.files[self.parts[self.cursor.part].file]
        # With an empty batch beside it a single one is copied too: a block holds no memory of its neighbours.
        batch = pa.Table.from_batches([*taken, taken[0].slice(0, 0)]).combine_chunks().to_batches()[0]
        texts, reasons, ids, meta, rows, tokens, stored = batch.columns
        if self._contents is not None:
            with self._naming(file):
                texts, reasons = self._contents.texts(texts, reasons)
        numbers = rows.to_numpy()
        size = int(byte_lengths(texts).sum())
        if self._dropped is not None:
            texts, reasons = _without(self._dropped.of(self.source.id, file.path), texts, reasons, numbers)
        self.cursor = Cursor(start.part, int(numbers[-1]) + 1)
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


def _without(
    drops: DuplicateRows | None, texts: pa.StringArray, reasons: pa.StringArray, rows: npt.NDArray[np.int64]
) -> tuple[pa.StringArray, pa.StringArray]:
    """Texts and reasons with those of duplicates put in; a reason that is there already stays."""
    codes = None if drops is None else drops.codes(rows)
    if codes is None or not codes.any():
        return texts, reasons
    reasons = pc.coalesce(reasons, pa.array(DUPLICATES, pa.string()).take(pa.array(codes)))
    return pc.if_else(pa.array(codes == 0), texts, pa.scalar(None, pa.string())), reasons


_resting: OrderedDict[int, weakref.ref[Reader]] = OrderedDict()
_lock = threading.Lock()


def _touch(reader: Reader) -> None:
    """Marks a reader as the last used; those idle for longest rest while all together hold more than HELD."""
    if not reader.seekable:
        return
    with _lock:
        _resting.pop(id(reader), None)
        _resting[id(reader)] = weakref.ref(reader)
        known = [(key, ref()) for key, ref in _resting.items()]
        total = sum(idle.holds for _, idle in known if idle is not None)
        old = []
        for key, idle in known:
            if idle is not None and (idle is reader or (idle.holds and total <= HELD)):
                continue
            del _resting[key]
            if idle is not None:
                total -= idle.holds
                old.append(idle)
    for idle in old:
        idle.rest()


def _fill(lengths: npt.NDArray[np.int64], rows: int, size: int) -> tuple[int, int]:
    """How many rows with texts so long go into a block with so much room (rows, bytes), and their bytes of text."""
    filled = np.cumsum(lengths[:rows])
    count = min(int(np.searchsorted(filled, size)) + 1, len(filled))
    return count, int(filled[count - 1])
