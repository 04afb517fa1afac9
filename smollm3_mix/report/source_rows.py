"""Target and actual share of each source."""

from dataclasses import dataclass

import numpy as np

from smollm3_mix.mix.interleave import discrepancy_bound
from smollm3_mix.mix.mix_stats import MixStats
from smollm3_mix.recipe.curriculum import AnyRecipe

DUPLICATE_REASONS = ("duplicate", "near_duplicate")


@dataclass(frozen=True)
class SourceRow:
    """One source of a mix.

    Attributes:
        source: Id of the source.
        target: Share in the recipe.
        actual: Share of the emitted units. Units are tokens, bytes or documents, as in the recipe's `weigh_by`.
        units: Units emitted.
        records: Records emitted.
        discrepancy: Largest |share × total − emitted| after any record of any lane, in units.
        bound: Bound of the discrepancy, from the longest documents; see `interleave.discrepancy_bound`. None if the
            order has no bound.
        read: Raw rows read.
        duplicates: Rows dropped as exact or near duplicates.
        dropped: Rows dropped for other reasons.
        passes: Passes started in the lane that started most.
    """

    source: str
    target: float
    actual: float
    units: int
    records: int
    discrepancy: float
    bound: float | None
    read: int
    duplicates: int
    dropped: int
    passes: int


def source_rows(recipe: AnyRecipe, stats: MixStats) -> list[SourceRow]:
    """Return a row for each active source, in recipe order."""
    counts = [stats.sources[source.id] for source in recipe.active]
    shares = np.array([recipe.shares[source.id] for source in recipe.active])
    bounds = discrepancy_bound(shares, np.array([mine.longest for mine in counts], dtype=np.float64))
    actual = stats.shares
    return [
        SourceRow(
            source=source.id,
            target=float(share),
            actual=actual[source.id],
            units=mine.emitted_units,
            records=mine.emitted,
            discrepancy=mine.max_discrepancy,
            bound=float(bound) if recipe.bounded else None,
            read=mine.read,
            duplicates=sum(mine.dropped.get(reason, 0) for reason in DUPLICATE_REASONS),
            dropped=sum(rows for reason, rows in mine.dropped.items() if reason not in DUPLICATE_REASONS),
            passes=mine.passes,
        )
        for source, share, bound, mine in zip(recipe.active, shares, bounds, counts, strict=True)
    ]


MIN_DOCUMENTS = 100
"""Documents per lane below which the share of a source depends on a few documents. A warning names such sources."""


def sparse_sources(recipe: AnyRecipe, stats: MixStats, lanes: int) -> str | None:
    """Return a warning about sources with fewer than MIN_DOCUMENTS documents per lane, or None."""
    few = sorted(
        (
            row
            for row in source_rows(recipe, stats)
            if row.bound is not None and row.records < MIN_DOCUMENTS * lanes and row.target < 1
        ),
        key=lambda row: row.records,
    )
    if not few:
        return None
    named = ", ".join(f"{row.source} {row.records:,}" for row in few[:5]) + (", …" if len(few) > 5 else "")
    off = max(abs(row.actual - row.target) / row.target for row in few)
    return (
        f"{len(few)} of {len(recipe.active)} sources emitted fewer than {MIN_DOCUMENTS} documents per lane ({named}). "
        f"Their shares differ from the target by up to {off:.0%} of it. "
        f"More tokens{'' if lanes == 1 else f' or fewer than {lanes} lanes'} reduce the difference."
    )
