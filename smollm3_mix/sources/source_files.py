"""Files of resolved sources, slices of their shards and positions in them. Plain data, no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from smollm3_mix.network.urls import Token
from smollm3_mix.recipe.model import Source
from smollm3_mix.text.exclusion import ExclusionList


class SourceFault(Exception):  # noqa: N818 - internal, users see a SourceError
    """A problem inside a file. The caller that knows source and file turns it into a SourceError."""


class SourceFile(NamedTuple):
    """One shard of a source.

    Attributes:
        path: Value of a record's `file` column: `<repo>@<sha>/<path>`, or `<name in the recipe>/<relative path>`.
        url: Local path or fsspec URL (`hf://datasets/<repo>@<sha>/<path>`) to open.
        size: Bytes on disk, as listed.
        sha256: SHA-256 of the content, if the Hub lists it.
    """

    path: str
    url: str
    size: int
    sha256: str | None = None


class ShardSlice(NamedTuple):
    """The bytes [start, stop) of one shard, start < stop.

    The bytes measure a share of the shard. They are not offsets to read from: `parquet.cut` converts them to rows of
    a Parquet file, and `partition.row_stripe` selects single rows of any other file. Partitioning therefore opens no
    file, and adjacent slices never share or miss a row.

    Attributes:
        file: Index of the shard in the files of its source.
        start: First byte.
        stop: Byte after the last.
    """

    file: int
    start: int
    stop: int


class ReadRequest(NamedTuple):
    """Arguments of a decoder: the rows of a shard slice from a given row on.

    Attributes:
        source: Source in the recipe. Decides which columns are read.
        resolved: Files of the source.
        shard_slice: Slice to read.
        row: First row to read.
        rows: Maximum number of rows in a batch.
        bytes: Approximate maximum of text bytes in a batch.
        token: Hugging Face access token.
        excluded: Documents that must not be emitted.
    """

    source: Source
    resolved: ResolvedSource
    shard_slice: ShardSlice
    row: int
    rows: int
    bytes: int
    token: Token = None
    excluded: ExclusionList | None = None

    @property
    def file(self) -> SourceFile:
        """The shard of the slice."""
        return self.resolved.files[self.shard_slice.file]


class Cursor(NamedTuple):
    """A position in a lane of a source. `Cursor(0, 0)` is the beginning.

    Attributes:
        slice_number: Index of the shard slice in the lane.
        row: First unread row of that slice's file. Rows before the slice are never read, so 0 is its beginning.
    """

    slice_number: int = 0
    row: int = 0


@dataclass(frozen=True)
class ResolvedSource:
    """One source with pinned revision and listed files. Can be pickled and converted to JSON.

    Attributes:
        id: Id of the source in the recipe.
        format: One of parquet, json, csv and arrow.
        revision: Commit, or `files-` and 12 hex digits over the relative paths and sizes of local files.
        files: Shards in listing order.
        delimiter: Column delimiter of CSV files.
    """

    id: str
    format: str
    revision: str
    files: tuple[SourceFile, ...]
    delimiter: str = ","

    @property
    def bytes(self) -> int:
        """Bytes of all shards on disk, before decompression."""
        return sum(file.size for file in self.files)

    def to_dict(self) -> dict[str, Any]:
        """Return the source as plain JSON types."""
        return {
            "id": self.id,
            "format": self.format,
            "revision": self.revision,
            "files": [list(file) for file in self.files],
            "delimiter": self.delimiter,
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> ResolvedSource:
        """Return the source that `to_dict` converted to `plain`."""
        return cls(**{**plain, "files": tuple(SourceFile(*file) for file in plain["files"])})
