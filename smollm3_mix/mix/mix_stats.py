"""Statistics of a mix by source. Statistics of lanes add up to those of the mix, however the lanes were divided."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from smollm3_mix.sizes import format_count
from smollm3_mix.table_format import html_table

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass
class SourceStats:
    """Statistics of one source. `read` always equals `dropped` plus `pending` plus `emitted`.

    Attributes:
        read: Raw rows read, over all passes.
        read_bytes: UTF-8 bytes of their text before cleaning.
        dropped: Rows dropped, by reason, including `duplicate` and `near_duplicate`.
        pending: Rows accepted and not yet emitted.
        emitted: Records emitted.
        emitted_bytes: UTF-8 bytes of their text.
        emitted_tokens: Tokens of these records.
        emitted_units: Units of these records: tokens, bytes or documents, according to the recipe's `weigh_by`.
        longest: Units of the longest document, emitted or pending, in any lane.
        max_discrepancy: Largest |share × total - emitted| after any record of any lane, in units.
        passes: Largest number of passes begun in any lane. 0 before the first row is read.
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
        """Return a copy that does not change with the original."""
        return replace(self, dropped=dict(self.dropped))

    def to_dict(self) -> dict[str, Any]:
        """Return the statistics as a JSON-able dict, in the order of the attributes."""
        return {**vars(self), "dropped": dict(self.dropped)}


@dataclass(repr=False)
class MixStats:
    """Statistics of every source that is read, in recipe order. Statistics can be added.

    Attributes:
        sources: Statistics by source id.
        targets: Target share by source id. Empty if the shares are unknown. Not part of comparisons and of `to_dict`.
    """

    sources: dict[str, SourceStats]
    targets: dict[str, float] = field(default_factory=dict, compare=False)

    @classmethod
    def empty(cls, sources: Iterable[str]) -> "MixStats":
        """Return statistics with no row of any of these sources."""
        return cls({source: SourceStats() for source in sources})

    def __add__(self, other: "MixStats") -> "MixStats":
        ids = list(dict.fromkeys([*self.sources, *other.sources]))
        empty = SourceStats()
        sources = {i: self.sources.get(i, empty) + other.sources.get(i, empty) for i in ids}
        return MixStats(sources, self.targets or other.targets)

    def __repr__(self) -> str:
        total, count = self.total, len(self.sources)
        parts = [
            f"{count} source{'s' * (count != 1)}",
            f"{total.emitted:,} record{'s' * (total.emitted != 1)}",
            f"{format_count(total.emitted_tokens)} tokens",
        ]
        if self.targets and total.emitted:
            largest = max(abs(share - self.targets.get(source, 0.0)) for source, share in self.shares.items())
            parts.append(f"max diff {largest * 100:.2f} pp")
        return f"MixStats({', '.join(parts)})"

    def _repr_html_(self) -> str:
        """Return the statistics as an HTML table."""
        table = [["source", "target", "actual", "diff", "tokens", "records", "max discrepancy", "dropped"]]
        for source, share in self.shares.items():
            stats, target = self.sources[source], self.targets.get(source)
            compared = ["", f"{share:.4%}", ""]
            if target is not None:
                compared = [f"{target:.4%}", f"{share:.4%}", f"{(share - target) * 100:+.4f} pp"]
            counts = [f"{stats.emitted_tokens:,}", f"{stats.emitted:,}", f"{stats.max_discrepancy:,.0f}"]
            table.append([source, *compared, *counts, f"{sum(stats.dropped.values()):,}"])
        return html_table(table)

    @property
    def total(self) -> SourceStats:
        """Statistics of all sources together."""
        return sum(self.sources.values(), SourceStats())

    @property
    def shares(self) -> dict[str, float]:
        """Share of each source in the emitted units. 0.0 for all sources if nothing was emitted."""
        total = self.total.emitted_units
        return {i: stats.emitted_units / total if total else 0.0 for i, stats in self.sources.items()}

    def to_dict(self) -> dict[str, Any]:
        """Return the statistics by source as JSON-able dicts."""
        return {i: stats.to_dict() for i, stats in self.sources.items()}

    @classmethod
    def from_dict(cls, stats: Mapping[str, Any]) -> "MixStats":
        """Return the statistics that `to_dict` wrote."""
        return cls({i: SourceStats(**values) for i, values in stats.items()})


class DiscrepancyTracker:
    """Largest discrepancy of each source after any record. Counts whole chunks, without a loop over records.

    The discrepancy of a source grows with every record of another source and falls with its own records. Its extremes
    are therefore right before and right after its own records, and at the end.

    Args:
        shares: Normalized shares, float64[sources]. A share of 0 marks a source that has ended.

    Attributes:
        shares: Current shares, float64[sources].
        largest: Largest discrepancy so far, in units, float64[sources].
        total: Units of all sources since the last change of the shares.
        emitted: Units of each source since the last change of the shares, int64[sources].
    """

    def __init__(self, shares: Floats) -> None:
        self.shares = shares
        self.largest = np.zeros(len(shares))
        self.total = 0
        self.emitted = np.zeros(len(shares), np.int64)

    def add(self, sources: Ints, units: Ints) -> None:
        """Count a chunk of records, given the source number and the units of each, int64[records]."""
        totals = self.total + np.cumsum(units)
        order = np.argsort(sources, kind="stable")
        grouped, sizes = sources[order], units[order]
        running = np.cumsum(sizes)
        first = np.searchsorted(grouped, np.arange(len(self.shares)))
        base = np.concatenate([[0], running])[first]
        emitted = running - base[grouped] + self.emitted[grouped]
        share = self.shares[grouped]
        after = share * totals[order] - emitted
        before = share * (totals - units)[order] - (emitted - sizes)
        np.maximum.at(self.largest, grouped, np.maximum(np.abs(after), np.abs(before)))
        self.total = int(totals[-1])
        self.emitted += np.bincount(sources, weights=units, minlength=len(self.shares)).astype(np.int64)
        np.maximum(self.largest, np.abs(self.shares * self.total - self.emitted), out=self.largest)

    def copy(self) -> "DiscrepancyTracker":
        """Return a copy that does not change with the original."""
        same = DiscrepancyTracker(self.shares.copy())
        same.largest, same.total, same.emitted = self.largest.copy(), self.total, self.emitted.copy()
        return same

    def leave(self, source: int) -> None:
        """Remove a source that has ended. The other sources share its part, and counting starts again."""
        self.shares = self.shares.copy()
        self.shares[source] = 0.0
        if self.shares.sum() > 0:
            self.shares /= self.shares.sum()
        self.total = 0
        self.emitted[:] = 0
