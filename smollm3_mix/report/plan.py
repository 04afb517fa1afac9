"""What a mix would take of each source, from sizes known before anything is read."""

from collections.abc import Mapping
from math import ceil

from smollm3_mix.recipe import Recipe
from smollm3_mix.report.text import Table
from smollm3_mix.sources import Resolved


def plan_table(recipe: Recipe, resolved: Mapping[str, Resolved], tokens: int | None) -> Table:
    """Share, files and size of each source, and with `tokens` what is needed of it; first row the headings.

    Sizes are bytes on disk as listed, mostly compressed. Passes are those that the needed text takes if a byte on disk holds at
    least a byte of text, so compressed sources need fewer.
    """
    table = [["source", "weight", "share", "files", "bytes on disk", "tokens needed", "bytes needed", "passes at most"]]
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
