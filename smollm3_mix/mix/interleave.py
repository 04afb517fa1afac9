"""The order of a mix: which source gives the next document.

Two orders share one interface, so the mix above does not know which it runs. `Exact` merges stretched lines: every
prefix has the recipe's shares, within a bound. `Iid` draws a source for each document, as
`datasets.interleave_datasets` does. Both are told what each source has laid (`lay`), answer with the sources of all
documents that are safe to give (`ready`), and name the source to read next when there are none (`wanting`). Nothing
here reads a file or keeps a generator's state.
"""

import hashlib
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_DRAWS = 4096  # draws looked at in one go by `Iid`; has no effect on what comes out


def stream_key(*names: object) -> tuple[int, int]:
    """A 128-bit key for `uniforms`, the same on every machine for names of equal `repr`."""
    digest = hashlib.blake2b(repr(names).encode(), digest_size=16).digest()
    return int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little")


def uniforms(key: tuple[int, int], start: int, count: int) -> Floats:
    """Numbers `start` to `start + count` of the key's endless row of uniform numbers in [0, 1), float64[count].

    Counter-based (Philox 4x64, Salmon et al. 2011): any stretch is computed alone, so there is no state to save.
    """
    offset = start % 4  # one counter value gives four numbers
    raw = np.random.Philox(key=np.array(key, dtype=np.uint64), counter=start // 4).random_raw(count + offset)
    return np.asarray((raw[offset:] >> np.uint64(11)) * 2.0**-53, dtype=np.float64)


def permutation(key: tuple[int, int], count: int) -> Ints:
    """A random order of range(count), int64[count], the same on every machine for the same key."""
    return np.argsort(uniforms(key, 0, count), kind="stable").astype(np.int64)


def positions(units: Ints, before: int, ordinal: int, share: float, key: tuple[int, int]) -> Floats:
    """Position of each document on the common line, float64[rows], in stretched units; never decreasing.

    A document of n units that starts at unit b of its source lies at (b + u·n) / share, with u in [0, 1) drawn from
    `key` and the document's ordinal alone. Merging all sources by position gives, at every prefix, each source its
    share of the total, give or take `debt_bound`.

    Args:
        units: tokens (or bytes, or ones) of each document, int64[rows], each ≥ 1.
        before: units of this source already laid in this lane.
        ordinal: documents of this source already laid in this lane.
        share: normalised weight of the source, 0 < share ≤ 1.
        key: from `stream_key`; fixes every u.
    """
    ends = before + np.cumsum(units)
    inside = (ends - units + uniforms(key, ordinal, len(units)) * units) / share
    # Rounding must not put a document on its own end, which is the horizon it has to lie below.
    return np.asarray(np.minimum(inside, np.nextafter(ends / share, 0)), dtype=np.float64)


def discrepancy_bound(shares: Floats, longest: Floats) -> Floats:
    """Largest |share × total − given| that `Exact` allows at any prefix, float64[sources], in units.

    At position x a source has given share·x, give or take the document that covers x, hence its longest; the total is
    x, give or take the sum of all sources' longest. So: own longest + share × sum of every source's longest.
    """
    return np.asarray(longest + shares * longest.sum(), dtype=np.float64)


class Order(Protocol):
    """What the mix asks of an order. Sources are numbers in recipe order."""

    ended: bool

    def lay(self, source: int, units: Ints, *, last: bool) -> None:
        """Take note of the source's next documents; `last` says that its pass ends with them."""

    def ready(self) -> Ints:
        """Sources of the documents to give now, in order, int64[n]; each counts as given. Empty: read `wanting()`."""

    def next_source(self) -> int:
        """The source to read next when `ready` is empty."""

    def upcoming(self, count: int) -> Ints:
        """Sources of about the next `count` blocks to be read, soonest first, int64[at most count]: a guess.

        It takes each block to be as large as its source's last, and changes nothing.
        """

    def leave(self, source: int) -> None:
        """The source has ended for good; the others go on in the proportions they have."""

    def state(self) -> list[int]:
        """What `ready` decided beyond what was laid and given, JSON-able; `restore` takes it back."""

    def restore(self, state: list[int], laid: Sequence[tuple[int, int]]) -> None:
        """Start at a saved state, with (units, documents) laid by each source before its current block."""

    def skip(self, source: int, count: int) -> None:
        """The source's first `count` documents laid since `restore` were given before."""


class Exact:
    """Merge of stretched lines: exact shares at every prefix; see `places`.

    Args:
        shares: normalised weights, float64[sources], each > 0.
        keys: key of each source's uniform numbers.
    """

    def __init__(self, shares: Floats, keys: Sequence[tuple[int, int]]) -> None:
        self.ended = False
        self._shares = shares
        self._keys = list(keys)
        count = len(shares)
        self._units = [0] * count
        self._documents = [0] * count
        self._watermarks = np.zeros(count)
        self._stretch = np.zeros(count)  # of the common line, that the last block took
        self._waiting: list[Floats] = [np.empty(0)] * count

    def lay(self, source: int, units: Ints, *, last: bool) -> None:  # noqa: ARG002 - the end of a line needs no forewarning
        """Place the source's next documents."""
        before, ordinal, share = self._units[source], self._documents[source], float(self._shares[source])
        new = positions(units, before, ordinal, share, self._keys[source])
        self._waiting[source] = np.concatenate([self._waiting[source], new])
        self._units[source] = before + int(units.sum())
        self._documents[source] = ordinal + len(units)
        self._watermarks[source] = self._units[source] / share
        self._stretch[source] = units.sum() / share

    def ready(self) -> Ints:
        """Every laid document below the least horizon: no document still to be read can come before it."""
        watermark = self._watermarks.min()
        found, positions = [], []
        for source, waiting in enumerate(self._waiting):
            count = int(np.searchsorted(waiting, watermark))
            if count:
                found.append(np.full(count, source))
                positions.append(waiting[:count])
                self._waiting[source] = waiting[count:]
        if not found:
            return np.empty(0, np.int64)
        # Stable: documents at one position come in recipe order.
        order = np.argsort(np.concatenate(positions), kind="stable")
        return np.concatenate(found)[order].astype(np.int64)

    def next_source(self) -> int:
        """The source with the least horizon, ties in recipe order."""
        return int(np.argmin(self._watermarks))

    def upcoming(self, count: int) -> Ints:
        """By their horizons."""
        return _upcoming(self._watermarks, self._stretch, count)

    def leave(self, source: int) -> None:
        """Let the others go on without waiting for this source; the last one to leave ends the mix."""
        self._watermarks[source] = np.inf
        self.ended = bool(np.isinf(self._watermarks).all())

    def state(self) -> list[int]:
        """Nothing: what was laid and given says it all."""
        return []

    def restore(self, state: list[int], laid: Sequence[tuple[int, int]]) -> None:  # noqa: ARG002 - see `state`
        """Start at a saved state."""
        for source, (units, documents) in enumerate(laid):
            self._units[source], self._documents[source] = units, documents
            self._watermarks[source] = units / float(self._shares[source])

    def skip(self, source: int, count: int) -> None:
        """Forget documents that were given before."""
        self._waiting[source] = self._waiting[source][count:]


class Iid:
    """One draw per document, the sequence of `datasets.interleave_datasets(probabilities=shares, seed=seed)`.

    Shares hold for documents, in expectation only, and for no prefix. Kept for comparison with mixes made that way.

    Args:
        shares: normalised weights, float64[sources].
        seed: seed of the draws, an int or a sequence of ints, as `numpy.random.default_rng` takes it.
        stop: end right after the last document of the first source whose pass ends (`first_exhausted`).
        repeat: end right after the last document of the last source whose first pass ends (`all_exhausted`).
    """

    def __init__(self, shares: Floats, seed: int | Sequence[int], *, stop: bool = False, repeat: bool = False) -> None:
        self.ended = False
        cumulated = shares.cumsum()
        self._cumulated = cumulated / cumulated[-1]  # as numpy's Generator.choice does, to the last bit
        self._seed = seed
        self._need = 1 if stop else len(shares) if repeat else 0
        self._next = 0
        self._shares = shares
        self._waiting = np.zeros(len(shares), np.int64)
        self._block = np.zeros(len(shares), np.int64)  # documents of the last one
        self._last = np.zeros(len(shares), bool)
        self._finished = np.zeros(len(shares), bool)
        self._gone = np.zeros(len(shares), bool)

    def _draws(self, count: int) -> Ints:
        bits = np.random.PCG64(np.random.SeedSequence(self._seed))
        bits.advance(self._next)
        drawn = np.random.Generator(bits).random(count)
        return self._cumulated.searchsorted(drawn, side="right").astype(np.int64)

    def lay(self, source: int, units: Ints, *, last: bool) -> None:
        """Count the source's next documents."""
        self._waiting[source] += len(units)
        self._block[source] = len(units)
        self._last[source] = last

    def ready(self) -> Ints:
        """The next draws, up to the first source that has no document laid."""
        if self.ended:
            return np.empty(0, np.int64)
        draws = self._draws(_DRAWS)
        rank = _rank(draws, len(self._waiting))
        lacking = np.flatnonzero((rank >= self._waiting[draws]) & ~self._gone[draws])
        end = self._end(draws, rank, int(lacking[0]) if len(lacking) else len(draws))
        self._next += end
        given = draws[:end][~self._gone[draws[:end]]]
        self._waiting -= np.bincount(given, minlength=len(self._waiting))
        if len(given) or end < len(draws):
            return given
        return self.ready()  # a whole stretch of draws of sources that have left

    def _end(self, draws: Ints, rank: Ints, end: int) -> int:
        """Number of draws before which the mix ends, at most `end`; marks the passes that end on the way."""
        final = self._last[draws] & (rank == self._waiting[draws] - 1) & ~self._gone[draws]
        for at in np.flatnonzero(final[:end]):
            self._finished[draws[at]] = True
            if self._need and self._finished.sum() >= self._need:
                self.ended = True
                return int(at) + 1
        return end

    def next_source(self) -> int:
        """The source of the next draw."""
        return int(self._draws(1)[0])

    def upcoming(self, count: int) -> Ints:
        """By the draws that a source's documents last on average."""
        left = np.where(self._gone, np.inf, self._waiting / self._shares)
        return _upcoming(left, self._block / self._shares, count)

    def leave(self, source: int) -> None:
        """Skip the source's draws from here on; the last one to leave ends the mix."""
        self._gone[source] = True
        self.ended = bool(self._gone.all())

    def state(self) -> list[int]:
        """Draws made, then the sources whose first pass has ended."""
        return [self._next, *(int(s) for s in np.flatnonzero(self._finished))]

    def restore(self, state: list[int], laid: Sequence[tuple[int, int]]) -> None:  # noqa: ARG002 - draws do not depend on it
        """Start at a saved state."""
        self._next = state[0]
        self._finished[state[1:]] = True

    def skip(self, source: int, count: int) -> None:
        """Forget documents that were given before."""
        self._waiting[source] -= count


class Concatenation:
    """One source after the other, in recipe order, weights unused.

    Args:
        count: number of sources.
    """

    def __init__(self, count: int) -> None:
        self.ended = False
        self._waiting = [0] * count
        self._gone = [False] * count

    def lay(self, source: int, units: Ints, *, last: bool) -> None:  # noqa: ARG002 - only how many matters
        """Count the source's next documents."""
        self._waiting[source] += len(units)

    def ready(self) -> Ints:
        """All documents laid by the current source."""
        if self.ended:
            return np.empty(0, np.int64)
        source = self.next_source()
        given = np.full(self._waiting[source], source, dtype=np.int64)
        self._waiting[source] = 0
        return given

    def next_source(self) -> int:
        """The first source that has not ended."""
        return self._gone.index(False)

    def upcoming(self, count: int) -> Ints:
        """Of the current source."""
        return np.empty(0, np.int64) if self.ended else np.full(count, self.next_source())

    def leave(self, source: int) -> None:
        """Go on to the next source; after the last one the mix ends."""
        self._gone[source] = True
        self.ended = all(self._gone)

    def state(self) -> list[int]:
        """Nothing: what was given and who has left says it all."""
        return []

    def restore(self, state: list[int], laid: Sequence[tuple[int, int]]) -> None:
        """Start at a saved state."""

    def skip(self, source: int, count: int) -> None:
        """Forget documents that were given before."""
        self._waiting[source] -= count


def _upcoming(first: Floats, stretch: Floats, count: int) -> Ints:
    """Sources of the `count` least places among first[i] + k · stretch[i], k ≥ 0, in order; none that are infinite."""
    places = (first[:, None] + np.maximum(stretch, 1.0)[:, None] * np.arange(count)).ravel()
    count = min(count, int(np.isfinite(places).sum()))
    least = np.argpartition(places, count - 1)[:count] if 0 < count < len(places) else np.arange(len(places))[:count]
    return (least[np.argsort(places[least], kind="stable")] // (len(places) // len(first))).astype(np.int64)


def _rank(values: Ints, kinds: int) -> Ints:
    """How many equal values stand before each value, int64[n]."""
    order = np.argsort(values, kind="stable")
    counts = np.bincount(values, minlength=kinds)
    firsts = np.cumsum(counts) - counts
    rank = np.empty(len(values), np.int64)
    rank[order] = np.arange(len(values)) - np.repeat(firsts, counts)
    return rank
