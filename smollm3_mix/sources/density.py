"""How much text the files of a source hold, and how much of them is read for it, without reading the text."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from smollm3_mix.sources import parquet
from smollm3_mix.sources.columns import bind
from smollm3_mix.sources.local import COMPRESSED
from smollm3_mix.sources.plan import Resolved, Token

if TYPE_CHECKING:
    from smollm3_mix.recipe import Source

SHRUNK = 3.0
"""Bytes of text in a byte of a compressed file where nothing is known: about what gzip and zstd make of text."""


class Density(NamedTuple):
    """About a source's text and files.

    Attributes:
        text: bytes of text in a byte of its files; None for ids of Software Heritage, whose texts are elsewhere.
        read: bytes that are read for a byte of text.
        known: whether these are of a file's footer; else they are taken.
    """

    text: float | None
    read: float
    known: bool


def density(source: Source, resolved: Resolved, token: Token = None) -> Density:
    """Of Parquet by the footer of the first file, which `resolve` has read; of other formats by their names.

    Not promised: that the other files are like the first.
    """
    file = next((file for file in resolved.files if file.size > 0), None)
    if source.content == "swh":
        return Density(None, 1 / SHRUNK, False)
    if file is None or resolved.format != "parquet":
        shrunk = SHRUNK if file is not None and file.path.endswith(COMPRESSED) else 1.0
        return Density(shrunk, 1 / shrunk, False)
    metadata = parquet.footer(file, token)
    text, read = parquet.sizes(metadata, bind(source, metadata.schema.to_arrow_schema().names))
    return Density(text / file.size, read / text, True)
