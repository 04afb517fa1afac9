"""Deals a source's shards to lanes, disjoint and of equal size. Pure: no file is opened."""

from __future__ import annotations

import functools
import hashlib
import posixpath
import re
from collections.abc import Sequence
from typing import NamedTuple, overload

import numpy as np
import numpy.typing as npt

from smollm3_mix.sources.source_files import ResolvedSource, ShardSlice

SNAP = 0.01
"""A cut this near to a shard's edge, in lanes, moves there: a lane's two ends together stay within 2 % of its size."""

SOURCES = 128
"""Sources whose line of shards is kept for the lanes that are dealt next."""

WEYL = 2654435769
"""2**32 / golden ratio, odd: row · WEYL mod 2**32 spreads runs of rows evenly over [0, 2**32) (Knuth, TAOCP 3, 6.4)."""


class Partition(Sequence[tuple[ShardSlice, ...]]):
    """The parts of each lane, disjoint, together the whole source, each lane within 2 % of an equal share in bytes.

    The shards are laid on one line by size and the line is cut into equal stretches. A shard smaller than a stretch's
    hundredth is never cut. Lanes of a source with fewer rows than lanes can turn out empty when they are read.

    A lane is dealt when it is asked for, and takes as long however many there are.
    """

    def __init__(self, line: _Layout, lanes: int) -> None:
        self._line, self._lanes = line, lanes

    def __len__(self) -> int:
        return self._lanes

    @overload
    def __getitem__(self, lane: int) -> tuple[ShardSlice, ...]: ...

    @overload
    def __getitem__(self, lane: slice) -> list[tuple[ShardSlice, ...]]: ...

    def __getitem__(self, lane: int | slice) -> tuple[ShardSlice, ...] | list[tuple[ShardSlice, ...]]:
        """The parts of a lane in reading order."""
        if isinstance(lane, slice):
            return [self[number] for number in range(*lane.indices(self._lanes))]
        if not 0 <= lane < self._lanes:
            raise IndexError(f"there is no lane {lane} of {self._lanes}")
        order, edges = self._line
        low, high = self._cut(lane), self._cut(lane + 1)
        first = int(np.searchsorted(edges, low, side="right")) - 1
        parts = []
        while low < high and first < len(order) and edges[first] < high:
            base = int(edges[first])
            parts.append(ShardSlice(order[first], max(low - base, 0), min(high, int(edges[first + 1])) - base))
            first += 1
        return tuple(parts)

    def _cut(self, lane: int) -> int:
        """Place on the line where a lane begins, snapped to a shard's edge that is near.

        Such an edge is never past the next lane's: both lie within a hundredth of a stretch of where they would be.
        """
        edges = self._line.edges
        total = int(edges[-1])
        place = total * lane // self._lanes
        above = int(np.searchsorted(edges, place))
        edge = min((int(edges[n]) for n in (above - 1, above) if n >= 0), key=lambda each: abs(each - place))
        return edge if abs(edge - place) <= SNAP * total / self._lanes else place


def partition_source(resolved: ResolvedSource, lanes: int, seed: int, shuffle: bool) -> Partition:
    """The parts of each lane.

    Args:
        resolved: the source.
        lanes: how many, ≥ 1.
        seed: with the source's id fixes the order of the shards when shuffled.
        shuffle: False keeps the listing order.
    """
    if lanes < 1:
        raise ValueError(f"lanes must be at least 1, not {lanes}")
    return Partition(_layout(_This(resolved), seed if shuffle else None), lanes)


class _This:
    """A source as a key: the object itself, as whether two are equal takes long to say where there are many files."""

    def __init__(self, resolved: ResolvedSource) -> None:
        self.resolved = resolved

    def __hash__(self) -> int:
        return id(self.resolved)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _This) and self.resolved is other.resolved


class _Layout(NamedTuple):
    """The shards on one line: their numbers in order, and int64[shards + 1], where each begins and the last ends."""

    order: list[int]
    edges: npt.NDArray[np.int64]


@functools.lru_cache(maxsize=SOURCES)
def _layout(this: _This, seed: int | None) -> _Layout:
    files, id_ = this.resolved.files, this.resolved.id
    order = [number for number, file in enumerate(files) if file.size > 0]
    if seed is not None:
        order.sort(key=lambda number: _draw(seed, id_, number))
    return _Layout(order, np.cumsum([0, *(files[number].size for number in order)], dtype=np.int64))


_NAMED = re.compile(r"-(\d+)-\d+\.parquet$")


def count_stored_lanes(resolved: ResolvedSource) -> int:
    """Lanes in which the files of `content: records` were stored; 0 where their names do not say a lane."""
    found = [_NAMED.search(file.path) for file in resolved.files]
    return max(int(name[1]) for name in found if name) + 1 if found and all(found) else 0


def partition_stored_source(resolved: ResolvedSource, lanes: int) -> tuple[tuple[ShardSlice, ...], ...]:
    """The parts of each lane of stored records: lane i has the files of the lanes i, i + lanes, i + 2 · lanes and on.

    With as many lanes as were stored, each is what it was. With fewer, whole lanes come one after another.

    Args:
        resolved: files whose names say their lanes (`stored_lanes`).
        lanes: how many, from 1 to as many as were stored.
    """
    return _stored(_This(resolved), lanes)


@functools.lru_cache(maxsize=SOURCES)
def _stored(this: _This, lanes: int) -> tuple[tuple[ShardSlice, ...], ...]:
    dealt: list[list[tuple[int, str, ShardSlice]]] = [[] for _ in range(lanes)]
    for number, file in enumerate(this.resolved.files):
        name = _NAMED.search(file.path)
        lane = int(name[1]) if name else 0
        named = posixpath.basename(file.path)  # of a large mix, the later parts of a lane are in folders
        dealt[lane % lanes].append((lane, named, ShardSlice(number, 0, file.size)))
    return tuple(tuple(part for _, _, part in sorted(mine)) for mine in dealt)


def _draw(seed: int, source: str, number: int) -> bytes:
    """16 bytes drawn for the shard at this place of the listing, the same on every machine and for every revision."""
    return hashlib.blake2b(f"{seed}\0{source}\0{number}".encode(), digest_size=16).digest()


def row_stripe(part: ShardSlice, size: int, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Which rows of a sequential file belong to a part.

    Row r lies at (r · WEYL mod 2**32) / 2**32 of the file, and the part has the rows that lie in [start, stop) /
    size. Every run of rows is dealt in proportion, give or take a row or two, so each lane gets its share of short
    files too.

    Args:
        part: of a file of `size` bytes.
        size: bytes.
        rows: int64[n], row numbers.

    Returns:
        bool[n].
    """
    place = (rows.astype(np.uint64) * np.uint64(WEYL)) & np.uint64(0xFFFFFFFF)
    low, high = (part.start << 32) // size, (part.stop << 32) // size
    return np.asarray((place >= np.uint64(low)) & (place < np.uint64(high)))
