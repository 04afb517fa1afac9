"""Plan a mix: shares, files, bytes, passes and time of every source, without reading records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from smollm3_mix.mix.limits import Limits
from smollm3_mix.mix.options import MixOptions, check_options, requested_recipe
from smollm3_mix.recipe.curriculum import AnyRecipe, RecipeLike
from smollm3_mix.report.plan_rows import PlanRow, plan_rows
from smollm3_mix.report.plan_table import plan_table
from smollm3_mix.sizes import ByteSize, format_bytes, parse_bytes
from smollm3_mix.sources.resolve import inspect
from smollm3_mix.table_format import html_table

if TYPE_CHECKING:
    from typing_extensions import Unpack

RATE = "50MB"
"""Bytes read per second by default: about half of a 1 Gbit/s connection."""


@dataclass(frozen=True, repr=False)
class MixPlan:
    """Estimates for a mix, before anything is read.

    Attributes:
        recipe: Recipe of the mix.
        rows: One row per active source.
        unreadable: Reasons of sources that cannot be read, by source id.
        rate: Bytes read per second.
    """

    recipe: AnyRecipe
    rows: tuple[PlanRow, ...]
    unreadable: dict[str, str]
    rate: float

    @property
    def bytes_to_read(self) -> float:
        """Bytes to read from all sources."""
        return sum(row.bytes_to_read or 0 for row in self.rows)

    @property
    def seconds(self) -> float:
        """Time to read them."""
        return self.bytes_to_read / self.rate

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as JSON-able values."""
        return {
            "recipe": self.recipe.name,
            "rows": [
                {
                    "source": row.source.id,
                    "share": self.recipe.shares[row.source.id],
                    "files": row.files,
                    "stored_bytes": row.stored_bytes,
                    "tokens": row.tokens,
                    "text_bytes": row.text_bytes,
                    "passes": row.passes,
                    "bytes_to_read": row.bytes_to_read,
                    "measured": row.measured,
                }
                for row in self.rows
            ],
            "unreadable": dict(self.unreadable),
            "bytes_to_read": self.bytes_to_read,
            "seconds": self.seconds,
        }

    def __repr__(self) -> str:
        sources = f"{len(self.rows) - len(self.unreadable)} of {len(self.rows)} sources"
        cost = (
            f", {format_bytes(self.bytes_to_read)} to read, {format_time(self.seconds)}" if self.bytes_to_read else ""
        )
        return f"MixPlan({self.recipe.name!r}, {sources}{cost})"

    def _repr_html_(self) -> str:
        return html_table(plan_table(self.recipe, self.rows))


def plan(recipe: RecipeLike, *, offline: bool = False, rate: ByteSize = RATE, **options: Unpack[MixOptions]) -> MixPlan:
    """Estimate shares, bytes, passes and time of a mix, and find sources that cannot be read. Reads no records.

    Args:
        recipe: Recipe or curriculum, or its path, URL or shipped name.
        offline: Whether to plan from the recipe alone, without inspecting any source.
        rate: Bytes read per second, such as `"50MB"`.
        **options: Options of `open_mix`. `max_tokens` or `max_bytes` sets the size to plan for. A number of records has
            no known size, so `max_samples` does not change the estimates.

    Raises:
        RecipeError: If the recipe is missing or invalid.
        TypeError: If an option is unknown.
        ValueError: If a size is invalid.
    """
    check_options("plan", options, ("offline", "rate"))
    loaded = requested_recipe(recipe, options.get("seed"), options.get("lanes"), options.get("total_tokens"))
    limits = Limits.parse(options.get("max_samples"), options.get("max_tokens"), options.get("max_bytes"))
    token = options.get("token")
    resolved, unreadable = ({}, {}) if offline else inspect(loaded, token=token)
    readable = {source: files for source, files in resolved.items() if source not in unreadable}
    rows = plan_rows(loaded, readable, _planned_tokens(loaded, limits), token)
    return MixPlan(loaded, rows, unreadable, float(parse_bytes(rate, "rate")))


def _planned_tokens(recipe: AnyRecipe, limits: Limits) -> float | None:
    """Return the number of tokens at which the mix ends. None without a limit in tokens or bytes."""
    ends: list[float] = [] if limits.max_tokens is None else [limits.max_tokens]
    if limits.max_bytes is not None:
        bytes_per_token = sum(recipe.shares[source.id] / source.tokens_per_byte for source in recipe.active)
        ends.append(limits.max_bytes / bytes_per_token)
    return min(ends, default=None)


def format_time(seconds: float) -> str:
    """Return a time as text, such as 3.5 hours or 12 minutes."""
    if seconds >= 3600:
        return f"{seconds / 3600:,.1f} hours"
    return f"{seconds / 60:.0f} minutes" if seconds >= 100 else f"{seconds:.1f} seconds"
