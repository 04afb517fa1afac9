"""`smollm3-mix calibrate`: measure tokens per byte, and write them into a copy of the recipe."""

import argparse
import sys
from typing import Any

from tqdm import tqdm

from smollm3_mix.cli.mix_options import add_mix_options, add_recipe, mix_options
from smollm3_mix.cli.size_arguments import count_argument
from smollm3_mix.report.calibration import SAMPLES, TOKENIZER, TokenRatio, check_new_file, ratios_table
from smollm3_mix.report.calibration import calibrate as calibrate_recipe
from smollm3_mix.table_format import plain_table

SUMMARY = "Measure tokens per byte of each source with a tokenizer, and write them into a copy of the recipe."


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_recipe(command)
    command.add_argument(
        "--tokenizer", default=TOKENIZER, metavar="T", help="file, folder or Hub repository (default %(default)s)"
    )
    command.add_argument(
        "--samples",
        type=count_argument,
        default=SAMPLES,
        metavar="N",
        help="number of documents per source (default %(default)s)",
    )
    command.add_argument("--output", required=True, metavar="FILE", help="recipe file to write; it must not exist")
    add_mix_options(command)


def calibrate(arguments: argparse.Namespace) -> int:
    """Measure all sources, print the ratios, and write the copy."""
    check_new_file(arguments.output)
    with _ProgressBar() as bar:
        calibration = calibrate_recipe(
            arguments.recipe,
            tokenizer=arguments.tokenizer,
            samples=arguments.samples,
            on_progress=bar,
            **mix_options(arguments),
        )
    calibration.to_yaml(arguments.output)
    sys.stdout.write(f"{plain_table(ratios_table(calibration.ratios.values()))}\nWrote {arguments.output}. ")
    sys.stdout.write(f"Use it: smollm3-mix plan {arguments.output}\n")
    return 0


class _ProgressBar:
    """Number of measured sources."""

    def __init__(self) -> None:
        self._bar: Any = tqdm(unit="source", desc="calibrate", disable=None)

    def __enter__(self) -> "_ProgressBar":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def __call__(self, _: TokenRatio) -> None:
        self._bar.update()
