"""Tables and sentences about a mix that several commands print."""

from collections.abc import Mapping
from typing import TextIO

from smollm3_mix.mix.mix_stats import MixStats
from smollm3_mix.recipe.curriculum import AnyRecipe
from smollm3_mix.report.source_rows import source_rows
from smollm3_mix.report.tables import drops_table, shares_table
from smollm3_mix.table_format import plain_table


def print_tables(recipe: AnyRecipe, stats: MixStats, output: TextIO) -> None:
    """Print the shares of a mix, and its dropped documents if there are any."""
    if all(source.id in stats.sources for source in recipe.active):
        output.write(plain_table(shares_table(source_rows(recipe, stats), recipe.weigh_by)) + "\n")
    drops = drops_table(stats)
    if len(drops) > 1:
        output.write("\n" + plain_table(drops) + "\n")


def amount(stats: Mapping[str, MixStats]) -> str:
    """Return the size of a mix, such as `3,338 records (1,061,863 tokens) and 18 validation records`."""
    total = stats["train"].total
    held_out = stats["validation"].total.emitted if "validation" in stats else 0
    return f"{total.emitted:,} records ({total.emitted_tokens:,} tokens) and {held_out:,} validation records"
