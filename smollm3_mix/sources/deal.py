"""Deals a source's shards to lanes, disjoint and of equal size. Pure: no file is opened."""

from __future__ import annotations

import hashlib
import itertools
import re

import numpy as np
import numpy.typing as npt

from smollm3_mix.sources.plan import Part, Resolved

SNAP = 0.01
"""A cut this near to a shard's edge, in lanes, moves there: a lane's two ends together stay within 2 % of its size."""

WEYL = 2654435769
"""2**32 / golden ratio, odd: row · WEYL mod 2**32 spreads runs of rows evenly over [0, 2**32) (Knuth, TAOCP 3, 6.4)."""


def deal(resolved: Resolved, lanes: int, seed: int, shuffle: bool) -> tuple[tuple[Part, ...], ...]:
    """The parts of each lane, disjoint, together the whole source, each lane within 2 % of an equal share in bytes.

    The shards are laid on one line by size and the line is cut into equal stretches. A shard smaller than a stretch's
    hundredth is never cut. Lanes of a source with fewer rows than lanes can turn out empty when they are read.

    Args:
        resolved: the source.
        lanes: how many, ≥ 1.
        seed: with the source's id fixes the order of the shards when shuffled.
        shuffle: False keeps the listing order.

    Returns:
        lanes tuples of parts, in reading order.
    """
    if lanes < 1:
        raise ValueError(f"lanes must be at least 1, not {lanes}")
    order = [number for number, file in enumerate(resolved.files) if file.size > 0]
    if shuffle:
        order.sort(key=lambda number: _draw(seed, resolved.id, number))
    edges = np.cumsum([0, *(resolved.files[number].size for number in order)], dtype=np.int64)
    cuts = _cuts(edges, lanes)
    dealt = []
    for low, high in itertools.pairwise(cuts):
        first = int(np.searchsorted(edges, low, side="right")) - 1
        parts = []
        while first < len(order) and edges[first] < high:
            base = int(edges[first])
            parts.append(Part(order[first], max(low - base, 0), min(high, int(edges[first + 1])) - base))
            first += 1
        dealt.append(tuple(parts))
    return tuple(dealt)


_NAMED = re.compile(r"-(\d+)-\d+\.parquet$")


def stored_lanes(resolved: Resolved) -> int:
    """Lanes in which the files of `content: records` were stored; 0 where their names do not say a lane."""
    found = [_NAMED.search(file.path) for file in resolved.files]
    return max(int(name[1]) for name in found if name) + 1 if found and all(found) else 0


def stored(resolved: Resolved, lanes: int) -> tuple[tuple[Part, ...], ...]:
    """The parts of each lane of stored records: lane i has the files of the lanes i, i + lanes, i + 2 · lanes and on.

    With as many lanes as were stored, each is what it was. With fewer, whole lanes come one after another.

    Args:
        resolved: files whose names say their lanes (`stored_lanes`).
        lanes: how many, from 1 to as many as were stored.
    """
    dealt: list[list[tuple[int, str, Part]]] = [[] for _ in range(lanes)]
    for number, file in enumerate(resolved.files):
        name = _NAMED.search(file.path)
        lane = int(name[1]) if name else 0
        dealt[lane % lanes].append((lane, file.path, Part(number, 0, file.size)))
    return tuple(tuple(part for _, _, part in sorted(mine)) for mine in dealt)


def _cuts(edges: npt.NDArray[np.int64], lanes: int) -> list[int]:
    """Places of the lanes' ends on the line, snapped to shards' edges that are near."""
    total = int(edges[-1])
    near = SNAP * total / lanes
    cuts = [0]
    for lane in range(1, lanes):
        place = total * lane // lanes
        edge = int(edges[np.abs(edges - place).argmin()])
        cuts.append(max(cuts[-1], edge if abs(edge - place) <= near else place))
    return [*cuts, total]


def _draw(seed: int, source: str, number: int) -> bytes:
    """16 bytes drawn for the shard at this place of the listing, the same on every machine and for every revision."""
    return hashlib.blake2b(f"{seed}\0{source}\0{number}".encode(), digest_size=16).digest()


def stripe(part: Part, size: int, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
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
