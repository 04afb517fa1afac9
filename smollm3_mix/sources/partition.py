"""Assign shard slices to lanes, disjoint and of equal size. Pure: opens no file."""

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
"""Maximum distance, in lanes, at which a cut moves to a shard's edge.

Both ends of a lane together change its size by at most 2 %."""

CACHED_LAYOUTS = 128
"""Number of sources whose shard layout is cached for the lanes that are requested next."""

WEYL = 2654435769
"""2**32 / golden ratio, odd: row · WEYL mod 2**32 spreads runs of rows evenly over [0, 2**32) (Knuth, TAOCP 3, 6.4)."""


class Partition(Sequence[tuple[ShardSlice, ...]]):
    """The shard slices of each lane, disjoint and equal in bytes within 2 %. Together they are the whole source.

    The shards are placed end to end by size, and cut into stretches of equal bytes. A shard smaller than a hundredth of
    a stretch is never cut. If a source has fewer rows than lanes, some lanes turn out empty when they are read.

    Slices are computed when a lane is accessed, in a time that does not depend on the number of lanes.
    """

    def __init__(self, layout: _Layout, lanes: int) -> None:
        self._layout, self._lanes = layout, lanes

    def __len__(self) -> int:
        return self._lanes

    @overload
    def __getitem__(self, lane: int) -> tuple[ShardSlice, ...]: ...

    @overload
    def __getitem__(self, lane: slice) -> list[tuple[ShardSlice, ...]]: ...

    def __getitem__(self, lane: int | slice) -> tuple[ShardSlice, ...] | list[tuple[ShardSlice, ...]]:
        """Return the slices of a lane in reading order."""
        if isinstance(lane, slice):
            return [self[number] for number in range(*lane.indices(self._lanes))]
        if not 0 <= lane < self._lanes:
            raise IndexError(f"lane must be from 0 to {self._lanes - 1}, got {lane}")
        order, edges = self._layout
        low, high = self._cut(lane), self._cut(lane + 1)
        first = int(np.searchsorted(edges, low, side="right")) - 1
        slices = []
        while low < high and first < len(order) and edges[first] < high:
            base = int(edges[first])
            slices.append(ShardSlice(order[first], max(low - base, 0), min(high, int(edges[first + 1])) - base))
            first += 1
        return tuple(slices)

    def _cut(self, lane: int) -> int:
        """Return the byte at which a lane begins, moved to a shard's edge if one is near.

        The edge is never past that of the next lane, because both moves are at most a hundredth of a stretch.
        """
        edges = self._layout.edges
        total = int(edges[-1])
        cut = total * lane // self._lanes
        above = int(np.searchsorted(edges, cut))
        edge = min((int(edges[n]) for n in (above - 1, above) if n >= 0), key=lambda each: abs(each - cut))
        return edge if abs(edge - cut) <= SNAP * total / self._lanes else cut


def partition_source(resolved: ResolvedSource, lanes: int, seed: int, shuffle: bool) -> Partition:
    """Return the shard slices of each lane.

    Args:
        resolved: Source to partition.
        lanes: Number of lanes, ≥ 1.
        seed: Seed of the order of the shards, combined with the source's id.
        shuffle: False keeps the listing order.
    """
    if lanes < 1:
        raise ValueError(f"lanes must be at least 1, got {lanes}")
    return Partition(_layout(_ByIdentity(resolved), seed if shuffle else None), lanes)


class _ByIdentity:
    """A cache key of a source by object identity. Comparing the file lists of large sources would be slow."""

    def __init__(self, resolved: ResolvedSource) -> None:
        self.resolved = resolved

    def __hash__(self) -> int:
        return id(self.resolved)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ByIdentity) and self.resolved is other.resolved


class _Layout(NamedTuple):
    """The shards end to end: their indexes in order, and int64[shards + 1], the edges between them."""

    order: list[int]
    edges: npt.NDArray[np.int64]


@functools.lru_cache(maxsize=CACHED_LAYOUTS)
def _layout(source: _ByIdentity, seed: int | None) -> _Layout:
    files, id_ = source.resolved.files, source.resolved.id
    order = [number for number, file in enumerate(files) if file.size > 0]
    if seed is not None:
        order.sort(key=lambda number: _draw(seed, id_, number))
    return _Layout(order, np.cumsum([0, *(files[number].size for number in order)], dtype=np.int64))


STORED_NAME = re.compile(r"-(\d+)-\d+\.parquet$")


def count_stored_lanes(resolved: ResolvedSource) -> int:
    """Return the number of lanes of stored records, or 0 if the file names do not contain a lane."""
    found = [STORED_NAME.search(file.path) for file in resolved.files]
    return max(int(name[1]) for name in found if name) + 1 if found and all(found) else 0


def partition_stored_source(resolved: ResolvedSource, lanes: int) -> tuple[tuple[ShardSlice, ...], ...]:
    """Return the shards of each lane of stored records: lane i has those of lanes i, i + lanes, i + 2 · lanes, ….

    With the stored number of lanes, each lane is unchanged. With fewer, complete lanes follow each other.

    Args:
        resolved: Source whose file names contain their lanes, see `count_stored_lanes`.
        lanes: Number of lanes, from 1 to the stored number.
    """
    return _stored(_ByIdentity(resolved), lanes)


@functools.lru_cache(maxsize=CACHED_LAYOUTS)
def _stored(source: _ByIdentity, lanes: int) -> tuple[tuple[ShardSlice, ...], ...]:
    assigned: list[list[tuple[int, str, ShardSlice]]] = [[] for _ in range(lanes)]
    for number, file in enumerate(source.resolved.files):
        name = STORED_NAME.search(file.path)
        lane = int(name[1]) if name else 0
        basename = posixpath.basename(file.path)  # in a large mix, later shards of a lane are in subfolders
        assigned[lane % lanes].append((lane, basename, ShardSlice(number, 0, file.size)))
    return tuple(tuple(shard_slice for _, _, shard_slice in sorted(lane_slices)) for lane_slices in assigned)


def _draw(seed: int, source: str, number: int) -> bytes:
    """Return 16 pseudo-random bytes for a shard by its listing index, the same for every machine and revision."""
    return hashlib.blake2b(f"{seed}\0{source}\0{number}".encode(), digest_size=16).digest()


def row_stripe(shard_slice: ShardSlice, size: int, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Return which rows of a sequential file belong to a shard slice.

    The position of row r is (r · WEYL mod 2**32) / 2**32. A slice has the rows at positions in [start, stop) / size.
    Every run of rows is assigned in proportion, within a row or two, so each lane gets its share of short files too.

    Args:
        shard_slice: Slice of a file of `size` bytes.
        size: Bytes of the file.
        rows: int64[n], row numbers.

    Returns:
        bool[n].
    """
    position = (rows.astype(np.uint64) * np.uint64(WEYL)) & np.uint64(0xFFFFFFFF)
    low, high = (shard_slice.start << 32) // size, (shard_slice.stop << 32) // size
    return np.asarray((position >= np.uint64(low)) & (position < np.uint64(high)))
