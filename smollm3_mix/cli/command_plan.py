"""`smollm3-mix plan`: what a mix would read, before anything is."""

import argparse
import sys

from smollm3_mix.cli.size_arguments import bytes_argument
from smollm3_mix.recipe.read_recipe import load_recipe
from smollm3_mix.report.plan_table import memory_line, plan_table, source_needs, summary
from smollm3_mix.sources.resolve import inspect
from smollm3_mix.table_format import plain_table

SUMMARY = "Show shares, files, bytes, passes and time of a mix, and what cannot be read, before anything is."

RATE = 50_000_000
"""Bytes read in a second where none are named: half of what 1 Gbit/s gives."""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of the command other than the mix options."""
    command.add_argument(
        "--rate", type=bytes_argument, default=RATE, metavar="N", help="bytes read in a second (default 50MB)"
    )
    command.add_argument("--offline", action="store_true", help="show the recipe alone; look at no source")


def plan(options: argparse.Namespace) -> int:
    """Print shares, files, bytes and passes of each source, and what cannot be read; 1 where something cannot."""
    recipe = load_recipe(options.recipe, seed=options.seed, lanes=options.lanes)
    resolved, problems = ({}, {}) if options.offline else inspect(recipe)
    found = source_needs(
        recipe, {id_: files for id_, files in resolved.items() if id_ not in problems}, options.max_tokens
    )
    head = (
        f"{recipe.name}: {len(recipe.sources)} sources, {len(recipe.active)} of them to be read. {recipe.description}"
    )
    sys.stdout.write(
        f"{head.rstrip()}\n"
        f"Weights add up to {recipe.raw_sum:.10g} as written; shares are taken of {len(recipe.active)} sources.\n"
        f"{plain_table(plan_table(recipe, found))}\n"
    )
    if line := memory_line(recipe):
        sys.stdout.write(f"{line}\n")
    for sentence in summary(recipe, found, problems, options.rate):
        sys.stdout.write(f"{sentence}\n")
    return 1 if problems and not options.skip_unreadable else 0
