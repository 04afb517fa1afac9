"""What a report shows of the records themselves, gathered while a written mix is recounted: debts, lengths, examples.

Of a size that does not grow with the mix.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from smollm3_mix.errors import OutputError
from smollm3_mix.recipe.recipe import Recipe
from smollm3_mix.text.dedup.text_hashes import hash_texts

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

POINTS = 512
"""Most points of a lane's curve; when there are more, neighbours are joined."""

HALVES = 64
"""Bins of lengths: bin i holds documents of 2^(i/2) up to 2^((i+1)/2) tokens."""

KEPT, DROPPED = 3, 2
"""Examples of each source; of each source and reason. Those whose text has the least hash: any, but always the same."""

SHOWN = 800
"""Characters of an example that are kept."""


@dataclass(frozen=True)
class Example:
    """A text to be shown.

    Attributes:
        text: its first SHOWN characters.
        length: characters of the whole.
        id, file, row: where it is from.
        reason: why it was dropped; None: it was kept.
    """

    text: str
    length: int
    id: str
    file: str
    row: int
    reason: str | None = None


class Evidence:
    """Debts, lengths and examples of a mix's train split, by source in recipe order.

    Attributes:
        lengths: documents by source and bin of tokens, int64[sources, HALVES].
    """

    def __init__(self, recipe: Recipe) -> None:
        self._shares = np.array(list(recipe.shares.values()))
        self._ids = list(recipe.shares)
        self._curves: dict[str, _Curve] = {}
        self._examples: dict[str, _Least] = {source: _Least(KEPT) for source in self._ids}
        self.lengths = np.zeros((len(self._ids), HALVES), np.int64)

    def add(self, lane: str, batch: pa.RecordBatch, sources: Ints, units: Ints) -> None:
        """Take in the next records of a lane: source number and units of each, int64[n]."""
        if not lane.startswith("train"):
            return
        self._curves.setdefault(lane, _Curve(self._shares)).add(sources, units)
        halves = np.clip((2 * np.log2(np.maximum(batch["tokens"].to_numpy(), 1))).astype(np.int64), 0, HALVES - 1)
        np.add.at(self.lengths, (sources, halves), 1)
        keys = hash_texts(batch["text"])[:, 0]
        for number in np.unique(sources).tolist():
            mine = np.flatnonzero(sources == number)
            self._examples[self._ids[number]].add(batch, mine, keys[mine])

    def discrepancies(self, bins: int) -> tuple[Floats, Floats, Floats]:
        """Units given at the end of each bin, and the least and largest debt in it over all lanes: [bins] and twice
        [sources, bins]; NaN where no lane has a record.
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
        """Kept texts by source."""
        return {source: least.examples() for source, least in self._examples.items()}


class _Curve:
    """Least and largest debt of each source in stretches of one lane; stretches double as the lane goes on."""

    def __init__(self, shares: Floats) -> None:
        self._shares = shares
        self._given = np.zeros(len(shares))
        self._points: list[tuple[float, Floats, Floats]] = []
        self._every = 16
        self.total = 0

    def add(self, sources: Ints, units: Ints) -> None:
        """Count the next records."""
        for start in range(0, len(sources), self._every):
            mine, sizes = sources[start : start + self._every], units[start : start + self._every]
            totals = self.total + np.cumsum(sizes)
            one_hot = np.zeros((len(mine), len(self._shares)))
            one_hot[np.arange(len(mine)), mine] = sizes
            given = self._given + np.cumsum(one_hot, axis=0)
            discrepancy = self._shares * totals[:, None] - given
            self._points.append((float(totals[-1]), discrepancy.min(axis=0), discrepancy.max(axis=0)))
            self.total, self._given = int(totals[-1]), given[-1]
        while len(self._points) > POINTS:
            self._points = [_joined(self._points[at : at + 2]) for at in range(0, len(self._points), 2)]
            self._every = min(self._every * 2, 4096)

    def points(self) -> Iterator[tuple[float, Floats, Floats]]:
        """Units of the lane at the end of each stretch, and the least and largest debt of each source in it."""
        yield from self._points


def _joined(pair: Sequence[tuple[float, Floats, Floats]]) -> tuple[float, Floats, Floats]:
    return (
        pair[-1][0],
        np.minimum.reduce([low for _, low, _ in pair]),
        np.maximum.reduce([high for _, _, high in pair]),
    )


class _Least:
    """The examples with the least keys."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: dict[int, Example] = {}

    def add(self, batch: pa.RecordBatch, places: Ints, keys: npt.NDArray[np.uint64]) -> None:
        largest = max(self._kept) if len(self._kept) == self._most else None
        for at in np.argsort(keys, kind="stable")[: self._most].tolist():
            key = int(keys[at])
            if largest is None or key < largest:
                self._kept[key] = _example(batch, int(places[at]))
        for key in sorted(self._kept)[self._most :]:
            del self._kept[key]

    def examples(self) -> list[Example]:
        return [self._kept[key] for key in sorted(self._kept)]


def _example(batch: pa.RecordBatch, at: int) -> Example:
    text = batch["text"][at].as_py() or ""  # none where the source gave none
    reason = batch["reason"][at].as_py() if "reason" in batch.schema.names else None
    place: dict[str, Any] = {name: batch[name][at].as_py() for name in ("id", "file", "row")}
    return Example(text[:SHOWN], len(text), **place, reason=reason)


_DROPPED = ("text", "source", "id", "file", "row", "reason")


def dropped_examples(folder: Path) -> Mapping[str, list[Example]]:
    """Dropped texts by source, DROPPED of each reason, from the Parquet files in a folder (and those below it).

    Raises:
        OutputError: there are none, or they have no such columns.
    """
    paths = sorted(folder.rglob("*.parquet"))
    if not paths:
        raise OutputError(
            f"{folder} holds no Parquet files of dropped texts. Name the folder that --keep-dropped made."
        )
    least: dict[tuple[str, str], _Least] = {}
    for path in paths:
        with pq.ParquetFile(path) as file:
            missing = [name for name in _DROPPED if name not in file.schema_arrow.names]
            if missing:
                raise OutputError(f"{path} has no column {missing[0]!r}; expected {', '.join(_DROPPED)}.")
            for batch in file.iter_batches(1024, columns=list(_DROPPED)):
                pairs = list(zip(batch["source"].to_pylist(), batch["reason"].to_pylist(), strict=True))
                keys = hash_texts(batch["text"])[:, 0]
                for pair in set(pairs):
                    places = np.array([at for at, other in enumerate(pairs) if other == pair])
                    least.setdefault(pair, _Least(DROPPED)).add(batch, places, keys[places])
    found: dict[str, list[Example]] = {}
    for (source, _), few in sorted(least.items()):
        found.setdefault(source, []).extend(few.examples())
    return found
