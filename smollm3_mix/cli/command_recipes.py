"""`smollm3-mix recipes`: list the shipped recipes, or check recipes."""

import argparse
import sys

from smollm3_mix.cli.process_info import printed
from smollm3_mix.recipe.read_recipe import check_recipe, load_recipe
from smollm3_mix.recipe.shipped import list_recipes
from smollm3_mix.table_format import plain_table

SUMMARY = "List the shipped recipes, or check recipes for problems. Opens no source."


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of the command."""
    command.add_argument(
        "--check",
        action="append",
        metavar="RECIPE",
        help="print every problem of a recipe and exit with 1 if there is one; may be repeated",
    )


def recipes(arguments: argparse.Namespace) -> int:
    """Print the shipped recipes, or the problems of the recipes to check. Return the exit code."""
    if arguments.check:
        return max(_check(recipe) for recipe in arguments.check)
    table = [["recipe", "sources", "description"]]
    for name in list_recipes():
        recipe = load_recipe(name)
        table.append([name, f"{len(recipe.sources):,}", recipe.description])
    printed(plain_table(table) + "\n")
    return 0


def _check(recipe: str) -> int:
    problems = check_recipe(recipe)
    for problem in problems:
        sys.stdout.write(f"{recipe}: {problem}\n")
    if not problems:
        sys.stdout.write(f"{recipe}: no problems found\n")
    return 1 if problems else 0
