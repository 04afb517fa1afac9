"""Collect discrepancies, lengths and examples for the HTML report while a mix is recounted, in constant memory."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from smollm3_mix.errors import OutputError
from smollm3_mix.recipe.curriculum import AnyRecipe
from smollm3_mix.text.dedup.text_hashes import hash_texts

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

POINTS = 512
"""Maximum number of points of a lane's curve. Neighbors are merged beyond it."""

LENGTH_BINS = 64
"""Number of length bins. Bin i has documents of 2^(i/2) to 2^((i+1)/2) tokens."""

KEPT, DROPPED = 3, 2
"""Number of kept examples per source, and of dropped examples per source and reason.

Examples are the texts with the smallest hashes, so that every run selects the same ones.
"""

EXAMPLE_CHARS = 800
"""Number of characters of an example that are kept."""


@dataclass(frozen=True)
class Example:
    """An example text.

    Attributes:
        text: First EXAMPLE_CHARS characters.
        length: Number of characters of the complete text.
        id, file, row: Provenance.
        reason: Reason of a dropped text. None for a kept text.
    """

    text: str
    length: int
    id: str
    file: str
    row: int
    reason: str | None = None


class Evidence:
    """Discrepancies, lengths and examples of the train split, by source in recipe order.

    Attributes:
        lengths: Number of documents by source and length bin, int64[sources, LENGTH_BINS].
    """

    def __init__(self, recipe: AnyRecipe) -> None:
        self._shares = np.array(list(recipe.shares.values()))
        self._ids = list(recipe.shares)
        self._curves: dict[str, _Curve] = {}
        self._examples: dict[str, _Smallest] = {source: _Smallest(KEPT) for source in self._ids}
        self.lengths = np.zeros((len(self._ids), LENGTH_BINS), np.int64)

    def add(self, lane: str, batch: pa.RecordBatch, sources: Ints, units: Ints) -> None:
        """Add the next records of a lane: source number and units of each, int64[records]."""
        if not lane.startswith("train"):
            return
        self._curves.setdefault(lane, _Curve(self._shares)).add(sources, units)
        bins = np.clip((2 * np.log2(np.maximum(batch["tokens"].to_numpy(), 1))).astype(np.int64), 0, LENGTH_BINS - 1)
        np.add.at(self.lengths, (sources, bins), 1)
        keys = hash_texts(batch["text"])[:, 0]
        for number in np.unique(sources).tolist():
            mine = np.flatnonzero(sources == number)
            self._examples[self._ids[number]].add(batch, mine, keys[mine])

    def discrepancies(self, bins: int) -> tuple[Floats, Floats, Floats]:
        """Return the units at the end of each bin, and the smallest and largest discrepancy in it over all lanes.

        Returns:
            Arrays of shapes [bins], [sources, bins] and [sources, bins]. NaN for bins without a record.
        """
        end = max((curve.total for curve in self._curves.values()), default=0)
        ends = np.linspace(0, end, bins + 1)[1:]
        low, high = (np.full((len(self._ids), bins), np.nan) for _ in range(2))
        for curve in self._curves.values():
            for total, least, most in curve.points():
                at = min(int(total / max(end, 1) * bins), bins - 1)
                low[:, at], high[:, at] = np.fmin(low[:, at], least), np.fmax(high[:, at], most)
        return ends, low, high

    def examples(self) -> dict[str, list[Example]]:
        """Return kept texts by source."""
        return {source: smallest.examples() for source, smallest in self._examples.items()}


class _Curve:
    """Smallest and largest discrepancy of each source in intervals of one lane. Many intervals are merged."""

    def __init__(self, shares: Floats) -> None:
        self._shares = shares
        self._emitted = np.zeros(len(shares))
        self._points: list[tuple[float, Floats, Floats]] = []
        self._every = 16
        self.total = 0

    def add(self, sources: Ints, units: Ints) -> None:
        """Add the next records."""
        for start in range(0, len(sources), self._every):
            mine, sizes = sources[start : start + self._every], units[start : start + self._every]
            totals = self.total + np.cumsum(sizes)
            one_hot = np.zeros((len(mine), len(self._shares)))
            one_hot[np.arange(len(mine)), mine] = sizes
            emitted = self._emitted + np.cumsum(one_hot, axis=0)
            discrepancy = self._shares * totals[:, None] - emitted
            self._points.append((float(totals[-1]), discrepancy.min(axis=0), discrepancy.max(axis=0)))
            self.total, self._emitted = int(totals[-1]), emitted[-1]
        while len(self._points) > POINTS:
            self._points = [_merged(self._points[at : at + 2]) for at in range(0, len(self._points), 2)]
            self._every = min(self._every * 2, 4096)

    def points(self) -> Iterator[tuple[float, Floats, Floats]]:
        """Yield the units at the end of each interval, and each source's smallest and largest discrepancy in it."""
        yield from self._points


def _merged(pair: Sequence[tuple[float, Floats, Floats]]) -> tuple[float, Floats, Floats]:
    return (
        pair[-1][0],
        np.minimum.reduce([low for _, low, _ in pair]),
        np.maximum.reduce([high for _, _, high in pair]),
    )


class _Smallest:
    """The examples with the smallest keys."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._kept: dict[int, Example] = {}

    def add(self, batch: pa.RecordBatch, rows: Ints, keys: npt.NDArray[np.uint64]) -> None:
        largest = max(self._kept) if len(self._kept) == self._count else None
        for at in np.argsort(keys, kind="stable")[: self._count].tolist():
            key = int(keys[at])
            if largest is None or key < largest:
                self._kept[key] = _example(batch, int(rows[at]))
        for key in sorted(self._kept)[self._count :]:
            del self._kept[key]

    def examples(self) -> list[Example]:
        return [self._kept[key] for key in sorted(self._kept)]


def _example(batch: pa.RecordBatch, row: int) -> Example:
    text = batch["text"][row].as_py() or ""  # a source may have no text
    reason = batch["reason"][row].as_py() if "reason" in batch.schema.names else None
    provenance: dict[str, Any] = {name: batch[name][row].as_py() for name in ("id", "file", "row")}
    return Example(text[:EXAMPLE_CHARS], len(text), **provenance, reason=reason)


_DROPPED = ("text", "source", "id", "file", "row", "reason")


def dropped_examples(folder: Path) -> Mapping[str, list[Example]]:
    """Return dropped texts by source, DROPPED per reason, from the Parquet files in and below a folder.

    Raises:
        OutputError: If there are no files, or a column is missing.
    """
    paths = sorted(folder.rglob("*.parquet"))
    if not paths:
        raise OutputError(
            f"{folder} has no Parquet files of dropped documents. Name the folder of `write --keep-dropped`."
        )
    smallest: dict[tuple[str, str], _Smallest] = {}
    for path in paths:
        with pq.ParquetFile(path) as file:
            missing = [name for name in _DROPPED if name not in file.schema_arrow.names]
            if missing:
                raise OutputError(f"{path} has no column {missing[0]!r}, expected {', '.join(_DROPPED)}.")
            for batch in file.iter_batches(1024, columns=list(_DROPPED)):
                pairs = list(zip(batch["source"].to_pylist(), batch["reason"].to_pylist(), strict=True))
                keys = hash_texts(batch["text"])[:, 0]
                for pair in set(pairs):
                    rows = np.array([at for at, other in enumerate(pairs) if other == pair])
                    smallest.setdefault(pair, _Smallest(DROPPED)).add(batch, rows, keys[rows])
    found: dict[str, list[Example]] = {}
    for (source, _), few in sorted(smallest.items()):
        found.setdefault(source, []).extend(few.examples())
    return found
