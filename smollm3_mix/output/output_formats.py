"""The files that a part of a lane is written as: Parquet, Parquet by source, or the token files of two trainers.

Every file is written aside and gets its own name once it is whole and on disk; a part's main file gets it last.
"""

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from smollm3_mix.schema import RECORD_SCHEMA
from smollm3_mix.storage.atomic_files import AtomicFile, replace_file

FORMATS = ("parquet", "nanotron", "megatron")
"""What `write --format` takes."""

BY_SOURCE = "by-source"
"""The format of `write --by-source`."""

TOKEN_FORMATS = ("nanotron", "megatron")

SOURCE_GROUP = 4 << 20
"""Bytes of text at which a row group of one source ends: a lane may hold as much of every source."""

MEGATRON_MAGIC = b"MMIDIDX\x00\x00"
MEGATRON_CODES = {2: 8, 4: 4}
"""Bytes of a token → Megatron's code of its type: 8 is uint16, 4 is int32 (megatron.core.datasets.indexed_dataset)."""

MEGATRON_SMALL = 65_500
"""Megatron keeps smaller vocabularies in uint16 (DType.optimal_dtype)."""


class Part(Protocol):
    """An open part."""

    def add(self, table: pa.Table) -> None:
        """Write a row group's records, columns of schema.RECORD, and `ids` for token files."""

    def close(self) -> None:
        """Finish all files; when it returns they are on disk under their names."""

    def abandon(self) -> None:
        """Close what is open and give nothing a name."""


class OutputFormat(Protocol):
    """How parts are written. Picklable."""

    @property
    def pending(self) -> bool:
        """Whether documents that were accepted and not given are written too, at the lane's end."""

    def open(self, folder: Path, name: str) -> Part:
        """A new part named `train-00000-00000` in the data folder, or, of tables, in one below it."""


class Table:
    """One Parquet file, a row group for each table; a `Part`."""

    def __init__(self, path: Path, schema: pa.Schema = RECORD_SCHEMA) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._aside = AtomicFile(path)
        self._writer = pq.ParquetWriter(self._aside.file, schema, **parquet_options())

    def add(self, table: pa.Table) -> None:
        """Write a row group."""
        self._writer.write_table(table, row_group_size=table.num_rows)

    def close(self) -> None:
        """Finish the file; it is on disk under its name."""
        self._writer.close()
        self._aside.keep()

    def abandon(self) -> None:
        """Close the file and leave it without its name."""
        try:
            self._writer.close()  # left open, it would be closed at some later time, with the file gone
        finally:
            self._aside.file.close()


@dataclass(frozen=True)
class Tables:
    """Parquet that `load_dataset` opens: data/{name}.parquet, or in a folder below (`layout.folder_of`)."""

    pending: bool = False

    def open(self, folder: Path, name: str) -> Part:
        """See `Form`."""
        return Table(folder / f"{name}.parquet")


@dataclass(frozen=True)
class BySource:
    """Parquet with a folder for each source: data/{number}-{source}/{name}.parquet.

    A lane's documents stand in the order in which the mix lays them, given or not, so that a mix of these files lays
    them in the same order.

    Attributes:
        sources: ids, in recipe order.
    """

    sources: tuple[str, ...]
    pending: bool = True

    def open(self, folder: Path, name: str) -> Part:
        """See `Form`."""
        return _SourceFolders(folder, name, self.sources)


def source_folder(number: int, source: str) -> str:
    """Folder of a source's records: `03-fineweb-edu`."""
    return f"{number:02d}-{re.sub(r'[^A-Za-z0-9._-]+', '-', source)[:80]}"


class _SourceFolders:
    def __init__(self, folder: Path, name: str, sources: Sequence[str]) -> None:
        self._paths = {id_: folder / source_folder(n, id_) / f"{name}.parquet" for n, id_ in enumerate(sources)}
        self._held: dict[str, list[pa.Table]] = {id_: [] for id_ in sources}
        self._bytes = dict.fromkeys(sources, 0)
        self._open: dict[str, Table] = {}

    def add(self, table: pa.Table) -> None:
        for id_ in pc.unique(table["source"]).to_pylist():
            mine = table.filter(pc.equal(table["source"], id_))
            self._held[id_].append(mine)
            self._bytes[id_] += pc.sum(pc.binary_length(mine["text"])).as_py()
            if self._bytes[id_] >= SOURCE_GROUP:
                self._flush(id_)

    def _flush(self, id_: str) -> None:
        if not self._held[id_]:
            return
        if id_ not in self._open:
            self._open[id_] = Table(self._paths[id_])
        self._open[id_].add(pa.concat_tables(self._held[id_]).combine_chunks())
        self._held[id_], self._bytes[id_] = [], 0

    def close(self) -> None:
        for id_ in self._held:
            self._flush(id_)
        for table in self._open.values():
            table.close()

    def abandon(self) -> None:
        for table in self._open.values():
            table.abandon()


@dataclass(frozen=True)
class Tokens:
    """Token files, one document after another: data/{split}/{name}.ds or .bin, with their indexes.

    Attributes:
        format: nanotron (datatrove's `.ds`) or megatron (`.bin` and `.idx`).
        vocab: one more than the largest id.
        tokenizer: its name, for datatrove's metadata.
    """

    format: str
    vocab: int
    tokenizer: str
    pending: bool = False

    @property
    def size(self) -> int:
        """Bytes of a token: 2 where the project's own writer would take 2, else 4."""
        return 2 if self.vocab <= (MEGATRON_SMALL - 1 if self.format == "megatron" else 1 << 16) else 4

    def open(self, folder: Path, name: str) -> Part:
        """See `Form`."""
        return _TokenStream(self, folder / name.split("-", maxsplit=1)[0] / name)


class _TokenStream:
    """Tokens of documents end to end, and where each ends."""

    def __init__(self, form: Tokens, stem: Path) -> None:
        self._form, self._stem = form, stem
        stem.parent.mkdir(parents=True, exist_ok=True)
        self._main = AtomicFile(self._named(".bin" if form.format == "megatron" else ".ds"))
        self._lengths: list[npt.NDArray[np.int64]] = []

    def add(self, table: pa.Table) -> None:
        lists = table["ids"].combine_chunks()
        lists = lists.chunk(0) if isinstance(lists, pa.ChunkedArray) else lists
        edges = lists.offsets.to_numpy()
        values = lists.values.to_numpy()[edges[0] : edges[-1]]
        self._lengths.append(np.diff(edges))
        self._main.file.write(values.astype("<u2" if self._form.size == 2 else "<i4").tobytes())

    def close(self) -> None:
        lengths = np.concatenate([np.empty(0, np.int64), *self._lengths])
        if self._form.format == "megatron":
            replace_file(self._named(".idx"), megatron_index(lengths, self._form.size))
        else:
            replace_file(self._named(".ds.index"), np.cumsum(lengths).astype("<u8").tobytes())
            total = int(lengths.sum())
            note = f"{self._form.tokenizer}|{self._form.size}\n{total}\n{total / 1e6:.2f} million tokens"
            replace_file(self._named(".ds.metadata"), note.encode())
        self._main.keep()

    def abandon(self) -> None:
        self._main.file.close()

    def _named(self, ending: str) -> Path:
        return self._stem.with_name(self._stem.name + ending)


def megatron_index(lengths: npt.NDArray[np.int64], size: int) -> bytes:
    """The `.idx` file of documents of these lengths, each one sequence, tokens of `size` bytes.

    Version 1, little-endian: magic, version (u64), code of the type (u8), sequences (u64), documents + 1 (u64); then
    lengths (i32), byte offsets (i64), and the sequences at which documents begin, with the end (i64). As
    megatron.core.datasets.indexed_dataset writes it.
    """
    count = len(lengths)
    head = MEGATRON_MAGIC + struct.pack("<QBQQ", 1, MEGATRON_CODES[size], count, count + 1)
    offsets = (np.cumsum(lengths) - lengths) * size
    places = np.arange(count + 1)
    return head + b"".join(
        array.astype(kind).tobytes() for array, kind in ((lengths, "<i4"), (offsets, "<i8"), (places, "<i8"))
    )


class Opened:
    """A part that is closed if its block ends well, and abandoned if it does not."""

    def __init__(self, part: Part) -> None:
        self._part = part

    def __enter__(self) -> Part:
        return self._part

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._part.close()
        else:
            self._part.abandon()


def parquet_options() -> dict[str, Any]:
    """How `datasets` writes Parquet: content-defined chunks, so that the Hub stores equal text once, and a page index.

    pyarrow before 21 has no content-defined chunking; the files then hold the same records in other bytes.
    """
    options: dict[str, Any] = {"compression": "zstd", "write_page_index": True}
    if int(pa.__version__.split(".")[0]) >= 21:
        # min, max and normalisation as `datasets` 4 and later set them (config.DEFAULT_CDC_OPTIONS)
        options["use_content_defined_chunking"] = {
            "min_chunk_size": 256 * 1024,
            "max_chunk_size": 1024 * 1024,
            "norm_level": 0,
        }
    return options
