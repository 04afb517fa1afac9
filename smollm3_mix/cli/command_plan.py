"""`smollm3-mix plan`: estimate a mix without reading records."""

import argparse
import sys

from smollm3_mix.cli.mix_options import mix_options
from smollm3_mix.cli.size_arguments import bytes_argument
from smollm3_mix.report.mix_plan import RATE
from smollm3_mix.report.mix_plan import plan as plan_mix
from smollm3_mix.report.plan_table import memory_line, plan_table, summary
from smollm3_mix.table_format import plain_table

SUMMARY = (
    "Estimate the shares, files, bytes, passes and time of a mix, and report unreadable sources. Reads no records."
)


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of the command other than the mix options."""
    command.add_argument(
        "--rate",
        type=bytes_argument,
        default=RATE,
        metavar="SIZE",
        help="bytes read per second (default %(default)s)",
    )
    command.add_argument("--offline", action="store_true", help="plan from the recipe alone, inspect no source")


def plan(options: argparse.Namespace) -> int:
    """Print the table of the sources and sentences about the mix. Return the exit code, 1 if a source is unreadable."""
    found = plan_mix(options.recipe, offline=options.offline, rate=options.rate, **mix_options(options))
    recipe = found.recipe
    head = f"{recipe.name}: {len(recipe.sources)} sources, {len(recipe.active)} of them available. {recipe.description}"
    lines = [
        head.rstrip(),
        f"The weights add up to {recipe.raw_sum:.10g}. The shares are those of {len(recipe.active)} sources.",
        plain_table(plan_table(recipe, found.rows)),
        *filter(None, [memory_line(recipe)]),
        *summary(found),
    ]
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return 1 if found.unreadable and not options.skip_unreadable else 0
