"""What was asked and given of each source."""

from dataclasses import dataclass

import numpy as np

from smollm3_mix.merge import debt_bound
from smollm3_mix.recipe import Recipe
from smollm3_mix.tally import Tally

DUPLICATE_REASONS = ("duplicate", "near_duplicate")


@dataclass(frozen=True)
class Row:
    """One source of a mix.

    Attributes:
        source: its id.
        asked: its share by the recipe.
        given: its share of the units given; units are tokens, bytes or documents, as the recipe weighs by.
        units: units given.
        records: records given.
        debt: largest |share × total − given| after any record of any lane, in units.
        bound: what that debt may be at most, from the longest documents; see `merge.debt_bound`. None where the order gives none.
        read: raw rows read.
        duplicates: rows dropped as exact or near duplicates.
        dropped: rows dropped for other reasons.
        passes: passes begun in the lane that began most.
    """

    source: str
    asked: float
    given: float
    units: int
    records: int
    debt: float
    bound: float | None
    read: int
    duplicates: int
    dropped: int
    passes: int


def rows(recipe: Recipe, tally: Tally) -> list[Row]:
    """A row for each source that is read, in recipe order."""
    counts = [tally.sources[source.id] for source in recipe.active]
    shares = np.array([recipe.shares[source.id] for source in recipe.active])
    bounds = debt_bound(shares, np.array([mine.longest for mine in counts], dtype=np.float64))
    # A source that leaves makes the rest start counting anew, from a debt that is within the bound.
    slack = 2 if recipe.on_exhausted == "renormalise" else 1
    bounded = recipe.order == "exact" and recipe.weighted
    given = tally.given_shares()
    return [
        Row(
            source=source.id,
            asked=float(share),
            given=given[source.id],
            units=mine.given_units,
            records=mine.given,
            debt=mine.worst_debt,
            bound=slack * float(bound) if bounded else None,
            read=mine.read,
            duplicates=sum(mine.dropped.get(reason, 0) for reason in DUPLICATE_REASONS),
            dropped=sum(rows for reason, rows in mine.dropped.items() if reason not in DUPLICATE_REASONS),
            passes=mine.passes,
        )
        for source, share, bound, mine in zip(recipe.active, shares, bounds, counts, strict=True)
    ]
