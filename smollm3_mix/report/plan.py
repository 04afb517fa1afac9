"""What a mix would take of each source, from sizes known before anything is read."""

from collections.abc import Mapping
from math import ceil

from smollm3_mix.recipe import Recipe, Source
from smollm3_mix.report.text import Table
from smollm3_mix.sources import Resolved


def plan_table(recipe: Recipe, resolved: Mapping[str, Resolved], tokens: int | None) -> Table:
    """Share, files and size of each source, and with `tokens` what is needed of it; first row the headings.

    Sizes are bytes on disk as listed, mostly compressed. Passes are what the needed text would take if a byte on disk
    held a byte of text and none were dropped: a guess, too high for compressed files and too low for dirty ones.
    """
    table = [["source", "weight", "share", "files", "bytes on disk", "tokens needed", "bytes needed", "passes"]]
    for source in recipe.active:
        found = resolved.get(source.id)
        share = recipe.shares[source.id]
        need = None if tokens is None else share * tokens
        text = None if need is None else need / source.tokens_per_byte
        passes = "" if text is None or found is None or not found.bytes else str(ceil(text / found.bytes))
        table.append(
            [
                source.id,
                f"{source.weight:g}",
                f"{share:.4%}",
                "" if found is None else f"{len(found.files):,}",
                "" if found is None else f"{found.bytes:,}",
                "" if need is None else f"{need:,.0f}",
                "" if text is None else f"{text:,.0f}",
                passes,
            ]
        )
    return table


def memory_line(recipe: Recipe) -> str:
    """What dedup can remember in the recipe's memory, and how often it is wrong by chance; empty without dedup."""
    asked = recipe.dedup
    if not asked.keys:
        return ""
    each = asked.capacity(recipe.lanes)
    return (
        f"Dedup remembers {each * recipe.lanes:,} documents in {asked.memory:,} bytes, {each:,} in each of "
        f"{recipe.lanes} lanes, and stops with an error when a lane is full. Until then, a document is taken for "
        f"another by chance with a false-positive rate of at most {asked.false_positive_rate(each):.1g}."
    )


def expected_bytes(recipe: Recipe, resolved: Mapping[str, Resolved], tokens: int | None, size: int | None) -> float:
    """Bytes on disk that a written mix will take, roughly: text is taken to shrink as it does in its sources.

    Args:
        recipe: what is written.
        resolved: files of every source that is read.
        tokens: limit of the mix, or None.
        size: limit in bytes of text, or None; text is then taken not to shrink at all.
    """
    stored = {source.id: resolved[source.id].bytes * source.max_passes for source in recipe.active}
    if not recipe.weighted or recipe.on_exhausted == "renormalise":
        whole = float(sum(stored.values()))
        return whole if size is None else min(whole, size)
    # Tokens of the mix at which each source ends.
    ends = [stored[source.id] * source.tokens_per_byte / recipe.shares[source.id] for source in recipe.active]
    end = max(ends) if recipe.on_exhausted == "repeat" else min(ends)
    if tokens is not None:
        end = tokens if recipe.on_exhausted == "repeat" else min(end, tokens)
    whole = sum(end * _per_token(recipe, source) for source in recipe.active)
    return whole if size is None else min(whole, size)


def _per_token(recipe: Recipe, source: Source) -> float:
    """Bytes of a source in a token of the mix."""
    return recipe.shares[source.id] / source.tokens_per_byte
