"""What was read, dropped and given, counted by source; adds up over lanes to the same however the work was split."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass
class Counts:
    """Counts of one source.

    Attributes:
        read: raw rows taken in, over all passes.
        read_bytes: UTF-8 bytes of their text before cleaning.
        dropped: rows dropped, by reason; `duplicate` and `near_duplicate` among them.
        waiting: rows accepted and not given yet. Always: read = dropped + waiting + given.
        given: records given out.
        given_bytes: UTF-8 bytes of their text.
        given_tokens: their tokens.
        given_units: what they weigh: tokens, bytes or documents, as the recipe's `weigh_by` says.
        longest: units of the longest document given or waiting, in any lane.
        worst_debt: largest |share × total − given| after any record of any lane, in units.
        passes: largest number of passes begun in any lane; 0 before the first row is read.
    """

    read: int = 0
    read_bytes: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    waiting: int = 0
    given: int = 0
    given_bytes: int = 0
    given_tokens: int = 0
    given_units: int = 0
    longest: int = 0
    worst_debt: float = 0.0
    passes: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        reasons = sorted({*self.dropped, *other.dropped})
        return Counts(
            read=self.read + other.read,
            read_bytes=self.read_bytes + other.read_bytes,
            dropped={reason: self.dropped.get(reason, 0) + other.dropped.get(reason, 0) for reason in reasons},
            waiting=self.waiting + other.waiting,
            given=self.given + other.given,
            given_bytes=self.given_bytes + other.given_bytes,
            given_tokens=self.given_tokens + other.given_tokens,
            given_units=self.given_units + other.given_units,
            longest=max(self.longest, other.longest),
            worst_debt=max(self.worst_debt, other.worst_debt),
            passes=max(self.passes, other.passes),
        )

    def drop(self, reason: str, rows: int) -> None:
        """Count rows dropped for a reason."""
        self.dropped[reason] = self.dropped.get(reason, 0) + rows

    def copy(self) -> "Counts":
        """Return counts that do not change with these."""
        return replace(self, dropped=dict(self.dropped))

    def to_dict(self) -> dict[str, Any]:
        """Return the counts as a JSON-able dict, in the order of the attributes."""
        return {**vars(self), "dropped": dict(self.dropped)}


@dataclass
class Tally:
    """Counts of every source that is read, in recipe order.

    Attributes:
        sources: Counts by source id.
    """

    sources: dict[str, Counts]

    @classmethod
    def empty(cls, sources: Iterable[str]) -> "Tally":
        """A tally of nothing."""
        return cls({source: Counts() for source in sources})

    def __add__(self, other: "Tally") -> "Tally":
        ids = list(dict.fromkeys([*self.sources, *other.sources]))
        nothing = Counts()
        return Tally({i: self.sources.get(i, nothing) + other.sources.get(i, nothing) for i in ids})

    @property
    def total(self) -> Counts:
        """Counts of all sources together."""
        return sum(self.sources.values(), Counts())

    def given_shares(self) -> dict[str, float]:
        """Share of each source in the units given, 0.0 for all where nothing was given."""
        total = self.total.given_units
        return {i: counts.given_units / total if total else 0.0 for i, counts in self.sources.items()}

    def to_dict(self) -> dict[str, Any]:
        """The counts as JSON-able dicts."""
        return {i: counts.to_dict() for i, counts in self.sources.items()}

    @classmethod
    def from_dict(cls, counts: Mapping[str, Any]) -> "Tally":
        """The tally that `to_dict` wrote."""
        return cls({i: Counts(**values) for i, values in counts.items()})


class Debts:
    """Largest debt of each source at any prefix, kept up to date chunk by chunk without a loop over records.

    A source's debt grows with every record of another source and falls with its own; so its extremes lie right before
    and right after its own records, and at the end.

    Args:
        shares: normalised shares, float64[sources]; a share of 0 marks a source that has left.
    """

    def __init__(self, shares: Floats) -> None:
        self.shares = shares
        self.worst = np.zeros(len(shares))
        self.total = 0
        self.given = np.zeros(len(shares), np.int64)

    def add(self, sources: Ints, units: Ints) -> None:
        """Count a stretch of records: source number and units of each, int64[n]."""
        totals = self.total + np.cumsum(units)
        order = np.argsort(sources, kind="stable")
        grouped, sizes = sources[order], units[order]
        running = np.cumsum(sizes)
        first = np.searchsorted(grouped, np.arange(len(self.shares)))
        base = np.concatenate([[0], running])[first]
        given = running - base[grouped] + self.given[grouped]
        share = self.shares[grouped]
        after = share * totals[order] - given
        before = share * (totals - units)[order] - (given - sizes)
        np.maximum.at(self.worst, grouped, np.maximum(np.abs(after), np.abs(before)))
        self.total = int(totals[-1])
        self.given += np.bincount(sources, weights=units, minlength=len(self.shares)).astype(np.int64)
        np.maximum(self.worst, np.abs(self.shares * self.total - self.given), out=self.worst)

    def copy(self) -> "Debts":
        """Return debts that do not change with these."""
        same = Debts(self.shares.copy())
        same.worst, same.total, same.given = self.worst.copy(), self.total, self.given.copy()
        return same

    def leave(self, source: int) -> None:
        """A source has ended: the rest share what follows, counted from here."""
        self.shares = self.shares.copy()
        self.shares[source] = 0.0
        if self.shares.sum() > 0:
            self.shares /= self.shares.sum()
        self.total = 0
        self.given[:] = 0
