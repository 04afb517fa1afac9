"""`smollm3-mix plan`: estimate what a mix reads and needs."""

import argparse
import sys

from smollm3_mix.cli.mix_options import add_mix_options, add_recipe, mix_options
from smollm3_mix.cli.size_arguments import bytes_argument
from smollm3_mix.report.mix_plan import RATE
from smollm3_mix.report.mix_plan import plan as plan_mix
from smollm3_mix.report.plan_summary import plan_summary
from smollm3_mix.report.plan_table import memory_line, plan_table
from smollm3_mix.table_format import plain_table

SUMMARY = (
    "Estimate the shares, files, bytes, passes and time of a mix, and report unreadable sources. Reads no records."
)


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_recipe(command)
    command.add_argument(
        "--rate", type=bytes_argument, default=RATE, metavar="SIZE", help="bytes read per second (default %(default)s)"
    )
    command.add_argument("--offline", action="store_true", help="plan from the recipe alone, without any source")
    add_mix_options(command)


def plan(arguments: argparse.Namespace) -> int:
    """Print the plan. Return 1 if a source cannot be read."""
    found = plan_mix(arguments.recipe, offline=arguments.offline, rate=arguments.rate, **mix_options(arguments))
    recipe = found.recipe
    heading = f"{recipe.name}: {len(recipe.active)} of {len(recipe.sources)} sources are read. {recipe.description}"
    sys.stdout.write(
        f"{heading.rstrip()}\n"
        f"The weights add up to {recipe.raw_sum:.10g}. Shares are of the {len(recipe.active)} sources that are read.\n"
        f"{plain_table(plan_table(recipe, found.rows))}\n"
    )
    if line := memory_line(recipe):
        sys.stdout.write(f"{line}\n")
    for sentence in plan_summary(found):
        sys.stdout.write(f"{sentence}\n")
    return 1 if found.unreadable and not arguments.skip_unreadable else 0
