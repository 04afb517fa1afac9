"""Plan a mix: shares, files, bytes, passes and time of every source, without reading records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Any

from smollm3_mix.mix.options import MixOptions, RecipeLike, check_options
from smollm3_mix.network.urls import Token
from smollm3_mix.recipe.model import Source
from smollm3_mix.recipe.read_recipe import load_recipe
from smollm3_mix.recipe.recipe import Recipe
from smollm3_mix.sizes import ByteSize, format_bytes, parse_bytes, parse_count
from smollm3_mix.sources.preflight import text_density
from smollm3_mix.sources.resolve import inspect
from smollm3_mix.sources.source_files import ResolvedSource
from smollm3_mix.table_format import html_table

if TYPE_CHECKING:
    from typing_extensions import Unpack

RATE = "50MB"
"""Bytes read per second by default: about half of a 1 Gbit/s connection."""


@dataclass(frozen=True)
class PlanRow:
    """What a mix needs of one source.

    Attributes:
        source: Source of the recipe.
        resolved: Its files. None if the source was not inspected or cannot be read.
        tokens: Target number of tokens. None without a number of tokens for the mix.
        text_bytes: Bytes of text with that many tokens.
        passes: Number of passes over the source. None if unknown.
        bytes_to_read: Bytes to read. None if unknown.
        measured: Whether passes and bytes are from a file's footer, not from typical sizes.
    """

    source: Source
    resolved: ResolvedSource | None
    tokens: float | None
    text_bytes: float | None
    passes: int | None
    bytes_to_read: float | None
    measured: bool


@dataclass(frozen=True, repr=False)
class MixPlan:
    """Estimates for a mix, before anything is read.

    Attributes:
        recipe: Recipe of the mix.
        rows: One row per active source.
        unreadable: Reasons of sources that cannot be read, by source id.
        rate: Bytes read per second.
    """

    recipe: Recipe
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
                    "files": None if row.resolved is None else len(row.resolved.files),
                    "stored_bytes": None if row.resolved is None else row.resolved.bytes,
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
        readable = len(self.rows) - len(self.unreadable)
        return (
            f"MixPlan({self.recipe.name!r}, {readable} of {len(self.rows)} sources, "
            f"{format_bytes(self.bytes_to_read)} to read, {self.seconds / 3600:.1f} hours)"
        )

    def _repr_html_(self) -> str:
        from smollm3_mix.report.plan_table import plan_table

        return html_table(plan_table(self.recipe, self.rows))


def plan(recipe: RecipeLike, *, offline: bool = False, rate: ByteSize = RATE, **options: Unpack[MixOptions]) -> MixPlan:
    """Estimate shares, bytes, passes and time of a mix, and find sources that cannot be read. Reads no records.

    Args:
        recipe: Recipe or curriculum, or its path, URL or shipped name.
        offline: Whether to plan from the recipe alone, without inspecting any source.
        rate: Bytes read per second, such as `"50MB"`.
        **options: Options of `open_mix`. `max_tokens` is the number of tokens to plan for.

    Raises:
        RecipeError: If the recipe is missing or invalid.
        TypeError: If an option is unknown.
        ValueError: If a size is invalid.
    """
    check_options("plan", options, ("offline", "rate"))
    loaded = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    loaded = loaded.replace(seed=options.get("seed"), lanes=options.get("lanes"))
    total_tokens, max_tokens = options.get("total_tokens"), options.get("max_tokens")
    if total_tokens is not None:
        loaded = loaded.scale(parse_count(total_tokens, "total_tokens"))
    tokens = None if max_tokens is None else parse_count(max_tokens, "max_tokens")
    token = options.get("token")
    resolved, unreadable = ({}, {}) if offline else inspect(loaded, token=token)
    readable = {source: files for source, files in resolved.items() if source not in unreadable}
    return MixPlan(loaded, plan_rows(loaded, readable, tokens, token), unreadable, float(parse_bytes(rate, "rate")))


def plan_rows(
    recipe: Recipe, resolved: Mapping[str, ResolvedSource], tokens: int | None, token: Token = None
) -> tuple[PlanRow, ...]:
    """Return what a mix of that many tokens needs of each active source, if no document is dropped.

    Args:
        recipe: Recipe of the mix.
        resolved: Files by source id. Sources may be missing.
        tokens: Number of tokens of the whole mix, or None.
        token: Hugging Face access token.
    """
    rows = []
    for source in recipe.active:
        files = resolved.get(source.id)
        target = None if tokens is None else recipe.shares[source.id] * tokens
        text_bytes = None if target is None else target / source.tokens_per_byte
        passes, bytes_to_read, measured = None, None, False
        if files is not None and files.bytes and text_bytes is not None:
            density, cost, measured = text_density(source, files, token)
            bytes_to_read = text_bytes * cost
            passes = None if density is None else ceil(text_bytes / (files.bytes * density))
        rows.append(PlanRow(source, files, target, text_bytes, passes, bytes_to_read, measured))
    return tuple(rows)
