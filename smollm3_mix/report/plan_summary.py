"""Sentences about a plan: bytes, time, gated sources, unreadable sources and warnings."""

from collections.abc import Mapping, Sequence

from smollm3_mix.network.urls import endpoint
from smollm3_mix.recipe.curriculum import AnyRecipe
from smollm3_mix.recipe.model import Source
from smollm3_mix.report.mix_plan import MixPlan, format_time
from smollm3_mix.sizes import format_bytes
from smollm3_mix.sources.preflight import COMPRESSION_RATIO


def plan_summary(plan: MixPlan) -> list[str]:
    """Return sentences about the whole mix: bytes, time, gated sources, unreadable sources and warnings."""
    recipe, rows, messages = plan.recipe, plan.rows, []
    if read := plan.bytes_to_read:
        files = sum(row.files or 0 for row in rows)
        disk = sum((row.text_bytes or 0) / COMPRESSION_RATIO for row in rows if row.files is not None)
        messages.append(
            f"To read: about {format_bytes(read)} in {files:,} files, {format_time(plan.seconds)} at "
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


def _count_and_share(recipe: AnyRecipe, sources: Sequence[Source]) -> str:
    share = sum(recipe.shares[source.id] for source in sources)
    return f"{len(sources)} source{'s' * (len(sources) != 1)}, {share:.4%}"


def _unreadable(recipe: AnyRecipe, unreadable: Mapping[str, str]) -> list[str]:
    """Return one line per reason with its sources, after a line with the number of sources if there are several."""
    by_reason: dict[str, list[str]] = {}
    for id_, reason in unreadable.items():
        by_reason.setdefault(reason, []).append(f"{id_!r} ({recipe.shares[id_]:.4%})")
    lines = [f"Cannot be read: {', '.join(sources)}: {reason}" for reason, sources in by_reason.items()]
    if len(unreadable) > 1:
        share = sum(recipe.shares[id_] for id_ in unreadable)
        count = f"{len(unreadable)} of {len(recipe.active)} sources"
        lines.insert(0, f"{count} ({share:.4%} of the mix) cannot be read.")
    return lines
