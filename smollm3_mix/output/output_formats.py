"""Formats of shards: Parquet, Parquet by source, and the token files of two trainers.

Every file gets its final name after it is complete and on disk. The main file of a shard gets its name last.
"""

import re
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from smollm3_mix.schema import RECORD_SCHEMA
from smollm3_mix.storage.atomic_files import AtomicFile, replace_file

Format: TypeAlias = Literal["parquet", "by-source", "nanotron", "megatron"]
"""Format of a written mix."""

BY_SOURCE = "by-source"
FORMATS = ("parquet", BY_SOURCE, "nanotron", "megatron")

TOKEN_FORMATS = ("nanotron", "megatron")

SOURCE_GROUP = 4 << 20
"""Bytes of text after which a row group of one source ends. A lane may hold as much of every source in memory."""

MEGATRON_MAGIC = b"MMIDIDX\x00\x00"
MEGATRON_CODES = {2: 8, 4: 4}
"""Bytes per token → Megatron's code of the type: 8 is uint16, 4 is int32 (megatron.core.datasets.indexed_dataset)."""

MEGATRON_SMALL = 65_500
"""Megatron stores smaller vocabularies in uint16 (DType.optimal_dtype)."""


class ShardWriter(Protocol):
    """An open shard."""

    def add(self, table: pa.Table) -> None:
        """Write a row group with the columns of RECORD_SCHEMA, and `ids` for token files."""

    def close(self) -> None:
        """Finish all files and give them their final names."""

    def abandon(self) -> None:
        """Close all files without giving them their final names."""


class OutputFormat(Protocol):
    """Format of the shards of a mix. Picklable."""

    @property
    def pending(self) -> bool:
        """Whether to write accepted documents that were not emitted, at the end of the lane."""

    def open(self, folder: Path, name: str) -> ShardWriter:
        """Open a new shard, such as `train-00000-00000`, in the data folder or a subfolder."""


class Table:
    """A `ShardWriter` of one Parquet file. Every table becomes one row group."""

    def __init__(self, path: Path, schema: pa.Schema = RECORD_SCHEMA) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._atomic_file = AtomicFile(path)
        self._writer = pq.ParquetWriter(self._atomic_file.file, schema, **parquet_options())

    def add(self, table: pa.Table) -> None:
        """Write a row group."""
        self._writer.write_table(table, row_group_size=table.num_rows)

    def close(self) -> None:
        """Finish the file and give it its final name."""
        self._writer.close()
        self._atomic_file.keep()

    def abandon(self) -> None:
        """Close the file without giving it its final name."""
        try:
            self._writer.close()  # an open writer would be closed later, after its file is gone
        finally:
            self._atomic_file.file.close()


@dataclass(frozen=True)
class Tables:
    """Parquet for `load_dataset`: data/{name}.parquet, or in a subfolder (`output_layout.shard_folder`)."""

    pending: bool = False

    def open(self, folder: Path, name: str) -> ShardWriter:
        """Open a new shard."""
        return Table(folder / f"{name}.parquet")


@dataclass(frozen=True)
class BySource:
    """Parquet with a folder per source: data/{number}-{source}/{name}.parquet.

    The documents of a lane are in the order in which the mix places them, emitted or not. A mix of these files
    therefore places them in the same order.

    Attributes:
        sources: Source ids in recipe order.
    """

    sources: tuple[str, ...]
    pending: bool = True

    def open(self, folder: Path, name: str) -> ShardWriter:
        """Open a new shard."""
        return _SourceFolders(folder, name, self.sources)


def source_folder(number: int, source: str) -> str:
    """Return the folder of a source's records, such as `03-fineweb-edu`."""
    return f"{number:02d}-{re.sub(r'[^A-Za-z0-9._-]+', '-', source)[:80]}"


class _SourceFolders:
    def __init__(self, folder: Path, name: str, sources: Sequence[str]) -> None:
        self._paths = {id_: folder / source_folder(n, id_) / f"{name}.parquet" for n, id_ in enumerate(sources)}
        self._tables: dict[str, list[pa.Table]] = {id_: [] for id_ in sources}
        self._bytes = dict.fromkeys(sources, 0)
        self._open: dict[str, Table] = {}

    def add(self, table: pa.Table) -> None:
        for id_ in pc.unique(table["source"]).to_pylist():
            own = table.filter(pc.equal(table["source"], id_))
            self._tables[id_].append(own)
            self._bytes[id_] += pc.sum(pc.binary_length(own["text"])).as_py()
            if self._bytes[id_] >= SOURCE_GROUP:
                self._flush(id_)

    def _flush(self, id_: str) -> None:
        if not self._tables[id_]:
            return
        if id_ not in self._open:
            self._open[id_] = Table(self._paths[id_])
        self._open[id_].add(pa.concat_tables(self._tables[id_]).combine_chunks())
        self._tables[id_], self._bytes[id_] = [], 0

    def close(self) -> None:
        for id_ in self._tables:
            self._flush(id_)
        for table in self._open.values():
            table.close()

    def abandon(self) -> None:
        for table in self._open.values():
            table.abandon()


@dataclass(frozen=True)
class Tokens:
    """Token files of consecutive documents: data/{split}/{name}.ds or .bin, with their indexes.

    Attributes:
        format: `"nanotron"` (datatrove's `.ds`) or `"megatron"` (`.bin` and `.idx`).
        vocab: Largest token id plus one.
        tokenizer: Name of the tokenizer, for datatrove's metadata.
    """

    format: str
    vocab: int
    tokenizer: str
    pending: bool = False

    @property
    def size(self) -> int:
        """Bytes per token: 2 if the writer of that format would use 2, else 4."""
        return 2 if self.vocab <= (MEGATRON_SMALL - 1 if self.format == "megatron" else 1 << 16) else 4

    def open(self, folder: Path, name: str) -> ShardWriter:
        """Open a new shard."""
        return _TokenStream(self, folder / name.split("-", maxsplit=1)[0] / name)


class _TokenStream:
    """Consecutive tokens of documents, and the end of each document."""

    def __init__(self, token_format: Tokens, stem: Path) -> None:
        self._format, self._stem = token_format, stem
        stem.parent.mkdir(parents=True, exist_ok=True)
        self._main = AtomicFile(self._named(".bin" if token_format.format == "megatron" else ".ds"))
        self._lengths: list[npt.NDArray[np.int64]] = []

    def add(self, table: pa.Table) -> None:
        lists = table["ids"].combine_chunks()
        lists = lists.chunk(0) if isinstance(lists, pa.ChunkedArray) else lists
        edges = lists.offsets.to_numpy()
        values = lists.values.to_numpy()[edges[0] : edges[-1]]
        self._lengths.append(np.diff(edges))
        self._main.file.write(values.astype("<u2" if self._format.size == 2 else "<i4").tobytes())

    def close(self) -> None:
        lengths = np.concatenate([np.empty(0, np.int64), *self._lengths])
        if self._format.format == "megatron":
            replace_file(self._named(".idx"), megatron_index(lengths, self._format.size))
        else:
            replace_file(self._named(".ds.index"), np.cumsum(lengths).astype("<u8").tobytes())
            total = int(lengths.sum())
            metadata = f"{self._format.tokenizer}|{self._format.size}\n{total}\n{total / 1e6:.2f} million tokens"
            replace_file(self._named(".ds.metadata"), metadata.encode())
        self._main.keep()

    def abandon(self) -> None:
        self._main.file.close()

    def _named(self, ending: str) -> Path:
        return self._stem.with_name(self._stem.name + ending)


def megatron_index(lengths: npt.NDArray[np.int64], size: int) -> bytes:
    """Return the content of an `.idx` file for documents of these lengths. Every document is one sequence.

    Version 1, little-endian: magic, version (u64), code of the type (u8), sequences (u64), documents + 1 (u64), then
    lengths (i32), byte offsets (i64), and the sequences at which documents begin, with the end (i64). The format is
    that of megatron.core.datasets.indexed_dataset.

    Args:
        lengths: int64[documents]. Tokens per document.
        size: Bytes per token.
    """
    count = len(lengths)
    head = MEGATRON_MAGIC + struct.pack("<QBQQ", 1, MEGATRON_CODES[size], count, count + 1)
    offsets = (np.cumsum(lengths) - lengths) * size
    starts = np.arange(count + 1)
    return head + b"".join(
        array.astype(kind).tobytes() for array, kind in ((lengths, "<i4"), (offsets, "<i8"), (starts, "<i8"))
    )


@contextmanager
def closing_shard(shard: ShardWriter) -> Iterator[ShardWriter]:
    """Close the shard after the block, or abandon it after an error."""
    try:
        yield shard
    except BaseException:
        shard.abandon()
        raise
    shard.close()


def parquet_options() -> dict[str, Any]:
    """Return the Parquet options of `datasets`: a page index, and content-defined chunks, which the Hub deduplicates.

    pyarrow before 21 has no content-defined chunking. The files then have the same records in different bytes.
    """
    options: dict[str, Any] = {"compression": "zstd", "write_page_index": True}
    if int(pa.__version__.split(".")[0]) >= 21:
        # sizes and normalization as `datasets` 4 and later set them (config.DEFAULT_CDC_OPTIONS)
        options["use_content_defined_chunking"] = {
            "min_chunk_size": 256 * 1024,
            "max_chunk_size": 1024 * 1024,
            "norm_level": 0,
        }
    return options
