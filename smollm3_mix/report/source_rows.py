"""What was asked and given of each source."""

from dataclasses import dataclass

import numpy as np

from smollm3_mix.mix.interleave import discrepancy_bound
from smollm3_mix.mix.mix_stats import MixStats
from smollm3_mix.recipe.recipe import Recipe

DUPLICATE_REASONS = ("duplicate", "near_duplicate")


@dataclass(frozen=True)
class SourceRow:
    """One source of a mix.

    Attributes:
        source: its id.
        asked: its share by the recipe.
        given: its share of the units given; units are tokens, bytes or documents, as the recipe weighs by.
        units: units given.
        records: records given.
        discrepancy: largest |share × total − given| after any record of any lane, in units.
        bound: what that may be at most, from the longest documents; see `interleave.discrepancy_bound`. None where the
            order gives none.
        read: raw rows read.
        duplicates: rows dropped as exact or near duplicates.
        dropped: rows dropped for other reasons.
        passes: passes begun in the lane that began most.
    """

    source: str
    asked: float
    emitted: float
    units: int
    records: int
    discrepancy: float
    bound: float | None
    read: int
    duplicates: int
    dropped: int
    passes: int


def source_rows(recipe: Recipe, stats: MixStats) -> list[SourceRow]:
    """A row for each source that is read, in recipe order."""
    counts = [stats.sources[source.id] for source in recipe.active]
    shares = np.array([recipe.shares[source.id] for source in recipe.active])
    bounds = discrepancy_bound(shares, np.array([mine.longest for mine in counts], dtype=np.float64))
    given = stats.shares
    return [
        SourceRow(
            source=source.id,
            asked=float(share),
            emitted=given[source.id],
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


FEW = 100
"""Documents of a source in a lane below which its share is a matter of a few documents, and is warned of."""


def sparse_sources(recipe: Recipe, stats: MixStats, lanes: int) -> str | None:
    """A sentence on the sources of which a lane gave fewer than about FEW documents, or None."""
    few = sorted(
        (
            row
            for row in source_rows(recipe, stats)
            if row.bound is not None and row.records < FEW * lanes and row.asked < 1
        ),
        key=lambda row: row.records,
    )
    if not few:
        return None
    named = ", ".join(f"{row.source} {row.records:,}" for row in few[:5]) + (", …" if len(few) > 5 else "")
    off = max(abs(row.emitted - row.asked) / row.asked for row in few)
    return (
        f"{len(few)} of {len(recipe.active)} sources gave fewer than {FEW} documents a lane ({named}); "
        f"their shares are off by up to {off:.0%} of themselves. "
        f"More tokens{'' if lanes == 1 else f', or fewer than {lanes} lanes,'} bring them nearer."
    )
