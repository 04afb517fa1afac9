"""Interleaving modes: which source the next document comes from.

All modes share one interface. `Exact` merges the sources by virtual time: after every document, each source's share is
within a bound of its target. `Iid` draws a source for each document, like `datasets.interleave_datasets`.
`Concatenation` reads one source after the other. A mode is told which documents each source has (`place`), returns the
sources of all documents that can be emitted (`ready`), and names the source to read next when there are none
(`next_source`). Modes read no files and keep no random generator.
"""

import hashlib
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_DRAWS = 4096  # draws that `Iid` processes at once, without an effect on the order


def stream_key(*names: object) -> tuple[int, int]:
    """Return a 128-bit key for `uniforms`. Names with equal `repr` have the same key on every machine."""
    digest = hashlib.blake2b(repr(names).encode(), digest_size=16).digest()
    return int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little")


def uniforms(key: tuple[int, int], start: int, count: int) -> Floats:
    """Return numbers `start` to `start + count` of the key's infinite sequence of uniform numbers in [0, 1).

    Counter-based (Philox 4x64, Salmon et al. 2011): any range is computed directly, so there is no state to save.

    Returns:
        float64[count].
    """
    offset = start % 4  # one counter value gives four numbers
    raw = np.random.Philox(key=np.array(key, dtype=np.uint64), counter=start // 4).random_raw(count + offset)
    return np.asarray((raw[offset:] >> np.uint64(11)) * 2.0**-53, dtype=np.float64)


def permutation(key: tuple[int, int], count: int) -> Ints:
    """Return a random order of range(count), int64[count]. The same key gives the same order on every machine."""
    return np.argsort(uniforms(key, 0, count), kind="stable").astype(np.int64)


def positions(units: Ints, before: int, ordinal: int, share: float, key: tuple[int, int]) -> Floats:
    """Return the position of each document in virtual time. Positions never decrease.

    Virtual time is the units of a source divided by its share, so that all sources advance at the same rate. A document
    of n units that starts at unit b of its source has the position (b + u·n) / share. The number u in [0, 1) depends
    only on `key` and on the document's ordinal. If all sources are merged by position, each source's share of every
    prefix is within `discrepancy_bound` of its target.

    Args:
        units: Tokens, bytes or ones of each document, int64[rows], each ≥ 1.
        before: Units of this source already placed in this lane.
        ordinal: Documents of this source already placed in this lane.
        share: Normalized weight of the source, 0 < share ≤ 1.
        key: Result of `stream_key`. Decides every u.

    Returns:
        float64[rows].
    """
    ends = before + np.cumsum(units)
    inside = (ends - units + uniforms(key, ordinal, len(units)) * units) / share
    # Rounding must not move a document to its own end, because its position must be below that watermark.
    return np.asarray(np.minimum(inside, np.nextafter(ends / share, 0)), dtype=np.float64)


def discrepancy_bound(shares: Floats, longest: Floats) -> Floats:
    """Return the largest |share × total - emitted| that `Exact` allows after any record.

    At virtual time x, a source has emitted share·x units, plus or minus the document at x, so at most its longest
    document. The total is x, plus or minus the sum of the longest documents of all sources. The bound is therefore
    the source's longest document plus its share of the summed longest documents.

    Args:
        shares: Normalized shares, float64[sources].
        longest: Units of the longest document of each source, float64[sources].

    Returns:
        float64[sources], in units.
    """
    return np.asarray(longest + shares * longest.sum(), dtype=np.float64)


class Order(Protocol):
    """Interface of an interleaving mode. Sources are numbers in recipe order.

    Attributes:
        ended: True at the end of the lane.
    """

    ended: bool

    def place(self, source: int, units: Ints, *, last: bool) -> None:
        """Place the source's next documents. `last` is True if its last pass ends with them."""

    def ready(self) -> Ints:
        """Return the sources of the documents to emit now, in order, int64[n]. They count as emitted.

        If it is empty, a block of `next_source()` must be read.
        """

    def next_source(self) -> int:
        """Return the source to read next when `ready` is empty."""

    def upcoming(self, count: int) -> Ints:
        """Estimate the sources of the next `count` blocks to read, soonest first, int64[at most count].

        The estimate assumes that each block is as large as its source's last block.
        """

    def leave(self, source: int) -> None:
        """Remove a source that has ended. The other sources continue in their proportions."""

    def state(self) -> list[int]:
        """Return the decisions that do not follow from the placed and emitted documents, for `restore`. JSON-able."""

    def restore(self, state: list[int], placed: Sequence[tuple[int, int]]) -> None:
        """Start at a saved state. `placed` has the units and documents of each source before its current block."""

    def skip(self, source: int, count: int) -> None:
        """Skip the source's first `count` documents placed since `restore`, which were emitted before."""


class Exact:
    """Merge by virtual time: shares within a bound after every record. See `positions`.

    Args:
        shares: Normalized weights, float64[sources], each > 0.
        keys: Key of each source's uniform numbers.
    """

    def __init__(self, shares: Floats, keys: Sequence[tuple[int, int]]) -> None:
        self.ended = False
        self._shares = shares
        self._keys = list(keys)
        count = len(shares)
        self._units = [0] * count
        self._documents = [0] * count
        self._watermarks = np.zeros(count)
        self._block_times = np.zeros(count)  # virtual time of each source's last block
        self._pending: list[Floats] = [np.empty(0)] * count

    def place(self, source: int, units: Ints, *, last: bool) -> None:  # noqa: ARG002 - the end of a source needs no notice
        """Place the source's next documents in virtual time."""
        before, ordinal, share = self._units[source], self._documents[source], float(self._shares[source])
        new = positions(units, before, ordinal, share, self._keys[source])
        self._pending[source] = np.concatenate([self._pending[source], new])
        self._units[source] = before + int(units.sum())
        self._documents[source] = ordinal + len(units)
        self._watermarks[source] = self._units[source] / share
        self._block_times[source] = units.sum() / share

    def ready(self) -> Ints:
        """Return the placed documents below the lowest watermark. No unread document can precede them."""
        watermark = self._watermarks.min()
        found, times = [], []
        for source, pending in enumerate(self._pending):
            count = int(np.searchsorted(pending, watermark))
            if count:
                found.append(np.full(count, source))
                times.append(pending[:count])
                self._pending[source] = pending[count:]
        if not found:
            return np.empty(0, np.int64)
        # The sort is stable, so documents at the same position are in recipe order.
        order = np.argsort(np.concatenate(times), kind="stable")
        return np.concatenate(found)[order].astype(np.int64)

    def next_source(self) -> int:
        """Return the source with the lowest watermark, or the first of several in recipe order."""
        return int(np.argmin(self._watermarks))

    def upcoming(self, count: int) -> Ints:
        """Estimate the next blocks from the watermarks."""
        return _upcoming(self._watermarks, self._block_times, count)

    def leave(self, source: int) -> None:
        """Continue without this source. The mix ends when the last source leaves."""
        self._watermarks[source] = np.inf
        self.ended = bool(np.isinf(self._watermarks).all())

    def state(self) -> list[int]:
        """Return an empty list: the placed and emitted documents decide everything."""
        return []

    def restore(self, state: list[int], placed: Sequence[tuple[int, int]]) -> None:  # noqa: ARG002 - see `state`
        """Restore the placed units and documents of each source."""
        for source, (units, documents) in enumerate(placed):
            self._units[source], self._documents[source] = units, documents
            self._watermarks[source] = units / float(self._shares[source])

    def skip(self, source: int, count: int) -> None:
        """Skip documents that were emitted before."""
        self._pending[source] = self._pending[source][count:]


class Iid:
    """One draw per document, the same as `datasets.interleave_datasets(probabilities=shares, seed=seed)`.

    Shares hold for documents and in expectation only. For comparison with mixes made by that function.

    Args:
        shares: Normalized weights, float64[sources].
        seed: Seed of the draws, an int or a sequence of ints, as in `numpy.random.default_rng`.
        stop: End right after the last document of the first source that ends (`first_exhausted`).
        repeat: End right after the last document of the last source that completes its first pass (`all_exhausted`).
    """

    def __init__(self, shares: Floats, seed: int | Sequence[int], *, stop: bool = False, repeat: bool = False) -> None:
        self.ended = False
        cumulated = shares.cumsum()
        self._cumulated = cumulated / cumulated[-1]  # bit for bit the same as numpy's Generator.choice
        self._seed = seed
        self._need = 1 if stop else len(shares) if repeat else 0
        self._next = 0
        self._shares = shares
        self._pending = np.zeros(len(shares), np.int64)
        self._block = np.zeros(len(shares), np.int64)  # documents of each source's last block
        self._last = np.zeros(len(shares), bool)
        self._finished = np.zeros(len(shares), bool)
        self._left = np.zeros(len(shares), bool)

    def _draws(self, count: int) -> Ints:
        bits = np.random.PCG64(np.random.SeedSequence(self._seed))
        bits.advance(self._next)
        drawn = np.random.Generator(bits).random(count)
        return self._cumulated.searchsorted(drawn, side="right").astype(np.int64)

    def place(self, source: int, units: Ints, *, last: bool) -> None:
        """Count the source's next documents."""
        self._pending[source] += len(units)
        self._block[source] = len(units)
        self._last[source] = last

    def ready(self) -> Ints:
        """Return the next draws, up to the first source without a placed document."""
        if self.ended:
            return np.empty(0, np.int64)
        draws = self._draws(_DRAWS)
        rank = _rank(draws, len(self._pending))
        lacking = np.flatnonzero((rank >= self._pending[draws]) & ~self._left[draws])
        end = self._end(draws, rank, int(lacking[0]) if len(lacking) else len(draws))
        self._next += end
        emitted = draws[:end][~self._left[draws[:end]]]
        self._pending -= np.bincount(emitted, minlength=len(self._pending))
        if len(emitted) or end < len(draws):
            return emitted
        return self.ready()  # all draws were of sources that have left

    def _end(self, draws: Ints, rank: Ints, end: int) -> int:
        """Return the number of draws before the mix ends, at most `end`. Marks the passes that end before it."""
        final = self._last[draws] & (rank == self._pending[draws] - 1) & ~self._left[draws]
        for at in np.flatnonzero(final[:end]):
            self._finished[draws[at]] = True
            if self._need and self._finished.sum() >= self._need:
                self.ended = True
                return int(at) + 1
        return end

    def next_source(self) -> int:
        """Return the source of the next draw."""
        return int(self._draws(1)[0])

    def upcoming(self, count: int) -> Ints:
        """Estimate the next blocks from the number of draws that a source's documents last on average."""
        left = np.where(self._left, np.inf, self._pending / self._shares)
        return _upcoming(left, self._block / self._shares, count)

    def leave(self, source: int) -> None:
        """Skip the source's draws from now on. The mix ends when the last source leaves."""
        self._left[source] = True
        self.ended = bool(self._left.all())

    def state(self) -> list[int]:
        """Return the number of draws, then the sources that completed their first pass."""
        return [self._next, *(int(s) for s in np.flatnonzero(self._finished))]

    def restore(self, state: list[int], placed: Sequence[tuple[int, int]]) -> None:  # noqa: ARG002 - draws do not depend on it
        """Restore the number of draws and the completed first passes."""
        self._next = state[0]
        self._finished[state[1:]] = True

    def skip(self, source: int, count: int) -> None:
        """Skip documents that were emitted before."""
        self._pending[source] -= count


class Concatenation:
    """One source after the other, in recipe order. Weights are unused.

    Args:
        count: Number of sources.
    """

    def __init__(self, count: int) -> None:
        self.ended = False
        self._pending = [0] * count
        self._left = [False] * count

    def place(self, source: int, units: Ints, *, last: bool) -> None:  # noqa: ARG002 - only the number of documents matters
        """Count the source's next documents."""
        self._pending[source] += len(units)

    def ready(self) -> Ints:
        """Return all placed documents of the current source."""
        if self.ended:
            return np.empty(0, np.int64)
        source = self.next_source()
        emitted = np.full(self._pending[source], source, dtype=np.int64)
        self._pending[source] = 0
        return emitted

    def next_source(self) -> int:
        """Return the first source that has not ended."""
        return self._left.index(False)

    def upcoming(self, count: int) -> Ints:
        """Return the current source."""
        return np.empty(0, np.int64) if self.ended else np.full(count, self.next_source())

    def leave(self, source: int) -> None:
        """Continue with the next source. The mix ends after the last source."""
        self._left[source] = True
        self.ended = all(self._left)

    def state(self) -> list[int]:
        """Return an empty list: the emitted documents and the ended sources decide everything."""
        return []

    def restore(self, state: list[int], placed: Sequence[tuple[int, int]]) -> None:
        """Restore nothing: see `state`."""

    def skip(self, source: int, count: int) -> None:
        """Skip documents that were emitted before."""
        self._pending[source] -= count


def _upcoming(first: Floats, step: Floats, count: int) -> Ints:
    """Return the sources of the `count` lowest finite times among first[i] + k · step[i], k ≥ 0, in order."""
    times = (first[:, None] + np.maximum(step, 1.0)[:, None] * np.arange(count)).ravel()
    count = min(count, int(np.isfinite(times).sum()))
    least = np.argpartition(times, count - 1)[:count] if 0 < count < len(times) else np.arange(len(times))[:count]
    return (least[np.argsort(times[least], kind="stable")] // (len(times) // len(first))).astype(np.int64)


def _rank(values: Ints, kinds: int) -> Ints:
    """Return the number of equal values before each value, int64[n]."""
    order = np.argsort(values, kind="stable")
    counts = np.bincount(values, minlength=kinds)
    firsts = np.cumsum(counts) - counts
    rank = np.empty(len(values), np.int64)
    rank[order] = np.arange(len(values)) - np.repeat(firsts, counts)
    return rank
