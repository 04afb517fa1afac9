"""What was found of a recipe's sources: files, pinned revisions, and the parts dealt to lanes. Plain data, no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from smollm3_mix.network.urls import Token

if TYPE_CHECKING:
    from smollm3_mix.recipe.model import Source
    from smollm3_mix.text.exclusion import ExclusionList


class SourceFault(Exception):  # noqa: N818 - half an error
    """What is wrong inside a file; whoever knows source and file makes it a SourceError."""


class SourceFile(NamedTuple):
    """One shard of a source.

    Attributes:
        path: what stands in a record's `file` column: `<repo>@<sha>/<path>`, or `<name in the recipe>/<relative path>`.
        url: what is opened: a local path or an fsspec URL (`hf://datasets/<repo>@<sha>/<path>`).
        size: bytes on disk, as listed.
        sha256: of the content, where the Hub lists it.
    """

    path: str
    url: str
    size: int
    sha256: str | None = None


class ShardSlice(NamedTuple):
    """A share of one shard: the bytes [start, stop) of it, start < stop.

    The bytes are a measure, not a place: a Parquet file is cut at the rows that lie there (see `parquet.cut`), any
    other is dealt row by row (see `deal.stripe`). So dealing opens no file, and parts that touch never share or miss
    a row.
    """

    file: int
    start: int
    stop: int


class ReadRequest(NamedTuple):
    """What a decoder is asked for: the rows of a part from some row on.

    Attributes:
        source: of the recipe; says which columns.
        resolved: its files.
        part: of one of them.
        row: first row wanted.
        rows: most rows of a batch.
        bytes: about the most bytes of text in a batch.
        token: for the Hub.
        excluded: rows that must not come out.
    """

    source: Source
    resolved: ResolvedSource
    part: ShardSlice
    row: int
    rows: int
    bytes: int
    token: Token = None
    excluded: ExclusionList | None = None

    @property
    def file(self) -> SourceFile:
        """The part's file."""
        return self.resolved.files[self.part.file]


class Cursor(NamedTuple):
    """A place in a lane of a source: number of the part, and the first row of that part's file not yet read.

    `Cursor(0, 0)` is the beginning. Rows before the part's first are never read, so row 0 means the part's beginning.
    """

    part: int = 0
    row: int = 0


@dataclass(frozen=True)
class ResolvedSource:
    """One source as it was found, pinned. JSON-able and picklable: whoever holds it need not list anything again.

    Attributes:
        id: the source's id in the recipe.
        format: parquet, json, csv or arrow.
        revision: commit, or `files-` and 12 hex digits over the relative paths and sizes of local files.
        files: in listing order.
        delimiter: of csv.
    """

    id: str
    format: str
    revision: str
    files: tuple[SourceFile, ...]
    delimiter: str = ","

    @property
    def bytes(self) -> int:
        """Bytes of all shards on disk, compressed as they are."""
        return sum(file.size for file in self.files)

    def to_dict(self) -> dict[str, Any]:
        """The same as plain JSON types."""
        return {
            "id": self.id,
            "format": self.format,
            "revision": self.revision,
            "files": [list(file) for file in self.files],
            "delimiter": self.delimiter,
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> ResolvedSource:
        """What `to_dict` was called on."""
        return cls(**{**plain, "files": tuple(SourceFile(*file) for file in plain["files"])})
