"""`smollm3-mix calibrate`: measure the tokens per byte of each source and write them to a copy of the recipe."""

import argparse
import sys

from tqdm import tqdm

from smollm3_mix.cli.mix_options import mix_options
from smollm3_mix.cli.size_arguments import count_argument
from smollm3_mix.report.calibration import SAMPLES, TOKENIZER, check_new_file, ratios_table
from smollm3_mix.report.calibration import calibrate as calibrate_recipe
from smollm3_mix.table_format import plain_table

SUMMARY = "Measure the tokens per byte of each source with a tokenizer, and write them to a copy of the recipe."


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of the command other than the mix options."""
    command.add_argument(
        "--tokenizer",
        default=TOKENIZER,
        metavar="T",
        help="tokenizer file, folder or Hub repository (default %(default)s)",
    )
    command.add_argument(
        "--samples",
        type=count_argument,
        default=SAMPLES,
        metavar="N",
        help="number of documents per source (default %(default)s)",
    )
    command.add_argument("--output", required=True, metavar="FILE", help="recipe file to write; must not exist")


def calibrate(options: argparse.Namespace) -> int:
    """Measure all sources, print the table, and write the copy. Return the exit code."""
    output = check_new_file(options.output)  # before hours of measuring
    with tqdm(unit="source", desc="calibrate", disable=None) as bar:
        found = calibrate_recipe(
            options.recipe,
            tokenizer=options.tokenizer,
            samples=options.samples,
            on_progress=lambda _: bar.update(),
            **mix_options(options),
        )
    found.to_yaml(output)
    sys.stdout.write(
        f"{plain_table(ratios_table(found.ratios.values()))}\nWrote {output}. Use it: smollm3-mix plan {output}\n"
    )
    return 0
