"""What was read, dropped and given, counted by source; adds up over lanes to the same however the work was split."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass
class SourceStats:
    """Counts of one source.

    Attributes:
        read: raw rows taken in, over all passes.
        read_bytes: UTF-8 bytes of their text before cleaning.
        dropped: rows dropped, by reason; `duplicate` and `near_duplicate` among them.
        waiting: rows accepted and not given yet. Always: read = dropped + waiting + given.
        given: records given out.
        emitted_bytes: UTF-8 bytes of their text.
        emitted_tokens: their tokens.
        emitted_units: what they weigh: tokens, bytes or documents, as the recipe's `weigh_by` says.
        longest: units of the longest document given or waiting, in any lane.
        max_discrepancy: largest |share × total − given| after any record of any lane, in units.
        passes: largest number of passes begun in any lane; 0 before the first row is read.
    """

    read: int = 0
    read_bytes: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    pending: int = 0
    emitted: int = 0
    emitted_bytes: int = 0
    emitted_tokens: int = 0
    emitted_units: int = 0
    longest: int = 0
    max_discrepancy: float = 0.0
    passes: int = 0

    def __add__(self, other: "SourceStats") -> "SourceStats":
        reasons = sorted({*self.dropped, *other.dropped})
        return SourceStats(
            read=self.read + other.read,
            read_bytes=self.read_bytes + other.read_bytes,
            dropped={reason: self.dropped.get(reason, 0) + other.dropped.get(reason, 0) for reason in reasons},
            pending=self.pending + other.pending,
            emitted=self.emitted + other.emitted,
            emitted_bytes=self.emitted_bytes + other.emitted_bytes,
            emitted_tokens=self.emitted_tokens + other.emitted_tokens,
            emitted_units=self.emitted_units + other.emitted_units,
            longest=max(self.longest, other.longest),
            max_discrepancy=max(self.max_discrepancy, other.max_discrepancy),
            passes=max(self.passes, other.passes),
        )

    def drop(self, reason: str, rows: int) -> None:
        """Count rows dropped for a reason."""
        self.dropped[reason] = self.dropped.get(reason, 0) + rows

    def copy(self) -> "SourceStats":
        """Return counts that do not change with these."""
        return replace(self, dropped=dict(self.dropped))

    def to_dict(self) -> dict[str, Any]:
        """Return the counts as a JSON-able dict, in the order of the attributes."""
        return {**vars(self), "dropped": dict(self.dropped)}


@dataclass
class MixStats:
    """Counts of every source that is read, in recipe order.

    Attributes:
        sources: Counts by source id.
    """

    sources: dict[str, SourceStats]

    @classmethod
    def empty(cls, sources: Iterable[str]) -> "MixStats":
        """A tally of nothing."""
        return cls({source: SourceStats() for source in sources})

    def __add__(self, other: "MixStats") -> "MixStats":
        ids = list(dict.fromkeys([*self.sources, *other.sources]))
        nothing = SourceStats()
        return MixStats({i: self.sources.get(i, nothing) + other.sources.get(i, nothing) for i in ids})

    @property
    def total(self) -> SourceStats:
        """Counts of all sources together."""
        return sum(self.sources.values(), SourceStats())

    def given_shares(self) -> dict[str, float]:
        """Share of each source in the units given, 0.0 for all where nothing was given."""
        total = self.total.emitted_units
        return {i: counts.emitted_units / total if total else 0.0 for i, counts in self.sources.items()}

    def to_dict(self) -> dict[str, Any]:
        """The counts as JSON-able dicts."""
        return {i: counts.to_dict() for i, counts in self.sources.items()}

    @classmethod
    def from_dict(cls, counts: Mapping[str, Any]) -> "MixStats":
        """The tally that `to_dict` wrote."""
        return cls({i: SourceStats(**values) for i, values in counts.items()})


class DiscrepancyTracker:
    """Largest debt of each source at any prefix, kept up to date chunk by chunk without a loop over records.

    A source's debt grows with every record of another source and falls with its own; so its extremes lie right before
    and right after its own records, and at the end.

    Args:
        shares: normalised shares, float64[sources]; a share of 0 marks a source that has left.
    """

    def __init__(self, shares: Floats) -> None:
        self.shares = shares
        self.largest = np.zeros(len(shares))
        self.total = 0
        self.emitted = np.zeros(len(shares), np.int64)

    def add(self, sources: Ints, units: Ints) -> None:
        """Count a stretch of records: source number and units of each, int64[n]."""
        totals = self.total + np.cumsum(units)
        order = np.argsort(sources, kind="stable")
        grouped, sizes = sources[order], units[order]
        running = np.cumsum(sizes)
        first = np.searchsorted(grouped, np.arange(len(self.shares)))
        base = np.concatenate([[0], running])[first]
        given = running - base[grouped] + self.emitted[grouped]
        share = self.shares[grouped]
        after = share * totals[order] - given
        before = share * (totals - units)[order] - (given - sizes)
        np.maximum.at(self.largest, grouped, np.maximum(np.abs(after), np.abs(before)))
        self.total = int(totals[-1])
        self.emitted += np.bincount(sources, weights=units, minlength=len(self.shares)).astype(np.int64)
        np.maximum(self.largest, np.abs(self.shares * self.total - self.emitted), out=self.largest)

    def copy(self) -> "DiscrepancyTracker":
        """Return debts that do not change with these."""
        same = DiscrepancyTracker(self.shares.copy())
        same.largest, same.total, same.emitted = self.largest.copy(), self.total, self.emitted.copy()
        return same

    def leave(self, source: int) -> None:
        """A source has ended: the rest share what follows, counted from here."""
        self.shares = self.shares.copy()
        self.shares[source] = 0.0
        if self.shares.sum() > 0:
            self.shares /= self.shares.sum()
        self.total = 0
        self.emitted[:] = 0
