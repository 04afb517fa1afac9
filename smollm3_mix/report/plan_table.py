"""Table of a plan, and estimates of memory and disk."""

from collections.abc import Mapping, Sequence

from smollm3_mix.recipe.curriculum import AnyRecipe
from smollm3_mix.recipe.model import Source
from smollm3_mix.report.plan_rows import PlanRow
from smollm3_mix.sizes import format_bytes
from smollm3_mix.sources.source_files import ResolvedSource
from smollm3_mix.table_format import Table


def plan_table(recipe: AnyRecipe, rows: Sequence[PlanRow]) -> Table:
    """Return share, files, size and needs of each source. The first row is the header. `~` marks typical sizes."""
    table = [["source", "weight", "share", "files", "on disk", "tokens", "text", "passes", "of", "to read"]]
    for row in rows:
        about = "" if row.measured else "~"
        table.append(
            [
                row.source.id,
                f"{row.source.weight:g}",
                f"{recipe.shares[row.source.id]:.4%}",
                "" if row.files is None else f"{row.files:,}",
                "" if row.stored_bytes is None else format_bytes(row.stored_bytes),
                "" if row.tokens is None else f"{row.tokens:,.0f}",
                "" if row.text_bytes is None else format_bytes(row.text_bytes),
                "" if row.passes is None else f"{about}{row.passes:,}",
                str(row.source.max_passes),
                "" if row.bytes_to_read is None else about + format_bytes(row.bytes_to_read),
            ]
        )
    return table


def memory_line(recipe: AnyRecipe) -> str:
    """Return the capacity and the false-positive rate of the recipe's dedup. Empty without dedup."""
    dedup = recipe.dedup
    if not dedup.keys_per_document:
        return ""
    if dedup.index is not None:
        return f"Dedup looks up duplicates of all lanes in the index at {dedup.index.path}. It has no state."
    capacity = dedup.capacity(recipe.lanes)
    return (
        f"Dedup can store {capacity * recipe.lanes:,} documents in {dedup.memory:,} bytes, {capacity:,} in each of "
        f"{recipe.lanes} lanes. A full lane is an error. The false-positive rate is at most "
        f"{dedup.false_positive_rate(capacity):.1g} per document."
    )


def expected_bytes(
    recipe: AnyRecipe, resolved: Mapping[str, ResolvedSource], tokens: int | None, size: int | None
) -> float:
    """Return the approximate bytes on disk of a written mix. Assumes that text compresses as it does in its sources.

    Args:
        recipe: Recipe of the mix.
        resolved: Files of every active source.
        tokens: Limit in tokens, or None.
        size: Limit in bytes of text, or None. With a limit, text is assumed not to compress.
    """
    stored = {source.id: resolved[source.id].bytes * source.max_passes for source in recipe.active}
    policies = {each.on_exhausted for each in recipe.recipes}
    if not recipe.weighted or "renormalize" in policies:
        total = float(sum(stored.values()))
        return total if size is None else min(total, size)
    # Number of tokens of the mix at which each source ends.
    ends = [stored[source.id] * source.tokens_per_byte / recipe.shares[source.id] for source in recipe.active]
    end = max(ends) if "repeat" in policies else min(ends)
    if tokens is not None:
        end = tokens if "repeat" in policies else min(end, tokens)
    total = sum(end * _per_token(recipe, source) for source in recipe.active)
    return total if size is None else min(total, size)


def _per_token(recipe: AnyRecipe, source: Source) -> float:
    """Return the bytes of a source per token of the mix."""
    return recipe.shares[source.id] / source.tokens_per_byte
