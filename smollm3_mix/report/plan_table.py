"""Text of a plan: the table of the sources, and sentences about the whole mix."""

from collections.abc import Mapping, Sequence

from smollm3_mix.network.urls import endpoint
from smollm3_mix.recipe.model import Source
from smollm3_mix.recipe.recipe import Recipe
from smollm3_mix.report.mix_plan import MixPlan, PlanRow
from smollm3_mix.sizes import format_bytes
from smollm3_mix.sources.preflight import COMPRESSION_RATIO
from smollm3_mix.sources.source_files import ResolvedSource
from smollm3_mix.table_format import Table


def plan_table(recipe: Recipe, rows: Sequence[PlanRow]) -> Table:
    """Return share, files, size and needs of each source. The first row is the header. `~` marks typical sizes."""
    table = [["source", "weight", "share", "files", "on disk", "tokens", "text", "passes", "of", "to read"]]
    for row in rows:
        about = "" if row.measured else "~"
        table.append(
            [
                row.source.id,
                f"{row.source.weight:g}",
                f"{recipe.shares[row.source.id]:.4%}",
                "" if row.resolved is None else f"{len(row.resolved.files):,}",
                "" if row.resolved is None else format_bytes(row.resolved.bytes),
                "" if row.tokens is None else f"{row.tokens:,.0f}",
                "" if row.text_bytes is None else format_bytes(row.text_bytes),
                "" if row.passes is None else f"{about}{row.passes:,}",
                str(row.source.max_passes),
                "" if row.bytes_to_read is None else about + format_bytes(row.bytes_to_read),
            ]
        )
    return table


def memory_line(recipe: Recipe) -> str:
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


def summary(plan: MixPlan) -> list[str]:
    """Return sentences about the whole mix: bytes, time, gated sources, unreadable sources and warnings."""
    recipe, rows, messages = plan.recipe, plan.rows, []
    if read := plan.bytes_to_read:
        files = sum(len(row.resolved.files) for row in rows if row.resolved is not None)
        disk = sum((row.text_bytes or 0) / COMPRESSION_RATIO for row in rows if row.resolved is not None)
        messages.append(
            f"To read: about {format_bytes(read)} in {files:,} files, {_time(plan.seconds)} at "
            f"{format_bytes(plan.rate)}/s. A written mix needs about {format_bytes(disk)} of disk."
        )
    if all(row.tokens is None for row in rows):
        messages.append("Add --max-tokens N to estimate text, passes, bytes, hours and disk of a mix of N tokens.")
    short = [row for row in rows if row.passes is not None and row.passes > row.source.max_passes]
    if short:
        listed = ", ".join(f"{row.source.id} (needs {row.passes:,}, has {row.source.max_passes:,})" for row in short)
        messages.append(f"max_passes is too small according to the listed sizes: {listed}.")
    gated = [row.source for row in rows if row.source.gated]
    if gated:
        pages = dict.fromkeys(f"{endpoint()}/datasets/{source.name}" for source in gated)
        messages.append(f"Gated on the Hub: {_count_and_share(recipe, gated)}. Request access at {', '.join(pages)}.")
    fetched = [row.source for row in rows if row.source.content == "swh"]
    if fetched:
        share = _count_and_share(recipe, fetched)
        messages.append(f"From Software Heritage (--accept-terms softwareheritage): {share}.")
    return messages + _unreadable(recipe, plan.unreadable) + [f"Note: {warning}" for warning in recipe.warnings]


def _count_and_share(recipe: Recipe, sources: Sequence[Source]) -> str:
    share = sum(recipe.shares[source.id] for source in sources)
    return f"{len(sources)} source{'s' * (len(sources) != 1)}, {share:.4%}"


def _unreadable(recipe: Recipe, unreadable: Mapping[str, str]) -> list[str]:
    """Return one line per reason with its sources, after a line with the number of sources if there are several."""
    by_reason: dict[str, list[str]] = {}
    for id_, reason in unreadable.items():
        by_reason.setdefault(reason, []).append(f"{id_!r} ({recipe.shares[id_]:.4%})")
    lines = [f"Cannot be read: {', '.join(sources)}: {reason}" for reason, sources in by_reason.items()]
    if len(unreadable) > 1:
        sources = [source for source in recipe.active if source.id in unreadable]
        count = _count_and_share(recipe, sources)
        lines.insert(0, f"{count} of {len(recipe.active)} sources cannot be read.")
    return lines


def _time(seconds: float) -> str:
    """Return a time as text, such as 3.5 hours or 12 minutes."""
    if seconds >= 3600:
        return f"{seconds / 3600:,.1f} hours"
    return f"{seconds / 60:.0f} minutes" if seconds >= 100 else f"{seconds:.1f} seconds"


def expected_bytes(
    recipe: Recipe, resolved: Mapping[str, ResolvedSource], tokens: int | None, size: int | None
) -> float:
    """Return the approximate bytes on disk of a written mix. Assumes that text compresses as it does in its sources.

    Args:
        recipe: Recipe of the mix.
        resolved: Files of every active source.
        tokens: Limit in tokens, or None.
        size: Limit in bytes of text, or None. With a limit, text is assumed not to compress.
    """
    stored = {source.id: resolved[source.id].bytes * source.max_passes for source in recipe.active}
    if not recipe.weighted or recipe.on_exhausted == "renormalize":
        total = float(sum(stored.values()))
        return total if size is None else min(total, size)
    # Number of tokens of the mix at which each source ends.
    ends = [stored[source.id] * source.tokens_per_byte / recipe.shares[source.id] for source in recipe.active]
    end = max(ends) if recipe.on_exhausted == "repeat" else min(ends)
    if tokens is not None:
        end = tokens if recipe.on_exhausted == "repeat" else min(end, tokens)
    total = sum(end * _per_token(recipe, source) for source in recipe.active)
    return total if size is None else min(total, size)


def _per_token(recipe: Recipe, source: Source) -> float:
    """Return the bytes of a source per token of the mix."""
    return recipe.shares[source.id] / source.tokens_per_byte
