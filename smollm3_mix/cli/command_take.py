"""`smollm3-mix take`: print records of a mix as JSON lines."""

import argparse
import json
import sys
import time

from smollm3_mix.cli.mix_options import add_mix_options, add_recipe, mix_options
from smollm3_mix.cli.process_info import open_files, peak_memory, printed
from smollm3_mix.cli.result_tables import print_tables
from smollm3_mix.mix.open_mix import open_mix
from smollm3_mix.sizes import format_bytes

SUMMARY = "Print records of a mix as JSON lines."


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_recipe(command)
    add_mix_options(command)
    command.add_argument("--quiet", action="store_true", help="print only the records, without statistics")


def take(arguments: argparse.Namespace) -> int:
    """Print records to standard output, and statistics to standard error."""
    started = time.perf_counter()
    mix = open_mix(arguments.recipe, **mix_options(arguments))
    first_seconds, first_bytes, files = 0.0, 0, ""
    with mix.stream() as stream:
        for record in stream:
            if not files:
                first_seconds = time.perf_counter() - started
                first_bytes, files = stream.stats.total.read_bytes, open_files()
            if not printed(json.dumps(record, ensure_ascii=False) + "\n"):
                return 0
        if printed() and not arguments.quiet:
            print_tables(mix.recipe, stream.stats, sys.stderr)
            if files:
                sys.stderr.write(
                    f"First record after {first_seconds:.1f} s and {format_bytes(first_bytes)} of text. "
                    f"Peak memory {peak_memory()}, open files {files}, "
                    f"{len(mix.recipe.active)} sources, {mix.num_lanes} lanes.\n"
                )
    return 0
