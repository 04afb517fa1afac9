"""`smollm3-mix finish`: commit a mix whose lanes were written by separate commands."""

import argparse
import sys

from smollm3_mix.cli.result_tables import amount
from smollm3_mix.output.finish import finish as finish_mix

SUMMARY = "Commit a mix whose lanes were written with `write --only-lanes`. Opens no source."


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    command.add_argument("output_dir", metavar="DIR", help="folder in which every lane was written")
    command.add_argument("--keep-dropped", metavar="DIR", help="folder of the dropped documents, as named in `write`")


def finish(arguments: argparse.Namespace) -> int:
    """Commit the mix, and print its size."""
    written = finish_mix(arguments.output_dir, keep_dropped=arguments.keep_dropped)
    sys.stdout.write(
        f"Finished {arguments.output_dir}: {amount(written.stats)}. "
        f"Verify it: smollm3-mix verify {arguments.output_dir}\n"
    )
    return 0
